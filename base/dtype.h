/*
 * Element types of tensors. The numbers are GGUF's (ggml/include/ggml.h), so that a file's type word is the dtype.
 */
#ifndef HONE_BASE_DTYPE_H
#define HONE_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/host_device.h"

typedef enum hone_dtype {
    HONE_F32 = 0,
    HONE_F16 = 1,
    HONE_Q4_0 = 2,
    HONE_Q4_1 = 3,
    HONE_Q5_0 = 6,
    HONE_Q5_1 = 7,
    HONE_Q8_0 = 8,
    HONE_Q2_K = 10,
    HONE_Q3_K = 11,
    HONE_Q4_K = 12,
    HONE_Q5_K = 13,
    HONE_Q6_K = 14,
    HONE_IQ4_NL = 20,
    HONE_IQ4_XS = 23,
    HONE_I32 = 26,
    HONE_F64 = 28,
    HONE_BF16 = 30,
    HONE_MXFP4 = 39,
} hone_dtype;

typedef struct hone_dtype_info {
    hone_dtype type;
    const char *name; /* lower case, as in --type and in messages */
    int block;        /* elements in a block; 1 for plain types */
    int bytes;        /* bytes of a block */
} hone_dtype_info;

/* NULL for a number that is no known type; HONE_F64, which no tensor of a file may have, is none. */
const hone_dtype_info *hone_dtype_describe(uint32_t type);

/* Whether elements are coded in blocks that share scales. */
int hone_dtype_is_quantised(hone_dtype type);

/* "f32", "q8_0", or "unknown". */
const char *hone_dtype_name(hone_dtype type);

/* Sets *out and returns true when `name` (any case) is a known type. */
int hone_dtype_parse(hone_dtype *out, const char *name);

/* Bytes of a row of `n` elements; n is a multiple of the block size. */
size_t hone_dtype_row_bytes(hone_dtype type, int64_t n);

HONE_HOST_DEVICE static inline float hone_f32_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

HONE_HOST_DEVICE static inline uint32_t hone_f32_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

HONE_HOST_DEVICE static inline float hone_bf16_to_f32(uint16_t half) {
    return hone_f32_from_bits((uint32_t)half << 16);
}

/* Round to nearest even; a NaN stays a (quiet) NaN. */
HONE_HOST_DEVICE static inline uint16_t hone_bf16_from_f32(float value) {
    uint32_t bits = hone_f32_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* IEEE binary16, exact in both directions where a value can be held; round to nearest even. */
HONE_HOST_DEVICE static inline float hone_f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 31) return hone_f32_from_bits(sign | 0x7f800000u | (mantissa << 13));
    if (exponent != 0)
        return hone_f32_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
    float magnitude = (float)mantissa * 0x1p-24f; /* zero and subnormals: exact */
    return hone_f32_from_bits(sign | hone_f32_to_bits(magnitude));
}
uint16_t hone_f16_from_f32(float value);

#endif
