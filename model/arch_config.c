/*
 * The description of a model in Hugging Face's config.json: read.
 */
#include <math.h>
#include <string.h>

#include "model/arch.h"

/* Upper bounds far above any model, so that no product of sizes can overflow. */
enum { MOST_WIDTH = 1 << 20, MOST_VOCABULARY = 1 << 24 };

typedef struct reader {
    hone_arch *arch;
    const json_t *config; /* of the text part, where there are others */
    const json_t *whole;
    const char *file;
} reader;

/* --- Rope --- */

static hone_status read_divisors(const reader *r, float *out, const json_t *rope, const char *key) {
    const json_t *list;
    HONE_TRY(hone_json_get_array(&list, rope, key, r->file));
    size_t wanted = (size_t)r->arch->rotated / 2;
    if (r->arch->rotated > HONE_MOST_ROTATED || json_array_size(list) != wanted) {
        return hone_fail(HONE_ERR_FORMAT, "%s: key %s has %zu numbers, expected %zu", r->file, key,
                         json_array_size(list), wanted);
    }
    for (size_t i = 0; i < wanted; i++) {
        const json_t *number = json_array_get(list, i);
        out[i] = (float)json_number_value(number);
        if (json_is_number(number) && out[i] > 0) continue;
        return hone_fail(HONE_ERR_FORMAT, "%s: key %s: number %zu is not above 0", r->file, key, i);
    }
    return HONE_OK;
}

/* The number of tokens that were there before the context was stretched. Phi-3 has it outside of the rope settings. */
static hone_status read_original(const reader *r, hone_rotary *out, const json_t *rope) {
    static const char key[] = "original_max_position_embeddings";
    out->original_context = (double)r->arch->context;
    HONE_TRY(hone_json_opt_number(&out->original_context, rope, key, r->file));
    HONE_TRY(hone_json_opt_number(&out->original_context, r->config, key, r->file));
    if (out->original_context > 1) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: key %s must be above 1", r->file, key);
}

static double yarn_scale(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

static hone_status read_yarn(const reader *r, hone_rotary *out, const json_t *rope) {
    out->high = 32;
    out->low = 1;
    out->truncate = true;
    double factor = out->factor, scale = 0, scale_all = 0;
    HONE_TRY(hone_json_opt_number(&out->high, rope, "beta_fast", r->file));
    HONE_TRY(hone_json_opt_number(&out->low, rope, "beta_slow", r->file));
    HONE_TRY(hone_json_opt_bool(&out->truncate, rope, "truncate", r->file));
    HONE_TRY(hone_json_opt_number(&scale, rope, "mscale", r->file));
    HONE_TRY(hone_json_opt_number(&scale_all, rope, "mscale_all_dim", r->file));
    out->attention_factor = scale != 0 && scale_all != 0
                                ? yarn_scale(factor, scale) / yarn_scale(factor, scale_all)
                                : yarn_scale(factor, 1);
    return hone_json_opt_number(&out->attention_factor, rope, "attention_factor", r->file);
}

static hone_status read_longrope(const reader *r, hone_rotary *out, const json_t *rope) {
    double factor = (double)r->arch->context / out->original_context;
    HONE_TRY(hone_json_opt_number(&factor, rope, "factor", r->file));
    out->factor = factor;
    if (factor > 1) out->attention_factor = sqrt(1 + log(factor) / log(out->original_context));
    HONE_TRY(hone_json_opt_number(&out->attention_factor, rope, "attention_factor", r->file));
    HONE_TRY(read_divisors(r, out->divisors[0], rope, "short_factor"));
    return read_divisors(r, out->divisors[1], rope, "long_factor");
}

static hone_status find_scaling(hone_rope_scaling *out, const reader *r, const json_t *rope) {
    static const char *const names[HONE_ROPE_SCALINGS] = {"default", "linear", "dynamic",
                                                          "llama3",  "yarn",   "longrope"};
    const char *type = "default";
    HONE_TRY(hone_json_opt_string(&type, rope, "type", r->file)); /* the older key */
    HONE_TRY(hone_json_opt_string(&type, rope, "rope_type", r->file));
    bool phi3 = r->arch->family->fused_gate_up; /* called it by other names first */
    if (phi3 && (strcmp(type, "su") == 0 || strcmp(type, "yarn") == 0)) type = "longrope";
    for (int i = 0; i < HONE_ROPE_SCALINGS; i++) {
        *out = (hone_rope_scaling)i;
        if (strcmp(type, names[i]) == 0) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: rope scaling \"%s\" is not supported (supported: default, linear, "
                     "dynamic, llama3, yarn, longrope)",
                     r->file, type);
}

static hone_status read_rope(const reader *r, hone_rotary *out, const json_t *rope) {
    HONE_TRY(hone_json_opt_number(&out->theta, rope, "rope_theta", r->file));
    HONE_TRY(find_scaling(&out->scaling, r, rope));
    if (out->scaling == HONE_ROPE_PLAIN) return HONE_OK;
    HONE_TRY(read_original(r, out, rope));
    if (out->scaling == HONE_ROPE_LONGROPE) return read_longrope(r, out, rope);
    HONE_TRY(hone_json_get_number(&out->factor, rope, "factor", r->file));
    if (!(out->factor > 0)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: rope scaling: factor must be above 0", r->file);
    }
    if (out->scaling == HONE_ROPE_YARN) return read_yarn(r, out, rope);
    if (out->scaling == HONE_ROPE_DYNAMIC) out->original_context = (double)r->arch->context;
    if (out->scaling != HONE_ROPE_LLAMA3) return HONE_OK;
    HONE_TRY(hone_json_get_number(&out->low, rope, "low_freq_factor", r->file));
    return hone_json_get_number(&out->high, rope, "high_freq_factor", r->file);
}

/* transformers 4 has rope_theta, rope_scaling and partial_rotary_factor side by side, 5 has all in rope_parameters; of
 * each kind of layer there, where they differ. */
static hone_status read_ropes(const reader *r) {
    hone_arch *a = r->arch;
    hone_rotary *global = &a->rope[HONE_ROPE_GLOBAL], *local = &a->rope[HONE_ROPE_LOCAL];
    HONE_TRY(hone_json_opt_number(&global->theta, r->config, "rope_theta", r->file));
    HONE_TRY(hone_json_opt_number(&local->theta, r->config, "rope_local_base_freq", r->file));
    const json_t *rope = json_object_get(r->config, "rope_parameters"), *near = NULL;
    if (!json_is_object(rope)) rope = json_object_get(r->config, "rope_scaling");
    if (json_is_object(json_object_get(rope, "full_attention"))) {
        near = json_object_get(rope, "sliding_attention");
        rope = json_object_get(rope, "full_attention");
    }
    double part = 1;
    HONE_TRY(hone_json_opt_number(&part, r->config, "partial_rotary_factor", r->file));
    if (json_is_object(rope)) {
        HONE_TRY(hone_json_opt_number(&part, rope, "partial_rotary_factor", r->file));
    }
    if (!(part > 0 && part <= 1)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: key partial_rotary_factor must be above 0, up to 1",
                         r->file);
    }
    a->rotated = (int64_t)((double)a->head_size * part);
    if (json_is_object(rope)) HONE_TRY(read_rope(r, global, rope));
    return a->family->local_rope && json_is_object(near) ? read_rope(r, local, near) : HONE_OK;
}

