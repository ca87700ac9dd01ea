/*
 * The one step of an int8 product: every lane of a vector of int32 gains the products of four bytes of weights with the
 * same four bytes of an activation. Four elements of the contraction lie in these bytes where the processor has an
 * instruction for that; elsewhere two, widened to int16, which takes fewer instructions than pairs of bytes whose sums must
 * not saturate. The sums are exact at every level.
 */
#ifndef HONE_KERNELS_CPU_SIMD_INT8_DOT_H
#define HONE_KERNELS_CPU_SIMD_INT8_DOT_H

#include "kernels/cpu/simd/simd.h"

/* An element of either side as the inner loop reads it, and how many of them a step takes. */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__ARM_FEATURE_DOTPROD)
typedef int8_t dot_element;
#else
typedef int16_t dot_element;
#endif
enum { DOT_WIDTH = 4 / sizeof(dot_element) };

typedef dot_element dot_weights __attribute__((vector_size(VW * 4)));

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
typedef int32x4_t dot_activations;
#else
typedef int32_t dot_activations;
#endif
enum { DOT_STEPS = sizeof(dot_activations) / 4 };

HONE_INLINE dot_activations dot_load(const dot_element *p) {
    dot_activations x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* sum += weights, DOT_WIDTH a lane, times the activations of number `step` of those loaded: a constant once loops are
 * unrolled. */
HONE_INLINE vi dot(vi sum, dot_weights weights, dot_activations activations, int step) {
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
    return sum + (vi)_mm512_madd_epi16((__m512i)weights, _mm512_set1_epi32(activations));
#elif defined(__AVX2__)
    return sum + (vi)_mm256_madd_epi16((__m256i)weights, _mm256_set1_epi32(activations));
#elif defined(__SSE2__)
    return sum + (vi)_mm_madd_epi16((__m128i)weights, _mm_set1_epi32(activations));
#elif defined(__ARM_NEON)
    int16x8_t two = (int16x8_t)vdupq_n_s32(activations);
    int32x4_t low = vmull_s16(vget_low_s16(weights), vget_low_s16(two));
    return sum + vpaddq_s32(low, vmull_high_s16(weights, two));
#else
    int16_t two[2];
    memcpy(two, &activations, sizeof two);
    for (int lane = 0; lane < VW; lane++)
        sum[lane] += weights[2 * lane] * two[0] + weights[2 * lane + 1] * two[1];
    return sum;
#endif
}

#endif
