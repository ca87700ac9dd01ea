/*
 * GEMM of hone's own, for builds without oneDNN. C is cut into blocks that the threads share out. Of each a thread packs the
 * panels of A and B that it needs, DEPTH of the inner size at a time, in the order in which tile.h reads them, and merges
 * tile by tile into C. The order of every sum depends on the sizes alone.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/tile.h"

enum {
    WIDE = NV * VW, /* columns of a tile */
    ROWS = 16 * MR, /* rows of a block */
    COLUMNS = 128,  /* its columns: a multiple of WIDE at every level */
    DEPTH =
        256, /* a tile's panels of A and B then stay in the nearest cache, a block's in the next */
    WORK_GRAIN = 1 << 18 /* products that are worth a thread */
};
_Static_assert(COLUMNS % WIDE == 0, "blocks are cut into whole tiles");

typedef struct gemm_call {
    float *c;
    const float *a, *b;
    int64_t m, n, k;
    bool trans_a, trans_b;
    int64_t lda, ldb, ldc;
    float alpha, beta;
} gemm_call;

/* Tiles [depth, MR] of op(A), rows from `row` on and columns from `inner` on; rows beyond `rows` become zero. */
static void pack_left(float *to, const gemm_call *g, int64_t row, int64_t rows, int64_t inner,
                      int64_t depth) {
    for (; rows > 0; row += MR, rows -= MR, to += MR * depth) {
        int64_t have = smaller(rows, MR);
        if (!g->trans_a) {
            pack_transposed(to, MR, g->a + row * g->lda + inner, g->lda, have, depth);
            continue;
        }
        const float *from = g->a + inner * g->lda + row;
        for (int64_t l = 0; l < depth; l++) {
            for (int64_t r = 0; r < MR; r++)
                to[l * MR + r] = r < have ? from[l * g->lda + r] : 0.0f;
        }
    }
}

/* Tiles [depth, WIDE] of op(B), rows from `inner` on and columns from `column` on; the last vector is filled with zeros. */
static void pack_right(float *to, const gemm_call *g, int64_t column, int64_t columns,
                       int64_t inner, int64_t depth) {
    for (; columns > 0; column += WIDE, columns -= WIDE, to += WIDE * depth) {
        int64_t have = smaller(columns, WIDE);
        if (g->trans_b)
            pack_transposed(to, WIDE, g->b + column * g->ldb + inner, g->ldb, have, depth);
        else
            pack_rows(to, WIDE, g->b + inner * g->ldb + column, g->ldb, depth, have, 1.0f);
    }
}

/* c[columns] = alpha sum + beta c; does not read c when beta is 0. */
HONE_INLINE void merge_row(float *c, const float *sum, int64_t columns, float alpha, float beta) {
    int64_t j = 0;
    for (; j + VW <= columns; j += VW) {
        vf found = vf_load(sum + j) * alpha;
        vf_store(c + j, beta != 0.0f ? found + vf_load(c + j) * beta : found);
    }
    for (; j < columns; j++) c[j] = beta != 0.0f ? sum[j] * alpha + c[j] * beta : sum[j] * alpha;
}

/* One block of C from its packed panels. */
static void multiply_block(float *c, const gemm_call *g, const float *left, const float *right,
                           int64_t rows, int64_t columns, int64_t depth, float beta) {
    float sum[MR * WIDE];
    for (int64_t j = 0; j < columns; j += WIDE) {
        int64_t wide = smaller(columns - j, WIDE);
        for (int64_t i = 0; i < rows; i += MR) {
            tile_rows(sum, WIDE, left + i * depth, 1, MR, right + j * depth, WIDE, depth,
                      (wide + VW - 1) / VW, false);
            for (int64_t r = 0; r < MR && i + r < rows; r++)
                merge_row(c + (i + r) * g->ldc + j, sum + r * WIDE, wide, g->alpha, beta);
        }
    }
}

static void blocks_of(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const gemm_call *g = context;
    float left[ROWS * DEPTH];
    float right[COLUMNS * DEPTH];
    int64_t across = (g->n + COLUMNS - 1) / COLUMNS;
    for (int64_t block = begin; block < end; block++) {
        int64_t row = block / across * ROWS;
        int64_t column = block % across * COLUMNS;
        int64_t rows = smaller(g->m - row, ROWS);
        int64_t columns = smaller(g->n - column, COLUMNS);
        int64_t inner = 0;
        do { /* once also where the sum is empty */
            int64_t depth = smaller(g->k - inner, DEPTH);
            pack_left(left, g, row, rows, inner, depth);
            pack_right(right, g, column, columns, inner, depth);
            multiply_block(g->c + row * g->ldc + column, g, left, right, rows, columns, depth,
                           inner == 0 ? g->beta : 1.0f);
            inner += depth;
        } while (inner < g->k);
    }
}

void HONE_SIMD(hone_gemm)(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                          bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                          float alpha, float beta) {
    gemm_call call = {c, a, b, m, n, k, trans_a, trans_b, lda, ldb, ldc, alpha, beta};
    int64_t blocks = (m + ROWS - 1) / ROWS * ((n + COLUMNS - 1) / COLUMNS);
    int64_t work = smaller(m, ROWS) * smaller(n, COLUMNS) * k;
    hone_parallel_for(blocks, WORK_GRAIN / (work + 1) + 1, blocks_of, &call);
}
