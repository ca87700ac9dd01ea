#include "model/arch.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

const hone_role_names hone_roles[HONE_ROLES] = {
    [HONE_ROLE_ATTN_NORM] = {"input_layernorm", "attn_norm", NULL},
    [HONE_ROLE_MLP_NORM] = {"post_attention_layernorm", "ffn_norm", NULL},
    [HONE_ROLE_Q] = {"self_attn.q_proj", "attn_q", "q"},
    [HONE_ROLE_K] = {"self_attn.k_proj", "attn_k", "k"},
    [HONE_ROLE_V] = {"self_attn.v_proj", "attn_v", "v"},
    [HONE_ROLE_O] = {"self_attn.o_proj", "attn_output", "o"},
    [HONE_ROLE_GATE] = {"mlp.gate_proj", "ffn_gate", "gate"},
    [HONE_ROLE_UP] = {"mlp.up_proj", "ffn_up", "up"},
    [HONE_ROLE_DOWN] = {"mlp.down_proj", "ffn_down", "down"},
};

void hone_arch_linear(const hone_arch *arch, hone_role role, int64_t *out, int64_t *in) {
    int64_t q = arch->heads * arch->head_size;
    int64_t kv = arch->kv_heads * arch->head_size;
    switch (role) {
    case HONE_ROLE_Q:
        *out = q, *in = arch->width;
        break;
    case HONE_ROLE_K:
    case HONE_ROLE_V:
        *out = kv, *in = arch->width;
        break;
    case HONE_ROLE_O:
        *out = arch->width, *in = q;
        break;
    case HONE_ROLE_GATE:
    case HONE_ROLE_UP:
        *out = arch->feed_forward, *in = arch->width;
        break;
    case HONE_ROLE_DOWN:
        *out = arch->width, *in = arch->feed_forward;
        break;
    default:
        *out = arch->width, *in = 1;
        break; /* norms */
    }
}

int64_t hone_arch_parameters(const hone_arch *arch) {
    int64_t block = 0;
    for (hone_role role = 0; role < HONE_ROLES; role++) {
        int64_t out, in;
        hone_arch_linear(arch, role, &out, &in);
        block += out * in;
    }
    int64_t table = arch->vocabulary * arch->width;
    return arch->layers * block + arch->width + (arch->tied ? table : 2 * table);
}

/* Upper bounds far above any model, so that no product of sizes can overflow. */
enum { MOST_LAYERS = 1 << 12, MOST_WIDTH = 1 << 20, MOST_VOCABULARY = 1 << 24 };

static hone_status check(const hone_arch *a, const char *file) {
    if (a->heads % a->kv_heads != 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %lld attention heads cannot share %lld key/value heads evenly", file,
                         (long long)a->heads, (long long)a->kv_heads);
    }
    if (a->head_size % 2 != 0) {
        return hone_fail(HONE_ERR_FORMAT, "%s: head size %lld is odd, rope needs pairs", file,
                         (long long)a->head_size);
    }
    if (!(a->norm_epsilon > 0) || !(a->rope_theta > 0)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: norm epsilon and rope theta must be above 0", file);
    }
    return HONE_OK;
}

static hone_status refuse_flag(const json_t *config, const char *key, const char *file) {
    bool on = false;
    HONE_TRY(hone_json_opt_bool(&on, config, key, file));
    if (!on) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: %s is true, which is not supported for llama models", file, key);
}

/* transformers 4 has rope_theta and rope_scaling side by side, 5 has both in rope_parameters. */
static hone_status read_rope(hone_arch *a, const json_t *config, const char *file) {
    a->rope_theta = 10000;
    HONE_TRY(hone_json_opt_number(&a->rope_theta, config, "rope_theta", file));
    const json_t *rope = json_object_get(config, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(config, "rope_scaling");
    if (!json_is_object(rope)) return HONE_OK;
    HONE_TRY(hone_json_opt_number(&a->rope_theta, rope, "rope_theta", file));
    const char *type = "default";
    HONE_TRY(hone_json_opt_string(&type, rope, "type", file)); /* the older key */
    HONE_TRY(hone_json_opt_string(&type, rope, "rope_type", file));
    if (strcmp(type, "default") == 0) return HONE_OK;
    if (strcmp(type, "llama3") != 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: rope scaling \"%s\" is not supported (supported: default, llama3)",
                         file, type);
    }
    a->rope_scaling = HONE_ROPE_LLAMA3;
    HONE_TRY(hone_json_get_number(&a->rope_factor, rope, "factor", file));
    HONE_TRY(hone_json_get_number(&a->rope_low_factor, rope, "low_freq_factor", file));
    HONE_TRY(hone_json_get_number(&a->rope_high_factor, rope, "high_freq_factor", file));
    return hone_json_get_number(&a->rope_original_context, rope, "original_max_position_embeddings",
                                file);
}

