/*
 * Products with frozen weights of any dtype in bf16: both sides are rounded, the sums are f32. Work is cut as in
 * linear_simd.c: a part of the columns of the result is one thread's, which packs their weights by slabs into panels of two
 * vectors of columns. Here two neighbours along the contraction lie together, the first in the lower half of 32 bits:
 *
 *     panel   [pairs of the slab's contraction][2 vectors], then the low-rank factor's rows in f32 [R][2 vectors]
 *
 * The other side is rounded once, into rows of whole pairs and whole tiles of tokens, zeros past the end, that all parts
 * read; with it go the low-rank part's rows. A tile's sums stay in registers over the whole contraction.
 */
#include <assert.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/product_cut.h"
#include "kernels/cpu/simd/tile.h"

enum {
    LINE = 16, /* words of 32 bits in a line of a cache */
    GRAIN = 8  /* tokens that a thread rounds at least */
};

/* Tokens of a tile: as many as the registers hold sums of, beside the weights' halves where they are taken apart. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { ROWS = 12, GROUP = 3 };
#else
enum { ROWS = 4, GROUP = 2 };
#endif

typedef struct product_call {
    float *result;
    const float *from; /* the left side in f32 */
    const void *w;
    hone_dtype type;
    bool forward; /* over inputs; else over outputs */
    int64_t tokens, in;
    product_cut cut;
    int64_t stride;           /* between rows of the left side: the depth in whole pairs */
    const hone_low_rank *low; /* may be NULL */
    float beta;
    uint16_t *left; /* [tiles][ROWS][stride] */
    float *t;       /* [tiles][ROWS][R] of the low-rank part */
    uint32_t *scratch;
    int64_t left_size, t_size;         /* words */
    int64_t scratch_size, panels_size; /* words, per thread; those of the panels */
} product_call;

/* The weights between a part of the columns and a part of the contraction. */
typedef struct slab {
    const product_call *call;
    int64_t first, columns;
    int64_t begin, depth;
    const uint16_t *w; /* in bf16 */
    int64_t stride;    /* between its rows; whole pairs when forward */
    const hone_low_rank *low;
    float beta;
    uint32_t *panels;
} slab;

static int64_t rank_of(const hone_low_rank *low) {
    return low ? low->rank : 0;
}

static int64_t pairs_of(int64_t depth) {
    return (depth + 1) / 2;
}

static int64_t panel_size(const slab *s) {
    return (pairs_of(s->depth) + rank_of(s->low)) * PANEL;
}

static int64_t panels_of(const slab *s) {
    return (s->columns + PANEL - 1) / PANEL;
}

/* --- The left side --- */

static void round_rows(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const product_call *call = context;
    int64_t rank = rank_of(call->low);
    for (int64_t row = begin; row < end; row++) {
        uint16_t *to = call->left + row * call->stride;
        bool given = row < call->tokens;
        int64_t n = given ? call->cut.depth : 0;
        if (given) round_to_bf16(to, call->from + row * n, n);
        memset(to + n, 0, (size_t)(call->stride - n) * sizeof *to);
        if (rank == 0) continue;
        const float *t = call->low->t + (given ? row : 0) * rank; /* past the end any will do */
        memcpy(call->t + row * rank, t, (size_t)rank * sizeof *t);
    }
}

/* --- Packing --- */

/* Rounds rows of w into `to`, so many inputs of each and a zero where that is odd. */
static void round_weights(uint16_t *to, int64_t stride, const product_call *call, int64_t row,
                          int64_t rows, int64_t input, int64_t inputs) {
    hone_decode_fn decode = HONE_SIMD_OF_BASE(hone_decoder)(call->type);
    size_t row_bytes = hone_dtype_row_bytes(call->type, call->in);
    const unsigned char *from = (const unsigned char *)call->w + (size_t)row * row_bytes;
    for (int64_t r = 0; r < rows; r++, from += row_bytes, to += stride) {
        for (int64_t i = 0; i < inputs; i += BLOCK) {
            float values[BLOCK];
            int64_t n = smaller(inputs - i, BLOCK);
            decode(values, from + hone_dtype_row_bytes(call->type, input + i), n);
            round_to_bf16(to + i, values, n);
        }
        memset(to + inputs, 0, (size_t)(stride - inputs) * sizeof *to);
    }
}

static void take_weights(slab *s, uint32_t *rounded) {
    const product_call *call = s->call;
    bool forward = call->forward;
    int64_t row = forward ? s->first : s->begin, input = forward ? s->begin : s->first;
    if (call->type == HONE_BF16 && call->in % 2 == 0 && (uintptr_t)call->w % 4 == 0) {
        s->w = (const uint16_t *)call->w + row * call->in + input;
        s->stride = call->in;
        return;
    }
    int64_t rows = forward ? s->columns : s->depth, inputs = forward ? s->depth : s->columns;
    s->stride = 2 * pairs_of(inputs);
    s->w = (uint16_t *)rounded;
    round_weights((uint16_t *)rounded, s->stride, call, row, rows, input, inputs);
}

