/*
 * A model as a GGUF file, as llama.cpp's converter would write it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/gguf_writer.h"
#include "model/chat_choice.h"
#include "model/merge.h"
#include "text/tokenizer_export.h"

typedef struct gguf_out {
    hone_gguf_writer *writer;
    const hone_model *model;
    const hone_adapter *adapter;
    const hone_export_options *options;
} gguf_out;

/* --- Types --- */

static hone_dtype type_of(const gguf_out *g, const hone_weight *weight) {
    char name[HONE_NAME];
    if (hone_weight_is_vector(weight)) return HONE_F32;
    if (!g->options->file_type) return weight->tensor->dtype;
    hone_weight_name(name, &g->model->arch, HONE_FORM_GGUF, weight);
    return hone_file_type_tensor(g->options->file_type, &g->model->arch, name,
                                 weight->tensor->shape[1]);
}

/* general.file_type; a GGUF base of quantised tensors that keep their types says itself what it is. */
static hone_status set_file_type(const gguf_out *g) {
    hone_dtype type = hone_model_usual_type(g->model);
    const hone_file_type *file = g->options->file_type;
    if (!file && !hone_dtype_is_quantised(type)) file = hone_file_type_of(type);
    return file ? hone_gguf_set_u32(g->writer, "general.file_type", file->number) : HONE_OK;
}

/* --- Metadata --- */

/* The last part of a path, without what ends it: "models/story/" is "story". */
static hone_status set_name(const gguf_out *g) {
    const char *path = g->options->name ? g->options->name : g->model->path;
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return hone_gguf_set_string(g->writer, "general.name", path + begin, end - begin);
}

static hone_status copy_tokenizer(const gguf_out *g, const char *path) {
    hone_gguf *from;
    const hone_gguf_value *tokens;
    HONE_TRY(hone_gguf_open(&from, path));
    hone_status status =
        hone_gguf_get_array(&tokens, from, "tokenizer.ggml.tokens", HONE_GGUF_STRING);
    if (status == HONE_OK && tokens->count != (uint64_t)g->model->arch.vocabulary) {
        status = hone_fail(HONE_ERR_FORMAT,
                           "%s: its tokenizer has %llu tokens, the model %lld; give the tokenizer "
                           "that the model was made for",
                           path, (unsigned long long)tokens->count,
                           (long long)g->model->arch.vocabulary);
    }
    for (size_t i = 0; status == HONE_OK && i < hone_gguf_key_count(from); i++) {
        const hone_gguf_value *value = hone_gguf_key_at(from, i);
        if (value->key.length < 10 || memcmp(value->key.data, "tokenizer.", 10) != 0) continue;
        status = hone_gguf_set_value(g->writer, value);
    }
    hone_gguf_close(from);
    return status;
}

static hone_status set_chat_template(const gguf_out *g, const char *path) {
    hone_buf text = {0};
    hone_status status = hone_chat_own_template(&text, path);
    if (status == HONE_OK && text.length > 0) {
        status = hone_gguf_set_string(g->writer, "tokenizer.chat_template", text.data, text.length);
    }
    hone_buf_free(&text);
    return status;
}

static hone_status set_tokenizer(const gguf_out *g) {
    const char *path = g->options->tokenizer_path ? g->options->tokenizer_path : g->model->path;
    if (hone_path_ends(path, ".gguf")) return copy_tokenizer(g, path);
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = hone_tokenizer_to_gguf(g->writer, folder, g->model->arch.vocabulary);
    hone_free(folder);
    return status == HONE_OK ? set_chat_template(g, path) : status;
}

static hone_status set_metadata(const gguf_out *g) {
    if (g->model->gguf) {
        HONE_TRY(hone_gguf_set_all(g->writer, g->model->gguf));
        hone_gguf_unset(g->writer, "split.no");
        hone_gguf_unset(g->writer, "split.count");
        hone_gguf_unset(g->writer, "split.tensors.count");
    } else {
        HONE_TRY(hone_arch_fits_gguf(&g->model->arch, g->model->path));
        HONE_TRY(hone_arch_to_gguf(g->writer, &g->model->arch));
        HONE_TRY(set_name(g));
        HONE_TRY(set_tokenizer(g));
    }
    HONE_TRY(set_file_type(g));
    return hone_gguf_set_u32(g->writer, "general.quantization_version", 2);
}