static hone_status check_kind(const json_t *config, const char *file) {
    const char *type, *act = "silu";
    HONE_TRY(hone_json_get_string(&type, config, "model_type", file));
    if (strcmp(type, "llama") != 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: architecture \"%s\" is not supported (supported: llama)", file, type);
    }
    HONE_TRY(hone_json_opt_string(&act, config, "hidden_act", file));
    if (strcmp(act, "silu") != 0) {
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "%s: hidden_act \"%s\" is not supported for llama models (supported: silu)", file, act);
    }
    HONE_TRY(refuse_flag(config, "attention_bias", file));
    return refuse_flag(config, "mlp_bias", file);
}

hone_status hone_arch_from_config(hone_arch *out, const json_t *config, const char *file) {
    if (!json_is_object(config)) return hone_fail(HONE_ERR_FORMAT, "%s: not a JSON object", file);
    HONE_TRY(check_kind(config, file));
    hone_arch a = {
        .family = "llama", .context = 2048, .norm_epsilon = 1e-6, .initializer_range = 0.02};
    HONE_TRY(hone_json_get_int(&a.layers, config, "num_hidden_layers", 1, MOST_LAYERS, file));
    HONE_TRY(hone_json_get_int(&a.width, config, "hidden_size", 1, MOST_WIDTH, file));
    HONE_TRY(hone_json_get_int(&a.heads, config, "num_attention_heads", 1, MOST_WIDTH, file));
    HONE_TRY(hone_json_get_int(&a.feed_forward, config, "intermediate_size", 1, MOST_WIDTH, file));
    HONE_TRY(hone_json_get_int(&a.vocabulary, config, "vocab_size", 1, MOST_VOCABULARY, file));
    a.kv_heads = a.heads;
    a.head_size = a.width / a.heads;
    HONE_TRY(hone_json_opt_int(&a.kv_heads, config, "num_key_value_heads", 1, a.heads, file));
    HONE_TRY(hone_json_opt_int(&a.head_size, config, "head_dim", 2, MOST_WIDTH, file));
    HONE_TRY(hone_json_opt_int(&a.context, config, "max_position_embeddings", 1, INT32_MAX, file));
    HONE_TRY(hone_json_opt_number(&a.norm_epsilon, config, "rms_norm_eps", file));
    HONE_TRY(hone_json_opt_number(&a.initializer_range, config, "initializer_range", file));
    HONE_TRY(hone_json_opt_bool(&a.tied, config, "tie_word_embeddings", file));
    HONE_TRY(read_rope(&a, config, file));
    HONE_TRY(check(&a, file));
    *out = a;
    return HONE_OK;
}

void hone_arch_rope_factors(float *factors, const hone_arch *a) {
    for (int64_t i = 0; i < a->head_size / 2; i++) {
        factors[i] = 1;
        if (a->rope_scaling != HONE_ROPE_LLAMA3) continue;
        double frequency = pow(a->rope_theta, -2.0 * (double)i / (double)a->head_size);
        double wavelength = 2 * M_PI / frequency;
        double low = a->rope_low_factor, high = a->rope_high_factor;
        if (wavelength < a->rope_original_context / high) continue;
        double smooth = (a->rope_original_context / wavelength - low) / (high - low);
        if (smooth < 0) smooth = 0; /* slower than the low frequency: the whole factor */
        factors[i] = (float)(1 / ((1 - smooth) / a->rope_factor + smooth));
    }
}

