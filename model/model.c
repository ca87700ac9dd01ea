#include "model/model.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/philox.h"

/* A weight as found in a file. */
typedef struct found {
    hone_dtype dtype;
    int64_t rows, columns;
    const void *data;
} found;

static hone_status find_gguf(found *out, const hone_model *model, int64_t layer, int which) {
    char name[HONE_NAME];
    hone_weight_name_gguf(name, layer, which);
    const hone_gguf_tensor *tensor = hone_gguf_tensor_find(model->gguf, name);
    if (!tensor) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s is missing", model->path, name);
    }
    HONE_TRY(hone_gguf_tensor_dtype(&out->dtype, model->gguf, tensor));
    out->rows = tensor->n_dims == 1 ? tensor->cols : tensor->rows;
    out->columns = tensor->n_dims == 1 ? 1 : tensor->cols;
    out->data = tensor->data;
    return HONE_OK;
}

static hone_status find_safetensors(found *out, const hone_model *model, int64_t layer, int which) {
    char name[HONE_NAME];
    hone_weight_name_hf(name, layer, which);
    const hone_safetensors_tensor *tensor = hone_safetensors_find(model->safetensors, name);
    if (!tensor) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s is missing",
                         hone_safetensors_path(model->safetensors), name);
    }
    HONE_TRY(hone_safetensors_dtype(&out->dtype, tensor));
    out->rows = tensor->shape[0];
    out->columns = 1;
    for (int i = 1; i < tensor->n_dims; i++) out->columns *= tensor->shape[i];
    out->data = tensor->data;
    return HONE_OK;
}

static hone_status find(found *out, const hone_model *model, int64_t layer, int which, int64_t rows,
                        int64_t columns) {
    HONE_TRY(model->gguf ? find_gguf(out, model, layer, which)
                         : find_safetensors(out, model, layer, which));
    if (out->rows == rows && out->columns == columns) return HONE_OK;
    char name[HONE_NAME];
    hone_weight_name_hf(name, layer, which);
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: tensor %s has shape [%lld, %lld], the model's settings ask for [%lld, %lld]",
        model->path, name, (long long)out->rows, (long long)out->columns, (long long)rows,
        (long long)columns);
}

/* A norm's gain as HONE_REAL, at the next place of model->norms. */
static hone_status load_norm(hone_tensor *out, hone_model *model, int64_t layer, int which,
                             int64_t place) {
    int64_t width = model->arch.width;
    found weight;
    HONE_TRY(find(&weight, model, layer, which, width, 1));
    hone_real *to = (hone_real *)model->norms.base + place * width;
    model->device->kernels->dequantize(to, weight.data, weight.dtype, width);
    *out = hone_tensor_over("norm gain", HONE_REAL, width, 0, to);
    return HONE_OK;
}

static bool is_aligned(const found *weight) {
    int bytes = hone_dtype_describe((uint32_t)weight->dtype)->bytes;
    uintptr_t unit = bytes % 4 == 0 ? 4 : 2;
    return (uintptr_t)weight->data % unit == 0;
}

static hone_status load_matrix(hone_tensor *out, hone_model *model, int64_t layer, int which,
                               int64_t rows, int64_t columns) {
    found weight;
    HONE_TRY(find(&weight, model, layer, which, rows, columns));
    if (!is_aligned(&weight)) {
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "%s: the tensors of this file do not lie at multiples of their element size; "
            "save it again with a current safetensors library",
            model->path);
    }
    *out = hone_tensor_over("weight", weight.dtype, rows, columns, (void *)(uintptr_t)weight.data);
    return HONE_OK;
}

static hone_status load_layer(hone_model *model, int64_t l) {
    hone_layer *layer = &model->layers[l];
    HONE_TRY(load_norm(&layer->weight[HONE_ROLE_ATTN_NORM], model, l, HONE_ROLE_ATTN_NORM, 2 * l));
    HONE_TRY(
        load_norm(&layer->weight[HONE_ROLE_MLP_NORM], model, l, HONE_ROLE_MLP_NORM, 2 * l + 1));
    for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
        int64_t rows, columns;
        hone_arch_linear(&model->arch, role, &rows, &columns);
        HONE_TRY(load_matrix(&layer->weight[role], model, l, (int)role, rows, columns));
    }
    return HONE_OK;
}