/* --- Layers --- */

static hone_status mark_listed(const reader *r, const json_t *list, uint8_t flag) {
    hone_arch *a = r->arch;
    if ((int64_t)json_array_size(list) < a->layers) {
        return hone_fail(HONE_ERR_FORMAT, "%s: a list by layer has %zu entries for %lld layers",
                         r->file, json_array_size(list), (long long)a->layers);
    }
    for (int64_t i = 0; i < a->layers; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        const char *type = json_string_value(entry);
        if (flag == HONE_LAYER_NO_ROPE) {
            if (json_integer_value(entry) == 0) a->layer[i] |= flag;
        } else if (type && strcmp(type, "sliding_attention") == 0) {
            a->layer[i] |= flag;
        } else if (!type || strcmp(type, "full_attention") != 0) {
            return hone_fail(HONE_ERR_UNSUPPORTED,
                             "%s: layer_types: \"%s\" is not supported (supported: "
                             "full_attention, sliding_attention)",
                             r->file, type ? type : hone_json_kind(entry));
        }
    }
    return HONE_OK;
}

static hone_status mark_no_rope(const reader *r) {
    hone_arch *a = r->arch;
    const json_t *list = json_object_get(r->config, "no_rope_layers");
    if (json_is_array(list) && json_array_size(list) > 0) {
        return mark_listed(r, list, HONE_LAYER_NO_ROPE);
    }
    int64_t step = 4;
    HONE_TRY(hone_json_opt_int(&step, r->config, "no_rope_layer_interval", 1, INT32_MAX, r->file));
    for (int64_t i = step - 1; i < a->layers; i += step) a->layer[i] |= HONE_LAYER_NO_ROPE;
    return HONE_OK;
}

