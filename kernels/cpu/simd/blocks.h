/*
 * Blocks of quantised weights as floats: the layouts of kernels/element.h, sixteen elements at a time. Each type
 * is brought to sixteen signed bytes and one factor for them, and the bytes then become floats in one way for all.
 * Results equal the reference's bit for bit: products are exact, and only the last sum rounds.
 */
#ifndef HONE_KERNELS_CPU_SIMD_BLOCKS_H
#define HONE_KERNELS_CPU_SIMD_BLOCKS_H

#include "base/dtype.h"
#include "kernels/cpu/simd/simd.h"

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));

HONE_INLINE u8x16 load_16(const uint8_t *p) {
    u8x16 x;
    memcpy(&x, p, sizeof x);
    return x;
}

HONE_INLINE uint32_t load_u32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

HONE_INLINE float load_half(const uint8_t *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
#if defined(__F16C__)
    return _cvtsh_ss(half);
#elif defined(__ARM_NEON)
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
#else
    return hone_f16_to_f32(half);
#endif
}

/* Of each byte the bits from `shift` on that `mask` leaves; shifting pairs of bytes is right while
 * mask < 2^(8 - shift). */
HONE_INLINE u8x16 bits_of(u8x16 x, int shift, int mask) {
    return (u8x16)((u16x8)x >> shift) & ((u8x16){0} + (uint8_t)mask);
}

/* table[x] for x < 16. */
HONE_INLINE u8x16 look_up(const int8_t table[16], u8x16 x) {
    u8x16 from = load_16((const uint8_t *)table);
#if defined(__SSSE3__)
    return (u8x16)_mm_shuffle_epi8((__m128i)from, (__m128i)x);
#elif defined(__ARM_NEON)
    return (u8x16)vqtbl1q_u8((uint8x16_t)from, (uint8x16_t)x);
#else
    u8x16 y;
    for (int i = 0; i < 16; i++) y[i] = from[x[i]];
    return y;
#endif
}

/* VW signed bytes from number `part` * VW on. */
HONE_INLINE vf floats_of(u8x16 x, int part) {
#if defined(__AVX512F__)
    (void)part;
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)x));
#elif defined(__AVX2__)
    __m128i half = part ? _mm_unpackhi_epi64((__m128i)x, (__m128i)x) : (__m128i)x;
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(half));
#elif defined(__ARM_NEON)
    int16x8_t half = part < 2 ? vmovl_s8(vget_low_s8((int8x16_t)x)) : vmovl_high_s8((int8x16_t)x);
    return (vf)vcvtq_f32_s32(part % 2 ? vmovl_high_s16(half) : vmovl_s16(vget_low_s16(half)));
#else
    vb bytes;
    memcpy(&bytes, (const char *)&x + part * VW, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, vi), vf);
#endif
}

/* y[16] = scale x, with x as signed bytes. */
HONE_INLINE void put(float *y, u8x16 x, float scale) {
#pragma GCC unroll 4
    for (int part = 0; part < 16 / VW; part++) vf_store(y + part * VW, floats_of(x, part) * scale);
}

/* y[16] = scale x + add. */
HONE_INLINE void put_sum(float *y, u8x16 x, float scale, float add) {
#pragma GCC unroll 4
    for (int part = 0; part < 16 / VW; part++)
        vf_store(y + part * VW, floats_of(x, part) * scale + add);
}

HONE_INLINE u8x16 minus(u8x16 x, int n) {
    return x - (uint8_t)n;
}

/* --- Blocks of 32 --- */

