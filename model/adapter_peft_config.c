/*
 * adapter_config.json: what may stand in one that is read, and what is written.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/adapter_peft.h"

/* --- Reading --- */

/* Keys with no say in what the tensors mean (training, looks, versions), and those that the reader honours. */
static const char *const allowed[] = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias", /* looked at below */
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out", /* about the base's weights; PEFT sets it by the layer's class */
    "inference_mode",
    "init_lora_weights", /* looked at below */
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type", /* looked at below */
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "unsloth_fixed",
    "use_rslora",
};

static bool is_allowed(const char *key) {
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        if (strcmp(allowed[i], key) == 0) return true;
    }
    return false;
}

static bool is_empty(const json_t *value) {
    if (json_is_null(value) || json_is_false(value)) return true;
    if (json_is_array(value)) return json_array_size(value) == 0;
    return json_is_object(value) && json_object_size(value) == 0;
}

/* What a setting asks for, where a word helps. */
static const char *meaning(const char *key) {
    static const char *const words[][2] = {
        {"use_dora", "DoRA"},
        {"modules_to_save", "modules trained in full"},
        {"lora_bias", "trained biases"},
        {"layer_replication", "repeated layers"},
        {"target_parameters", "LoRA on bare parameters"},
        {"trainable_token_indices", "trained token embeddings"},
        {"alora_invocation_tokens", "an adapter that is active after some tokens only"},
        {"use_qalora", "QALoRA"},
        {"use_bdlora", "block-diagonal LoRA"},
        {"arrow_config", "routing between adapters"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i][0], key) == 0) return words[i][1];
    }
    return "a setting hone does not know";
}

/* Ways to start that leave the base weights as they are; all others may have changed them. */
static hone_status check_start(const json_t *config, const char *file) {
    const json_t *start = json_object_get(config, "init_lora_weights");
    if (!json_is_string(start)) return HONE_OK;
    static const char *const plain[] = {"gaussian", "eva", "orthogonal", "mica"};
    const char *name = json_string_value(start);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(plain[i], name) == 0) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: key init_lora_weights is \"%s\": such adapters go with changed base "
                     "weights; save it again with PEFT's path_initial_model_for_weight_conversion",
                     file, name);
}

static hone_status check_kind(const json_t *config, const char *file) {
    const char *type, *bias = "none";
    HONE_TRY(hone_json_get_string(&type, config, "peft_type", file));
    if (strcmp(type, "LORA") != 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: key peft_type is \"%s\", which is not supported (supported: LORA)",
                         file, type);
    }
    HONE_TRY(hone_json_opt_string(&bias, config, "bias", file));
    if (strcmp(bias, "none") == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: key bias is \"%s\": trained biases are not supported (supported: none)",
                     file, bias);
}

hone_status hone_peft_check_config(const json_t *config, const char *file) {
    if (!json_is_object(config)) return hone_fail(HONE_ERR_FORMAT, "%s: not a JSON object", file);
    HONE_TRY(check_kind(config, file));
    HONE_TRY(check_start(config, file));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        if (is_allowed(key) || is_empty(value)) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: key %s asks for %s, which is not supported; merge the adapter into "
                         "its base with PEFT, or train without it",
                         file, key, meaning(key));
    }
    return HONE_OK;
}

/* --- Writing --- */

/* As PEFT writes it: an integer when it is one up to rounding. */
static json_t *number(double value) {
    double whole = round(value);
    bool integer = fabs(value - whole) <= 1e-9 * fabs(value) && fabs(whole) < 1e15;
    return integer ? json_integer((json_int_t)whole) : json_real(value);
}

static double alpha_of(const hone_lora_pair *pair) {
    return pair->scale * (double)pair->rank;
}

static bool same_alpha(double a, double b) {
    return fabs(a - b) <= 1e-12 * fabs(b);
}

static size_t pair_count(const hone_adapter *adapter) {
    return (size_t)adapter->model->arch.layers * HONE_LINEARS;
}

/* The pair whose rank and alpha most pairs share: they become r and lora_alpha. */
static const hone_lora_pair *usual_pair(const hone_adapter *adapter) {
    const hone_lora_pair *usual = NULL;
    size_t most = 0;
    for (size_t i = 0; i < pair_count(adapter); i++) {
        const hone_lora_pair *one = &adapter->pairs[i];
        if (one->rank == 0) continue;
        size_t alike = 0;
        for (size_t j = 0; j < pair_count(adapter); j++) {
            const hone_lora_pair *other = &adapter->pairs[j];
            alike += other->rank == one->rank && same_alpha(alpha_of(other), alpha_of(one));
        }
        if (alike > most) most = alike, usual = one;
    }
    return usual;
}

