/*
 * Activations and soft caps on vectors.
 */
#ifndef HONE_KERNELS_CPU_SIMD_CURVES_H
#define HONE_KERNELS_CPU_SIMD_CURVES_H

#include "kernels/cpu/simd/simd.h"
#include "kernels/kernels.h"

/* 1 / (1 + exp(-x)). */
HONE_INLINE vf vf_sigmoid(vf x) {
    return 1.0f / (vf_exp(-x) + 1.0f);
}

#define HONE_TWICE_ROOT 1.59576912160573f /* 2 sqrt(2 / pi) */

/* What the sigmoid of an activation x sigma(r) is taken of. `kind` is a constant at every use. */
HONE_INLINE vf activation_inner(vf x, hone_activation_kind kind) {
    if (kind == HONE_SILU) return x;
    const float cubic = 0.044715f * HONE_TWICE_ROOT;
    return x * (x * x * cubic + HONE_TWICE_ROOT);
}

HONE_INLINE vf activation_value(vf x, hone_activation_kind kind) {
    return x * vf_sigmoid(activation_inner(x, kind));
}

/* Value and slope, sigma (1 + x r' (1 - sigma)). */
HONE_INLINE vf activation_slope(vf *value, vf x, hone_activation_kind kind) {
    vf s = vf_sigmoid(activation_inner(x, kind));
    *value = x * s;
    if (kind == HONE_SILU) return s * (1.0f + x * (1.0f - s));
    const float cubic = 3.0f * 0.044715f * HONE_TWICE_ROOT;
    return s * (1.0f + x * (x * x * cubic + HONE_TWICE_ROOT) * (1.0f - s));
}

/* y = cap tanh(x / cap), n elements; y may be x. */
static inline __attribute__((unused)) void softcap_run(float *y, const float *x, int64_t n,
                                                       float cap) {
    float inverse = 1.0f / cap;
    int64_t i = 0;
    for (; i + VW <= n; i += VW) vf_store(y + i, cap * vf_tanh(vf_load(x + i) * inverse));
    if (i < n) vf_store_part(y + i, cap * vf_tanh(vf_load_part(x + i, n - i) * inverse), n - i);
}

/* The slope of a cap where its value is z. */
HONE_INLINE vf softcap_slope(vf z, float inverse) {
    vf part = z * inverse;
    return 1.0f - part * part;
}

#endif
