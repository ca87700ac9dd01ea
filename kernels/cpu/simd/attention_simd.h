/*
 * What both passes of attention share. A task works on one key/value head of one document: the queries of all heads
 * that read it lie together, row (i, g) for query i and head g of the group, so that they share packed keys.
 */
#ifndef HONE_KERNELS_CPU_SIMD_ATTENTION_SIMD_H
#define HONE_KERNELS_CPU_SIMD_ATTENTION_SIMD_H

#include "kernels/cpu/simd/curves.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/tile.h"

enum {
    KEYS = 128,             /* keys of a tile */
    KEYS_PADDED = KEYS + 16 /* row stride of scores; room for whole tiles of MR keys */
};
_Static_assert((KEYS + MR - 1) / MR * MR <= KEYS_PADDED, "scores are read by whole tiles of keys");

/* Keys that a query sees at most: more than any run has where the shape sets no window. */
HONE_INLINE int64_t window_of(hone_attention_shape shape) {
    return shape.window > 0 ? shape.window : INT32_MAX;
}

/* Columns of a tile that no row of a panel sees, in whole vectors: its first row sees none below `first`. */
HONE_INLINE int64_t columns_hidden(int64_t first) {
    return first > 0 ? first / VW * VW : 0;
}

/* Queries of a block, so that it has about `rows` rows. */
HONE_INLINE int64_t queries_of(int64_t group, int64_t rows) {
    return group < rows ? rows / group : 1;
}

/* The next n floats of scratch, 64-byte aligned. */
HONE_INLINE float *scratch_take(float **scratch, int64_t n) {
    float *taken = *scratch;
    *scratch += round_up(n, 16);
    return taken;
}

/* Rows (i, g) of `queries` tokens into [., padded], scaled; `from` is the first token's first head of the group, and
 * tokens are `stride` apart. Rows up to a whole tile become zero. */
HONE_INLINE void pack_queries(float *to, int64_t padded, const float *from, int64_t stride,
                              int64_t queries, int64_t group, int64_t head_size, float scale) {
    for (int64_t i = 0; i < queries; i++)
        pack_rows(to + i * group * padded, padded, from + i * stride, head_size, group, head_size,
                  scale);
    int64_t rows = queries * group;
    memset(to + rows * padded, 0, (size_t)((round_up(rows, MR) - rows) * padded) * 4);
}

/* Lanes of a vector that starts at column `at` and lie below `count`. */
HONE_INLINE vi lanes_below(int64_t at, int64_t count) {
    vi lane;
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++) lane[i] = i;
    int32_t left = count - at > VW ? VW : (int32_t)(count - at);
    return lane < left;
}

#endif