/* Layers that see the window only, where they are not listed. */
static hone_status mark_by_pattern(const reader *r) {
    hone_arch *a = r->arch;
    int64_t step = 6, first = 28;
    hone_layer_pattern pattern = a->family->pattern;
    HONE_TRY(hone_json_opt_int(&step, r->config, "_sliding_window_pattern", 1, 1 << 20, r->file));
    HONE_TRY(hone_json_opt_int(&step, r->config, "sliding_window_pattern", 1, 1 << 20, r->file));
    HONE_TRY(hone_json_opt_int(&first, r->config, "max_window_layers", 0, INT32_MAX, r->file));
    for (int64_t i = 0; i < a->layers; i++) {
        bool local = pattern == HONE_PATTERN_ALL || (pattern == HONE_PATTERN_EVEN && i % 2 == 0) ||
                     (pattern == HONE_PATTERN_SIXTH && (i + 1) % step != 0) ||
                     (pattern == HONE_PATTERN_LATE && i >= first) ||
                     (pattern == HONE_PATTERN_NO_ROPE4 && (a->layer[i] & HONE_LAYER_NO_ROPE));
        if (local) a->layer[i] |= HONE_LAYER_LOCAL;
    }
    return HONE_OK;
}

static hone_status read_window(const reader *r) {
    hone_arch *a = r->arch;
    hone_layer_pattern pattern = a->family->pattern;
    bool use = pattern != HONE_PATTERN_LATE && pattern != HONE_PATTERN_NO_ROPE4;
    HONE_TRY(hone_json_opt_bool(&use, r->config, "use_sliding_window", r->file));
    const json_t *window = json_object_get(r->config, "sliding_window");
    if (json_is_null(window) || !use) {
        a->window = 0;
        return HONE_OK;
    }
    return hone_json_opt_int(&a->window, r->config, "sliding_window", 0, INT32_MAX, r->file);
}

static hone_status read_layers(const reader *r) {
    hone_arch *a = r->arch;
    if (a->family->pattern == HONE_PATTERN_NO_ROPE4) HONE_TRY(mark_no_rope(r));
    HONE_TRY(read_window(r));
    const json_t *types = json_object_get(r->config, "layer_types");
    if (json_is_array(types)) return mark_listed(r, types, HONE_LAYER_LOCAL);
    return a->window > 0 ? mark_by_pattern(r) : HONE_OK;
}

/* --- Sizes and the rest --- */

static hone_status read_size(const reader *r, int64_t *out, const char *key, int64_t usual,
                             int64_t most) {
    *out = usual;
    return usual > 0 ? hone_json_opt_int(out, r->config, key, 1, most, r->file)
                     : hone_json_get_int(out, r->config, key, 1, most, r->file);
}

static hone_status read_sizes(const reader *r) {
    hone_arch *a = r->arch;
    const hone_config_keys *keys = a->family->keys;
    const hone_usual_sizes *usual = &a->family->usual;
    const json_t *c = r->config;
    HONE_TRY(read_size(r, &a->layers, keys->layers, usual->layers, HONE_MOST_LAYERS));
    HONE_TRY(read_size(r, &a->width, keys->width, usual->width, MOST_WIDTH));
    HONE_TRY(read_size(r, &a->heads, keys->heads, usual->heads, MOST_WIDTH));
    HONE_TRY(read_size(r, &a->vocabulary, "vocab_size", usual->vocabulary, MOST_VOCABULARY));
    a->head_size = a->family->head_size ? a->family->head_size : a->width / a->heads;
    /* GPT-2 leaves it out */
    int64_t wide = a->family->learned_positions ? 4 * a->width : usual->feed_forward;
    HONE_TRY(read_size(r, &a->feed_forward, keys->feed_forward, wide, MOST_WIDTH));
    a->kv_heads = usual->kv_heads > 0 ? usual->kv_heads : a->heads;
    HONE_TRY(hone_json_opt_int(&a->kv_heads, c, "num_key_value_heads", 1, a->heads, r->file));
    HONE_TRY(hone_json_opt_int(&a->head_size, c, "head_dim", 2, MOST_WIDTH, r->file));
    HONE_TRY(hone_json_opt_int(&a->context, c, keys->context, 1, INT32_MAX, r->file));
    HONE_TRY(hone_json_opt_number(&a->norm_epsilon, c, keys->epsilon, r->file));
    HONE_TRY(hone_json_opt_number(&a->initializer_range, c, "initializer_range", r->file));
    return hone_json_opt_bool(&a->tied, r->whole, "tie_word_embeddings", r->file);
}

static hone_status read_biases(const reader *r) {
    hone_arch *a = r->arch;
    bool attention = false, mlp = false;
    HONE_TRY(hone_json_opt_bool(&attention, r->config, "attention_bias", r->file));
    HONE_TRY(hone_json_opt_bool(&mlp, r->config, "mlp_bias", r->file));
    for (hone_role role = HONE_ROLE_Q; role <= HONE_ROLE_O; role++) a->biased[role] |= attention;
    for (hone_role role = HONE_ROLE_GATE; role <= HONE_ROLE_DOWN; role++) a->biased[role] |= mlp;
    return HONE_OK;
}