static hone_status refuse_surplus(const hone_model *model, const char *name) {
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: tensor %s has no place in a %s model as hone knows it; leaving it out would "
        "change what the model says",
        model->path, name, model->arch.family);
}

/* A bias, say, that the description does not speak of. */
static hone_status check_surplus(const hone_model *model) {
    for (size_t i = 0; model->gguf && i < hone_gguf_tensor_count(model->gguf); i++) {
        const char *name = hone_gguf_tensor_at(model->gguf, i)->name;
        if (!hone_weight_is_known(name, true)) return refuse_surplus(model, name);
    }
    for (size_t i = 0; model->safetensors && i < hone_safetensors_count(model->safetensors); i++) {
        const char *name = hone_safetensors_at(model->safetensors, i)->name;
        if (!hone_weight_is_known(name, false)) return refuse_surplus(model, name);
    }
    return HONE_OK;
}

static hone_status load_weights(hone_model *model) {
    HONE_TRY(check_surplus(model));
    const hone_arch *arch = &model->arch;
    size_t norm_bytes = (size_t)((2 * arch->layers + 1) * arch->width) * sizeof(hone_real);
    HONE_TRY(hone_buffer_new(&model->norms, model->device, norm_bytes));
    HONE_TRY(load_norm(&model->norm, model, -1, HONE_OUTER_NORM, 2 * arch->layers));
    HONE_TRY(load_matrix(&model->embedding, model, -1, HONE_OUTER_EMBEDDING, arch->vocabulary,
                         arch->width));
    if (!arch->tied) {
        HONE_TRY(
            load_matrix(&model->head, model, -1, HONE_OUTER_HEAD, arch->vocabulary, arch->width));
    }
    for (int64_t l = 0; l < arch->layers; l++) HONE_TRY(load_layer(model, l));
    return HONE_OK;
}

char *hone_model_folder(const char *path) {
    if (hone_path_is_dir(path)) return hone_strdup(path);
    const char *slash = strrchr(path, '/');
    return slash ? hone_strndup(path, (size_t)(slash - path)) : hone_strdup(".");
}

static hone_status open_folder(hone_model *model, const char *path) {
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    char *config = hone_path_join(folder, "config.json");
    hone_free(folder);
    if (!config) return HONE_ERR_MEMORY;
    hone_status status = hone_json_load(&model->config, config);
    if (status == HONE_OK) status = hone_arch_from_config(&model->arch, model->config, config);
    hone_free(config);
    HONE_TRY(status);
    HONE_TRY(hone_safetensors_open(&model->safetensors, path));
    /* Older configs leave tie_word_embeddings out; a file without a head has a tied one. */
    if (!hone_safetensors_find(model->safetensors, "lm_head.weight")) model->arch.tied = true;
    return HONE_OK;
}

static hone_status open_files(hone_model *model, const char *path) {
    if (!hone_path_exists(path)) {
        return hone_fail(HONE_ERR_IO,
                         "%s: no such model; give a Hugging Face folder, a .safetensors "
                         "in one, or a .gguf file",
                         path);
    }
    if (hone_path_ends(path, ".gguf")) {
        HONE_TRY(hone_gguf_open(&model->gguf, path));
        return hone_arch_from_gguf(&model->arch, model->gguf);
    }
    if (hone_path_is_dir(path) || hone_path_ends(path, ".safetensors") ||
        hone_path_ends(path, ".json")) {
        return open_folder(model, path);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: not a model hone can read; give a Hugging Face folder, a .safetensors in "
                     "one, or a .gguf file",
                     path);
}

static hone_status new_model(hone_model **out, const char *path, const hone_device *device) {
    hone_model *model = hone_alloc(1, sizeof *model);
    if (!model) return HONE_ERR_MEMORY;
    model->device = device;
    model->path = hone_strdup(path);
    *out = model;
    return model->path ? HONE_OK : HONE_ERR_MEMORY;
}

