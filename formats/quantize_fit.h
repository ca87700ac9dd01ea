/*
 * The scale, and the offset, under which a block of values loses least when each is replaced by scale * code + offset.
 *
 * For given codes the best scale and offset are a linear least-squares fit; for a given scale and offset the best code of
 * each value is the nearest. The two take turns from several starts, and what leaves the least squared error is kept.
 */
#ifndef HONE_FORMATS_QUANTIZE_FIT_H
#define HONE_FORMATS_QUANTIZE_FIT_H

#include <stdbool.h>
#include <stdint.h>

/* The codes of a type: all integers from low to high, or the 16 ascending `values`, of which low and high are the ends. */
typedef struct hone_grid {
    float low, high;
    float
        reach; /* starts put the block's ends at the grid's ends, stretched and shrunk by up to this part */
    const int8_t *values; /* NULL: integers */
} hone_grid;

typedef struct hone_affine {
    float scale, offset;
} hone_affine;

/* Sums over a block, q the nearest codes and r = x - (scale * q + offset) what they leave. */
typedef struct hone_residue {
    float rr, rq, r, qq, q;
} hone_residue;

/* n: a multiple of 4, here as below. */
hone_residue hone_fit_measure(const float *x, int n, const hone_grid *grid, hone_affine at);

/* The nearest codes, counted from low; or places in `values`. */
void hone_fit_codes(uint8_t *codes, const float *x, int n, const hone_grid *grid, hone_affine at);

/* The best scale, of either sign, with offset 0. */
float hone_fit_scale(const float *x, int n, const hone_grid *grid);

/* The best scale >= 0 and offset; with `below_zero` the offset is never above 0. grid->low is 0. */
hone_affine hone_fit_affine(const float *x, int n, const hone_grid *grid, bool below_zero);

#endif