HONE_INLINE vu load_halves(const uint16_t *p, int64_t n) {
    vh half = {0};
    memcpy(&half, p, n < VW ? (size_t)n * sizeof *p : sizeof half);
    return __builtin_convertvector(half, vu);
}

/* Pairs of neighbouring rows, of which the last may have no other. */
static void pack_pairs(uint32_t *to, const slab *s, int64_t column, int64_t columns) {
    for (int64_t k = 0; k < s->depth; k += 2, to += PANEL) {
        const uint16_t *row = s->w + k * s->stride + column;
        for (int64_t n = 0; n < PANEL; n += VW) {
            int64_t left = columns - n > 0 ? columns - n : 0;
            vu pairs = load_halves(row + n, left);
            if (k + 1 < s->depth) pairs |= load_halves(row + s->stride + n, left) << 16;
            memcpy(to + n, &pairs, sizeof pairs);
        }
    }
}

static void pack(const slab *s) {
    bool forward = s->call->forward;
    int64_t pairs = pairs_of(s->depth);
    for (int64_t p = 0; p < panels_of(s); p++) {
        int64_t column = p * PANEL, columns = smaller(s->columns - column, PANEL);
        uint32_t *to = s->panels + p * panel_size(s);
        if (forward) { /* pairs lie together already */
            const void *from = s->w + column * s->stride;
            pack_transposed((float *)to, PANEL, from, s->stride / 2, columns, pairs);
        } else {
            pack_pairs(to, s, column, columns);
        }
        if (s->low) {
            pack_low_rank((float *)(to + pairs * PANEL), PANEL, s->low, forward, s->first + column,
                          columns, s->call->cut.columns);
        }
    }
}

/* --- The inner loops --- */

typedef struct tile_sums {
    vf of[ROWS][VECTORS];
} tile_sums;

/* sum + the products of both halves. VDPBF16PS rounds after each product and sum, takes subnormal numbers for zero and makes
 * none; a NaN stays one. */
HONE_INLINE vf dot2(vf sum, vu a, vu b) {
#if defined(__AVX512BF16__)
    /* In assembly: as dot (int8_dot.h). */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#else
    sum += (vf)(a << 16) * (vf)(b << 16);
    return sum + (vf)(a & 0xffff0000u) * (vf)(b & 0xffff0000u);
#endif
}

/* Adds left [ROWS, pairs] times panel [pairs, 2 vectors]. */
HONE_INLINE void add_pairs(tile_sums *sums, const uint16_t *left, int64_t stride,
                           const uint32_t *panel, int64_t pairs) {
    const uint16_t *group[ROWS / GROUP];
#pragma GCC unroll 4
    for (int g = 0; g < ROWS / GROUP; g++) group[g] = left + g * GROUP * stride;
    for (int64_t k = 0; k < pairs; k++, panel += PANEL) {
        vu right[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) memcpy(&right[v], panel + v * VW, sizeof right[v]);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            uint32_t pair;
            memcpy(&pair, group[r / GROUP] + r % GROUP * stride + 2 * k, sizeof pair);
            vu one = pair - (vu){0};
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) sums->of[r][v] = dot2(sums->of[r][v], one, right[v]);
        }
    }
}

/* Adds t [ROWS, R] times factor [R, 2 vectors]. */
HONE_INLINE void add_low_rank(tile_sums *sums, const float *t, int64_t rank, const float *factor) {
    for (int64_t k = 0; k < rank; k++, factor += PANEL) {
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            vf one = vf_set(t[r * rank + k]);
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) sums->of[r][v] += one * vf_load(factor + v * VW);
        }
    }
}

/* Panel `p` for the tile of tokens from `token` on. */
static void run_panel(const slab *s, int64_t token, int64_t p) {
    const product_call *call = s->call;
    int64_t column = p * PANEL, columns = smaller(s->columns - column, PANEL);
    const uint32_t *panel = s->panels + p * panel_size(s);
    float *to = call->result + token * call->cut.columns + s->first + column;
    int64_t rows = smaller(call->tokens - token, ROWS), pairs = pairs_of(s->depth);
    for (int64_t r = 0; r < rows; r++) { /* the lines arrive while the sums are taken */
        __builtin_prefetch(to + r * call->cut.columns, 1);
        __builtin_prefetch(to + r * call->cut.columns + columns - 1, 1);
    }
    tile_sums sums;
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sums.of[r][v] = (vf){0};
    }
    add_pairs(&sums, call->left + token * call->stride + s->begin, call->stride, panel, pairs);
    if (s->low) {
        int64_t rank = s->low->rank;
        add_low_rank(&sums, call->t + token * rank, rank, (const float *)(panel + pairs * PANEL));
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
        if (r >= rows) break;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++)
            write_part(to + r * call->cut.columns + v * VW, sums.of[r][v], columns - v * VW,
                       s->beta);
    }
}

