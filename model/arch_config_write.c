/*
 * The description of a model as config.json: what transformers needs to read it back, in the spellings of 4 and 5.
 */
#include <math.h>
#include <string.h>

#include "model/arch.h"

/* An object that remembers whether all its members could be made. */
typedef struct members {
    json_t *object;
    bool failed;
} members;

static void put(members *m, const char *key, json_t *value) {
    if (json_object_set_new(m->object, key, value) != 0) m->failed = true;
}

static json_t *id_or_null(int64_t id) {
    return id < 0 ? json_null() : json_integer(id);
}

static json_t *cap_or_null(double cap) {
    return cap > 0 ? json_real(cap) : json_null();
}

static json_t *divisors(const float *from, int64_t count) {
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, json_real((double)from[i]));
    return list;
}

static void put_yarn(members *m, const hone_rotary *r) {
    put(m, "beta_fast", json_real(r->high));
    put(m, "beta_slow", json_real(r->low));
    put(m, "truncate", json_boolean(r->truncate));
    put(m, "attention_factor", json_real(r->attention_factor));
}

static void put_longrope(members *m, const hone_rotary *r, int64_t rotated) {
    put(m, "short_factor", divisors(r->divisors[0], rotated / 2));
    put(m, "long_factor", divisors(r->divisors[1], rotated / 2));
    put(m, "attention_factor", json_real(r->attention_factor));
}

/* The settings of one rope. `type` is the older key, which transformers 4 reads. */
static json_t *rope_object(const hone_arch *a, const hone_rotary *r, members *whole) {
    static const char *const names[HONE_ROPE_SCALINGS] = {"default", "linear", "dynamic",
                                                          "llama3",  "yarn",   "longrope"};
    members m = {.object = json_object()};
    put(&m, "rope_theta", json_real(r->theta));
    put(&m, "rope_type", json_string(names[r->scaling]));
    if (a->rotated != a->head_size || a->family->fused_gate_up) {
        put(&m, "partial_rotary_factor", json_real((double)a->rotated / (double)a->head_size));
    }
    if (r->scaling != HONE_ROPE_PLAIN) {
        put(&m, "factor", json_real(r->factor));
        put(&m, "original_max_position_embeddings", json_integer((json_int_t)r->original_context));
    }
    if (r->scaling == HONE_ROPE_YARN) put_yarn(&m, r);
    if (r->scaling == HONE_ROPE_LONGROPE) put_longrope(&m, r, a->rotated);
    if (r->scaling == HONE_ROPE_LLAMA3) {
        put(&m, "low_freq_factor", json_real(r->low));
        put(&m, "high_freq_factor", json_real(r->high));
    }
    whole->failed |= m.failed;
    return m.object;
}

static void put_ropes(members *m, const hone_arch *a) {
    const hone_rotary *global = &a->rope[HONE_ROPE_GLOBAL], *local = &a->rope[HONE_ROPE_LOCAL];
    put(m, "rope_theta", json_real(global->theta));
    put(m, "rope_scaling",
        global->scaling == HONE_ROPE_PLAIN ? json_null() : rope_object(a, global, m));
    if (global->scaling == HONE_ROPE_LONGROPE || a->family->fused_gate_up) {
        put(m, "original_max_position_embeddings",
            json_integer(global->scaling == HONE_ROPE_LONGROPE
                             ? (json_int_t)global->original_context
                             : (json_int_t)a->context));
    }
    if (!a->family->local_rope) {
        put(m, "rope_parameters", rope_object(a, global, m));
        return;
    }
    put(m, "rope_local_base_freq", json_real(local->theta));
    json_t *both = json_object();
    json_object_set_new(both, "full_attention", rope_object(a, global, m));
    json_object_set_new(both, "sliding_attention", rope_object(a, local, m));
    put(m, "rope_parameters", both);
}

