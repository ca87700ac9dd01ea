#include "model/adapter_gguf.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/adapter_factors.h"

/* --- Metadata --- */

static hone_status check_text(const hone_gguf *gguf, const char *key, const char *wanted,
                              const char *remedy) {
    hone_gguf_string text;
    HONE_TRY(hone_gguf_get_string(&text, gguf, key));
    if (hone_gguf_string_is(text, wanted)) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: key %s is \"%.*s\", expected \"%s\"; %s",
                     hone_gguf_path(gguf), key, (int)text.length, text.data, wanted, remedy);
}

static bool starts_with(hone_gguf_string text, const char *start) {
    size_t length = strlen(start);
    return text.length >= length && memcmp(text.data, start, length) == 0;
}

/* Keys of adapters that the reader honours, or that say nothing about the numbers. */
static bool is_known(hone_gguf_string key) {
    return hone_gguf_string_is(key, "adapter.type") ||
           hone_gguf_string_is(key, "adapter.lora.alpha") ||
           hone_gguf_string_is(key, "adapter.lora.task_name") ||
           hone_gguf_string_is(key, "adapter.lora.prompt_prefix");
}

static hone_status check_keys(const hone_gguf *gguf) {
    for (size_t i = 0; i < hone_gguf_key_count(gguf); i++) {
        hone_gguf_string key = hone_gguf_key_at(gguf, i)->key;
        if (!starts_with(key, "adapter.") || is_known(key)) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED, "%s: key %.*s is not supported (supported: LoRA)",
                         hone_gguf_path(gguf), (int)key.length, key.data);
    }
    return HONE_OK;
}

/* A text of the file, terminated; NULL when it is not there. Owned by the caller. */
static hone_status get_text(char **out, const hone_gguf *gguf, const char *key) {
    hone_gguf_string text = {0};
    *out = NULL;
    HONE_TRY(hone_gguf_opt_string(&text, gguf, key));
    if (text.length == 0) return HONE_OK;
    *out = hone_strndup(text.data, text.length);
    return *out ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status check_use(hone_adapter_doubts *doubts, const hone_gguf *gguf,
                             const hone_model *model, const hone_adapter_info *use) {
    static const char *const keys[] = {HONE_GGUF_BASE_HASH, HONE_GGUF_TOKENIZER_HASH,
                                       HONE_GGUF_VOCABULARY_HASH, HONE_GGUF_TEMPLATE_HASH};
    enum { KEYS = sizeof keys / sizeof *keys };
    char *texts[KEYS] = {NULL};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < KEYS && status == HONE_OK; i++) {
        status = get_text(&texts[i], gguf, keys[i]);
    }
    hone_adapter_info recorded = {.base_hash = texts[0],
                                  .tokenizer_hash = texts[1],
                                  .vocabulary_hash = texts[2],
                                  .template_hash = texts[3]};
    if (status == HONE_OK) {
        status = hone_adapter_check_use(doubts, &recorded, use, hone_gguf_path(gguf), model->path);
    }
    for (size_t i = 0; i < KEYS; i++) hone_free(texts[i]);
    return status;
}

static hone_status check_metadata(const hone_gguf *gguf, const hone_model *model) {
    HONE_TRY(check_text(gguf, "general.type", "adapter", "give the file of an adapter"));
    HONE_TRY(check_text(gguf, "adapter.type", "lora", "other adapters are not supported"));
    HONE_TRY(check_text(gguf, "general.architecture", model->arch.family->gguf,
                        "the adapter belongs to another kind of base model"));
    return check_keys(gguf);
}

/* --- Tensors --- */

