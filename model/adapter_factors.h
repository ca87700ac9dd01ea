/*
 * LoRA factors as they lie in an adapter file, gathered by layer and checked before an adapter is made of them.
 * For the readers of adapter files.
 */
#ifndef HONE_MODEL_ADAPTER_FACTORS_H
#define HONE_MODEL_ADAPTER_FACTORS_H

#include "model/lora.h"

typedef enum hone_half { HONE_HALF_A, HONE_HALF_B, HONE_HALVES } hone_half;

typedef struct hone_factor {
    const char *key; /* its name in the file, borrowed; NULL: not in the file */
    hone_dtype dtype;
    int64_t rows, columns;
    const void *data; /* row-major, of any alignment; borrowed */
} hone_factor;

typedef struct hone_factors {
    const hone_model *model; /* borrowed */
    const char *file;        /* for messages; borrowed */
    bool interleaved;        /* rows of B of q and k are in GGUF's order */
    hone_factor *items;      /* owned, [L * HONE_LINEARS * HONE_HALVES] */
} hone_factors;

HONE_MUST_USE hone_status hone_factors_new(hone_factors *out, const hone_model *model,
                                           const char *file, bool interleaved);
void hone_factors_free(hone_factors *factors);

/* Takes a factor. HONE_ERR_FORMAT when that half of that layer was already there, or the layer is not the model's. */
HONE_MUST_USE hone_status hone_factors_put(hone_factors *factors, int64_t layer, hone_role role,
                                           hone_half half, const hone_factor *factor);

/* Both halves everywhere, A [R,in], B [out,R], at least one pair. The message says what was expected. */
HONE_MUST_USE hone_status hone_factors_check(const hone_factors *factors);

/* Rank of a layer's pair; 0 where there is none. After the check. */
int64_t hone_factors_rank(const hone_factors *factors, int64_t layer, hone_role role);

/* Fills an adapter whose pairs were declared with these ranks: allocates, converts to HONE_REAL, and puts B of q and k
 * into the order of the model's rows. */
HONE_MUST_USE hone_status hone_factors_load(const hone_factors *factors, hone_adapter *adapter);

/* Rows of B [out,R], of weights [out,in] and of biases of q and k: their heads, where GGUF has them in another order. 0
 * for the other roles and families. */
int64_t hone_rope_heads(const hone_arch *arch, hone_role role);

/* A factor of an adapter in host memory, [hone_tensor_count], newly allocated; rows of B of q and k in GGUF's order when
 * `interleaved`, else in Hugging Face's. */
HONE_MUST_USE hone_status hone_factor_fetch(float **out, const hone_adapter *adapter, int64_t layer,
                                            hone_role role, hone_half half, bool interleaved);

/* Reads "<prefix><number>." at the start of *text and steps over it; false when it is not there. */
bool hone_factors_layer(int64_t *layer, const char **text, const char *prefix);

#endif