hone_status hone_model_open(hone_model **out, const char *path, const hone_device *device) {
    hone_model *model = NULL;
    hone_status status = new_model(&model, path, device);
    if (status == HONE_OK) status = open_files(model, path);
    if (status == HONE_OK) {
        model->layers = hone_alloc((size_t)model->arch.layers, sizeof *model->layers);
        status = model->layers ? load_weights(model) : HONE_ERR_MEMORY;
    }
    if (status != HONE_OK) {
        hone_model_close(model);
        return status;
    }
    *out = model;
    return HONE_OK;
}

void hone_model_close(hone_model *model) {
    if (!model) return;
    hone_gguf_close(model->gguf);
    hone_safetensors_close(model->safetensors);
    json_decref(model->config);
    hone_buffer_free(&model->norms);
    hone_buffer_free(&model->rope);
    hone_params_free(&model->params);
    hone_free(model->layers);
    hone_free(model->path);
    hone_free(model);
}

hone_status hone_model_tokenizer(hone_tokenizer **out, const char *path) {
    if (hone_path_ends(path, ".gguf")) {
        hone_gguf *gguf;
        HONE_TRY(hone_gguf_open(&gguf, path));
        hone_status status = hone_tokenizer_load_gguf(out, gguf);
        hone_gguf_close(gguf);
        return status;
    }
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = hone_tokenizer_load_folder(out, folder);
    hone_free(folder);
    return status;
}

hone_status hone_model_rope(hone_model *model, int64_t positions) {
    if (positions <= model->rope_positions) return HONE_OK;
    int64_t half = model->arch.head_size / 2;
    float *factors = hone_alloc((size_t)half, sizeof *factors);
    hone_real *table = hone_alloc((size_t)(2 * positions * half), sizeof *table);
    hone_status status = factors && table ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        hone_arch_rope_factors(factors, &model->arch);
        for (int64_t i = 0; i < half; i++) {
            /* In f32, as transformers and llama.cpp have it: long contexts see the rounding. */
            double power = (double)((float)(2 * i) / (float)model->arch.head_size);
            float frequency = (float)(1 / pow(model->arch.rope_theta, power)) / factors[i];
            for (int64_t p = 0; p < positions; p++) {
                double angle = (double)((float)p * frequency);
                table[p * half + i] = (hone_real)cos(angle);
                table[(positions + p) * half + i] = (hone_real)sin(angle);
            }
        }
        hone_buffer_free(&model->rope);
        size_t bytes = (size_t)(2 * positions * half) * sizeof *table;
        status = hone_buffer_new(&model->rope, model->device, bytes);
        if (status == HONE_OK) {
            status = hone_device_copy_in(model->device, model->rope.base, table, bytes);
        }
        model->rope_positions = status == HONE_OK ? positions : 0;
    }
    hone_free(factors);
    hone_free(table);
    return status;
}

/* Of several files: the hash of their hashes, one after the other. */
static hone_status hash_files(char out[HONE_SHA256_TEXT], const hone_safetensors *files) {
    hone_buf all = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < hone_safetensors_file_count(files) && status == HONE_OK; i++) {
        status = hone_sha256_file(out, hone_safetensors_file_at(files, i));
        if (status == HONE_OK) status = hone_buf_puts(&all, out);
    }
    if (status == HONE_OK) hone_sha256_bytes(out, all.data, all.length);
    hone_buf_free(&all);
    return status;
}

hone_status hone_model_hash(char out[HONE_SHA256_TEXT], const hone_model *model) {
    if (model->gguf) return hone_sha256_file(out, model->path);
    if (model->safetensors && hone_safetensors_file_count(model->safetensors) == 1) {
        return hone_sha256_file(out, hone_safetensors_file_at(model->safetensors, 0));
    }
    if (model->safetensors) return hash_files(out, model->safetensors);
    return hone_sha256_file(out, model->path); /* fresh weights: the config they follow from */
}
