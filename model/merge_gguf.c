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
    if (weight->gain) return HONE_F32;
    if (!g->options->file_type) return weight->tensor->dtype;
    hone_weight_name_gguf(name, weight->layer, weight->which);
    return hone_file_type_tensor(g->options->file_type, &g->model->arch, name,
                                 weight->tensor->shape[1]);
}

/* general.file_type; a GGUF base of quantised tensors that keep their types says itself what it is. */
static hone_status set_file_type(const gguf_out *g) {
    hone_dtype type = g->model->layers[0].weight[HONE_ROLE_Q].dtype;
    const hone_file_type *file = g->options->file_type;
    if (!file && !hone_dtype_is_quantised(type)) file = hone_file_type_of(type);
    return file ? hone_gguf_set_u32(g->writer, "general.file_type", file->number) : HONE_OK;
}

/* --- Metadata --- */

static hone_status set_text(const gguf_out *g, const char *key, const char *text) {
    return hone_gguf_set_string(g->writer, key, text, strlen(text));
}

typedef struct count_key {
    const char *key;
    int64_t value;
} count_key;

static hone_status set_architecture(const gguf_out *g) {
    const hone_arch *a = &g->model->arch;
    const count_key counts[] = {
        {"llama.block_count", a->layers},
        {"llama.context_length", a->context},
        {"llama.embedding_length", a->width},
        {"llama.feed_forward_length", a->feed_forward},
        {"llama.attention.head_count", a->heads},
        {"llama.attention.head_count_kv", a->kv_heads},
        {"llama.attention.key_length", a->head_size},
        {"llama.attention.value_length", a->head_size},
        {"llama.rope.dimension_count", a->head_size},
        {"llama.vocab_size", a->vocabulary},
    };
    HONE_TRY(set_text(g, "general.architecture", a->family));
    HONE_TRY(set_text(g, "general.type", "model"));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        HONE_TRY(hone_gguf_set_u32(g->writer, counts[i].key, (uint32_t)counts[i].value));
    }
    HONE_TRY(hone_gguf_set_f32(g->writer, "llama.rope.freq_base", (float)a->rope_theta));
    return hone_gguf_set_f32(g->writer, "llama.attention.layer_norm_rms_epsilon",
                             (float)a->norm_epsilon);
}

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

static bool is_weight(const hone_model *model, const char *name) {
    if (strcmp(name, "rope_freqs.weight") == 0) return true;
    for (size_t i = 0; i < hone_weight_count(model); i++) {
        hone_weight weight = hone_weight_at(model, i);
        char known[HONE_NAME];
        hone_weight_name_gguf(known, weight.layer, weight.which);
        if (strcmp(known, name) == 0) return true;
    }
    return false;
}

static hone_status check_base(const hone_model *model) {
    for (size_t i = 0; i < hone_gguf_tensor_count(model->gguf); i++) {
        const char *name = hone_gguf_tensor_at(model->gguf, i)->name;
        if (is_weight(model, name)) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: tensor %s is no part of a %s model hone knows; it would be lost",
                         model->path, name, model->arch.family);
    }
    return HONE_OK;
}

static hone_status set_metadata(const gguf_out *g) {
    if (g->model->gguf) {
        HONE_TRY(check_base(g->model));
        HONE_TRY(hone_gguf_set_all(g->writer, g->model->gguf));
        hone_gguf_unset(g->writer, "split.no");
        hone_gguf_unset(g->writer, "split.count");
        hone_gguf_unset(g->writer, "split.tensors.count");
    } else {
        HONE_TRY(set_architecture(g));
        HONE_TRY(set_name(g));
        HONE_TRY(set_tokenizer(g));
    }
    HONE_TRY(set_file_type(g));
    return hone_gguf_set_u32(g->writer, "general.quantization_version", 2);
}

/* --- Tensors --- */

static hone_status declare(const gguf_out *g) {
    for (size_t i = 0; i < hone_weight_count(g->model); i++) {
        hone_weight weight = hone_weight_at(g->model, i);
        char name[HONE_NAME];
        hone_weight_name_gguf(name, weight.layer, weight.which);
        int64_t sizes[2] = {weight.tensor->shape[1], weight.tensor->shape[0]};
        if (weight.gain) sizes[0] = weight.tensor->shape[0];
        HONE_TRY(hone_gguf_add_tensor(g->writer, name, (uint32_t)type_of(g, &weight),
                                      weight.gain ? 1 : 2, sizes));
    }
    return HONE_OK;
}

static hone_status to_gguf(void *writer, const void *bytes, size_t length) {
    return hone_gguf_data(writer, bytes, length);
}

static hone_status put(const gguf_out *g) {
    for (size_t i = 0; i < hone_weight_count(g->model); i++) {
        hone_weight weight = hone_weight_at(g->model, i);
        HONE_TRY(hone_merge_weight(g->model, g->adapter, &weight, type_of(g, &weight), true,
                                   g->writer, to_gguf));
    }
    return HONE_OK;
}

/* llama3 scaling is a tensor there: the factors of the angles. */
static hone_status declare_rope(const gguf_out *g) {
    if (g->model->arch.rope_scaling == HONE_ROPE_PLAIN) return HONE_OK;
    int64_t size = g->model->arch.head_size / 2;
    return hone_gguf_add_tensor(g->writer, "rope_freqs.weight", HONE_F32, 1, &size);
}

static hone_status put_rope(const gguf_out *g) {
    if (g->model->arch.rope_scaling == HONE_ROPE_PLAIN) return HONE_OK;
    size_t count = (size_t)g->model->arch.head_size / 2;
    const hone_gguf_tensor *stored =
        g->model->gguf ? hone_gguf_tensor_find(g->model->gguf, "rope_freqs.weight") : NULL;
    if (stored) return hone_gguf_data(g->writer, stored->data, (size_t)stored->bytes);
    float *factors = hone_alloc(count, sizeof *factors);
    if (!factors) return HONE_ERR_MEMORY;
    hone_arch_rope_factors(factors, &g->model->arch);
    hone_status status = hone_gguf_data(g->writer, factors, count * sizeof *factors);
    hone_free(factors);
    return status;
}

hone_status hone_model_export_gguf(const hone_model *model, const hone_adapter *adapter,
                                   const char *path, const hone_export_options *options) {
    gguf_out g = {.model = model, .adapter = adapter, .options = options};
    HONE_TRY(hone_gguf_writer_new(&g.writer));
    hone_status status = set_metadata(&g);
    if (status == HONE_OK) status = declare_rope(&g);
    if (status == HONE_OK) status = declare(&g);
    if (status == HONE_OK) status = hone_gguf_begin(g.writer, path);
    if (status == HONE_OK) status = put_rope(&g);
    if (status == HONE_OK) status = put(&g);
    if (status == HONE_OK) status = hone_gguf_commit(g.writer);
    hone_gguf_writer_free(g.writer);
    return status;
}
