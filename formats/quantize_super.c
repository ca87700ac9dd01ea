/*
 * Blocks of 256 values in parts of 16 or 32, whose scales (and offsets) are codes too, under one scale of the block.
 * i counts values, j the parts; h = half (binary16).
 *
 *     Q2_K    u8 s[16], u8 q[64], h d, h dmin          d * (s[j] & 15) * v(i) - dmin * (s[j] >> 4)
 *     Q3_K    u8 high[32], u8 q[64], u8 s[12], h d     d * (S(j) - 32) * (v(i) - 4 + 4 * high bit)
 *     Q4_K    h d, h dmin, u8 s[12], u8 q[128]         d * S(j) * v(i) - dmin * M(j)
 *     Q5_K    h d, h dmin, u8 s[12], high[32], q[128]  the same, with a high bit
 *     Q6_K    u8 q[128], u8 high[64], i8 s[16], h d    d * s[j] * (v(i) + 16 * high bits - 32)
 *     IQ4_XS  h d, u16 high, u8 s[4], u8 q[128]        d * (S(j) - 32) * hone_iq4_values[v(i)]
 *
 * First each part gets the scale (and offset) that suits it best. Then, for the block's scales, every part takes the codes
 * that leave it the least error, of those next to the rounded ones, and the block's scales are fitted to all codes.
 *
 * Source of the layouts: ggml/src/ggml-common.h and gguf/quants.py of ggml-org.
 */
#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "formats/quantize_blocks.h"
#include "formats/quantize_fit.h"

enum { N = 256, PARTS = 16, PASSES = 3 };

/* How the parts of a type are scaled. */
typedef struct layout {
    int parts, n;   /* so many, of n values each */
    bool offsets;   /* scales and offsets, both >= 0; else scales of either sign */
    int low, high;  /* codes of scales (and of offsets) */
    hone_grid grid; /* codes of values */
} layout;

typedef struct block {
    float d, dmin;                /* as stored */
    unsigned char half[2][2];     /* their bytes */
    int scale[PARTS], min[PARTS]; /* codes */
    uint8_t code[N];
} block;

static int round_to(float x, int low, int high) {
    return x <= (float)low ? low : x >= (float)high ? high : (int)lrintf(x);
}

static float divide(float x, float by) {
    return by != 0 ? x / by : 0;
}

static bool set_scales(block *b, double d, double dmin) {
    return hone_put_half(b->half[0], &b->d, (float)d) &&
           hone_put_half(b->half[1], &b->dmin, (float)dmin);
}

static hone_affine part_of(const block *b, int j) {
    return (hone_affine){b->d * (float)b->scale[j], -b->dmin * (float)b->min[j]};
}

/* Chooses the codes of part j near those of its `ideal`; the residue under them. */
static hone_residue choose(block *b, int j, const float *x, const layout *l, hone_affine ideal) {
    hone_residue best = {.rr = INFINITY};
    int about = round_to(divide(ideal.scale, b->d), l->low, l->high), scale = about, min = 0;
    for (int next = about - 1; next <= about + 1; next++) {
        if (next < l->low || next > l->high) continue;
        hone_affine at = {b->d * (float)next, ideal.offset};
        hone_residue left = hone_fit_measure(x, l->n, &l->grid, at);
        int offset = 0;
        if (l->offsets) { /* under these codes the best offset is what is left on average */
            at.offset += left.r / (float)l->n;
            offset = round_to(divide(-at.offset, b->dmin), 0, l->high);
            at.offset = -b->dmin * (float)offset;
            left = hone_fit_measure(x, l->n, &l->grid, at);
        }
        if (left.rr >= best.rr) continue;
        best = left;
        scale = next;
        min = offset;
    }
    b->scale[j] = scale;
    b->min[j] = min;
    return best;
}

/* Normal equations of the block's scales, about those that it has. */
typedef struct normal {
    double ss, sm, mm, rs, rm, error;
} normal;

static void add(normal *to, hone_residue r, int scale, int min, int n) {
    double s = scale, m = -min;
    to->ss += s * s * (double)r.qq;
    to->sm += s * m * (double)r.q;
    to->mm += m * m * n;
    to->rs += s * (double)r.rq;
    to->rm += m * (double)r.r;
    to->error += (double)r.rr;
}

/* The block's scales that fit all codes best; false when they would not be a block's scales. */
static bool refit(block *b, const normal *e) {
    double determinant = e->ss * e->mm - e->sm * e->sm, d = (double)b->d, dmin = (double)b->dmin;
    if (e->ss <= 0) return false;
    if (determinant > 1e-9 * e->ss * e->mm) {
        d += (e->mm * e->rs - e->sm * e->rm) / determinant;
        dmin += (e->ss * e->rm - e->sm * e->rs) / determinant;
    } else {
        d += e->rs / e->ss;
    }
    return dmin >= 0 && set_scales(b, d, dmin);
}

static bool start(block *b, hone_affine *ideal, const float *x, const layout *l) {
    float most = 0, min = 0;
    for (int j = 0; j < l->parts; j++) {
        const float *part = x + j * l->n;
        ideal[j] = l->offsets ? hone_fit_affine(part, l->n, &l->grid, true)
                              : (hone_affine){hone_fit_scale(part, l->n, &l->grid), 0};
        if (fabsf(ideal[j].scale) > fabsf(most)) most = ideal[j].scale;
        min = fmaxf(min, -ideal[j].offset);
    }
    float end = (float)(l->offsets ? l->high : l->low); /* the end that reaches further */
    return set_scales(b, (double)(most / end), (double)(min / (float)l->high));
}