/* --- Tensors --- */

static hone_status declare(const gguf_out *g) {
    for (size_t i = 0; i < g->model->weight_count; i++) {
        const hone_weight *weight = &g->model->weights[i];
        const hone_tensor *tensor = weight->tensor;
        char name[HONE_NAME];
        hone_weight_name(name, &g->model->arch, HONE_FORM_GGUF, weight);
        int64_t sizes[2] = {tensor->shape[tensor->dims - 1], tensor->shape[0]};
        HONE_TRY(hone_gguf_add_tensor(g->writer, name, (uint32_t)type_of(g, weight), tensor->dims,
                                      sizes));
    }
    return HONE_OK;
}

static hone_status to_gguf(void *writer, const void *bytes, size_t length) {
    return hone_gguf_data(writer, bytes, length);
}

static hone_status put(const gguf_out *g) {
    for (size_t i = 0; i < g->model->weight_count; i++) {
        const hone_weight *weight = &g->model->weights[i];
        HONE_TRY(hone_merge_weight(g->model, g->adapter, weight, type_of(g, weight), HONE_FORM_GGUF,
                                   g->writer, to_gguf));
    }
    return HONE_OK;
}

/* --- Rope scalings that are tensors there --- */

typedef hone_status (*rope_visitor)(const gguf_out *g, const char *name, const float *numbers);

/* A GGUF base's own bytes come back out, as its numbers were read from them. */
static hone_status visit_rope(const gguf_out *g, rope_visitor visit) {
    const hone_arch *arch = &g->model->arch;
    const hone_rotary *rope = &arch->rope[HONE_ROPE_GLOBAL];
    float factors[HONE_MOST_ROTATED / 2];
    if (rope->scaling == HONE_ROPE_LONGROPE) {
        HONE_TRY(visit(g, "rope_factors_long.weight", rope->divisors[1]));
        return visit(g, "rope_factors_short.weight", rope->divisors[0]);
    }
    if (rope->scaling != HONE_ROPE_LLAMA3) return HONE_OK;
    const hone_gguf_tensor *stored =
        g->model->gguf ? hone_gguf_tensor_find(g->model->gguf, "rope_freqs.weight") : NULL;
    hone_rope_llama3_factors(factors, rope, arch->rotated);
    if (stored) memcpy(factors, stored->data, (size_t)stored->bytes);
    return visit(g, "rope_freqs.weight", factors);
}

static hone_status declare_rope(const gguf_out *g, const char *name, const float *numbers) {
    (void)numbers;
    int64_t pairs = g->model->arch.rotated / 2;
    return hone_gguf_add_tensor(g->writer, name, HONE_F32, 1, &pairs);
}

static hone_status put_rope(const gguf_out *g, const char *name, const float *numbers) {
    (void)name;
    return hone_gguf_data(g->writer, numbers, (size_t)g->model->arch.rotated / 2 * sizeof *numbers);
}

hone_status hone_model_check_gguf(const hone_model *model, const hone_export_options *options) {
    gguf_out g = {.model = model, .options = options};
    HONE_TRY(hone_gguf_writer_new(&g.writer));
    hone_status status = set_metadata(&g);
    hone_gguf_writer_free(g.writer);
    return status;
}

hone_status hone_model_export_gguf(const hone_model *model, const hone_adapter *adapter,
                                   const char *path, const hone_export_options *options) {
    gguf_out g = {.model = model, .adapter = adapter, .options = options};
    HONE_TRY(hone_gguf_writer_new(&g.writer));
    hone_status status = set_metadata(&g);
    if (status == HONE_OK) status = visit_rope(&g, declare_rope);
    if (status == HONE_OK) status = declare(&g);
    if (status == HONE_OK) status = hone_gguf_begin(g.writer, path);
    if (status == HONE_OK) status = visit_rope(&g, put_rope);
    if (status == HONE_OK) status = put(&g);
    if (status == HONE_OK) status = hone_gguf_commit(g.writer);
    hone_gguf_writer_free(g.writer);
    return status;
}
