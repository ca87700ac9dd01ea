/*
 * Products in fp8 (--compute fp8): how both sides are held, on the host and on GPUs. (OCP 8-bit Floating Point Specification
 * 1.0; arXiv 2209.05433)
 *
 *     e4m3    sign, 4 bits of exponent, 3 of fraction: up to 448, from 2^-9 on; no infinity. Activations and weights.
 *     e5m2    sign, 5 bits of exponent, 2 of fraction: up to 57344, from 2^-16 on. Gradients, which spread wider.
 *
 * A side has one scale, a power of two that brings its largest magnitude as near to the largest number as it can come without
 * being cut off. So the scale itself rounds nothing: only what is a long way below the largest magnitude loses more than
 * the format's precision.
 */
#ifndef HONE_KERNELS_FP8_H
#define HONE_KERNELS_FP8_H

#include "base/dtype.h"
#include "base/host_device.h"

typedef enum hone_fp8_format { HONE_E4M3, HONE_E5M2 } hone_fp8_format;

typedef struct hone_fp8_layout {
    int fraction, bias;
    uint8_t largest; /* of the finite numbers */
} hone_fp8_layout;

HONE_HOST_DEVICE static inline hone_fp8_layout hone_fp8_layout_of(hone_fp8_format format) {
    hone_fp8_layout e4m3 = {3, 7, 0x7e}, e5m2 = {2, 15, 0x7b};
    return format == HONE_E4M3 ? e4m3 : e5m2;
}

/* 2^exponent, of a normal number. */
HONE_HOST_DEVICE static inline float hone_power_of_two(int exponent) {
    return hone_f32_from_bits((uint32_t)(exponent + 127) << 23);
}

/* The nearest number, to even; the largest where a finite one is beyond. What is not finite stays so: a NaN in e4m3. */
HONE_HOST_DEVICE static inline uint8_t hone_fp8_from_f32(float value, hone_fp8_format format) {
    hone_fp8_layout l = hone_fp8_layout_of(format);
    uint32_t bits = hone_f32_to_bits(value), size = bits & 0x7fffffffu;
    uint8_t sign = (uint8_t)(bits >> 24 & 0x80u);
    if (size >= 0x7f800000u)
        return sign | (format == HONE_E5M2 && size == 0x7f800000u ? 0x7c : 0x7f);
    uint32_t code;
    if (size < (uint32_t)(128 - l.bias) << 23) { /* below the normal numbers: steps of one size */
        float steps = hone_power_of_two(1 - l.bias - l.fraction + 23);
        code = hone_f32_to_bits(hone_f32_from_bits(size) + steps) - hone_f32_to_bits(steps);
    } else {
        int dropped = 23 - l.fraction;
        uint32_t half = (1u << (dropped - 1)) - 1 + (size >> dropped & 1u);
        code = ((size + half) >> dropped) - ((uint32_t)(127 - l.bias) << l.fraction);
    }
    return sign | (uint8_t)(code < l.largest ? code : l.largest);
}

HONE_HOST_DEVICE static inline float hone_fp8_to_f32(uint8_t code, hone_fp8_format format) {
    hone_fp8_layout l = hone_fp8_layout_of(format);
    uint32_t size = code & 0x7fu, sign = (uint32_t)(code & 0x80u) << 24, value;
    if (size > l.largest) {
        value = format == HONE_E5M2 && size == 0x7c ? 0x7f800000u : 0x7fc00000u;
    } else if (size >> l.fraction == 0) {
        value = hone_f32_to_bits((float)size * hone_power_of_two(1 - l.bias - l.fraction));
    } else {
        value = (size << (23 - l.fraction)) + ((uint32_t)(127 - l.bias) << 23);
    }
    return hone_f32_from_bits(sign | value);
}

/* What elements are multiplied by, the largest of them being so large; 1 where that is zero or not finite. */
HONE_HOST_DEVICE static inline float hone_fp8_scale(float largest, hone_fp8_format format) {
    uint32_t bits = hone_f32_to_bits(largest), fraction = bits & 0x7fffffu;
    if (bits == 0 || bits >= 0x7f800000u) return 1.0f;
    /* Both formats end at 1.75 times a power of two. */
    int exponent =
        (format == HONE_E4M3 ? 8 : 15) - (fraction > 0x600000u ? 1 : 0) - ((int)(bits >> 23) - 127);
    return hone_power_of_two(exponent < 126 ? exponent : 126);
}

#endif
