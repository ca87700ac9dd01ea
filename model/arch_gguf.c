/*
 * The description of a model in GGUF metadata: read, and written as llama.cpp's converter does.
 * Keys: llama.cpp, src/llama-arch.cpp; what a file means without saying it: src/models of each family.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"

enum { MOST_WIDTH = 1 << 20, KEY = 96 };

/* "llama.block_count": keys begin with the architecture's name. */
static const char *key_of(char out[KEY], const hone_family *family, const char *rest) {
    snprintf(out, KEY, "%s.%s", family->gguf, rest);
    return out;
}

/* --- What is not said --- */

void hone_arch_gguf_layers(hone_arch *a) {
    hone_layer_pattern pattern = a->family->pattern;
    bool any = a->family->gguf_window && a->window > 0;
    for (int64_t i = 0; i < a->layers; i++) {
        bool local =
            any && (pattern == HONE_PATTERN_ALL || (pattern == HONE_PATTERN_EVEN && i % 2 == 0) ||
                    (pattern == HONE_PATTERN_SIXTH && i % 6 != 5));
        bool no_rope = pattern == HONE_PATTERN_NO_ROPE4 && i % 4 == 3;
        a->layer[i] =
            (uint8_t)((local ? HONE_LAYER_LOCAL : 0) | (no_rope ? HONE_LAYER_NO_ROPE : 0));
    }
}

/* Of the Gemmas only the largest have another scale; llama.cpp knows them by their layers. */
double hone_arch_gguf_scale(const hone_arch *a) {
    bool largest = (a->family->pattern == HONE_PATTERN_EVEN && a->layers == 46) ||
                   (a->family->pattern == HONE_PATTERN_SIXTH && a->layers == 62);
    return 1 / sqrt((double)(largest ? a->width / a->heads : a->head_size));
}

/* --- Reading --- */

typedef struct reader {
    hone_arch *arch;
    const hone_gguf *gguf;
} reader;

static hone_status get_int(const reader *r, int64_t *out, const char *rest, int64_t most) {
    char key[KEY];
    return hone_gguf_get_int(out, r->gguf, key_of(key, r->arch->family, rest), 1, most);
}

static hone_status opt_int(const reader *r, int64_t *out, const char *rest, int64_t most) {
    char key[KEY];
    return hone_gguf_opt_int(out, r->gguf, key_of(key, r->arch->family, rest), 0, most);
}

static hone_status opt_number(const reader *r, double *out, const char *rest) {
    char key[KEY];
    float value = (float)*out;
    HONE_TRY(hone_gguf_opt_f32(&value, r->gguf, key_of(key, r->arch->family, rest)));
    if (value != (float)*out) *out = (double)value;
    return HONE_OK;
}

/* Looks for the llama3 settings that give the factors in the file. All released models use low 1, high 4. */
static hone_status recognise_llama3(const reader *r, const hone_gguf_tensor *tensor) {
    hone_rotary *rope = &r->arch->rope[HONE_ROPE_GLOBAL];
    int64_t pairs = r->arch->rotated / 2;
    const char *file = hone_gguf_path(r->gguf);
    if (tensor->type != HONE_F32 || tensor->rows * tensor->cols != pairs) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s must hold %lld F32 numbers", file, tensor->name,
                         (long long)pairs);
    }
    float wanted[HONE_MOST_ROTATED / 2], found[HONE_MOST_ROTATED / 2];
    memcpy(wanted, tensor->data, (size_t)pairs * sizeof *wanted);
    rope->scaling = HONE_ROPE_LLAMA3;
    rope->low = 1;
    rope->high = 4;
    rope->factor = 1;
    for (int64_t i = 0; i < pairs; i++) rope->factor = fmax(rope->factor, (double)wanted[i]);
    for (double original = 64; original <= 1 << 20; original *= 2) {
        rope->original_context = original;
        hone_rope_llama3_factors(found, rope, r->arch->rotated);
        bool same = true;
        for (int64_t i = 0; same && i < pairs; i++) {
            same = fabsf(found[i] - wanted[i]) <= 1e-5f * fabsf(wanted[i]);
        }
        if (same) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: the factors in %s are not those of llama3 rope scaling", file,
                     tensor->name);
}