static bool fit(block *out, const float *x, const layout *l) {
    hone_affine ideal[PARTS];
    block b = {0};
    double least = INFINITY;
    if (!start(&b, ideal, x, l)) return false;
    for (int pass = 0; pass < PASSES; pass++) {
        normal equations = {0};
        for (int j = 0; j < l->parts; j++) {
            hone_residue left = choose(&b, j, x + j * l->n, l, ideal[j]);
            add(&equations, left, b.scale[j], b.min[j], l->n);
        }
        if (equations.error >= least) break;
        least = equations.error;
        *out = b;
        if (!refit(&b, &equations)) break;
    }
    for (int j = 0; j < l->parts; j++) {
        hone_fit_codes(out->code + j * l->n, x + j * l->n, l->n, &l->grid, part_of(out, j));
    }
    return true;
}

/* --- Bits --- */

/* Bits first … first + bits - 1 of the codes, `spread` values in neighbouring bytes: byte b of a run of `spread` holds
 * values b, b + spread, b + 2 spread … from its lowest bits up. */
static void pack(unsigned char *out, const uint8_t *code, int first, int bits, int spread) {
    int per_byte = 8 / bits, mask = (1 << bits) - 1;
    for (int i = 0; i < N; i++) {
        int run = i / (spread * per_byte), shift = i / spread % per_byte * bits;
        unsigned char *to = out + run * spread + i % spread;
        int value = (code[i] >> first & mask) << shift;
        *to = (unsigned char)(shift ? *to | value : value);
    }
}

/* The 6-bit scales and offsets of Q4_K and Q5_K: s[0..3] scales 0-3, s[4..7] offsets 0-3, s[8..11] the low nibbles of 4-7;
 * their high two bits lie above those of 0-3. */
static void pack_scales(unsigned char *s, const block *b) {
    for (int j = 0; j < 4; j++) {
        int scale = b->scale[j + 4], min = b->min[j + 4];
        s[j] = (unsigned char)(b->scale[j] | scale >> 4 << 6);
        s[j + 4] = (unsigned char)(b->min[j] | min >> 4 << 6);
        s[j + 8] = (unsigned char)((scale & 15) | (min & 15) << 4);
    }
}

/* --- Types --- */

bool hone_block_q2_k(unsigned char *out, const float *x) {
    static const layout l = {16, 16, true, 0, 15, {0, 3, 0.4f, NULL}};
    block b;
    if (!fit(&b, x, &l)) return false;
    for (int j = 0; j < 16; j++) out[j] = (unsigned char)(b.scale[j] | b.min[j] << 4);
    pack(out + 16, b.code, 0, 2, 32);
    memcpy(out + 80, b.half, 4);
    return true;
}

bool hone_block_q3_k(unsigned char *out, const float *x) {
    static const layout l = {16, 16, false, -32, 31, {-4, 3, 0.35f, NULL}};
    block b;
    if (!fit(&b, x, &l)) return false;
    pack(out, b.code, 2, 1, 32);
    pack(out + 32, b.code, 0, 2, 32);
    memset(out + 96, 0, 12);
    for (int j = 0; j < 16; j++) {
        int scale = b.scale[j] + 32;
        out[96 + j % 8] |= (unsigned char)((scale & 15) << 4 * (j / 8));
        out[104 + j % 4] |= (unsigned char)(scale >> 4 << 2 * (j / 4));
    }
    memcpy(out + 108, b.half[0], 2);
    return true;
}

bool hone_block_q4_k(unsigned char *out, const float *x) {
    static const layout l = {8, 32, true, 0, 63, {0, 15, 0.12f, NULL}};
    block b;
    if (!fit(&b, x, &l)) return false;
    memcpy(out, b.half, 4);
    pack_scales(out + 4, &b);
    pack(out + 16, b.code, 0, 4, 32);
    return true;
}

bool hone_block_q5_k(unsigned char *out, const float *x) {
    static const layout l = {8, 32, true, 0, 63, {0, 31, 0.07f, NULL}};
    block b;
    if (!fit(&b, x, &l)) return false;
    memcpy(out, b.half, 4);
    pack_scales(out + 4, &b);
    pack(out + 16, b.code, 4, 1, 32);
    pack(out + 48, b.code, 0, 4, 32);
    return true;
}

bool hone_block_q6_k(unsigned char *out, const float *x) {
    static const layout l = {16, 16, false, -128, 127, {-32, 31, 0.05f, NULL}};
    block b;
    if (!fit(&b, x, &l)) return false;
    pack(out, b.code, 0, 4, 64);
    pack(out + 128, b.code, 4, 2, 32);
    for (int j = 0; j < 16; j++) out[192 + j] = (unsigned char)(int8_t)b.scale[j];
    memcpy(out + 208, b.half[0], 2);
    return true;
}

bool hone_block_iq4_xs(unsigned char *out, const float *x) {
    static const layout l = {8, 32, false, -32, 31, {-127, 113, 0.2f, hone_iq4_values}};
    block b;
    unsigned high = 0;
    if (!fit(&b, x, &l)) return false;
    memcpy(out, b.half[0], 2);
    memset(out + 4, 0, 4);
    for (int j = 0; j < 8; j++) {
        unsigned scale = (unsigned)(b.scale[j] + 32);
        out[4 + j / 2] |= (unsigned char)((scale & 15) << 4 * (j & 1));
        high |= scale >> 4 << 2 * j;
    }
    out[2] = (unsigned char)high;
    out[3] = (unsigned char)(high >> 8);
    pack(out + 8, b.code, 0, 4, 16);
    return true;
}
