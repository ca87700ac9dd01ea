/*
 * LoRA adapters (arXiv 2106.09685): for some linear layers a pair A [R,in], B [out,R], so that y = x W^T + s x A^T B^T.
 * A fused matrix has one pair, as it is one module to PEFT.
 *
 * Rank and scale s belong to the pair: adapters made elsewhere may have several. Rows of B of q and k are in the order
 * of the model's own weights (model->arch.rope_interleaved).
 */
#ifndef HONE_MODEL_LORA_H
#define HONE_MODEL_LORA_H

#include "model/adapter_info.h"
#include "model/model.h"

enum { HONE_FUSED_PARTS = 3 };

typedef struct hone_lora_pair {
    hone_tensor a, b;
    int64_t rank; /* 0: this layer is not adapted */
    double scale; /* alpha / rank, or alpha / sqrt(rank) */
    /* rows of b that are for one part of a fused matrix (they share a), with their gradients */
    hone_tensor part[HONE_FUSED_PARTS], part_grad[HONE_FUSED_PARTS];
} hone_lora_pair;

typedef struct hone_adapter {
    const hone_model *model; /* borrowed */
    hone_lora_pair *pairs;   /* owned, [L * HONE_LINEARS] */
    double dropout;          /* rate, in training only */
    hone_adapter_doubts doubts;
    hone_params params; /* the factors */
} hone_adapter;

/* A fresh adapter as PEFT makes it: A uniform in +-1/sqrt(in), B zero, s = alpha / rank. `targets`: bit i adapts role
 * HONE_ROLE_LINEAR + i in every block, where the family has it. HONE_ERR_USAGE for some parts of a fused matrix without
 * the others. */
HONE_MUST_USE hone_status hone_adapter_new(hone_adapter **out, const hone_model *model,
                                           uint32_t targets, int64_t rank, double alpha,
                                           uint64_t seed);

/* A run folder (its adapter/), a folder of PEFT or MLX-LM, or an adapter .gguf. Shapes are checked against the model; what cannot be
 * honoured (DoRA, modules_to_save, trained embeddings or biases …) is refused by name; so is a recorded
 * tokenizer that is not the one of `use` (NULL: not known); of another base or template its doubts tell. */
HONE_MUST_USE hone_status hone_adapter_open(hone_adapter **out, const hone_model *model,
                                            const char *path, const hone_adapter_info *use);

void hone_adapter_free(hone_adapter *adapter); /* takes NULL */

/* Pair of a role that files hold; a part of a fused one has none of its own. */
static inline hone_lora_pair *hone_adapter_pair(const hone_adapter *adapter, int64_t layer,
                                                hone_role role) {
    return &adapter->pairs[layer * HONE_LINEARS + (int64_t)role - HONE_ROLE_LINEAR];
}

/* The rows of b for a part of the fused role that it is in. */
static inline hone_tensor *hone_adapter_part(hone_lora_pair *pair, hone_role part) {
    return &pair->part[part - (part >= HONE_ROLE_GATE ? HONE_ROLE_GATE : HONE_ROLE_Q)];
}

/* For readers: an adapter without pairs; then, for each adapted layer, its rank and scale; then memory for all
 * factors, zeroed. */
HONE_MUST_USE hone_status hone_adapter_new_empty(hone_adapter **out, const hone_model *model);
void hone_adapter_declare(hone_adapter *adapter, int64_t layer, hone_role role, int64_t rank,
                          double scale);
HONE_MUST_USE hone_status hone_adapter_allocate(hone_adapter *adapter);

#endif
