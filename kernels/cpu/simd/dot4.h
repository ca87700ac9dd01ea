/*
 * The one step of an int8 product: every lane of a vector of int32 gains the products of four bytes of weights with the
 * same four bytes of an activation. The sums are exact at every level; how the bytes meet differs.
 */
#ifndef HONE_KERNELS_CPU_SIMD_DOT4_H
#define HONE_KERNELS_CPU_SIMD_DOT4_H

#include "kernels/cpu/simd/simd.h"

typedef int8_t vb4 __attribute__((vector_size(VW * 4)));

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
/* These instructions take one side unsigned: weights are packed with 128 added, and 128 times the sum of the activations
 * is taken off where a sum begins. */
enum { WEIGHT_OFFSET = 128 };
#else
enum { WEIGHT_OFFSET = 0 };
#endif

/* Activations of as many steps as are loaded at once. ARM's dot product takes its four bytes from any quarter of a register,
 * so that none is broadcast. */
#if defined(__ARM_FEATURE_DOTPROD)
typedef int32x4_t dot4_activations;
#else
typedef int32_t dot4_activations;
#endif
enum { DOT4_STEPS = sizeof(dot4_activations) / 4 };

HONE_INLINE dot4_activations dot4_load(const int8_t *p) {
    dot4_activations x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* sum += weights, four a lane, times the activations of number `step` of those loaded: a constant once loops are unrolled. */
HONE_INLINE vi dot4(vi sum, vb4 weights, dot4_activations activations, int step) {
    (void)step;
#if defined(__ARM_FEATURE_DOTPROD)
    /* In assembly, because GCC 12 copies the accumulators of its own intrinsic around. */
#define SDOT(quarter)                                                                              \
    __asm__("sdot %0.4s, %1.16b, %2.4b[" #quarter "]" : "+w"(sum) : "w"(weights), "w"(activations))
    if (step == 0) SDOT(0);
    if (step == 1) SDOT(1);
    if (step == 2) SDOT(2);
    if (step == 3) SDOT(3);
#undef SDOT
    return sum;
#elif defined(__AVX512VNNI__)
    /* In assembly for the same reason: the copies halve the speed. */
    vi four = activations - (vi){0};
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(four));
    return sum;
#elif defined(__AVXVNNI__)
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)weights,
                                       _mm256_set1_epi32(activations));
#elif defined(__AVX512F__)
    __m512i four = _mm512_set1_epi32(activations);
    __mmask64 negative = _mm512_movepi8_mask((__m512i)weights);
    __m512i turned = _mm512_mask_sub_epi8(four, negative, _mm512_setzero_si512(), four);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8((__m512i)weights), turned);
    return sum + (vi)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(__AVX2__)
    __m256i turned = _mm256_sign_epi8(_mm256_set1_epi32(activations), (__m256i)weights);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)weights), turned);
    return sum + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    int8_t four[4];
    memcpy(four, &activations, sizeof four);
    for (int lane = 0; lane < VW; lane++) {
        for (int i = 0; i < 4; i++) sum[lane] += weights[4 * lane + i] * four[i];
    }
    return sum;
#endif
}

#endif
