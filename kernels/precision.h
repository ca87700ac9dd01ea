/*
 * Precisions of products with frozen weights: what both sides are rounded to before they are multiplied. Sums are taken in
 * f32 in any case.
 */
#ifndef HONE_KERNELS_PRECISION_H
#define HONE_KERNELS_PRECISION_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/host_device.h"

typedef enum hone_precision {
    HONE_PRODUCTS_F32,  /* nothing is rounded */
    HONE_PRODUCTS_TF32, /* to 11 significant bits: tensor cores read elements of f32 so */
    HONE_PRODUCTS_BF16, /* to 8 */
    HONE_PRODUCTS_FP8, /* to fp8 of 4, in gradients 3, with one scale for each side (kernels/fp8.h) */
    HONE_PRECISIONS
} hone_precision;

/* A set of precisions has the bit 1 << p of each. */
enum {
    HONE_TAKES_F32 = 1 << HONE_PRODUCTS_F32,
    HONE_TAKES_TF32 = 1 << HONE_PRODUCTS_TF32,
    HONE_TAKES_BF16 = 1 << HONE_PRODUCTS_BF16,
    HONE_TAKES_FP8 = 1 << HONE_PRODUCTS_FP8,
};

static inline bool hone_precisions_have(uint32_t set, hone_precision precision) {
    return (set >> precision & 1u) != 0;
}

/* "f32", "tf32", "bf16", "fp8". */
static inline const char *hone_precision_name(hone_precision precision) {
    static const char *const names[HONE_PRECISIONS] = {"f32", "tf32", "bf16", "fp8"};
    return names[precision];
}

/* How a product with a weight [out,in] is taken: tensor cores read fp8 16 elements at a time, so that where a side of the
 * weight is no multiple of that, it is in bf16. */
static inline hone_precision hone_precision_of(hone_precision asked, int64_t in, int64_t out) {
    enum { GRAIN = 16 };
    bool fits = in % GRAIN == 0 && out % GRAIN == 0;
    return asked == HONE_PRODUCTS_FP8 && !fits ? HONE_PRODUCTS_BF16 : asked;
}

/* The nearest number of 11 significant bits, to even; a NaN stays one. */
HONE_HOST_DEVICE static inline float hone_tf32(float value) {
    uint32_t bits = hone_f32_to_bits(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return value;
    return hone_f32_from_bits((bits + 0xfffu + (bits >> 13 & 1u)) & 0xffffe000u);
}

#endif
