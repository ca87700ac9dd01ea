#include "model/family.h"

#include <stdio.h>
#include <string.h>

static const hone_config_keys llama_keys = {
    "num_hidden_layers",       "hidden_size",  "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "rms_norm_eps", "hidden_act"};
static const hone_config_keys gemma_keys = {
    "num_hidden_layers",       "hidden_size",  "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "rms_norm_eps", "hidden_activation"};
static const hone_config_keys gpt2_keys = {"n_layer",
                                           "n_embd",
                                           "n_head",
                                           "n_inner",
                                           "n_positions",
                                           "layer_norm_epsilon",
                                           "activation_function"};

/* --- Names that most families share --- */

#define OUTER                                                                                      \
    {                                                                                              \
        [HONE_OUTER_EMBEDDING] = {"model.embed_tokens", "token_embd"},                             \
        [HONE_OUTER_NORM] = {"model.norm", "output_norm"},                                         \
        [HONE_OUTER_HEAD] = {"lm_head", "output"},                                                 \
    }
#define PRE_NORMS                                                                                  \
    [HONE_ROLE_ATTN_NORM] = {"input_layernorm", "attn_norm"}, [HONE_ROLE_MLP_NORM] = {             \
                                                                  "post_attention_layernorm",      \
                                                                  "ffn_norm"}
#define POST_NORMS                                                                                 \
    [HONE_ROLE_POST_ATTN_NORM] = {"post_attention_layernorm", "post_attention_norm"},              \
    [HONE_ROLE_POST_MLP_NORM] = {"post_feedforward_layernorm", "post_ffw_norm"}
#define BOTH_NORMS                                                                                 \
    [HONE_ROLE_ATTN_NORM] = {"input_layernorm", "attn_norm"},                                      \
    [HONE_ROLE_MLP_NORM] = {"pre_feedforward_layernorm", "ffn_norm"}, POST_NORMS
#define QK_NORMS                                                                                   \
    [HONE_ROLE_Q_NORM] = {"self_attn.q_norm", "attn_q_norm"}, [HONE_ROLE_K_NORM] = {               \
                                                                  "self_attn.k_norm",              \
                                                                  "attn_k_norm"}
#define LINEAR                                                                                     \
    [HONE_ROLE_Q] = {"self_attn.q_proj", "attn_q"},                                                \
    [HONE_ROLE_K] = {"self_attn.k_proj", "attn_k"},                                                \
    [HONE_ROLE_V] = {"self_attn.v_proj", "attn_v"},                                                \
    [HONE_ROLE_O] = {"self_attn.o_proj", "attn_output"},                                           \
    [HONE_ROLE_GATE] = {"mlp.gate_proj", "ffn_gate"}, [HONE_ROLE_UP] = {"mlp.up_proj", "ffn_up"},  \
    [HONE_ROLE_DOWN] = {"mlp.down_proj", "ffn_down"}

/* What all families but GPT-2 start from. */
#define LLAMA_LIKE(keys_, theta_, epsilon_)                                                        \
    .blocks = "model.layers", .outer = OUTER, .keys = &(keys_), .theta = (theta_),                 \
    .epsilon = (epsilon_)

/* (transformers, configuration_gemma3.py: files of the larger models leave out most of it) */
#define GEMMA3_TEXT                                                                                \
    .gguf = "gemma3", .keys = &gemma_keys, .roles = {BOTH_NORMS, QK_NORMS, LINEAR},                \
    .qk_norm = HONE_QK_NORM_HEAD, .gelu = true, .scaled_rows = true, .norm_offset = 1,             \
    .pattern = HONE_PATTERN_SIXTH, .local_rope = true, .gguf_window = true, .theta = 1000000,      \
    .epsilon = 1e-6, .head_size = 256, .window = 4096, .tied = true,                               \
    .usual = {.layers = 26,                                                                        \
              .width = 2304,                                                                       \
              .heads = 8,                                                                          \
              .kv_heads = 4,                                                                       \
              .feed_forward = 9216,                                                                \
              .vocabulary = 262208,                                                                \
              .context = 131072}

static const hone_family families[] = {
    {LLAMA_LIKE(llama_keys, 10000, 1e-6), .model_type = "llama", .class_name = "LlamaForCausalLM",
     .gguf = "llama", .roles = {PRE_NORMS, LINEAR}, .permuted = true},
    {LLAMA_LIKE(llama_keys, 10000, 1e-6), .model_type = "mistral",
     .class_name = "MistralForCausalLM", .gguf = "llama", .roles = {PRE_NORMS, LINEAR},
     .permuted = true, .window = 4096},
    {LLAMA_LIKE(llama_keys, 2000000, 1e-6), .model_type = "smollm3",
     .class_name = "SmolLM3ForCausalLM", .gguf = "smollm3", .roles = {PRE_NORMS, LINEAR},
     .permuted = true, .pattern = HONE_PATTERN_NO_ROPE4, .tied = true},
    {LLAMA_LIKE(llama_keys, 10000, 1e-6), .model_type = "qwen2", .class_name = "Qwen2ForCausalLM",
     .gguf = "qwen2", .roles = {PRE_NORMS, LINEAR}, .qkv_biases = true,
     .pattern = HONE_PATTERN_LATE},
    {LLAMA_LIKE(llama_keys, 10000, 1e-6), .model_type = "qwen3", .class_name = "Qwen3ForCausalLM",
     .gguf = "qwen3", .roles = {PRE_NORMS, QK_NORMS, LINEAR}, .qk_norm = HONE_QK_NORM_HEAD,
     .head_size = 128, .pattern = HONE_PATTERN_LATE},
    {LLAMA_LIKE(llama_keys, 10000, 1e-5), .model_type = "phi3", .class_name = "Phi3ForCausalLM",
     .gguf = "phi3",
     .roles = {PRE_NORMS, [HONE_ROLE_O] = {"self_attn.o_proj", "attn_output"},
               [HONE_ROLE_DOWN] = {"mlp.down_proj", "ffn_down"},
               [HONE_ROLE_QKV] = {"self_attn.qkv_proj", "attn_qkv"},
               [HONE_ROLE_GATE_UP] = {"mlp.gate_up_proj", "ffn_up"}},
     .fused_qkv = true, .fused_gate_up = true, .gguf_window = true},
    {LLAMA_LIKE(gemma_keys, 10000, 1e-6), .model_type = "gemma2", .class_name = "Gemma2ForCausalLM",
     .gguf = "gemma2", .roles = {BOTH_NORMS, LINEAR}, .gelu = true, .scaled_rows = true,
     .norm_offset = 1, .pattern = HONE_PATTERN_EVEN, .gguf_window = true, .head_size = 256,
     .window = 4096, .attention_softcap = 50, .logit_softcap = 30, .tied = true},
    {GEMMA3_TEXT, .model_type = "gemma3_text", .class_name = "Gemma3ForCausalLM",
     .blocks = "model.layers", .outer = OUTER},
    {GEMMA3_TEXT, .model_type = "gemma3", .class_name = "Gemma3ForConditionalGeneration",
     .blocks = "model.language_model.layers",
     .spellings = {{"model.language_model.", "language_model.model."},
                   {"lm_head.", "language_model.lm_head."}},
     .text_type = "gemma3_text", .other_parts = {"vision_tower.", "multi_modal_projector."},
     .outer = {[HONE_OUTER_EMBEDDING] = {"model.language_model.embed_tokens", "token_embd"},
               [HONE_OUTER_NORM] = {"model.language_model.norm", "output_norm"},
               [HONE_OUTER_HEAD] = {"lm_head", "output"}}},
    {LLAMA_LIKE(llama_keys, 10000, 1e-6), .model_type = "granite",
     .class_name = "GraniteForCausalLM", .gguf = "granite", .roles = {PRE_NORMS, LINEAR},
     .permuted = true},
    {LLAMA_LIKE(llama_keys, 10000, 1e-5), .model_type = "olmo2", .class_name = "Olmo2ForCausalLM",
     .gguf = "olmo2", .roles = {POST_NORMS, QK_NORMS, LINEAR}, .qk_norm = HONE_QK_NORM_ROW},
    {.model_type = "gpt2",
     .class_name = "GPT2LMHeadModel",
     .gguf = "gpt2",
     .blocks = "transformer.h",
     .spellings = {{"transformer.", ""}}, /* its first files, which are still the usual ones */
     .outer = {[HONE_OUTER_EMBEDDING] = {"transformer.wte", "token_embd"},
               [HONE_OUTER_POSITIONS] = {"transformer.wpe", "position_embd"},
               [HONE_OUTER_NORM] = {"transformer.ln_f", "output_norm"},
               [HONE_OUTER_HEAD] = {"lm_head", "output"}},
     .roles = {[HONE_ROLE_ATTN_NORM] = {"ln_1", "attn_norm"},
               [HONE_ROLE_MLP_NORM] = {"ln_2", "ffn_norm"},
               [HONE_ROLE_QKV] = {"attn.c_attn", "attn_qkv"},
               [HONE_ROLE_O] = {"attn.c_proj", "attn_output"},
               [HONE_ROLE_UP] = {"mlp.c_fc", "ffn_up"},
               [HONE_ROLE_DOWN] = {"mlp.c_proj", "ffn_down"}},
     .keys = &gpt2_keys,
     .norm = HONE_NORM_LAYER,
     .gelu = true,
     .fused_qkv = true,
     .transposed = true,
     .learned_positions = true,
     .all_biases = true,
     .epsilon = 1e-5,
     .tied = true},
};
enum { FAMILIES = sizeof families / sizeof *families };

const hone_family *hone_family_at(size_t index) {
    return index < FAMILIES ? &families[index] : NULL;
}

const hone_family *hone_family_of_config(const char *model_type) {
    for (size_t i = 0; i < FAMILIES; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    }
    return NULL;
}

const hone_family *hone_family_of_gguf(hone_gguf_string architecture) {
    for (size_t i = 0; i < FAMILIES; i++) {
        if (hone_gguf_string_is(architecture, families[i].gguf)) return &families[i];
    }
    return NULL;
}

const hone_family *hone_family_text(const hone_family *family) {
    return family->text_type ? hone_family_of_config(family->text_type) : family;
}

const char *hone_family_list(bool gguf) {
    static _Thread_local char text[256];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < FAMILIES; i++) {
        const char *name = gguf ? families[i].gguf : families[i].model_type;
        if (gguf && i > 0 && strcmp(name, families[i - 1].gguf) == 0) continue;
        int written = snprintf(text + at, sizeof text - at, "%s%s", at ? ", " : "", name);
        if (written < 0 || (size_t)written >= sizeof text - at) break;
        at += (size_t)written;
    }
    return text;
}
