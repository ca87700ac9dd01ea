/*
 * Families of models: what all models of one architecture share, a row of a table each.
 *
 * A block is {norm, attention, norm, residual, norm, MLP, norm, residual}, where a family has the norms before (most),
 * after (OLMo 2) or both (Gemma). A new family of that kind is a row here.
 */
#ifndef HONE_MODEL_FAMILY_H
#define HONE_MODEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/gguf.h"

/* The tensors of one block. The linear ones, which may take LoRA factors, stand together. Where a family has one matrix
 * for several of them (a fused one), the file holds that, and its parts are rows of it. */
typedef enum hone_role {
    HONE_ROLE_ATTN_NORM,
    HONE_ROLE_MLP_NORM,
    HONE_ROLE_POST_ATTN_NORM,
    HONE_ROLE_POST_MLP_NORM,
    HONE_ROLE_Q_NORM,
    HONE_ROLE_K_NORM,
    HONE_ROLE_Q,
    HONE_ROLE_K,
    HONE_ROLE_V,
    HONE_ROLE_O,
    HONE_ROLE_GATE,
    HONE_ROLE_UP,
    HONE_ROLE_DOWN,
    HONE_ROLE_QKV,     /* rows of q, then k, then v */
    HONE_ROLE_GATE_UP, /* rows of gate, then up */
    HONE_ROLES,
    HONE_ROLE_LINEAR = HONE_ROLE_Q, /* the first linear one */
} hone_role;

enum { HONE_LINEARS = HONE_ROLES - HONE_ROLE_LINEAR };

/* The tensors outside of the blocks. */
typedef enum hone_outer {
    HONE_OUTER_EMBEDDING,
    HONE_OUTER_POSITIONS, /* learned ones */
    HONE_OUTER_NORM,
    HONE_OUTER_HEAD,
    HONE_OUTERS,
} hone_outer;

/* What a role is called by Hugging Face (below the blocks' prefix) and in GGUF (below blk.N.), without ".weight". */
typedef struct hone_role_names {
    const char *hf, *gguf;
} hone_role_names;

/* The parts that can be adapted, q … down: bit i of a set of targets is role HONE_ROLE_LINEAR + i. */
enum { HONE_TARGETS = HONE_ROLE_QKV - HONE_ROLE_Q };

typedef enum hone_norm_kind { HONE_NORM_RMS, HONE_NORM_LAYER } hone_norm_kind;

/* q and k are normed before rope: head by head, or over the whole projection. */
typedef enum hone_qk_norm { HONE_QK_NORM_NONE, HONE_QK_NORM_HEAD, HONE_QK_NORM_ROW } hone_qk_norm;

/* Which layers see a window only, and which have no rope, where config.json does not list them. */
typedef enum hone_layer_pattern {
    HONE_PATTERN_ALL,      /* every layer, when there is a window */
    HONE_PATTERN_EVEN,     /* layers 0, 2, 4 … see the window */
    HONE_PATTERN_SIXTH,    /* every sixth layer sees everything */
    HONE_PATTERN_LATE,     /* layers from max_window_layers on, with use_sliding_window */
    HONE_PATTERN_NO_ROPE4, /* every fourth layer has no rope */
} hone_layer_pattern;

/* Keys of config.json, where families differ. */
typedef struct hone_config_keys {
    const char *layers, *width, *heads, *feed_forward, *context, *epsilon, *activation;
} hone_config_keys;

/* Sizes that config.json may leave out; 0: it must say them. */
typedef struct hone_usual_sizes {
    int64_t layers, width, heads, kv_heads, feed_forward, vocabulary, context;
} hone_usual_sizes;

/* How the names of tensors and modules begin, now and in older files. */
typedef struct hone_spelling {
    const char *now, *older;
} hone_spelling;

typedef struct hone_family {
    const char *model_type; /* of config.json */
    const char *class_name; /* of config.json's "architectures" */
    const char *gguf;       /* GGUF's general.architecture */
    const char *blocks;     /* Hugging Face's name of the list of blocks, "model.layers" */
    hone_spelling spellings[2];
    /* Of a model that takes images, too: the family of its text part, which config.json describes under text_config, and
     * how its other parts' tensors are called, below "model." or not. They are left out. */
    const char *text_type, *other_parts[2];
    const hone_config_keys *keys;
    hone_role_names outer[HONE_OUTERS];
    hone_role_names roles[HONE_ROLES]; /* NULL: no such tensor in these files */

    hone_norm_kind norm;
    hone_qk_norm qk_norm;
    bool gelu; /* the activation is GELU (tanh form), not SiLU */
    bool fused_qkv;
    bool fused_gate_up;
    bool transposed;  /* Hugging Face holds the blocks' matrices as [in, out] (Conv1D) */
    bool permuted;    /* rows of q and k in GGUF stand in pairs side by side */
    bool qkv_biases;  /* q, k and v have biases, always */
    bool all_biases;  /* so do all linear layers */
    bool scaled_rows; /* token embeddings are multiplied by sqrt(C) */
    bool learned_positions;
    bool local_rope;    /* layers with a window have a rope of their own */
    bool gguf_window;   /* GGUF says the window */
    double norm_offset; /* gains are stored in Hugging Face's files less this */
    hone_layer_pattern pattern;

    /* What config.json may leave out. */
    hone_usual_sizes usual;
    int64_t head_size; /* 0: width / heads */
    int64_t window;
    double theta, epsilon, attention_softcap, logit_softcap;
    bool tied;
} hone_family;

/* NULL when there is none. A GGUF name may stand for several: the first. */
const hone_family *hone_family_of_config(const char *model_type);
const hone_family *hone_family_of_gguf(hone_gguf_string architecture);

/* The family of the text part by itself, which is the family where there is nothing else. */
const hone_family *hone_family_text(const hone_family *family);

/* "llama, mistral, …": model types, or GGUF architectures. */
const char *hone_family_list(bool gguf);

/* All of them, for tables and tests; NULL past the last. */
const hone_family *hone_family_at(size_t index);

static inline bool hone_family_has(const hone_family *family, hone_role role) {
    return family->roles[role].hf != NULL;
}

/* The tensor of the files that holds a part: the fused one, or the part itself. */
static inline hone_role hone_family_whole(const hone_family *family, hone_role role) {
    if (family->fused_qkv && role >= HONE_ROLE_Q && role <= HONE_ROLE_V) return HONE_ROLE_QKV;
    bool gated = role == HONE_ROLE_GATE || role == HONE_ROLE_UP;
    return family->fused_gate_up && gated ? HONE_ROLE_GATE_UP : role;
}

#endif