static hone_status read_divisors(const reader *r, float *out, const char *name) {
    const hone_gguf_tensor *tensor = hone_gguf_tensor_find(r->gguf, name);
    int64_t pairs = r->arch->rotated / 2;
    if (!tensor || tensor->type != HONE_F32 || tensor->rows * tensor->cols != pairs) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: longrope scaling needs a tensor %s of %lld F32 numbers",
                         hone_gguf_path(r->gguf), name, (long long)pairs);
    }
    memcpy(out, tensor->data, (size_t)pairs * sizeof *out);
    return HONE_OK;
}

/* llama.cpp multiplies by the paper's own factor before the one of the file. */
static double yarn_own_factor(const hone_rotary *rope) {
    return rope->factor <= 1 ? 1 : 1 + 0.1 * log(rope->factor);
}

static hone_status read_yarn(const reader *r, hone_rotary *rope) {
    rope->scaling = HONE_ROPE_YARN;
    rope->high = 32;
    rope->low = 1;
    rope->truncate = true;
    double extra = 1;
    HONE_TRY(opt_number(r, &rope->high, "rope.scaling.yarn_beta_fast"));
    HONE_TRY(opt_number(r, &rope->low, "rope.scaling.yarn_beta_slow"));
    HONE_TRY(opt_number(r, &extra, "rope.scaling.attn_factor"));
    rope->attention_factor = yarn_own_factor(rope) * extra;
    return HONE_OK;
}

static hone_status read_longrope(const reader *r, hone_rotary *rope) {
    rope->scaling = HONE_ROPE_LONGROPE;
    rope->factor = (double)r->arch->context / rope->original_context;
    HONE_TRY(opt_number(r, &rope->attention_factor, "rope.scaling.attn_factor"));
    HONE_TRY(read_divisors(r, rope->divisors[0], "rope_factors_short.weight"));
    return read_divisors(r, rope->divisors[1], "rope_factors_long.weight");
}

static hone_status read_scaling(const reader *r) {
    hone_rotary *rope = &r->arch->rope[HONE_ROPE_GLOBAL];
    const hone_gguf_tensor *factors = hone_gguf_tensor_find(r->gguf, "rope_freqs.weight");
    if (factors) return recognise_llama3(r, factors);
    char key[KEY];
    hone_gguf_string type = {"linear", 6};
    key_of(key, r->arch->family, "rope.scaling.type");
    HONE_TRY(hone_gguf_opt_string(&type, r->gguf, key));
    rope->factor = 1;
    rope->original_context = (double)r->arch->context;
    HONE_TRY(opt_number(r, &rope->factor, "rope.scale_linear")); /* the older key */
    HONE_TRY(opt_number(r, &rope->factor, "rope.scaling.factor"));
    if (rope->factor == 0) rope->factor = 1; /* as llama.cpp takes it */
    int64_t original = r->arch->context;
    HONE_TRY(opt_int(r, &original, "rope.scaling.original_context_length", INT32_MAX));
    if (original > 1) rope->original_context = (double)original;
    if (!(rope->factor > 0)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: rope.scaling.factor must be above 0",
                         hone_gguf_path(r->gguf));
    }
    if (hone_gguf_string_is(type, "yarn")) return read_yarn(r, rope);
    if (hone_gguf_string_is(type, "longrope") ||
        hone_gguf_tensor_find(r->gguf, "rope_factors_long.weight")) {
        return read_longrope(r, rope);
    }
    if (hone_gguf_string_is(type, "none")) return HONE_OK;
    if (hone_gguf_string_is(type, "linear")) {
        if (rope->factor != 1) rope->scaling = HONE_ROPE_LINEAR;
        return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: rope scaling \"%.*s\" is not supported (supported: none, linear, yarn, "
                     "longrope, llama3)",
                     hone_gguf_path(r->gguf), (int)type.length, type.data);
}