/* A soft cap that is null is none. */
static hone_status read_cap(const reader *r, double *cap, const char *key) {
    if (json_is_null(json_object_get(r->config, key))) *cap = 0;
    return hone_json_opt_number(cap, r->config, key, r->file);
}

static hone_status read_scales(const reader *r) {
    hone_arch *a = r->arch;
    bool gemma = a->family->norm_offset > 0, scaled = true;
    double before = gemma ? 256 : (double)a->head_size, divisor = 1;
    HONE_TRY(hone_json_opt_number(&before, r->config, "query_pre_attn_scalar", r->file));
    a->attention_scale = 1 / sqrt(before);
    HONE_TRY(hone_json_opt_bool(&scaled, r->config, "scale_attn_weights", r->file));
    if (!scaled) a->attention_scale = 1;
    if (a->family->scaled_rows) a->embedding_scale = (double)sqrtf((float)a->width);
    HONE_TRY(read_cap(r, &a->attention_softcap, "attn_logit_softcapping"));
    HONE_TRY(read_cap(r, &a->logit_softcap, "final_logit_softcapping"));
    if (strcmp(a->family->model_type, "granite") != 0) return HONE_OK;
    a->attention_scale = 1;
    HONE_TRY(hone_json_opt_number(&a->attention_scale, r->config, "attention_multiplier", r->file));
    HONE_TRY(hone_json_opt_number(&a->embedding_scale, r->config, "embedding_multiplier", r->file));
    HONE_TRY(hone_json_opt_number(&a->residual_scale, r->config, "residual_multiplier", r->file));
    HONE_TRY(hone_json_opt_number(&divisor, r->config, "logits_scaling", r->file));
    a->logit_scale = 1 / divisor;
    return HONE_OK;
}

static hone_status check_activation(const reader *r, const char *key) {
    const hone_family *family = r->arch->family;
    static const char *const words[2][2] = {{"silu", "swish"}, {"gelu_pytorch_tanh", "gelu_new"}};
    const char *act = words[family->gelu][0];
    HONE_TRY(hone_json_opt_string(&act, r->config, key, r->file));
    if (strcmp(act, words[family->gelu][0]) == 0) return HONE_OK;
    if (strcmp(act, words[family->gelu][1]) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: %s \"%s\" is not supported for %s models (supported: %s)", r->file, key,
                     act, family->model_type, words[family->gelu][0]);
}

/* Settings that change what the model computes and that no supported model has. */
static hone_status refuse_settings(const reader *r) {
    static const char *const keys[] = {"use_bidirectional_attention",
                                       "scale_attn_by_inverse_layer_idx", "add_cross_attention"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool on = false;
        HONE_TRY(hone_json_opt_bool(&on, r->config, keys[i], r->file));
        if (!on) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: %s is true, which is not supported for %s models", r->file, keys[i],
                         r->arch->family->model_type);
    }
    return HONE_OK;
}

static hone_status find_family(const hone_family **out, const json_t *config, const char *file) {
    const char *type;
    if (!json_is_object(config)) return hone_fail(HONE_ERR_FORMAT, "%s: not a JSON object", file);
    HONE_TRY(hone_json_get_string(&type, config, "model_type", file));
    *out = hone_family_of_config(type);
    if (*out) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: architecture \"%s\" is not supported (supported: %s)", file, type,
                     hone_family_list(false));
}

static hone_status find_text_part(const json_t **out, const json_t *config,
                                  const hone_family *family, const char *file) {
    const char *type = family->text_type;
    *out = config;
    if (!type) return HONE_OK;
    HONE_TRY(hone_json_get_object(out, config, "text_config", file));
    HONE_TRY(hone_json_opt_string(&type, *out, "model_type", file));
    if (strcmp(type, family->text_type) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: text_config: architecture \"%s\" is not supported (supported: %s)", file,
                     type, family->text_type);
}

hone_status hone_arch_from_config(hone_arch *out, const json_t *config, const char *file) {
    const hone_family *family;
    const json_t *text;
    HONE_TRY(find_family(&family, config, file));
    HONE_TRY(find_text_part(&text, config, family, file));
    *out = hone_arch_of(family);
    reader r = {out, text, config, file};
    HONE_TRY(check_activation(&r, family->keys->activation));
    HONE_TRY(refuse_settings(&r));
    HONE_TRY(read_sizes(&r));
    HONE_TRY(read_biases(&r));
    HONE_TRY(read_scales(&r));
    HONE_TRY(read_layers(&r));
    if (!family->learned_positions) HONE_TRY(read_ropes(&r));
    return hone_arch_check(out, file);
}
