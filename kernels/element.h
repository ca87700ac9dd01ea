/*
 * One element of a tensor of any dtype, on the host and on GPUs.
 *
 * The types that are coded in blocks, after GGUF. A block is its fields one after the other, little-endian,
 * without padding; d, m and dmin are binary16. nib(i) = (q[i % 16] >> 4 (i / 16)) & 15: the low halves come first.
 *
 *     blocks of 32    fields                                   element i
 *     q4_0            d, q[16]                                 d (nib - 8)
 *     q4_1            d, m, q[16]                              d nib + m
 *     q5_0            d, u32 h, q[16]                          d (nib + 16 h_i - 16), h_i = bit i of h
 *     q5_1            d, m, u32 h, q[16]                       d (nib + 16 h_i) + m
 *     q8_0            d, int8 q[32]                            d q[i]
 *     iq4_nl          d, q[16]                                 d CURVE[nib]
 *     mxfp4           u8 e, q[16]                              2^(e - 128) MINIFLOAT[nib]
 *
 *     blocks of 256   fields                                   element i
 *     q2_k            s[16], q[64], d, dmin                    d (s & 15) pair - dmin (s >> 4), s = s[i / 16]
 *     q3_k            h[32], q[64], s[12], d                   d (scale - 32) (pair + 4 bit - 4)
 *     q4_k            d, dmin, s[12], q[128]                   d scale half - dmin min
 *     q5_k            d, dmin, s[12], h[32], q[128]            d scale (half + 16 bit) - dmin min
 *     q6_k            low[128], high[64], int8 s[16], d        d s[i / 16] (low + 16 high - 32)
 *     iq4_xs          d, u16 high, low[4], q[128]              d (low + 16 high - 32) CURVE[nib of the 16 bytes]
 *
 * Products are exact in f32 (a half has 11 bits of precision, what multiplies it 12 at most), so every element is
 * rounded at most once, by the last sum; the factors are multiplied from the left, which decides the sign of zeros.
 *
 * Source: gguf-py/gguf/quants.py and ggml/src/ggml-common.h; MXFP4: OCP Microscaling Formats 1.0, section 5.3.
 */
#ifndef HONE_KERNELS_ELEMENT_H
#define HONE_KERNELS_ELEMENT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

HONE_HOST_DEVICE static inline float hone_element_f32(const void *x, int64_t i) {
    float value;
    memcpy(&value, (const char *)x + i * 4, sizeof value);
    return value;
}

HONE_HOST_DEVICE static inline double hone_element_f64(const void *x, int64_t i) {
    double value;
    memcpy(&value, (const char *)x + i * 8, sizeof value);
    return value;
}

HONE_HOST_DEVICE static inline uint16_t hone_element_u16(const void *x, int64_t i) {
    uint16_t value;
    memcpy(&value, (const char *)x + i * 2, sizeof value);
    return value;
}