/* "model.layers.3.self_attn.q_proj"; dots after a backslash in a pattern. */
static void module_path(char out[HONE_NAME], const hone_arch *arch, int64_t layer, hone_role role,
                        bool pattern) {
    char plain[HONE_NAME];
    hone_module_name(plain, arch, HONE_FORM_HF, layer, (int)role);
    size_t to = 0;
    for (const char *at = plain; *at; at++) {
        if (pattern && *at == '.') out[to++] = '\\';
        out[to++] = *at;
    }
    out[to] = '\0';
}

/* Every layer of a role adapted, or none: then the short name says it all, unless another part of the model has modules
 * of that name. */
static bool is_uniform(const hone_adapter *adapter, hone_role role, bool *used) {
    int64_t adapted = 0, layers = adapter->model->arch.layers;
    for (int64_t l = 0; l < layers; l++) adapted += hone_adapter_pair(adapter, l, role)->rank > 0;
    *used = adapted > 0;
    bool alone = adapter->model->arch.family->text_type == NULL;
    return adapted == 0 || (adapted == layers && alone);
}

/* "q_proj"; "attn.c_proj" where the last word is another module's too. */
static const char *short_name(const hone_family *family, hone_role role) {
    const char *path = family->roles[role].hf, *last = strrchr(path, '.') + 1;
    for (hone_role other = HONE_ROLE_LINEAR; other < HONE_ROLES; other++) {
        if (other == role || !hone_family_has(family, other)) continue;
        if (strcmp(strrchr(family->roles[other].hf, '.') + 1, last) == 0) return path;
    }
    return last;
}

static json_t *target_modules(const hone_adapter *adapter) {
    const hone_family *family = adapter->model->arch.family;
    json_t *targets = json_array();
    for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
        bool used;
        bool uniform = is_uniform(adapter, role, &used);
        if (used && uniform) json_array_append_new(targets, json_string(short_name(family, role)));
        for (int64_t l = 0; !uniform && l < adapter->model->arch.layers; l++) {
            char path[HONE_NAME];
            module_path(path, &adapter->model->arch, l, role, false);
            if (hone_adapter_pair(adapter, l, role)->rank > 0) {
                json_array_append_new(targets, json_string(path));
            }
        }
    }
    return targets;
}

/* The pairs whose rank, or alpha, is not the usual one. */
static json_t *exceptions(const hone_adapter *adapter, const hone_lora_pair *usual, bool of_rank) {
    json_t *object = json_object();
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            const hone_lora_pair *pair = hone_adapter_pair(adapter, l, role);
            bool alike =
                of_rank ? pair->rank == usual->rank : same_alpha(alpha_of(pair), alpha_of(usual));
            if (pair->rank == 0 || alike) continue;
            char path[HONE_NAME];
            module_path(path, &adapter->model->arch, l, role, true);
            json_object_set_new(object, path,
                                of_rank ? json_integer(pair->rank) : number(alpha_of(pair)));
        }
    }
    return object;
}

/* A path need not be UTF-8: then JSON cannot hold it. */
static json_t *text_or_null(const char *text) {
    json_t *value = text ? json_string(text) : NULL;
    return value ? value : json_null();
}

hone_status hone_peft_config(json_t **out, const hone_adapter *adapter,
                             const hone_adapter_info *info) {
    const hone_lora_pair *usual = usual_pair(adapter);
    if (!usual) return hone_fail(HONE_ERR_USAGE, "the adapter adapts no layer");
    const char *base = info->base_name ? info->base_name : adapter->model->path;
    json_t *config = json_pack(
        "{s:o, s:n, s:o, s:s, s:n, s:b, s:b, s:b, s:n, s:n, s:o, s:b, s:o, s:n, s:s, s:I, s:o,"
        " s:n, s:o, s:s, s:b, s:b}",
        "alpha_pattern", exceptions(adapter, usual, false), "auto_mapping",
        "base_model_name_or_path", text_or_null(base), "bias", "none", "exclude_modules",
        "fan_in_fan_out", adapter->model->arch.family->transposed, "inference_mode", 1,
        "init_lora_weights", 1, "layers_pattern", "layers_to_transform", "lora_alpha",
        number(alpha_of(usual)), "lora_bias", 0, "lora_dropout", json_real(adapter->dropout),
        "modules_to_save", "peft_type", "LORA", "r", (json_int_t)usual->rank, "rank_pattern",
        exceptions(adapter, usual, true), "revision", "target_modules", target_modules(adapter),
        "task_type", "CAUSAL_LM", "use_dora", 0, "use_rslora", 0);
    if (!config)
        return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make the adapter's config");
    *out = config;
    return HONE_OK;
}