static hone_status read_head_size(const reader *r) {
    hone_arch *a = r->arch;
    a->head_size = a->width / a->heads;
    HONE_TRY(opt_int(r, &a->head_size, "attention.key_length", MOST_WIDTH));
    int64_t value_size = a->head_size;
    a->rotated = a->head_size;
    HONE_TRY(opt_int(r, &value_size, "attention.value_length", MOST_WIDTH));
    HONE_TRY(opt_int(r, &a->rotated, "rope.dimension_count", MOST_WIDTH));
    bool whole = !a->family->permuted || a->rotated == a->head_size;
    if (value_size == a->head_size && whole) return HONE_OK;
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: value heads or rope of another size than the key heads (%lld, %lld, %lld) are "
        "not supported",
        hone_gguf_path(r->gguf), (long long)value_size, (long long)a->rotated,
        (long long)a->head_size);
}

static hone_status read_sizes(const reader *r) {
    hone_arch *a = r->arch;
    HONE_TRY(get_int(r, &a->layers, "block_count", HONE_MOST_LAYERS));
    HONE_TRY(get_int(r, &a->width, "embedding_length", MOST_WIDTH));
    HONE_TRY(get_int(r, &a->context, "context_length", INT32_MAX));
    HONE_TRY(get_int(r, &a->feed_forward, "feed_forward_length", MOST_WIDTH));
    HONE_TRY(get_int(r, &a->heads, "attention.head_count", MOST_WIDTH));
    a->kv_heads = a->heads;
    char key[KEY];
    key_of(key, a->family, "attention.head_count_kv");
    HONE_TRY(hone_gguf_opt_int(&a->kv_heads, r->gguf, key, 1, a->heads));
    HONE_TRY(read_head_size(r));
    bool rms = a->family->norm == HONE_NORM_RMS;
    key_of(key, a->family,
           rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
    float epsilon;
    HONE_TRY(hone_gguf_get_f32(&epsilon, r->gguf, key));
    a->norm_epsilon = (double)epsilon;
    return HONE_OK;
}

static hone_status read_scales(const reader *r) {
    hone_arch *a = r->arch;
    a->attention_scale = hone_arch_gguf_scale(a);
    if (a->family->scaled_rows) a->embedding_scale = (double)sqrtf((float)a->width);
    if (a->family->attention_softcap > 0) {
        HONE_TRY(opt_number(r, &a->attention_softcap, "attn_logit_softcapping"));
    }
    if (a->family->norm_offset > 0) {
        HONE_TRY(opt_number(r, &a->logit_softcap, "final_logit_softcapping"));
    }
    if (strcmp(a->family->gguf, "granite") != 0) return HONE_OK;
    double divisor = 1, scale = 0;
    HONE_TRY(opt_number(r, &scale, "attention.scale"));
    if (scale != 0) a->attention_scale = scale;
    HONE_TRY(opt_number(r, &a->embedding_scale, "embedding_scale"));
    HONE_TRY(opt_number(r, &a->residual_scale, "residual_scale"));
    HONE_TRY(opt_number(r, &divisor, "logit_scale"));
    a->logit_scale = 1 / divisor;
    return HONE_OK;
}

/* Files have a bias in every layer or in none. */
static void find_biases(const reader *r) {
    hone_arch *a = r->arch;
    char name[KEY];
    for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
        if (!hone_family_has(a->family, role)) continue;
        snprintf(name, sizeof name, "blk.0.%s.bias", a->family->roles[role].gguf);
        a->biased[role] = hone_gguf_tensor_find(r->gguf, name) != NULL;
    }
    bool fused = hone_gguf_tensor_find(r->gguf, "blk.0.attn_qkv.bias") != NULL;
    for (hone_role role = HONE_ROLE_Q; role <= HONE_ROLE_V; role++) {
        if (hone_family_has(a->family, role)) a->biased[role] |= fused;
    }
}