/* Four bits to a value: the 16 steps of the IQ4 types, and e2m1 doubled, so that it is whole. */
HONE_HOST_DEVICE static inline float hone_curve(int i) {
    static const int8_t curve[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    return (float)curve[i];
}

HONE_HOST_DEVICE static inline float hone_minifloat(int i) {
    static const int8_t minifloat[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return (float)minifloat[i];
}

HONE_HOST_DEVICE static inline float hone_half_at(const uint8_t *p) {
    return hone_f16_to_f32(hone_element_u16(p, 0));
}

HONE_HOST_DEVICE static inline int hone_bit_at(const uint8_t *p, int i) {
    return p[i / 8] >> (i % 8) & 1;
}

HONE_HOST_DEVICE static inline int hone_nibble(const uint8_t *q, int i) {
    return q[i % 16] >> (i / 16 * 4) & 15;
}

/* --- Blocks of 32 --- */

HONE_HOST_DEVICE static inline float hone_q4_0(const uint8_t *b, int i) {
    return hone_half_at(b) * (float)(hone_nibble(b + 2, i) - 8);
}

HONE_HOST_DEVICE static inline float hone_q4_1(const uint8_t *b, int i) {
    return hone_half_at(b) * (float)hone_nibble(b + 4, i) + hone_half_at(b + 2);
}

HONE_HOST_DEVICE static inline float hone_q5_0(const uint8_t *b, int i) {
    return hone_half_at(b) * (float)((hone_nibble(b + 6, i) | hone_bit_at(b + 2, i) << 4) - 16);
}

HONE_HOST_DEVICE static inline float hone_q5_1(const uint8_t *b, int i) {
    return hone_half_at(b) * (float)(hone_nibble(b + 8, i) | hone_bit_at(b + 4, i) << 4) +
           hone_half_at(b + 2);
}

HONE_HOST_DEVICE static inline float hone_q8_0(const uint8_t *b, int i) {
    return hone_half_at(b) * (float)(int8_t)b[2 + i];
}

HONE_HOST_DEVICE static inline float hone_iq4_nl(const uint8_t *b, int i) {
    return hone_half_at(b) * hone_curve(hone_nibble(b + 2, i));
}

HONE_HOST_DEVICE static inline float hone_mxfp4(const uint8_t *b, int i) {
    /* 2^(e - 128): the smallest two are subnormal. */
    uint32_t scale = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
    return hone_f32_from_bits(scale) * hone_minifloat(hone_nibble(b + 1, i));
}

/* --- Blocks of 256 --- */

/* Two bits of element i: a byte of 32 serves the elements 32 apart in a half of the block. */
HONE_HOST_DEVICE static inline int hone_pair(const uint8_t *q, int i) {
    return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

HONE_HOST_DEVICE static inline float hone_q2_k(const uint8_t *b, int i) {
    int s = b[i / 16];
    return hone_half_at(b + 80) * (float)(s & 15) * (float)hone_pair(b + 16, i) -
           hone_half_at(b + 82) * (float)(s >> 4);
}

HONE_HOST_DEVICE static inline float hone_q3_k(const uint8_t *b, int i) {
    const uint8_t *s = b + 96;
    int j = i / 16;
    int scale = (s[j % 8] >> (j / 8 * 4) & 15) | (s[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
    int value = hone_pair(b + 32, i) + (b[i % 32] >> (i / 32) & 1) * 4 - 4;
    return hone_half_at(b + 108) * (float)(scale - 32) * (float)value;
}

/* Scale and minimum of the 32 elements j, 6 bits each: the first four whole, of the others two bits sit above those. */
HONE_HOST_DEVICE static inline float hone_scale_min(const uint8_t *b, int j, int value) {
    const uint8_t *s = b + 4 + j % 4;
    int first = s[0], second = s[4], third = s[8];
    bool whole = (j & 4) == 0;
    int scale = whole ? first & 63 : (third & 15) | first >> 6 << 4;
    int min = whole ? second & 63 : third >> 4 | second >> 6 << 4;
    return hone_half_at(b) * (float)scale * (float)value - hone_half_at(b + 2) * (float)min;
}

/* Four bits of element i: a byte of 32 serves the elements 32 apart. */
HONE_HOST_DEVICE static inline int hone_half_byte(const uint8_t *q, int i) {
    return q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

HONE_HOST_DEVICE static inline float hone_q4_k(const uint8_t *b, int i) {
    return hone_scale_min(b, i / 32, hone_half_byte(b + 16, i));
}

HONE_HOST_DEVICE static inline float hone_q5_k(const uint8_t *b, int i) {
    int bit = b[16 + i % 32] >> (i / 32) & 1;
    return hone_scale_min(b, i / 32, hone_half_byte(b + 48, i) | bit << 4);
}

HONE_HOST_DEVICE static inline float hone_q6_k(const uint8_t *b, int i) {
    int within = i % 128;
    int low = b[i / 128 * 64 + within % 64] >> (within / 64 * 4) & 15;
    int high = b[128 + i / 128 * 32 + within % 32] >> (within / 32 * 2) & 3;
    float scale = hone_half_at(b + 208) * (float)(int8_t)b[192 + i / 16];
    return scale * (float)((low | high << 4) - 32);
}

HONE_HOST_DEVICE static inline float hone_iq4_xs(const uint8_t *b, int i) {
    int j = i / 32;
    int scale = (b[4 + j / 2] >> (j % 2 * 4) & 15) | (hone_element_u16(b, 1) >> (2 * j) & 3) << 4;
    return hone_half_at(b) * (float)(scale - 32) * hone_curve(hone_nibble(b + 8 + 16 * j, i % 32));
}

/* X(dtype, element of a block, elements of a block, its bytes) */
#define HONE_BLOCK_TYPES(X)                                                                        \
    X(HONE_Q4_0, hone_q4_0, 32, 18)                                                                \
    X(HONE_Q4_1, hone_q4_1, 32, 20)                                                                \
    X(HONE_Q5_0, hone_q5_0, 32, 22)                                                                \
    X(HONE_Q5_1, hone_q5_1, 32, 24)                                                                \
    X(HONE_Q8_0, hone_q8_0, 32, 34)                                                                \
    X(HONE_Q2_K, hone_q2_k, 256, 84)                                                               \
    X(HONE_Q3_K, hone_q3_k, 256, 110)                                                              \
    X(HONE_Q4_K, hone_q4_k, 256, 144)                                                              \
    X(HONE_Q5_K, hone_q5_k, 256, 176)                                                              \
    X(HONE_Q6_K, hone_q6_k, 256, 210)                                                              \
    X(HONE_IQ4_NL, hone_iq4_nl, 32, 18)                                                            \
    X(HONE_IQ4_XS, hone_iq4_xs, 256, 136)                                                          \
    X(HONE_MXFP4, hone_mxfp4, 32, 17)

HONE_HOST_DEVICE static inline float hone_element_quantised(const void *x, hone_dtype type,
                                                            int64_t i) {
    switch (type) {
#define HONE_BLOCK_ELEMENT(type, element, elements, bytes)                                         \
    case type:                                                                                     \
        return element((const uint8_t *)x + i / (elements) * (bytes), (int)(i % (elements)));
        HONE_BLOCK_TYPES(HONE_BLOCK_ELEMENT)
    default:
        assert(!"a dtype without real elements");
        return 0.0f;
    }
}

/* Element i of x, counted over whole rows (a row holds whole blocks), as a float: exact but for F64, which is rounded. No
 * other type meets a double on the way, which GPUs convert slowly. */
HONE_HOST_DEVICE static inline float hone_element_float(const void *x, hone_dtype type, int64_t i) {
    switch (type) {
    case HONE_F32:
        return hone_element_f32(x, i);
    case HONE_F64:
        return (float)hone_element_f64(x, i);
    case HONE_F16:
        return hone_f16_to_f32(hone_element_u16(x, i));
    case HONE_BF16:
        return hone_bf16_to_f32(hone_element_u16(x, i));
    default:
        return hone_element_quantised(x, type, i);
    }
}

/* The same, exact of F64 too. */
HONE_HOST_DEVICE static inline double hone_element(const void *x, hone_dtype type, int64_t i) {
    return type == HONE_F64 ? hone_element_f64(x, i) : (double)hone_element_float(x, type, i);
}

#endif
