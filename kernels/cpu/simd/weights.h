/*
 * Elements of frozen weights as floats, one or a vector at a time. `type` is a constant at every use, so that the
 * branches fall away.
 */
#ifndef HONE_KERNELS_CPU_SIMD_WEIGHTS_H
#define HONE_KERNELS_CPU_SIMD_WEIGHTS_H

#include <assert.h>

#include "kernels/cpu/simd/simd.h"
#include "kernels/ref/element.h"

HONE_INLINE float weight_at(const void *x, hone_dtype type, int64_t i) {
    return (float)hone_element(x, type, i);
}

HONE_INLINE float f16_scale(const char *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
#if defined(__F16C__)
    return _cvtsh_ss(half);
#else
    return hone_f16_to_f32(half);
#endif
}

HONE_INLINE vf weight_load_f16(const uint16_t *p) {
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    vf x;
    for (int lane = 0; lane < VW; lane++) x[lane] = f16_scale((const char *)(p + lane));
    return x;
#endif
}

HONE_INLINE vf weight_load_bf16(const uint16_t *p) {
#if defined(__AVX512F__)
    vu wide = (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__AVX2__)
    vu wide = (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    vh half;
    memcpy(&half, p, sizeof half);
    vu wide = __builtin_convertvector(half, vu);
#endif
    return (vf)(wide << 16);
}

/* Written out, because the compiler's own conversion of bytes goes through all widths between. */
HONE_INLINE vf bytes_load(const char *p) {
#if defined(__AVX512F__)
    return (vf)_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
#elif defined(__AVX2__)
    return (vf)_mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
#else
    vb bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, vi), vf);
#endif
}

/* i is a multiple of VW, which divides the block. */
HONE_INLINE vf weight_load_q8_0(const void *x, int64_t i) {
    const char *block = (const char *)x + i / 32 * 34;
    return bytes_load(block + 2 + i % 32) * f16_scale(block);
}

/* Elements i to i + VW - 1. */
HONE_INLINE vf weight_load(const void *x, hone_dtype type, int64_t i) {
    switch (type) {
    case HONE_F16:
        return weight_load_f16((const uint16_t *)x + i);
    case HONE_BF16:
        return weight_load_bf16((const uint16_t *)x + i);
    case HONE_Q8_0:
        return weight_load_q8_0(x, i);
    default:
        return vf_load((const float *)x + i);
    }
}

#endif