static hone_status find_family(const hone_family **out, const hone_gguf *gguf) {
    hone_gguf_string name, type = {"model", 5};
    const char *file = hone_gguf_path(gguf);
    HONE_TRY(hone_gguf_opt_string(&type, gguf, "general.type"));
    if (!hone_gguf_string_is(type, "model")) {
        return hone_fail(HONE_ERR_FORMAT, "%s: holds no model but a \"%.*s\"", file,
                         (int)type.length, type.data);
    }
    HONE_TRY(hone_gguf_get_string(&name, gguf, "general.architecture"));
    *out = hone_family_of_gguf(name);
    if (!*out) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: architecture \"%.*s\" is not supported (supported: %s)", file,
                         (int)name.length, name.data, hone_family_list(true));
    }
    int64_t experts = 0;
    char key[KEY];
    key_of(key, *out, "expert_count");
    HONE_TRY(hone_gguf_opt_int(&experts, gguf, key, 0, INT32_MAX));
    if (experts == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: mixtures of experts are not supported", file);
}

/* Settings that change what the model computes; llama.cpp knows them, no model of these families has them. OLMo 3 comes as
 * OLMo 2 with a window. */
static hone_status refuse_settings(const reader *r) {
    const hone_family *family = r->arch->family;
    int64_t usual = family->pattern == HONE_PATTERN_EVEN ? 2 : 6, period = usual, window = 0;
    bool rope = true;
    char key[KEY];
    if (family->pattern == HONE_PATTERN_EVEN || family->pattern == HONE_PATTERN_SIXTH) {
        HONE_TRY(opt_int(r, &period, "attention.sliding_window_pattern", INT32_MAX));
    }
    if (family->qk_norm == HONE_QK_NORM_ROW) {
        HONE_TRY(opt_int(r, &window, "attention.sliding_window", INT32_MAX));
    }
    if (strcmp(family->gguf, "granite") == 0) {
        key_of(key, family, "rope.scaling.finetuned"); /* llama.cpp's switch for rope there */
        HONE_TRY(hone_gguf_opt_bool(&rope, r->gguf, key));
    }
    const char *what = period != usual ? "another pattern of windows than its family's"
                       : window > 0    ? "a sliding window"
                       : !rope         ? "no rope"
                                       : NULL;
    if (!what) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: a model of architecture %s with %s is not supported",
                     hone_gguf_path(r->gguf), family->gguf, what);
}

static hone_status read_window(const reader *r) {
    hone_arch *a = r->arch;
    /* Of a window that is not said only Gemma 2 has one. */
    if (a->family->pattern != HONE_PATTERN_EVEN) a->window = 0;
    if (a->family->gguf_window) {
        HONE_TRY(opt_int(r, &a->window, "attention.sliding_window", INT32_MAX));
    }
    hone_arch_gguf_layers(a);
    return HONE_OK;
}

hone_status hone_arch_from_gguf(hone_arch *out, const hone_gguf *gguf) {
    const hone_family *family;
    HONE_TRY(find_family(&family, gguf));
    const char *file = hone_gguf_path(gguf);
    *out = hone_arch_of(family);
    reader r = {out, gguf};
    out->rope_interleaved = family->permuted;
    HONE_TRY(refuse_settings(&r));
    HONE_TRY(read_sizes(&r));
    HONE_TRY(read_scales(&r));
    HONE_TRY(read_window(&r));
    out->rope[HONE_ROPE_GLOBAL].theta = 10000;
    HONE_TRY(opt_number(&r, &out->rope[HONE_ROPE_GLOBAL].theta, "rope.freq_base"));
    HONE_TRY(opt_number(&r, &out->rope[HONE_ROPE_LOCAL].theta, "rope.freq_base_swa"));
    if (family->learned_positions) out->rotated = 0;
    const hone_gguf_tensor *table = hone_gguf_tensor_find(gguf, "token_embd.weight");
    if (!table) return hone_fail(HONE_ERR_FORMAT, "%s: tensor token_embd.weight is missing", file);
    out->vocabulary = table->rows;
    out->tied = !hone_gguf_tensor_find(gguf, "output.weight");
    find_biases(&r);
    HONE_TRY(hone_arch_check(out, file));
    return out->rotated > 0 ? read_scaling(&r) : HONE_OK;
}