/* 16 where a bit of `bits` is set, for its low sixteen bits. */
HONE_INLINE u8x16 sixteens_of(uint32_t bits) {
    const u8x16 places = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    u8x16 x = (u8x16)((u16x8){0} + (uint16_t)bits);
    x = __builtin_shufflevector(x, x, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return (u8x16)((x & places) == places) & 16;
}

HONE_INLINE void block_q4_0(float *y, const uint8_t *b) {
    float d = load_half(b);
    u8x16 q = load_16(b + 2);
    put(y, minus(bits_of(q, 0, 15), 8), d);
    put(y + 16, minus(bits_of(q, 4, 15), 8), d);
}

HONE_INLINE void block_q4_1(float *y, const uint8_t *b) {
    float d = load_half(b), m = load_half(b + 2);
    u8x16 q = load_16(b + 4);
    put_sum(y, bits_of(q, 0, 15), d, m);
    put_sum(y + 16, bits_of(q, 4, 15), d, m);
}

HONE_INLINE void block_q5_0(float *y, const uint8_t *b) {
    float d = load_half(b);
    uint32_t high = load_u32(b + 2);
    u8x16 q = load_16(b + 6);
    put(y, minus(bits_of(q, 0, 15) | sixteens_of(high), 16), d);
    put(y + 16, minus(bits_of(q, 4, 15) | sixteens_of(high >> 16), 16), d);
}

HONE_INLINE void block_q5_1(float *y, const uint8_t *b) {
    float d = load_half(b), m = load_half(b + 2);
    uint32_t high = load_u32(b + 4);
    u8x16 q = load_16(b + 8);
    put_sum(y, bits_of(q, 0, 15) | sixteens_of(high), d, m);
    put_sum(y + 16, bits_of(q, 4, 15) | sixteens_of(high >> 16), d, m);
}

HONE_INLINE void block_q8_0(float *y, const uint8_t *b) {
    float d = load_half(b);
    put(y, load_16(b + 2), d);
    put(y + 16, load_16(b + 18), d);
}

static const int8_t curve[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t minifloat[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 32 elements whose nibbles are places in a table. */
HONE_INLINE void put_table(float *y, const uint8_t *q, const int8_t table[16], float scale) {
    u8x16 x = load_16(q);
    put(y, look_up(table, bits_of(x, 0, 15)), scale);
    put(y + 16, look_up(table, bits_of(x, 4, 15)), scale);
}

HONE_INLINE void block_iq4_nl(float *y, const uint8_t *b) {
    put_table(y, b + 2, curve, load_half(b));
}

HONE_INLINE void block_mxfp4(float *y, const uint8_t *b) {
    uint32_t scale = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
    put_table(y, b + 1, minifloat, hone_f32_from_bits(scale));
}

/* --- Blocks of 256 --- */

HONE_INLINE void block_q2_k(float *y, const uint8_t *b) {
    float scale[16], low[16];
    u8x16 s = load_16(b);
    put(scale, bits_of(s, 0, 15), load_half(b + 80));
    put(low, bits_of(s, 4, 15), -load_half(b + 82));
    for (int half = 0; half < 2; half++) {
        u8x16 q[2] = {load_16(b + 16 + 32 * half), load_16(b + 32 + 32 * half)};
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            int j = 8 * half + k;
            put_sum(y + 16 * j, bits_of(q[k % 2], k / 2 * 2, 3), scale[j], low[j]);
        }
    }
}

/* The sixteen 6-bit scales: four bits of each in eight bytes, two bits in the four bytes after them. */
HONE_INLINE u8x16 scales_q3_k(const uint8_t *s) {
    u32x4 low = {load_u32(s), load_u32(s + 4), load_u32(s) >> 4, load_u32(s + 4) >> 4};
    uint32_t pairs = load_u32(s + 8);
    u32x4 high = {pairs, pairs >> 2, pairs >> 4, pairs >> 6};
    return (u8x16)((low & 0x0f0f0f0fu) | (high & 0x03030303u) << 4);
}

HONE_INLINE void block_q3_k(float *y, const uint8_t *b) {
    float scale[16];
    put(scale, minus(scales_q3_k(b + 96), 32), load_half(b + 108));
    u8x16 high[2] = {load_16(b), load_16(b + 16)};
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        u8x16 q[2] = {load_16(b + 32 + 32 * half), load_16(b + 48 + 32 * half)};
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            int j = 8 * half + k;
            u8x16 four = bits_of(high[k % 2], j / 2, 1) << 2;
            put(y + 16 * j, minus(bits_of(q[k % 2], k / 2 * 2, 3) | four, 4), scale[j]);
        }
    }
}

/* d times the eight scales and -dmin times the eight minima, 6 bits each. */
HONE_INLINE void scales_q4_k(float scale[16], const uint8_t *b) {
    uint32_t s0 = load_u32(b + 4), s1 = load_u32(b + 8), s2 = load_u32(b + 12);
    u32x4 six = {
        s0 & 0x3f3f3f3fu,
        (s2 & 0x0f0f0f0fu) | (s0 >> 6 & 0x03030303u) << 4,
        s1 & 0x3f3f3f3fu,
        (s2 >> 4 & 0x0f0f0f0fu) | (s1 >> 6 & 0x03030303u) << 4,
    };
    float d = load_half(b), dmin = -load_half(b + 2);
    put(scale, (u8x16)six, 1.0f);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        scale[j] *= d;
        scale[8 + j] *= dmin;
    }
}

HONE_INLINE void block_q4_k(float *y, const uint8_t *b) {
    float scale[16];
    scales_q4_k(scale, b);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            u8x16 q = load_16(b + 16 + 16 * j + 16 * k);
            float *to = y + 32 * j + 16 * k;
            put_sum(to, bits_of(q, 0, 15), scale[j], scale[8 + j]);
            put_sum(to + 32, bits_of(q, 4, 15), scale[j + 1], scale[9 + j]);
        }
    }
}

HONE_INLINE void block_q5_k(float *y, const uint8_t *b) {
    float scale[16];
    scales_q4_k(scale, b);
    u8x16 high[2] = {load_16(b + 16), load_16(b + 32)};
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            u8x16 q = load_16(b + 48 + 32 * (j / 2) + 16 * k);
            u8x16 sixteen = bits_of(high[k], j, 1) << 4;
            put_sum(y + 32 * j + 16 * k, bits_of(q, j % 2 * 4, 15) | sixteen, scale[j],
                    scale[8 + j]);
        }
    }
}

HONE_INLINE void block_q6_k(float *y, const uint8_t *b) {
    float scale[16];
    put(scale, load_16(b + 192), load_half(b + 208));
    for (int half = 0; half < 2; half++) {
        u8x16 high[2] = {load_16(b + 128 + 32 * half), load_16(b + 144 + 32 * half)};
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            int j = 8 * half + k;
            u8x16 low = load_16(b + 64 * half + 16 * (k % 4));
            u8x16 top = bits_of(high[k % 2], k / 2 * 2, 3) << 4;
            put(y + 16 * j, minus(bits_of(low, k / 4 * 4, 15) | top, 32), scale[j]);
        }
    }
}

HONE_INLINE void block_iq4_xs(float *y, const uint8_t *b) {
    float d = load_half(b);
    uint32_t low = load_u32(b + 4), high = load_u32(b) >> 16;
    for (int j = 0; j < 8; j++, low >>= 4, high >>= 2) {
        int scale = (int)((low & 15u) | (high & 3u) << 4) - 32;
        put_table(y + 32 * j, b + 8 + 16 * j, curve, d * (float)scale);
    }
}

#endif
