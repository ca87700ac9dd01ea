/*
 * Products with frozen weights in int8 (--compute int8): how both sides are held.
 *
 * Activations x [T,width] are cut into blocks of 64 along a row; each has a scale of its own, so that
 * x = scale q + scale / 254 r with q and r in [-127, 127]. The residual r counts only where a block is marked: those whose
 * largest element stands so far out that the others would drown in rounding (arXiv 2503.08040). Before that, columns
 * are multiplied by the weights' own factors.
 *
 * Weights w [out,in] are row_factor[o] column_factor[i] block_scale[o/64][i/64] q[o][i], in blocks of 64 x 64: one copy
 * serves the product (contraction over inputs) and the gradient of its input (over outputs). A column's factor is its
 * largest element, a row's then its largest that is left; without them a column of small weights that meets large
 * activations would be lost.
 *
 * Inside a block sums are exact in int32; across blocks they are taken in f32, in order.
 */
#ifndef HONE_KERNELS_INT8_H
#define HONE_KERNELS_INT8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/host_device.h"
#include "base/status.h"
#include "kernels/real.h"

enum {
    HONE_INT8_BLOCK = 64, /* elements that share a scale, along both sides of a weight */
    HONE_INT8_TILE = 12,  /* tokens that kernels take at once */
    HONE_INT8_FINE = 254, /* the step of q holds so many steps of the residual */
    HONE_INT8_NARROW =
        2, /* blocks: rows that are no wider always take residuals, which cost little there */
};

HONE_HOST_DEVICE static inline int64_t hone_int8_blocks(int64_t width) {
    return (width + HONE_INT8_BLOCK - 1) / HONE_INT8_BLOCK;
}

HONE_HOST_DEVICE static inline int64_t hone_int8_tiles(int64_t tokens) {
    return (tokens + HONE_INT8_TILE - 1) / HONE_INT8_TILE;
}

/*
 * Quantised activations: views into one piece of memory of hone_int8_rows_bytes(), aligned to 64 bytes. Tile by tile of
 * 12 tokens, block by block:
 *
 *     q, residual          [tiles][blocks][12][64]
 *     scale, sum           [tiles][blocks][12]        sum of q, exact; of tokens past the end both are 0
 *     residual_sum         [tiles][blocks][12]
 *     marked               [tiles][blocks]            how many of the twelve have an outlier
 *
 * Where none has one, residuals are not written; where one has, those of the others are 0. Narrow rows all take theirs.
 */
typedef struct hone_int8_rows {
    int64_t tokens, width;
    int8_t *q, *residual;
    float *scale;
    int32_t *sum, *residual_sum;
    uint8_t *marked;
} hone_int8_rows;

size_t hone_int8_rows_bytes(int64_t tokens, int64_t width);
hone_int8_rows hone_int8_rows_view(void *memory, int64_t tokens, int64_t width);

/* Whether the residuals of a tile's block are there. */
HONE_HOST_DEVICE static inline bool hone_int8_is_fine(const hone_int8_rows *rows,
                                                      int64_t tile_block) {
    return rows->marked[tile_block] > 0 || hone_int8_blocks(rows->width) <= HONE_INT8_NARROW;
}

/* Blocks of single tokens' activations, and those of them that have an outlier; in device memory. */
typedef struct hone_int8_counts {
    int64_t blocks, marked;
} hone_int8_counts;

/* Adds those of `rows`; counts may be NULL. */
void hone_int8_count(hone_int8_counts *counts, const hone_int8_rows *rows);

/* A frozen weight for int8 products. */
typedef struct hone_int8_weight {
    int64_t out, in;
    const void *source; /* the weight as its file holds it */
    hone_dtype type;
    const float *row_factor;    /* [out] */
    const float *column_factor; /* [in] */
    const int8_t *q; /* [out][in]; NULL: quantised from the source, slab by slab, each time */
    const float *block_scale; /* [blocks(out)][blocks(in)]; with q only */
    hone_int8_counts *counts; /* of the activations that met it; may be NULL */
} hone_int8_weight;

/* The factor of a row or column whose largest magnitude is `largest`: 1 where there is nothing to scale. */
HONE_HOST_DEVICE static inline float hone_int8_factor(float largest) {
    return largest > 1e-30f && largest < 3e38f ? largest : 1.0f;
}

#endif
