/*
 * Elements of the types that are coded in blocks, after GGUF. A block is its fields one after the other, little-endian,
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
#include <assert.h>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

/* Four bits to a value: the 16 steps of the IQ4 types, and e2m1 doubled, so that it is whole. */
static const int8_t curve[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t minifloat[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float half_at(const uint8_t *p) {
    return hone_f16_to_f32(hone_element_u16(p, 0));
}

static int bit_at(const uint8_t *p, int i) {
    return p[i / 8] >> (i % 8) & 1;
}

static int nibble(const uint8_t *q, int i) {
    return q[i % 16] >> (i / 16 * 4) & 15;
}

/* --- Blocks of 32 --- */

static float q4_0(const uint8_t *b, int i) {
    return half_at(b) * (float)(nibble(b + 2, i) - 8);
}

static float q4_1(const uint8_t *b, int i) {
    return half_at(b) * (float)nibble(b + 4, i) + half_at(b + 2);
}

static float q5_0(const uint8_t *b, int i) {
    return half_at(b) * (float)((nibble(b + 6, i) | bit_at(b + 2, i) << 4) - 16);
}

static float q5_1(const uint8_t *b, int i) {
    return half_at(b) * (float)(nibble(b + 8, i) | bit_at(b + 4, i) << 4) + half_at(b + 2);
}

static float q8_0(const uint8_t *b, int i) {
    return half_at(b) * (float)(int8_t)b[2 + i];
}

static float iq4_nl(const uint8_t *b, int i) {
    return half_at(b) * (float)curve[nibble(b + 2, i)];
}

static float mxfp4(const uint8_t *b, int i) {
    /* 2^(e - 128): the smallest two are subnormal. */
    uint32_t scale = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
    return hone_f32_from_bits(scale) * (float)minifloat[nibble(b + 1, i)];
}

/* --- Blocks of 256 --- */

/* Two bits of element i: a byte of 32 serves the elements 32 apart in a half of the block. */
static int pair(const uint8_t *q, int i) {
    return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

static float q2_k(const uint8_t *b, int i) {
    int s = b[i / 16];
    return half_at(b + 80) * (float)(s & 15) * (float)pair(b + 16, i) -
           half_at(b + 82) * (float)(s >> 4);
}

static float q3_k(const uint8_t *b, int i) {
    const uint8_t *s = b + 96;
    int j = i / 16;
    int scale = (s[j % 8] >> (j / 8 * 4) & 15) | (s[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
    int value = pair(b + 32, i) + (b[i % 32] >> (i / 32) & 1) * 4 - 4;
    return half_at(b + 108) * (float)(scale - 32) * (float)value;
}

/* Scale and minimum of the 32 elements j, 6 bits each: the first four whole, of the others two bits sit above those. */
static float scale_min(const uint8_t *b, int j, int value) {
    const uint8_t *s = b + 4;
    int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
    return half_at(b) * (float)scale * (float)value - half_at(b + 2) * (float)min;
}

/* Four bits of element i: a byte of 32 serves the elements 32 apart. */
static int half_byte(const uint8_t *q, int i) {
    return q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

static float q4_k(const uint8_t *b, int i) {
    return scale_min(b, i / 32, half_byte(b + 16, i));
}

static float q5_k(const uint8_t *b, int i) {
    int bit = b[16 + i % 32] >> (i / 32) & 1;
    return scale_min(b, i / 32, half_byte(b + 48, i) | bit << 4);
}

static float q6_k(const uint8_t *b, int i) {
    int within = i % 128;
    int low = b[i / 128 * 64 + within % 64] >> (within / 64 * 4) & 15;
    int high = b[128 + i / 128 * 32 + within % 32] >> (within / 32 * 2) & 3;
    float scale = half_at(b + 208) * (float)(int8_t)b[192 + i / 16];
    return scale * (float)((low | high << 4) - 32);
}

static float iq4_xs(const uint8_t *b, int i) {
    int j = i / 32;
    int scale = (b[4 + j / 2] >> (j % 2 * 4) & 15) | (hone_element_u16(b, 1) >> (2 * j) & 3) << 4;
    return half_at(b) * (float)(scale - 32) * (float)curve[nibble(b + 8 + 16 * j, i % 32)];
}

float hone_element_quantised(const void *x, hone_dtype type, int64_t i) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)type);
    const uint8_t *block = (const uint8_t *)x + i / info->block * info->bytes;
    int at = (int)(i % info->block);
    switch (type) {
    case HONE_Q4_0:
        return q4_0(block, at);
    case HONE_Q4_1:
        return q4_1(block, at);
    case HONE_Q5_0:
        return q5_0(block, at);
    case HONE_Q5_1:
        return q5_1(block, at);
    case HONE_Q8_0:
        return q8_0(block, at);
    case HONE_Q2_K:
        return q2_k(block, at);
    case HONE_Q3_K:
        return q3_k(block, at);
    case HONE_Q4_K:
        return q4_k(block, at);
    case HONE_Q5_K:
        return q5_k(block, at);
    case HONE_Q6_K:
        return q6_k(block, at);
    case HONE_IQ4_NL:
        return iq4_nl(block, at);
    case HONE_IQ4_XS:
        return iq4_xs(block, at);
    case HONE_MXFP4:
        return mxfp4(block, at);
    default:
        assert(!"a dtype without real elements");
        return 0.0f;
    }
}
