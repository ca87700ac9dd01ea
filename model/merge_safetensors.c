/*
 * A model as a Hugging Face folder.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/safetensors_writer.h"
#include "model/merge.h"
#include "text/tokenizer_export.h"

typedef struct folder_out {
    const hone_model *model;
    const hone_adapter *adapter;
    const hone_export_options *options;
    const char *folder;
    hone_dtype type; /* of all tensors */
    hone_arch arch;  /* of the text part by itself */
} folder_out;

/* As transformers calls a type; NULL for one that a folder cannot have. */
static const char *torch_name(hone_dtype type) {
    switch (type) {
    case HONE_F32:
        return "float32";
    case HONE_F16:
        return "float16";
    case HONE_BF16:
        return "bfloat16";
    default:
        return NULL;
    }
}

static hone_status choose_type(folder_out *f) {
    if (f->options->file_type) {
        f->type = f->options->file_type->type;
    } else {
        f->type = hone_model_usual_type(f->model);
        if (!torch_name(f->type)) f->type = HONE_F32;
    }
    if (torch_name(f->type)) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE,
                     "safetensors of type %s cannot be written (supported: f32, f16, bf16); export "
                     "to GGUF for quantised types",
                     f->options->file_type->name);
}

/* --- Weights --- */

static hone_status to_safetensors(void *writer, const void *bytes, size_t length) {
    return hone_safetensors_data(writer, bytes, length);
}

static hone_status declare(const folder_out *f, hone_safetensors_writer *writer) {
    HONE_TRY(hone_safetensors_set_metadata(writer, "format", "pt"));
    const hone_arch *arch = &f->arch;
    for (size_t i = 0; i < f->model->weight_count; i++) {
        const hone_weight *weight = &f->model->weights[i];
        const hone_tensor *tensor = weight->tensor;
        bool transposed = arch->family->transposed && weight->layer >= 0 && tensor->dims == 2;
        int64_t shape[2] = {tensor->shape[transposed], tensor->shape[!transposed]};
        char name[HONE_NAME];
        hone_weight_name(name, arch, HONE_FORM_HF, weight);
        HONE_TRY(hone_safetensors_add_tensor(writer, name, f->type, tensor->dims, shape));
    }
    return HONE_OK;
}

static hone_status put(const folder_out *f, hone_safetensors_writer *writer) {
    for (size_t i = 0; i < f->model->weight_count; i++) {
        HONE_TRY(hone_merge_weight(f->model, f->adapter, &f->model->weights[i], f->type,
                                   HONE_FORM_HF, writer, to_safetensors));
    }
    return HONE_OK;
}

static hone_status write_weights(const folder_out *f, const char *path) {
    hone_safetensors_writer *writer;
    HONE_TRY(hone_safetensors_writer_new(&writer));
    hone_status status = declare(f, writer);
    if (status == HONE_OK) status = hone_safetensors_begin(writer, path);
    if (status == HONE_OK) status = put(f, writer);
    if (status == HONE_OK) status = hone_safetensors_commit(writer);
    hone_safetensors_writer_free(writer);
    return status;
}

/* --- The tokenizer's files --- */

static hone_status copy_file(const char *to_folder, const char *from_folder, const char *name) {
    char *from = hone_path_join(from_folder, name), *to = hone_path_join(to_folder, name);
    hone_buf content = {0};
    hone_status status = from && to ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK && hone_path_exists(from)) {
        status = hone_file_get(&content, from);
        if (status == HONE_OK) status = hone_file_put(to, content.data, content.length);
    }
    hone_buf_free(&content);
    hone_free(from);
    hone_free(to);
    return status;
}

static hone_status copy_tokenizer(const folder_out *f, const char *path) {
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "generation_config.json",
    };
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    for (size_t i = 0; status == HONE_OK && i < sizeof names / sizeof *names; i++) {
        status = copy_file(f->folder, folder, names[i]);
    }
    hone_free(folder);
    return status;
}

static json_t *id_or_null(int64_t id) {
    return id < 0 ? json_null() : json_integer(id);
}

static hone_status save(const folder_out *f, const char *name, const json_t *value) {
    char *path = hone_path_join(f->folder, name);
    hone_status status = path && value ? HONE_OK : hone_fail(HONE_ERR_MEMORY, "out of memory");
    if (status == HONE_OK) status = hone_json_save(value, path);
    hone_free(path);
    return status;
}

