/*
 * One element of a tensor of any dtype. Q8_0, after GGUF: blocks of 32 elements in 34 bytes,
 *
 *     | scale, f16 | 32 x int8 |        element = scale * int8
 */
#ifndef HONE_KERNELS_REF_ELEMENT_H
#define HONE_KERNELS_REF_ELEMENT_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

static inline double hone_element_f32(const void *x, int64_t i) {
    float value;
    memcpy(&value, (const char *)x + i * 4, sizeof value);
    return (double)value;
}

static inline double hone_element_f64(const void *x, int64_t i) {
    double value;
    memcpy(&value, (const char *)x + i * 8, sizeof value);
    return value;
}

static inline uint16_t hone_element_u16(const void *x, int64_t i) {
    uint16_t value;
    memcpy(&value, (const char *)x + i * 2, sizeof value);
    return value;
}

static inline double hone_element_q8_0(const void *x, int64_t i) {
    const char *block = (const char *)x + i / 32 * 34;
    float scale = hone_f16_to_f32(hone_element_u16(block, 0));
    return (double)(scale * (float)((const int8_t *)block)[2 + i % 32]);
}

/* Element i of x, counted over whole rows (a row holds whole blocks). */
static inline double hone_element(const void *x, hone_dtype type, int64_t i) {
    switch (type) {
    case HONE_F32:
        return hone_element_f32(x, i);
    case HONE_F64:
        return hone_element_f64(x, i);
    case HONE_F16:
        return (double)hone_f16_to_f32(hone_element_u16(x, i));
    case HONE_BF16:
        return (double)hone_bf16_to_f32(hone_element_u16(x, i));
    case HONE_Q8_0:
        return hone_element_q8_0(x, i);
    case HONE_I32:
        break;
    }
    assert(!"a dtype without real elements");
    return 0.0;
}

#endif