/* --- Parts --- */

static int64_t tiles_of(int64_t tokens) {
    return (tokens + ROWS - 1) / ROWS;
}

/* A part of the columns, for a part of the tokens. */
static void run_part(const product_call *call, int64_t i, uint32_t *scratch) {
    product_part part = part_of(&call->cut, i, tiles_of(call->tokens), ROWS);
    slab s = {.call = call, .panels = scratch, .first = part.first, .columns = part.columns};
    if (part.begin >= part.end) return;
    for (s.begin = 0; s.begin < call->cut.depth; s.begin += call->cut.slab_depth) {
        s.depth = smaller(call->cut.slab_depth, call->cut.depth - s.begin);
        s.low = s.begin == 0 ? call->low : NULL;
        s.beta = s.begin == 0 ? call->beta : 1.0f;
        take_weights(&s, scratch + call->panels_size);
        pack(&s);
        for (int64_t token = part.begin; token < part.end; token += ROWS) {
            for (int64_t p = 0; p < panels_of(&s); p++) run_panel(&s, token, p);
        }
    }
}

static void run_parts(void *context, int64_t begin, int64_t end, int thread) {
    const product_call *call = context;
    for (int64_t i = begin; i < end; i++)
        run_part(call, i, call->scratch + thread * call->scratch_size);
}

/* Cuts the product and sizes what it needs. */
static product_call prepare(hone_dtype type, hone_precision precision, bool forward, int64_t tokens,
                            int64_t in, int64_t out, int64_t rank) {
    assert(precision == HONE_PRODUCTS_BF16);
    product_call call = {.type = type, .forward = forward, .tokens = tokens, .in = in};
    call.cut = cut_product(type, forward, in, out);
    int64_t pairs = pairs_of(call.cut.depth), rows = tiles_of(tokens) * ROWS;
    int64_t slab_pairs = pairs_of(call.cut.slab_depth), widest = call.cut.widest;
    call.stride = 2 * pairs;
    call.left_size = round_up(rows * pairs, LINE);
    call.t_size = round_up(rows * rank, LINE);
    call.panels_size = round_up(widest, PANEL) * (slab_pairs + rank);
    call.scratch_size = call.panels_size + round_up(widest * slab_pairs, LINE);
    return call;
}

static void run(product_call *call, void *workspace) {
    uint32_t *at = workspace;
    call->left = (uint16_t *)at;
    call->t = (float *)(at + call->left_size);
    call->scratch = at + call->left_size + call->t_size;
    hone_parallel_for(tiles_of(call->tokens) * ROWS, GRAIN, round_rows, call);
    hone_parallel_each(call->cut.parts * call->cut.token_parts, run_parts, call);
}

static size_t bf16_workspace(hone_dtype type, hone_precision precision, int64_t tokens, int64_t in,
                             int64_t out, int64_t rank, bool backward) {
    product_call call = prepare(type, precision, !backward, tokens, in, out, rank);
    int64_t words = call.left_size + call.t_size + call.scratch_size * hone_threads();
    return (size_t)words * sizeof(uint32_t);
}

static void bf16_fwd(float *y, const float *x, const void *w, hone_dtype type,
                     hone_precision precision, const hone_low_rank *low, int64_t tokens, int64_t in,
                     int64_t out, float beta, void *workspace) {
    product_call call = prepare(type, precision, true, tokens, in, out, rank_of(low));
    call.result = y, call.from = x, call.w = w;
    call.low = low, call.beta = beta;
    run(&call, workspace);
}

static void bf16_bwd(float *dx, const float *dy, const void *w, hone_dtype type,
                     hone_precision precision, const hone_low_rank *low, int64_t tokens, int64_t in,
                     int64_t out, float beta, void *workspace) {
    product_call call = prepare(type, precision, false, tokens, in, out, rank_of(low));
    call.result = dx, call.from = dy, call.w = w;
    call.low = low, call.beta = beta;
    run(&call, workspace);
}

void HONE_SIMD(hone_cpu_fill_bf16)(hone_kernels *table) {
    table->reduced_fwd = bf16_fwd;
    table->reduced_bwd = bf16_bwd;
    table->reduced_workspace = bf16_workspace;
#if defined(__AVX512BF16__)
    table->native |= HONE_TAKES_BF16;
#endif
}