/* Looks for the llama3 settings that give the factors in the file. All released models use low 1, high 4. */
static hone_status recognise_factors(hone_arch *a, const hone_gguf *gguf,
                                     const hone_gguf_tensor *tensor) {
    const char *file = hone_gguf_path(gguf);
    if (tensor->type != HONE_F32 || tensor->rows * tensor->cols != a->head_size / 2) {
        return hone_fail(HONE_ERR_FORMAT, "%s: rope_freqs.weight must hold %lld F32 numbers", file,
                         (long long)(a->head_size / 2));
    }
    float wanted[4096], found[4096];
    if (a->head_size / 2 > 4096)
        return hone_fail(HONE_ERR_UNSUPPORTED, "%s: head size too large", file);
    size_t bytes = (size_t)(a->head_size / 2) * sizeof(float);
    memcpy(wanted, tensor->data, bytes);
    a->rope_scaling = HONE_ROPE_LLAMA3;
    a->rope_low_factor = 1;
    a->rope_high_factor = 4;
    a->rope_factor = 1;
    for (int64_t i = 0; i < a->head_size / 2; i++) {
        if ((double)wanted[i] > a->rope_factor) a->rope_factor = (double)wanted[i];
    }
    for (double original = 64; original <= 1 << 20; original *= 2) {
        a->rope_original_context = original;
        hone_arch_rope_factors(found, a);
        bool same = true;
        for (int64_t i = 0; same && i < a->head_size / 2; i++) {
            same = fabsf(found[i] - wanted[i]) <= 1e-5f * fabsf(wanted[i]);
        }
        if (same) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: the factors in rope_freqs.weight are not those of llama3 rope scaling",
                     file);
}

static hone_status refuse_other_scaling(const hone_gguf *gguf) {
    hone_gguf_string type = {"none", 4};
    HONE_TRY(hone_gguf_opt_string(&type, gguf, "llama.rope.scaling.type"));
    float factor = 1;
    HONE_TRY(hone_gguf_opt_f32(&factor, gguf, "llama.rope.scaling.factor"));
    bool plain =
        hone_gguf_string_is(type, "none") || (hone_gguf_string_is(type, "linear") && factor == 1);
    if (plain) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: rope scaling \"%.*s\" is not supported (supported: none, llama3)",
                     hone_gguf_path(gguf), (int)type.length, type.data);
}

static hone_status check_gguf_kind(const hone_gguf *gguf) {
    hone_gguf_string family, type = {"model", 5};
    HONE_TRY(hone_gguf_opt_string(&type, gguf, "general.type"));
    if (!hone_gguf_string_is(type, "model")) {
        return hone_fail(HONE_ERR_FORMAT, "%s: holds no model but a \"%.*s\"", hone_gguf_path(gguf),
                         (int)type.length, type.data);
    }
    HONE_TRY(hone_gguf_get_string(&family, gguf, "general.architecture"));
    if (!hone_gguf_string_is(family, "llama")) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: architecture \"%.*s\" is not supported (supported: llama)",
                         hone_gguf_path(gguf), (int)family.length, family.data);
    }
    int64_t experts = 0;
    HONE_TRY(hone_gguf_opt_int(&experts, gguf, "llama.expert_count", 0, INT32_MAX));
    if (experts == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: mixtures of experts are not supported",
                     hone_gguf_path(gguf));
}

static hone_status read_head_size(hone_arch *a, const hone_gguf *gguf) {
    a->head_size = a->width / a->heads;
    HONE_TRY(hone_gguf_opt_int(&a->head_size, gguf, "llama.attention.key_length", 2, MOST_WIDTH));
    int64_t value_size = a->head_size, rotated = a->head_size;
    HONE_TRY(hone_gguf_opt_int(&value_size, gguf, "llama.attention.value_length", 2, MOST_WIDTH));
    HONE_TRY(hone_gguf_opt_int(&rotated, gguf, "llama.rope.dimension_count", 1, MOST_WIDTH));
    if (value_size == a->head_size && rotated == a->head_size) return HONE_OK;
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: value heads or rope of another size than the key heads (%lld, %lld, %lld) are "
        "not supported",
        hone_gguf_path(gguf), (long long)value_size, (long long)rotated, (long long)a->head_size);
}

