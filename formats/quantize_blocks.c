/*
 * Blocks of 32 values. i counts values, h = half (binary16), nib(i) = nibble i / 16 of q[i % 16], low one first.
 *
 *     Q4_0    h d, u8 q[16]               d * (nib - 8)
 *     Q4_1    h d, h m, u8 q[16]          d * nib + m
 *     Q5_0    h d, u32 high, u8 q[16]     d * (nib + 16 * bit i of high - 16)
 *     Q5_1    h d, h m, u32 high, q[16]   d * (nib + 16 * bit i of high) + m
 *     Q8_0    h d, i8 q[32]               d * q
 *     IQ4_NL  h d, u8 q[16]               d * hone_iq4_values[nib]
 *     MXFP4   u8 e, u8 q[16]              2^(e - 128) * (0 1 2 3 4 6 8 12, and negative from nib 8 on)
 *
 * Source: ggml/src/ggml-common.h and gguf/quants.py of ggml-org.
 */
#include "formats/quantize_blocks.h"

#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "formats/quantize_fit.h"

enum { N = 32 };

const signed char hone_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

bool hone_put_half(unsigned char *out, float *as_stored, float value) {
    uint16_t half = hone_f16_from_f32(value);
    memcpy(out, &half, sizeof half);
    *as_stored = hone_f16_to_f32(half);
    return (half & 0x7c00u) != 0x7c00u;
}

static void put_nibbles(unsigned char *q, const uint8_t *codes) {
    for (int i = 0; i < N / 2; i++) {
        q[i] = (unsigned char)((codes[i] & 15) | (codes[i + N / 2] & 15) << 4);
    }
}

static void put_high_bits(unsigned char *out, const uint8_t *codes) {
    uint32_t high = 0;
    for (int i = 0; i < N; i++) high |= (uint32_t)(codes[i] >> 4 & 1) << i;
    memcpy(out, &high, sizeof high);
}

/* d, then the codes in `bits` bits. */
static bool scaled(unsigned char *out, const float *x, const hone_grid *grid, int bits) {
    hone_affine at = {0};
    uint8_t codes[N];
    if (!hone_put_half(out, &at.scale, hone_fit_scale(x, N, grid))) return false;
    hone_fit_codes(codes, x, N, grid, at);
    if (bits == 5) put_high_bits(out + 2, codes);
    put_nibbles(out + (bits == 5 ? 6 : 2), codes);
    return true;
}

/* d and m, then the codes. */
static bool shifted(unsigned char *out, const float *x, const hone_grid *grid, int bits) {
    hone_affine at = hone_fit_affine(x, N, grid, false);
    uint8_t codes[N];
    if (!hone_put_half(out, &at.scale, at.scale)) return false;
    if (!hone_put_half(out + 2, &at.offset, at.offset)) return false;
    hone_fit_codes(codes, x, N, grid, at);
    if (bits == 5) put_high_bits(out + 4, codes);
    put_nibbles(out + (bits == 5 ? 8 : 4), codes);
    return true;
}

bool hone_block_q4_0(unsigned char *out, const float *x) {
    static const hone_grid grid = {-8, 7, 0.2f, NULL};
    return scaled(out, x, &grid, 4);
}

bool hone_block_q4_1(unsigned char *out, const float *x) {
    static const hone_grid grid = {0, 15, 0.15f, NULL};
    return shifted(out, x, &grid, 4);
}

bool hone_block_q5_0(unsigned char *out, const float *x) {
    static const hone_grid grid = {-16, 15, 0.1f, NULL};
    return scaled(out, x, &grid, 5);
}

bool hone_block_q5_1(unsigned char *out, const float *x) {
    static const hone_grid grid = {0, 31, 0.08f, NULL};
    return shifted(out, x, &grid, 5);
}

bool hone_block_iq4_nl(unsigned char *out, const float *x) {
    static const hone_grid grid = {-127, 113, 0.2f, hone_iq4_values};
    return scaled(out, x, &grid, 4);
}

/* The bytes of gguf-py: d = max|x| / 127 in f32, q = round(x * (1 / d)) with halves away from zero. */
bool hone_block_q8_0(unsigned char *out, const float *x) {
    float most = 0, stored;
    for (int i = 0; i < N; i++) most = fmaxf(most, fabsf(x[i]));
    float inverse = 1 / (most / 127);
    if (!hone_put_half(out, &stored, most / 127)) return false;
    /* Below 2^-128 the inverse overflows; the scale is then zero as a half, and so is every value. */
    if (!isfinite(inverse)) inverse = 0;
    for (int i = 0; i < N; i++) out[2 + i] = (unsigned char)(int8_t)roundf(x[i] * inverse);
    return true;
}

/* --- MXFP4 --- */

static const signed char e2m1[16] = {-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12};

/* `x` is scaled by 2^-exponent to magnitudes below 1. The scale's own exponent, as stored. */
static int best_exponent(const float *x, int exponent, const hone_grid *grid) {
    int best = 0;
    float least = INFINITY;
    for (int power = -5; power <= -2; power++) {
        int stored = power + exponent + 128;
        stored = stored < 0 ? 0 : stored > 254 ? 254 : stored;
        hone_affine at = {ldexpf(1, stored - 128 - exponent), 0};
        float error = hone_fit_measure(x, N, grid, at).rr;
        if (error >= least) continue;
        least = error;
        best = stored;
    }
    return best;
}

bool hone_block_mxfp4(unsigned char *out, const float *x) {
    static const hone_grid grid = {-12, 12, 0, e2m1};
    float most = 0, unit[N];
    uint8_t codes[N];
    int exponent;
    for (int i = 0; i < N; i++) most = fmaxf(most, fabsf(x[i]));
    frexpf(most, &exponent);
    for (int i = 0; i < N; i++) unit[i] = ldexpf(x[i], -exponent);
    out[0] = (unsigned char)best_exponent(unit, exponent, &grid);
    hone_fit_codes(codes, unit, N, &grid, (hone_affine){ldexpf(1, out[0] - 128 - exponent), 0});
    /* Places 0 … 6 are -12 … -1, nibbles 15 … 9; places 8 … 15 are nibbles 0 … 7, and 7 is a zero too. */
    for (int i = 0; i < N; i++) {
        codes[i] = (uint8_t)(codes[i] < 7 ? 15 - codes[i] : codes[i] > 7 ? codes[i] - 8 : 0);
    }
    put_nibbles(out + 1, codes);
    return true;
}