static hone_status refuse_tensor(const char *file, const char *name) {
    static const char *const reasons[][2] = {
        {"token_embd.", "LoRA on embeddings is not supported"},
        {"output.", "LoRA on the output head is not supported"},
        {"_norm.", "norms trained in full are not supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        const char *at = strstr(name, reasons[i][0]);
        if (!at || (at != name && *at != '_')) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED, "%s: tensor %s: %s", file, name, reasons[i][1]);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: tensor %s is not a LoRA factor of a linear layer of this model (expected "
                     "names such as blk.0.attn_q.weight.lora_a)",
                     file, name);
}

static bool parse_name(int64_t *layer, hone_role *role, hone_half *half, const char *name,
                       const hone_family *family) {
    if (!hone_factors_layer(layer, &name, "blk.")) return false;
    for (*role = HONE_ROLE_LINEAR; *role < HONE_ROLES; (*role)++) {
        if (!hone_family_has(family, *role)) continue;
        const char *module = family->roles[*role].gguf;
        size_t length = strlen(module);
        if (strncmp(name, module, length) != 0 || name[length] != '.') continue;
        *half = strcmp(name + length, ".weight.lora_a") == 0 ? HONE_HALF_A : HONE_HALF_B;
        return *half == HONE_HALF_A || strcmp(name + length, ".weight.lora_b") == 0;
    }
    return false;
}

static hone_status take_tensor(hone_factors *factors, const hone_gguf *gguf,
                               const hone_gguf_tensor *tensor) {
    int64_t layer;
    hone_role role;
    hone_half half;
    if (!parse_name(&layer, &role, &half, tensor->name, factors->model->arch.family)) {
        return refuse_tensor(factors->file, tensor->name);
    }
    if (tensor->n_dims > 2 || tensor->n_dims < 1) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s has %d dimensions, expected 2",
                         factors->file, tensor->name, tensor->n_dims);
    }
    hone_factor factor = {
        .key = tensor->name, .rows = tensor->rows, .columns = tensor->cols, .data = tensor->data};
    HONE_TRY(hone_gguf_tensor_dtype(&factor.dtype, gguf, tensor));
    return hone_factors_put(factors, layer, role, half, &factor);
}

static hone_status take_tensors(hone_factors *factors, const hone_gguf *gguf,
                                const hone_model *model) {
    HONE_TRY(hone_factors_new(factors, model, hone_gguf_path(gguf), true));
    for (size_t i = 0; i < hone_gguf_tensor_count(gguf); i++) {
        HONE_TRY(take_tensor(factors, gguf, hone_gguf_tensor_at(gguf, i)));
    }
    return hone_factors_check(factors);
}

/* --- The adapter --- */

static hone_status fill_adapter(hone_adapter *adapter, const hone_factors *factors,
                                const hone_gguf *gguf) {
    float alpha = 0;
    HONE_TRY(hone_gguf_opt_f32(&alpha, gguf, "adapter.lora.alpha"));
    if (!isfinite(alpha)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: key adapter.lora.alpha is no finite number",
                         factors->file);
    }
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            int64_t rank = hone_factors_rank(factors, l, role);
            double scale = alpha == 0 ? 1 : (double)alpha / (double)rank;
            if (rank > 0) hone_adapter_declare(adapter, l, role, rank, scale);
        }
    }
    return hone_factors_load(factors, adapter);
}

hone_status hone_adapter_open_gguf(hone_adapter **out, const hone_model *model, const char *path,
                                   const hone_adapter_info *use) {
    hone_gguf *gguf;
    HONE_TRY(hone_gguf_open(&gguf, path));
    hone_factors factors = {0};
    hone_adapter *adapter = NULL;
    hone_adapter_doubts doubts = {0};
    hone_status status = check_metadata(gguf, model);
    if (status == HONE_OK) status = check_use(&doubts, gguf, model, use);
    if (status == HONE_OK) status = take_tensors(&factors, gguf, model);
    if (status == HONE_OK) status = hone_adapter_new_empty(&adapter, model);
    if (status == HONE_OK) status = fill_adapter(adapter, &factors, gguf);
    hone_factors_free(&factors);
    hone_gguf_close(gguf);
    if (status != HONE_OK) {
        hone_adapter_free(adapter);
        return status;
    }
    adapter->doubts = doubts;
    *out = adapter;
    return HONE_OK;
}
