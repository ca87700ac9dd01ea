#include "model/adapter_mlx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "model/adapter_factors.h"

static const char of_whole[] = "language_model.";

void hone_mlx_blocks(char out[HONE_NAME], const hone_family *family) {
    snprintf(out, HONE_NAME, "%smodel%s.", family->text_type ? of_whole : "",
             strrchr(family->blocks, '.'));
}

/* An MLX folder while it is read. */
typedef struct reader {
    const hone_model *model;
    char *config_path;
    json_t *config;
    double scale, dropout;
    int64_t rank;  /* 0: not said */
    int64_t first; /* block that is adapted */
    hone_safetensors *tensors;
    hone_factors factors;
    void **turned; /* owned, [turned_count]: the factors as PEFT has them */
    size_t turned_count;
} reader;

static void reader_free(reader *r) {
    for (size_t i = 0; r->turned && i < r->turned_count; i++) hone_free(r->turned[i]);
    hone_free(r->turned);
    hone_factors_free(&r->factors);
    hone_safetensors_close(r->tensors);
    json_decref(r->config);
    hone_free(r->config_path);
}

/* --- The config --- */

static hone_status check_kind(const reader *r) {
    const char *kind = "lora";
    HONE_TRY(hone_json_opt_string(&kind, r->config, "fine_tune_type", r->config_path));
    if (strcmp(kind, "lora") == 0) return HONE_OK;
    const char *why = strcmp(kind, "dora") == 0   ? "DoRA is not supported"
                      : strcmp(kind, "full") == 0 ? "it holds whole weights, no LoRA factors"
                                                  : "hone does not know it";
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: key fine_tune_type is \"%s\": %s (supported: lora); fuse the adapter into "
        "its base with MLX",
        r->config_path, kind, why);
}

static hone_status read_settings(reader *r) {
    const json_t *lora = NULL;
    int64_t layers = r->model->arch.layers, adapted = 16;
    HONE_TRY(check_kind(r));
    HONE_TRY(
        hone_json_opt_int(&adapted, r->config, "num_layers", INT32_MIN, INT32_MAX, r->config_path));
    r->first = adapted > 0 && adapted < layers ? layers - adapted : 0;
    r->scale = 20; /* MLX's own default */
    HONE_TRY(hone_json_opt_object(&lora, r->config, "lora_parameters", r->config_path));
    if (lora) {
        HONE_TRY(hone_json_opt_int(&r->rank, lora, "rank", 1, INT32_MAX, r->config_path));
        HONE_TRY(hone_json_opt_number(&r->scale, lora, "scale", r->config_path));
        HONE_TRY(hone_json_opt_number(&r->dropout, lora, "dropout", r->config_path));
    }
    if (isfinite(r->scale) && r->dropout >= 0 && r->dropout < 1) return HONE_OK;
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: lora_parameters: scale must be a finite number and dropout at least 0 and "
        "below 1",
        r->config_path);
}

static hone_status read_config(reader *r, const char *folder) {
    r->config_path = hone_path_join(folder, "adapter_config.json");
    if (!r->config_path) return HONE_ERR_MEMORY;
    HONE_TRY(hone_json_load(&r->config, r->config_path));
    if (!json_is_object(r->config)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: not a JSON object", r->config_path);
    }
    return read_settings(r);
}

/* --- Tensors --- */

static hone_status refuse_tensor(const hone_safetensors_tensor *tensor) {
    const char *name = tensor->name, *end = strrchr(name, '.');
    const char *why =
        "is not a LoRA factor of a linear layer of this model (expected names such as "
        "model.layers.0.self_attn.q_proj.lora_a)";
    if (end && strcmp(end, ".m") == 0) why = "DoRA is not supported";
    if (strstr(name, "embed_tokens") || strstr(name, ".wte."))
        why = "LoRA on embeddings is not supported";
    if (strstr(name, "lm_head")) why = "LoRA on the output head is not supported";
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: tensor %s: %s", tensor->file, name, why);
}

static bool parse_name(int64_t *layer, hone_role *role, hone_half *half, const char *name,
                       const hone_family *family) {
    char blocks[HONE_NAME];
    size_t before = sizeof of_whole - 1;
    if (strncmp(name, of_whole, before) == 0) name += before; /* for the text part, too */
    hone_mlx_blocks(blocks, hone_family_text(family));
    if (!hone_factors_layer(layer, &name, blocks)) return false;
    for (*role = HONE_ROLE_LINEAR; *role < HONE_ROLES; (*role)++) {
        if (!hone_family_has(family, *role)) continue;
        const char *module = family->roles[*role].hf;
        size_t length = strlen(module);
        if (strncmp(name, module, length) != 0 || name[length] != '.') continue;
        *half = strcmp(name + length, ".lora_a") == 0 ? HONE_HALF_A : HONE_HALF_B;
        return *half == HONE_HALF_A || strcmp(name + length, ".lora_b") == 0;
    }
    return false;
}