/* --- Writing --- */

typedef struct writer {
    hone_gguf_writer *to;
    const hone_arch *arch;
} writer;

static hone_status put_count(const writer *w, const char *rest, int64_t value) {
    char key[KEY];
    return hone_gguf_set_u32(w->to, key_of(key, w->arch->family, rest), (uint32_t)value);
}

static hone_status put_number(const writer *w, const char *rest, double value) {
    char key[KEY];
    return hone_gguf_set_f32(w->to, key_of(key, w->arch->family, rest), (float)value);
}

static hone_status put_text(const writer *w, const char *rest, const char *text) {
    char key[KEY];
    key_of(key, w->arch->family, rest);
    return hone_gguf_set_string(w->to, key, text, strlen(text));
}

static hone_status put_rope(const writer *w) {
    const hone_arch *a = w->arch;
    const hone_rotary *rope = &a->rope[HONE_ROPE_GLOBAL];
    HONE_TRY(put_count(w, "rope.dimension_count", a->rotated));
    HONE_TRY(put_number(w, "rope.freq_base", rope->theta));
    if (a->family->local_rope) {
        HONE_TRY(put_number(w, "rope.freq_base_swa", a->rope[HONE_ROPE_LOCAL].theta));
    }
    switch (rope->scaling) {
    case HONE_ROPE_LINEAR:
        HONE_TRY(put_text(w, "rope.scaling.type", "linear"));
        return put_number(w, "rope.scaling.factor", rope->factor);
    case HONE_ROPE_YARN:
        HONE_TRY(put_text(w, "rope.scaling.type", "yarn"));
        HONE_TRY(put_number(w, "rope.scaling.factor", rope->factor));
        HONE_TRY(
            put_count(w, "rope.scaling.original_context_length", (int64_t)rope->original_context));
        return put_number(w, "rope.scaling.attn_factor",
                          rope->attention_factor / yarn_own_factor(rope));
    case HONE_ROPE_LONGROPE:
        HONE_TRY(put_text(w, "rope.scaling.type", "longrope"));
        HONE_TRY(
            put_count(w, "rope.scaling.original_context_length", (int64_t)rope->original_context));
        return put_number(w, "rope.scaling.attn_factor", rope->attention_factor);
    default: /* plain; llama3 is a tensor; dynamic is plain within the context */
        return HONE_OK;
    }
}

static hone_status put_scales(const writer *w) {
    const hone_arch *a = w->arch;
    if (a->attention_softcap > 0) {
        HONE_TRY(put_number(w, "attn_logit_softcapping", a->attention_softcap));
    }
    if (a->logit_softcap > 0) HONE_TRY(put_number(w, "final_logit_softcapping", a->logit_softcap));
    if (strcmp(a->family->gguf, "granite") != 0) return HONE_OK;
    HONE_TRY(put_number(w, "attention.scale", a->attention_scale));
    HONE_TRY(put_number(w, "embedding_scale", a->embedding_scale));
    HONE_TRY(put_number(w, "residual_scale", a->residual_scale));
    return put_number(w, "logit_scale", 1 / a->logit_scale);
}