static hone_status convert_tokenizer(const folder_out *f, const char *path, int64_t bos,
                                     int64_t eos) {
    hone_gguf *gguf;
    HONE_TRY(hone_gguf_open(&gguf, path));
    hone_status status = hone_tokenizer_to_folder(gguf, f->folder);
    hone_gguf_close(gguf);
    HONE_TRY(status);
    json_t *generation =
        json_pack("{s:o, s:o}", "bos_token_id", id_or_null(bos), "eos_token_id", id_or_null(eos));
    status = save(f, "generation_config.json", generation);
    json_decref(generation);
    return status;
}

/* --- The config --- */

/* A copy of the base's config; of the text part's alone, with the ids of the whole, where there are others. */
static json_t *base_config(const folder_out *f) {
    static const char *const ids[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    const json_t *whole = f->model->config;
    const hone_family *family = f->model->arch.family;
    if (!family->text_type) return json_deep_copy(whole);
    json_t *config = json_deep_copy(json_object_get(whole, "text_config"));
    int failed = config ? 0 : -1;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        json_t *id = json_object_get(whole, ids[i]);
        if (id) failed |= json_object_set(config, ids[i], id);
    }
    failed |= json_object_set_new(config, "model_type", json_string(family->text_type));
    failed |=
        json_object_set_new(config, "architectures", json_pack("[s]", f->arch.family->class_name));
    if (!failed) return config;
    json_decref(config);
    return NULL;
}

/* The base's own config, with what has changed. transformers 5 calls the type "dtype", 4 "torch_dtype". */
static hone_status changed_config(json_t **out, const folder_out *f) {
    json_t *config = base_config(f);
    const char *type = torch_name(f->type);
    bool newer = json_object_get(config, "dtype") != NULL;
    bool older = json_object_get(config, "torch_dtype") != NULL || !newer;
    int failed = config ? 0 : -1;
    if (newer) failed |= json_object_set_new(config, "dtype", json_string(type));
    if (older) failed |= json_object_set_new(config, "torch_dtype", json_string(type));
    failed |= json_object_set_new(config, "tie_word_embeddings", json_boolean(f->model->arch.tied));
    if (!failed && !json_object_get(config, "architectures")) {
        failed = json_object_set_new(config, "architectures",
                                     json_pack("[s]", f->arch.family->class_name));
    }
    *out = config;
    return failed ? hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make a config.json")
                  : HONE_OK;
}

static hone_status write_config(const folder_out *f, int64_t bos, int64_t eos) {
    json_t *config = NULL;
    hone_status status = f->model->config ? changed_config(&config, f)
                                          : hone_arch_to_config(&config, &f->model->arch,
                                                                torch_name(f->type), bos, eos);
    if (status == HONE_OK) status = save(f, "config.json", config);
    json_decref(config);
    return status;
}

/* --- The folder --- */

static hone_status special_ids(int64_t *bos, int64_t *eos, const char *path) {
    hone_tokenizer *tokenizer;
    HONE_TRY(hone_model_tokenizer(&tokenizer, path));
    *bos = hone_tokenizer_bos(tokenizer);
    *eos = hone_tokenizer_eos(tokenizer);
    hone_tokenizer_free(tokenizer);
    return HONE_OK;
}

static hone_status write_rest(const folder_out *f) {
    const char *path = f->options->tokenizer_path ? f->options->tokenizer_path : f->model->path;
    int64_t bos = -1, eos = -1;
    if (hone_path_ends(path, ".gguf")) {
        HONE_TRY(special_ids(&bos, &eos, path));
        HONE_TRY(convert_tokenizer(f, path, bos, eos));
    } else {
        HONE_TRY(copy_tokenizer(f, path));
    }
    return write_config(f, bos, eos);
}

hone_status hone_model_export_safetensors(const hone_model *model, const hone_adapter *adapter,
                                          const char *folder, const hone_export_options *options) {
    folder_out f = {.model = model,
                    .adapter = adapter,
                    .options = options,
                    .folder = folder,
                    .arch = model->arch};
    f.arch.family = hone_family_text(model->arch.family);
    HONE_TRY(choose_type(&f));
    HONE_TRY(hone_dir_make(folder));
    char *path = hone_path_join(folder, "model.safetensors");
    hone_status status = path ? write_weights(&f, path) : HONE_ERR_MEMORY;
    hone_free(path);
    return status == HONE_OK ? write_rest(&f) : status;
}
