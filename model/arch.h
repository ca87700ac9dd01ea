/*
 * Architectures are described, not coded: a family is a row of a table, a model a filled-in description.
 *
 * Llama (arXiv 2302.13971): token embedding; blocks of {norm, attention with grouped heads and rope, residual, norm,
 * gated MLP, residual}; a final norm; a head that may be the embedding again.
 */
#ifndef HONE_MODEL_ARCH_H
#define HONE_MODEL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "formats/gguf.h"
#include "formats/json.h"

/* The tensors of one block. The linear ones, which may take LoRA factors, stand together. */
typedef enum hone_role {
    HONE_ROLE_ATTN_NORM,
    HONE_ROLE_MLP_NORM,
    HONE_ROLE_Q,
    HONE_ROLE_K,
    HONE_ROLE_V,
    HONE_ROLE_O,
    HONE_ROLE_GATE,
    HONE_ROLE_UP,
    HONE_ROLE_DOWN,
    HONE_ROLES,
    HONE_ROLE_LINEAR = HONE_ROLE_Q, /* the first linear one */
} hone_role;

enum { HONE_LINEARS = HONE_ROLES - HONE_ROLE_LINEAR };

/* What a role is called by Hugging Face (below model.layers.N.) and in GGUF (below blk.N.), without ".weight"; and the
 * word of the options ("q", NULL for norms). */
typedef struct hone_role_names {
    const char *hf, *gguf, *word;
} hone_role_names;

extern const hone_role_names hone_roles[HONE_ROLES];

typedef enum hone_rope_scaling { HONE_ROPE_PLAIN, HONE_ROPE_LLAMA3 } hone_rope_scaling;

typedef struct hone_arch {
    const char *family;   /* "llama": GGUF's name of the architecture; static */
    int64_t layers;       /* L */
    int64_t width;        /* C */
    int64_t heads;        /* H */
    int64_t kv_heads;     /* K, divides H */
    int64_t head_size;    /* D, even */
    int64_t feed_forward; /* F */
    int64_t vocabulary;   /* V: rows of the embedding */
    int64_t context;      /* most positions it was made for */
    double norm_epsilon;
    double rope_theta;
    hone_rope_scaling rope_scaling;
    /* llama3 scaling (transformers, modeling_rope_utils.py); the angles are divided by `factor` where slow */
    double rope_factor, rope_low_factor, rope_high_factor, rope_original_context;
    bool rope_interleaved;    /* rows of q and k are in GGUF's order: pairs side by side */
    bool tied;                /* the head is the embedding */
    double initializer_range; /* standard deviation of fresh weights */
} hone_arch;

/* Rows and columns of a linear role's weight: [out, in]. */
void hone_arch_linear(const hone_arch *arch, hone_role role, int64_t *out, int64_t *in);

/* Parameters of the whole model. */
int64_t hone_arch_parameters(const hone_arch *arch);

/* From config.json of Hugging Face (`file` for messages), as transformers 4 and 5 write it. HONE_ERR_UNSUPPORTED names what
 * is not supported: another model_type, activation, bias, rope scaling. */
HONE_MUST_USE hone_status hone_arch_from_config(hone_arch *out, const json_t *config,
                                                const char *file);

/* From GGUF metadata and tensors. llama3 scaling is only known by its factors there: rope_freqs.weight. */
HONE_MUST_USE hone_status hone_arch_from_gguf(hone_arch *out, const hone_gguf *gguf);

/* config.json for this architecture, as transformers reads it; a new reference. dtype: "float32", … bos, eos: -1 = none. */
HONE_MUST_USE hone_status hone_arch_to_config(json_t **out, const hone_arch *arch,
                                              const char *dtype, int64_t bos, int64_t eos);

/* factors[i] of rope pair 0 <= i < head_size / 2: the angle is divided by it. 1 without scaling. */
void hone_arch_rope_factors(float *factors, const hone_arch *arch);

#endif