hone_status hone_arch_to_gguf(hone_gguf_writer *to, const hone_arch *a) {
    writer w = {to, a};
    const char *name = a->family->gguf;
    bool rms = a->family->norm == HONE_NORM_RMS;
    HONE_TRY(hone_gguf_set_string(to, "general.architecture", name, strlen(name)));
    HONE_TRY(hone_gguf_set_string(to, "general.type", "model", 5));
    HONE_TRY(put_count(&w, "block_count", a->layers));
    HONE_TRY(put_count(&w, "context_length", a->context));
    HONE_TRY(put_count(&w, "embedding_length", a->width));
    HONE_TRY(put_count(&w, "feed_forward_length", a->feed_forward));
    HONE_TRY(put_count(&w, "attention.head_count", a->heads));
    HONE_TRY(put_count(&w, "attention.head_count_kv", a->kv_heads));
    HONE_TRY(put_count(&w, "attention.key_length", a->head_size));
    HONE_TRY(put_count(&w, "attention.value_length", a->head_size));
    HONE_TRY(put_count(&w, "vocab_size", a->vocabulary));
    HONE_TRY(put_number(&w,
                        rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
                        a->norm_epsilon));
    if (a->family->gguf_window) HONE_TRY(put_count(&w, "attention.sliding_window", a->window));
    if (a->rotated > 0) HONE_TRY(put_rope(&w));
    return put_scales(&w);
}

int64_t hone_arch_gguf_lost_window(const hone_arch *a) {
    bool kept = a->family->gguf_window && !a->family->fused_gate_up; /* llama.cpp skips Phi-3's */
    uint8_t seen = 0;
    for (int64_t i = 0; i < a->layers; i++) seen |= a->layer[i];
    bool windowed = a->window > 0 && a->window < a->context && (seen & HONE_LAYER_LOCAL);
    return windowed && !kept ? a->window : 0;
}

static hone_status refuse(const hone_arch *a, const char *file, const char *what) {
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: %s, which a GGUF of the %s architecture cannot say; export to "
                     "safetensors instead",
                     file, what, a->family->gguf);
}

static bool can_scale_rope(const hone_arch *a) {
    const hone_rotary *rope = &a->rope[HONE_ROPE_GLOBAL];
    bool factors = a->family->permuted && a->family->pattern != HONE_PATTERN_NO_ROPE4;
    switch (rope->scaling) {
    case HONE_ROPE_LLAMA3:
        return factors;
    case HONE_ROPE_LONGROPE:
        return factors || a->family->fused_gate_up;
    case HONE_ROPE_YARN: /* llama.cpp takes the ramp's ends for granted */
        return !a->family->local_rope && rope->high == 32 && rope->low == 1 && rope->truncate;
    default:
        return true;
    }
}

hone_status hone_arch_fits_gguf(const hone_arch *a, const char *file) {
    hone_arch said = *a;
    said.attention_scale = hone_arch_gguf_scale(a);
    hone_arch_gguf_layers(&said);
    const hone_family *family = a->family;
    uint8_t seen = family->gguf_window ? 0xff : HONE_LAYER_NO_ROPE;
    bool layers = false;
    for (int64_t i = 0; i < a->layers; i++) layers |= ((a->layer[i] ^ said.layer[i]) & seen) != 0;
    if (layers) return refuse(a, file, "its layers see a window, or lack rope, in another pattern");
    bool granite = strcmp(family->gguf, "granite") == 0;
    if (!granite && fabs(a->attention_scale / said.attention_scale - 1) > 1e-6) {
        return refuse(a, file, "its attention scores have a scale of their own");
    }
    bool attention = a->attention_softcap > 0, logits = a->logit_softcap > 0;
    bool must = family->attention_softcap > 0, may = family->norm_offset > 0;
    if (attention != must || (must && !logits) || (logits && !may)) {
        return refuse(a, file, "it has soft caps of its own, or lacks them");
    }
    if (!can_scale_rope(a)) return refuse(a, file, "it has this kind of rope scaling");
    if (family->local_rope && a->rope[HONE_ROPE_LOCAL].scaling != HONE_ROPE_PLAIN) {
        return refuse(a, file, "its local layers scale rope");
    }
    bool whole_width = family->fused_gate_up || family->qk_norm == HONE_QK_NORM_ROW;
    if (whole_width && a->heads * a->head_size != a->width) {
        return refuse(a, file, "its heads together are not as wide as the model");
    }
    if (a->tied && family->qk_norm == HONE_QK_NORM_ROW) return refuse(a, file, "its head is tied");
    return HONE_OK;
}