hone_status hone_arch_from_gguf(hone_arch *out, const hone_gguf *gguf) {
    HONE_TRY(check_gguf_kind(gguf));
    HONE_TRY(refuse_other_scaling(gguf));
    const char *file = hone_gguf_path(gguf);
    hone_arch a = {.family = "llama", .rope_interleaved = true, .initializer_range = 0.02};
    HONE_TRY(hone_gguf_get_int(&a.layers, gguf, "llama.block_count", 1, MOST_LAYERS));
    HONE_TRY(hone_gguf_get_int(&a.width, gguf, "llama.embedding_length", 1, MOST_WIDTH));
    HONE_TRY(hone_gguf_get_int(&a.context, gguf, "llama.context_length", 1, INT32_MAX));
    HONE_TRY(hone_gguf_get_int(&a.feed_forward, gguf, "llama.feed_forward_length", 1, MOST_WIDTH));
    HONE_TRY(hone_gguf_get_int(&a.heads, gguf, "llama.attention.head_count", 1, MOST_WIDTH));
    a.kv_heads = a.heads;
    HONE_TRY(hone_gguf_opt_int(&a.kv_heads, gguf, "llama.attention.head_count_kv", 1, a.heads));
    HONE_TRY(read_head_size(&a, gguf));
    float epsilon, theta = 10000;
    HONE_TRY(hone_gguf_get_f32(&epsilon, gguf, "llama.attention.layer_norm_rms_epsilon"));
    HONE_TRY(hone_gguf_opt_f32(&theta, gguf, "llama.rope.freq_base"));
    a.norm_epsilon = (double)epsilon;
    a.rope_theta = (double)theta;
    const hone_gguf_tensor *table = hone_gguf_tensor_find(gguf, "token_embd.weight");
    if (!table) return hone_fail(HONE_ERR_FORMAT, "%s: tensor token_embd.weight is missing", file);
    a.vocabulary = table->rows;
    a.tied = !hone_gguf_tensor_find(gguf, "output.weight");
    const hone_gguf_tensor *factors = hone_gguf_tensor_find(gguf, "rope_freqs.weight");
    if (factors) HONE_TRY(recognise_factors(&a, gguf, factors));
    HONE_TRY(check(&a, file));
    *out = a;
    return HONE_OK;
}

static json_t *rope_config(const hone_arch *a) {
    if (a->rope_scaling != HONE_ROPE_LLAMA3) {
        return json_pack("{s:f, s:s}", "rope_theta", a->rope_theta, "rope_type", "default");
    }
    return json_pack("{s:f, s:s, s:f, s:f, s:f, s:I}", "rope_theta", a->rope_theta, "rope_type",
                     "llama3", "factor", a->rope_factor, "low_freq_factor", a->rope_low_factor,
                     "high_freq_factor", a->rope_high_factor, "original_max_position_embeddings",
                     (json_int_t)a->rope_original_context);
}

/* Both spellings of the rope settings, so that transformers 4 and 5 read the same model. */
static json_t *rope_scaling_config(const hone_arch *a) {
    return a->rope_scaling == HONE_ROPE_LLAMA3 ? rope_config(a) : json_null();
}

hone_status hone_arch_to_config(json_t **out, const hone_arch *a, const char *dtype, int64_t bos,
                                int64_t eos) {
    *out = json_pack(
        "{s:[s], s:s, s:s, s:s, s:b, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, "
        "s:f, "
        "s:o, s:o, s:b, s:o, s:o}",
        "architectures", "LlamaForCausalLM", "model_type", "llama", "hidden_act", "silu",
        "torch_dtype", dtype, "attention_bias", 0, "mlp_bias", 0, "attention_dropout", 0.0,
        "num_hidden_layers", (json_int_t)a->layers, "hidden_size", (json_int_t)a->width,
        "num_attention_heads", (json_int_t)a->heads, "num_key_value_heads", (json_int_t)a->kv_heads,
        "head_dim", (json_int_t)a->head_size, "intermediate_size", (json_int_t)a->feed_forward,
        "vocab_size", (json_int_t)a->vocabulary, "max_position_embeddings", (json_int_t)a->context,
        "rms_norm_eps", a->norm_epsilon, "initializer_range", a->initializer_range, "rope_theta",
        a->rope_theta, "rope_parameters", rope_config(a), "rope_scaling", rope_scaling_config(a),
        "tie_word_embeddings", (int)a->tied, "bos_token_id",
        bos < 0 ? json_null() : json_integer(bos), "eos_token_id",
        eos < 0 ? json_null() : json_integer(eos));
    if (*out) return HONE_OK;
    return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make a config.json");
}
