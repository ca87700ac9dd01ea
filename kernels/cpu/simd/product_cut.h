/*
 * How the product with a frozen weight is cut: the columns of the result into parts, each one thread's, with the tokens cut
 * as well where that makes too few; and the contraction into slabs, whose packed weights stay in a thread's caches.
 */
#ifndef HONE_KERNELS_CPU_SIMD_PRODUCT_CUT_H
#define HONE_KERNELS_CPU_SIMD_PRODUCT_CUT_H

#include "base/parallel.h"
#include "kernels/cpu/simd/tile.h"

enum {
    VECTORS = 2,
    PANEL = VECTORS * VW, /* columns that are packed together */
    PART = 320,           /* columns of the result in a part, about */
    SLAB_COUNT = 1 << 18, /* weights in a slab, at most */
    BLOCK = 256           /* whole blocks of every dtype */
};

typedef struct product_cut {
    int64_t columns, depth; /* of the result; of the contraction */
    int64_t unit, units; /* columns of the result that stay together; how many of these there are */
    int64_t parts, token_parts;
    int64_t widest;     /* columns of a part, at most */
    int64_t slab_depth; /* of the contraction in a slab, in whole blocks where it is cut */
} product_cut;

typedef struct product_part {
    int64_t first, columns; /* of the result */
    int64_t begin, end;     /* tokens: whole tiles, of which the last may reach past the end */
} product_part;

/* Every thread gets as many parts. Of a weight w [out,in] the product is over inputs when `forward`, else over outputs. */
static inline product_cut cut_product(hone_dtype type, bool forward, int64_t in, int64_t out) {
    product_cut cut = {.columns = forward ? out : in, .depth = forward ? in : out};
    int64_t block = hone_dtype_describe((uint32_t)type)->block, threads = hone_threads();
    cut.unit = forward || block < PANEL ? (int64_t)PANEL : block;
    cut.units = (cut.columns + cut.unit - 1) / cut.unit;
    cut.parts = smaller(round_up((cut.columns + PART - 1) / PART, threads), cut.units);
    cut.token_parts = cut.parts < threads ? (threads + cut.parts - 1) / cut.parts : 1;
    cut.widest = (cut.units + cut.parts - 1) / cut.parts * cut.unit;
    int64_t slabs = (cut.depth * cut.widest + SLAB_COUNT - 1) / SLAB_COUNT;
    cut.slab_depth = slabs <= 1 ? cut.depth : round_up((cut.depth + slabs - 1) / slabs, BLOCK);
    cut.slab_depth = smaller(cut.slab_depth, cut.depth);
    return cut;
}

/* Part `i` of cut.parts * cut.token_parts, of so many tiles of `rows` tokens. */
static inline product_part part_of(const product_cut *cut, int64_t i, int64_t tiles, int64_t rows) {
    int64_t part = i % cut->parts, token_part = i / cut->parts;
    int64_t first = cut->units * part / cut->parts * cut->unit;
    int64_t last = cut->units * (part + 1) / cut->parts * cut->unit;
    return (product_part){
        .first = first,
        .columns = smaller(last, cut->columns) - first,
        .begin = tiles * token_part / cut->token_parts * rows,
        .end = tiles * (token_part + 1) / cut->token_parts * rows,
    };
}

#endif
