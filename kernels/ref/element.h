/*
 * One element of a tensor of any dtype.
 */
#ifndef HONE_KERNELS_REF_ELEMENT_H
#define HONE_KERNELS_REF_ELEMENT_H

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

/* Element i of a type that is coded in blocks; see element_ref.c for their layouts. */
float hone_element_quantised(const void *x, hone_dtype type, int64_t i);

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
    default:
        return (double)hone_element_quantised(x, type, i);
    }
}

#endif
