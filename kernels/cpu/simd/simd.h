/*
 * Vectors of floats as wide as the instruction set a file is being compiled for (HONE_SIMD_LEVEL: plain, avx2,
 * avx512, neon …), written with GNU vector types; intrinsics only where those have no word for it. Products followed by sums
 * become fused multiply-adds where the processor has them.
 */
#ifndef HONE_KERNELS_CPU_SIMD_SIMD_H
#define HONE_KERNELS_CPU_SIMD_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "base/dtype.h"

/* HONE_SIMD(name) is name_plain, name_avx2, name_avx512 or name_neon. */
#define HONE_SIMD_JOIN(name, level)   name##_##level
#define HONE_SIMD_EXPAND(name, level) HONE_SIMD_JOIN(name, level)
#define HONE_SIMD(name)               HONE_SIMD_EXPAND(name, HONE_SIMD_LEVEL)

/* What a file calls of others, which are not compiled for instructions that they do not use. */
#define HONE_SIMD_OF_BASE(name) HONE_SIMD_EXPAND(name, HONE_SIMD_BASE)

#define HONE_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
enum { VW = 16 }; /* floats in a vector */
#elif defined(__AVX2__)
enum { VW = 8 };
#else
enum { VW = 4 };
#endif

typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef uint32_t vu __attribute__((vector_size(VW * 4)));
typedef double vd __attribute__((vector_size(VW * 8)));
typedef float vf_half __attribute__((vector_size(VW * 2)));
typedef double vd_half __attribute__((vector_size(VW * 4)));
typedef uint16_t vh __attribute__((vector_size(VW * 2)));
typedef int8_t vb __attribute__((vector_size(VW)));

HONE_INLINE vf vf_set(float x) {
    return x - (vf){0};
}

HONE_INLINE vf vf_load(const float *p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}

HONE_INLINE void vf_store(float *p, vf x) {
    memcpy(p, &x, sizeof x);
}

/* The first n < VW floats at p, then zeros. Reads no further. */
HONE_INLINE vf vf_load_part(const float *p, int64_t n) {
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
    vf x = {0};
    memcpy(&x, p, (size_t)n * 4);
    return x;
#endif
}

HONE_INLINE void vf_store_part(float *p, vf x, int64_t n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)x);
#else
    memcpy(p, &x, (size_t)n * 4);
#endif
}

/* a where the mask's lanes are all ones, b where they are zero. */
HONE_INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* The larger; b when either is a NaN. */
HONE_INLINE vf vf_max(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_select(a > b, a, b);
#endif
}

HONE_INLINE vf vf_min(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_select(a < b, a, b);
#endif
}

/* n floats in bf16, as hone_bf16_from_f32 rounds. Stored as bytes: what reads them may take pairs. */
HONE_INLINE void round_to_bf16(uint16_t *y, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vu bits = (vu)vf_load(x + i);
        vu near = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        vu quiet = (bits >> 16) | 0x40u;
        vu none = (vu)((bits & 0x7fffffffu) > 0x7f800000u);
        vh half = __builtin_convertvector((none & quiet) | (~none & near), vh);
        memcpy(y + i, &half, sizeof half);
    }
    for (; i < n; i++) {
        uint16_t half = hone_bf16_from_f32(x[i]);
        memcpy(y + i, &half, sizeof half);
    }
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));

HONE_INLINE v4 v4_max(v4 a, v4 b) {
    typedef int32_t v4i __attribute__((vector_size(16)));
    v4i larger = a > b;
    return (v4)((larger & (v4i)a) | (~larger & (v4i)b));
}

/* The four sums of lanes i, i + 4, i + 8 …, by halves. */
HONE_INLINE v4 vf_sum_to_4(vf x) {
#if defined(__AVX512F__)
    v8 half = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) +
           __builtin_shufflevector(half, half, 4, 5, 6, 7);
#elif defined(__AVX2__)
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
#else
    return x;
#endif
}

HONE_INLINE v4 vf_max_to_4(vf x) {
#if defined(__AVX512F__)
    x = vf_max(x,
               __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    return v4_max(__builtin_shufflevector(x, x, 0, 1, 2, 3),
                  __builtin_shufflevector(x, x, 4, 5, 6, 7));
#elif defined(__AVX2__)
    return v4_max(__builtin_shufflevector(x, x, 0, 1, 2, 3),
                  __builtin_shufflevector(x, x, 4, 5, 6, 7));
#else
    return x;
#endif
}

/* Sum of the lanes, by halves. */
HONE_INLINE float vf_sum(vf x) {
    v4 sum = vf_sum_to_4(x);
    sum += __builtin_shufflevector(sum, sum, 2, 3, 0, 1);
    sum += __builtin_shufflevector(sum, sum, 1, 0, 3, 2);
    return sum[0];
}

HONE_INLINE float vf_largest(vf x) {
    v4 most = vf_max_to_4(x);
    most = v4_max(most, __builtin_shufflevector(most, most, 2, 3, 0, 1));
    most = v4_max(most, __builtin_shufflevector(most, most, 1, 0, 3, 2));
    return most[0];
}

HONE_INLINE double vd_sum(vd x) {
    double lane[VW];
    memcpy(lane, &x, sizeof lane);
    for (int width = VW / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    }
    return lane[0];
}

/* e^x within about 1 ulp, also where the result is subnormal or infinite; a NaN stays one.
 * Cody and Waite's reduction to |r| <= ln 2 / 2, then the series of e^r to r^7 with minimax coefficients. */
HONE_INLINE vf vf_exp(vf x) {
    x = vf_max(vf_set(-104.0f), x);
    x = vf_min(vf_set(89.0f), x);
    const float magic =
        0x1.8p23f; /* adding it rounds to an integer and leaves that in the low bits */
    vf shifted = x * 0x1.715476p+0f + magic;
    vf n = shifted - magic;
    vf r = x - n * 0x1.62e400p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    vf result = p * (r * r) + r + 1.0f;
#if defined(__AVX512F__)
    return (vf)_mm512_scalef_ps((__m512)result, (__m512)n);
#else
    /* 2^n in two factors, because n may lie outside the exponents of a float. */
    vi power = (vi)shifted - 0x4b400000;
    vi half = power >> 1;
    vf first = (vf)((half + 127) << 23);
    vf second = (vf)((power - half + 127) << 23);
    return result * first * second;
#endif
}

/* tanh within about 2 ulp; a NaN stays one. Near 0 an odd polynomial (minimax on |x| < 0.625), beyond it
 * 1 - 2 / (e^2|x| + 1). */
HONE_INLINE vf vf_tanh(vf x) {
    vi sign = (vi)x & INT32_MIN;
    vf size = (vf)((vi)x ^ sign);
    vf z = x * x;
    vf p = z * -0x1.75e1ccp-8f + 0x1.52269ap-6f;
    p = p * z - 0x1.b83c5ap-5f;
    p = p * z + 0x1.110726p-3f;
    p = p * z - 0x1.555532p-2f;
    vf far = 1.0f - 2.0f / (vf_exp(size + size) + 1.0f);
    return vf_select(size < 0.625f, x + x * (z * p), (vf)((vi)far | sign));
}

#endif
