#include "model/adapter_peft.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "model/adapter_factors.h"
#include "model/adapter_patterns.h"

static const char prefix[] = "base_model.model.";

/* A PEFT folder while it is read. */
typedef struct reader {
    const hone_model *model;
    char *config_path;
    json_t *config;
    hone_safetensors *tensors;
    hone_factors factors;
    hone_patterns *ranks, *alphas;
} reader;

static void reader_free(reader *r) {
    hone_patterns_free(r->ranks);
    hone_patterns_free(r->alphas);
    hone_factors_free(&r->factors);
    hone_safetensors_close(r->tensors);
    json_decref(r->config);
    hone_free(r->config_path);
}

/* --- Tensor names --- */

static hone_status refuse_tensor(const char *file, const char *name) {
    static const char *const reasons[][2] = {
        {"lora_embedding_", "LoRA on embeddings is not supported"},
        {"lora_magnitude_vector", "DoRA is not supported"},
        {"base_layer.", "the adapter brings base weights of its own"},
        {"modules_to_save", "modules trained in full are not supported"},
        {".bias", "trained biases are not supported"},
        {"embed_tokens", "changed embeddings are not supported"},
        {"lm_head", "a changed output head is not supported"},
        {"norm.weight", "norms trained in full are not supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (!strstr(name, reasons[i][0])) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: tensor %s: %s; merge the adapter into its base with PEFT", file, name,
                         reasons[i][1]);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: tensor %s is not a LoRA factor of a linear layer of this model (expected "
                     "names such as %smodel.layers.0.self_attn.q_proj.lora_A.weight)",
                     file, name, prefix);
}

/* "lora_A.weight", or with the adapter's name, which older versions kept. */
static bool parse_half(hone_half *half, const char *text) {
    if (strcmp(text, "lora_A.weight") == 0 || strcmp(text, "lora_A.default.weight") == 0) {
        *half = HONE_HALF_A;
        return true;
    }
    *half = HONE_HALF_B;
    return strcmp(text, "lora_B.weight") == 0 || strcmp(text, "lora_B.default.weight") == 0;
}

/* A name below the prefix, as the family has it. */
static bool parse_below(int64_t *layer, hone_role *role, hone_half *half, const char *name,
                        const hone_family *family) {
    char blocks[HONE_NAME];
    int written = snprintf(blocks, sizeof blocks, "%s.", family->blocks);
    assert(written > 0 && written < HONE_NAME);
    if (!hone_factors_layer(layer, &name, blocks)) return false;
    for (*role = HONE_ROLE_LINEAR; *role < HONE_ROLES; (*role)++) {
        if (!hone_family_has(family, *role)) continue;
        const char *module = family->roles[*role].hf;
        size_t length = strlen(module);
        if (strncmp(name, module, length) == 0 && name[length] == '.') {
            return parse_half(half, name + length + 1);
        }
    }
    return false;
}

/* Of this model, or of the same one with other parts or without; as it is called now, or was once. */
static bool parse_name(int64_t *layer, hone_role *role, hone_half *half, const char *name,
                       const hone_family *family) {
    char now[HONE_NAME];
    if (strncmp(name, prefix, strlen(prefix)) != 0) return false;
    name += strlen(prefix);
    const hone_family *other;
    for (size_t i = 0; (other = hone_family_at(i)) != NULL; i++) {
        if (hone_family_text(other) != hone_family_text(family)) continue;
        if (parse_below(layer, role, half, name, other)) return true;
        if (hone_name_now(now, other, name) && parse_below(layer, role, half, now, other))
            return true;
    }
    return false;
}

static hone_status take_tensor(reader *r, const hone_safetensors_tensor *tensor) {
    int64_t layer;
    hone_role role;
    hone_half half;
    if (!parse_name(&layer, &role, &half, tensor->name, r->model->arch.family)) {
        return refuse_tensor(tensor->file, tensor->name);
    }
    if (tensor->n_dims != 2) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s has %d dimensions, expected 2",
                         tensor->file, tensor->name, tensor->n_dims);
    }
    hone_factor factor = {.key = tensor->name,
                          .rows = tensor->shape[0],
                          .columns = tensor->shape[1],
                          .data = tensor->data};
    HONE_TRY(hone_safetensors_dtype(&factor.dtype, tensor));
    return hone_factors_put(&r->factors, layer, role, half, &factor);
}

/* --- The folder --- */

static hone_status open_tensors(reader *r, const char *folder) {
    char *path = hone_path_join(folder, "adapter_model.safetensors");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    if (!hone_path_exists(path)) {
        status = hone_fail(HONE_ERR_FORMAT,
                           "%s: not there; an adapter_model.bin is not read, save the adapter "
                           "again with safe_serialization=True",
                           path);
    }
    if (status == HONE_OK) status = hone_safetensors_open(&r->tensors, path);
    hone_free(path);
    return status;
}

static hone_status take_tensors(reader *r) {
    HONE_TRY(hone_factors_new(&r->factors, r->model, hone_safetensors_path(r->tensors), false));
    for (size_t i = 0; i < hone_safetensors_count(r->tensors); i++) {
        HONE_TRY(take_tensor(r, hone_safetensors_at(r->tensors, i)));
    }
    return hone_factors_check(&r->factors);
}

static hone_status read_config(reader *r, const char *folder) {
    r->config_path = hone_path_join(folder, "adapter_config.json");
    if (!r->config_path) return HONE_ERR_MEMORY;
    HONE_TRY(hone_json_load(&r->config, r->config_path));
    HONE_TRY(hone_peft_check_config(r->config, r->config_path));
    HONE_TRY(hone_patterns_new(&r->ranks, r->config, "rank_pattern", r->config_path));
    return hone_patterns_new(&r->alphas, r->config, "alpha_pattern", r->config_path);
}

/* --- Scales --- */

static hone_status declare_pair(const reader *r, hone_adapter *adapter, int64_t layer,
                                hone_role role) {
    int64_t rank = hone_factors_rank(&r->factors, layer, role);
    if (rank == 0) return HONE_OK;
    char module[HONE_NAME];
    hone_module_name(module, &r->model->arch, HONE_FORM_HF, layer, (int)role);
    double alpha, said = (double)rank;
    bool root = false;
    HONE_TRY(hone_json_get_number(&alpha, r->config, "lora_alpha", r->config_path));
    HONE_TRY(hone_patterns_find(&alpha, r->alphas, module));
    HONE_TRY(hone_json_opt_number(&said, r->config, "r", r->config_path));
    HONE_TRY(hone_patterns_find(&said, r->ranks, module));
    HONE_TRY(hone_json_opt_bool(&root, r->config, "use_rslora", r->config_path));
    if (said != (double)rank) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: keys r and rank_pattern give %s rank %g, but its factors have rank "
                         "%lld; give the config that was saved with them",
                         r->config_path, module, said, (long long)rank);
    }
    double divisor = root ? sqrt((double)rank) : (double)rank;
    hone_adapter_declare(adapter, layer, role, rank, alpha / divisor);
    return HONE_OK;
}

static hone_status fill_adapter(hone_adapter *adapter, const reader *r) {
    HONE_TRY(hone_json_opt_number(&adapter->dropout, r->config, "lora_dropout", r->config_path));
    for (int64_t l = 0; l < r->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            HONE_TRY(declare_pair(r, adapter, l, role));
        }
    }
    return hone_factors_load(&r->factors, adapter);
}

hone_status hone_adapter_open_peft(hone_adapter **out, const hone_model *model, const char *folder,
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