static void put_layers(members *m, const hone_arch *a) {
    hone_layer_pattern pattern = a->family->pattern;
    put(m, "sliding_window", a->window > 0 ? json_integer(a->window) : json_null());
    if (pattern == HONE_PATTERN_ALL) return;
    json_t *types = json_array(), *with_rope = json_array();
    for (int64_t i = 0; i < a->layers; i++) {
        bool local = a->layer[i] & HONE_LAYER_LOCAL;
        json_array_append_new(types, json_string(local ? "sliding_attention" : "full_attention"));
        json_array_append_new(with_rope, json_integer(a->layer[i] & HONE_LAYER_NO_ROPE ? 0 : 1));
    }
    put(m, "layer_types", types);
    bool switched = pattern == HONE_PATTERN_LATE || pattern == HONE_PATTERN_NO_ROPE4;
    if (switched) put(m, "use_sliding_window", json_boolean(a->window > 0));
    if (pattern == HONE_PATTERN_NO_ROPE4) {
        put(m, "no_rope_layers", with_rope);
    } else {
        json_decref(with_rope);
    }
}

static void put_scales(members *m, const hone_arch *a) {
    if (a->family->norm_offset > 0) {
        double before = 1 / (a->attention_scale * a->attention_scale);
        put(m, "query_pre_attn_scalar", json_integer(llround(before)));
        put(m, "attn_logit_softcapping", cap_or_null(a->attention_softcap));
        put(m, "final_logit_softcapping", cap_or_null(a->logit_softcap));
    }
    if (strcmp(a->family->model_type, "granite") != 0) return;
    put(m, "attention_multiplier", json_real(a->attention_scale));
    put(m, "embedding_multiplier", json_real(a->embedding_scale));
    put(m, "residual_multiplier", json_real(a->residual_scale));
    put(m, "logits_scaling", json_real(1 / a->logit_scale));
}

static void put_sizes(members *m, const hone_arch *a) {
    const hone_config_keys *keys = a->family->keys;
    put(m, keys->layers, json_integer(a->layers));
    put(m, keys->width, json_integer(a->width));
    put(m, keys->heads, json_integer(a->heads));
    put(m, keys->feed_forward, json_integer(a->feed_forward));
    put(m, keys->context, json_integer(a->context));
    put(m, keys->epsilon, json_real(a->norm_epsilon));
    put(m, keys->activation,
        json_string(!a->family->gelu               ? "silu"
                    : a->family->learned_positions ? "gelu_new"
                                                   : "gelu_pytorch_tanh"));
    put(m, "vocab_size", json_integer(a->vocabulary));
    put(m, "initializer_range", json_real(a->initializer_range));
    put(m, "tie_word_embeddings", json_boolean(a->tied));
    if (a->family->learned_positions) return;
    put(m, "num_key_value_heads", json_integer(a->kv_heads));
    put(m, "head_dim", json_integer(a->head_size));
    put(m, "attention_dropout", json_real(0));
    if (!a->family->qkv_biases) put(m, "attention_bias", json_boolean(a->biased[HONE_ROLE_O]));
    put(m, "mlp_bias", json_boolean(a->biased[HONE_ROLE_DOWN]));
}

hone_status hone_arch_to_config(json_t **out, const hone_arch *a, const char *dtype, int64_t bos,
                                int64_t eos) {
    members m = {.object = json_object()};
    const hone_family *family = hone_family_text(a->family);
    put(&m, "architectures", json_pack("[s]", family->class_name));
    put(&m, "model_type", json_string(family->model_type));
    put(&m, "torch_dtype", json_string(dtype));
    put_sizes(&m, a);
    put_scales(&m, a);
    if (!a->family->learned_positions) {
        put_layers(&m, a);
        put_ropes(&m, a);
    }
    put(&m, "bos_token_id", id_or_null(bos));
    put(&m, "eos_token_id", id_or_null(eos));
    put(&m, "pad_token_id",
        json_null()); /* or the family's own, which may be outside of the vocabulary */
    *out = m.object;
    if (m.object && !m.failed) return HONE_OK;
    json_decref(m.object);
    return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make a config.json");
}