/* Elements [rows, columns] by columns. */
static void transpose(char *to, const unsigned char *from, int64_t rows, int64_t columns,
                      size_t size) {
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            memcpy(to + (size_t)(c * rows + r) * size, from + (size_t)(r * columns + c) * size,
                   size);
        }
    }
}

static hone_status check_place(const reader *r, const hone_safetensors_tensor *tensor,
                               int64_t layer, hone_half half) {
    if (tensor->n_dims != 2) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s has %d dimensions, expected 2",
                         tensor->file, tensor->name, tensor->n_dims);
    }
    if (layer < r->first) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: tensor %s is for layer %lld, but by key num_layers of the config the "
                         "first adapted one is %lld",
                         tensor->file, tensor->name, (long long)layer, (long long)r->first);
    }
    int64_t rank = tensor->shape[half == HONE_HALF_A ? 1 : 0];
    if (r->rank == 0 || rank == r->rank) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: tensor %s has rank %lld, but the config's lora_parameters say %lld",
                     tensor->file, tensor->name, (long long)rank, (long long)r->rank);
}

static hone_status take_tensor(reader *r, const hone_safetensors_tensor *tensor) {
    int64_t layer;
    hone_role role;
    hone_half half;
    if (!parse_name(&layer, &role, &half, tensor->name, r->model->arch.family)) {
        return refuse_tensor(tensor);
    }
    HONE_TRY(check_place(r, tensor, layer, half));
    hone_factor factor = {
        .key = tensor->name, .rows = tensor->shape[1], .columns = tensor->shape[0]};
    HONE_TRY(hone_safetensors_dtype(&factor.dtype, tensor));
    size_t size = hone_dtype_row_bytes(factor.dtype, 1);
    char *turned = hone_alloc(1, (size_t)tensor->bytes);
    if (!turned) return HONE_ERR_MEMORY;
    r->turned[r->turned_count++] = turned;
    transpose(turned, tensor->data, tensor->shape[0], tensor->shape[1], size);
    factor.data = turned;
    return hone_factors_put(&r->factors, layer, role, half, &factor);
}

static hone_status take_tensors(reader *r) {
    size_t count = hone_safetensors_count(r->tensors);
    HONE_TRY(hone_factors_new(&r->factors, r->model, hone_safetensors_path(r->tensors), false));
    r->turned = hone_alloc(count, sizeof *r->turned);
    if (!r->turned) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(take_tensor(r, hone_safetensors_at(r->tensors, i)));
    }
    return hone_factors_check(&r->factors);
}

static hone_status open_tensors(reader *r, const char *folder) {
    char *path = hone_path_join(folder, "adapters.safetensors");
    hone_status status = path ? hone_safetensors_open(&r->tensors, path) : HONE_ERR_MEMORY;
    hone_free(path);
    return status;
}

/* --- The adapter --- */

static hone_status fill_adapter(hone_adapter *adapter, const reader *r) {
    adapter->dropout = r->dropout;
    for (int64_t l = 0; l < r->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            int64_t rank = hone_factors_rank(&r->factors, l, role);
            if (rank > 0) hone_adapter_declare(adapter, l, role, rank, r->scale);
        }
    }
    return hone_factors_load(&r->factors, adapter);
}

hone_status hone_adapter_open_mlx(hone_adapter **out, const hone_model *model, const char *folder,
                                  const hone_adapter_info *use) {
    reader r = {.model = model};
    hone_adapter *adapter = NULL;
    hone_adapter_doubts doubts = {0};
    hone_status status = read_config(&r, folder);
    if (status == HONE_OK) status = open_tensors(&r, folder);
    if (status == HONE_OK) {
        status = hone_adapter_check_tensors_use(&doubts, r.tensors, use, model->path);
    }
    if (status == HONE_OK) status = take_tensors(&r);
    if (status == HONE_OK) status = hone_adapter_new_empty(&adapter, model);
    if (status == HONE_OK) status = fill_adapter(adapter, &r);
    reader_free(&r);
    if (status != HONE_OK) {
        hone_adapter_free(adapter);
        return status;
    }
    adapter->doubts = doubts;
    *out = adapter;
    return HONE_OK;
}
