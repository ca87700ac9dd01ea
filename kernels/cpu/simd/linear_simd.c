/*
 * Products with frozen weights of any dtype, in f32. The columns of the result are cut into parts, and each is one thread's:
 * it takes the weights of its columns by slabs that stay in its caches, decodes them, where they are not F32, and packs
 * them into panels of two vectors of columns, in the order in which the inner loop reads them; the low-rank factor's rows
 * follow those of the weights:
 *
 *     panel   [contraction of the slab + R][2 vectors]
 *
 * Tiles of tokens then go through all panels, their sums in registers over the whole contraction. No full f32 copy of the
 * weights ever exists. Few tokens, as in generation, read each weight once instead. The threads' number decides how wide a
 * part is, and so how deep a slab: bits depend on it.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/product_cut.h"
#include "kernels/cpu/simd/tile.h"

enum {
    LINE = 16,     /* floats in a line of a cache */
    FEW_TOKENS = 8 /* up to so many, reading the weights is what takes the time */
};

/* Tokens of a tile: as many as the registers hold sums of. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { ROWS = 12, GROUP = 3 };
#else
enum { ROWS = 6, GROUP = 3 };
#endif

typedef struct product_call {
    float *result;
    const float *left;
    const void *w;
    hone_dtype type;
    bool forward; /* over inputs; else over outputs */
    int64_t tokens, in;
    product_cut cut;
    const hone_low_rank *low; /* may be NULL */
    float beta;
    float *scratch;
    int64_t scratch_size, panels_size; /* floats, per thread; those of the panels */
} product_call;

/* The weights between a part of the columns and a part of the contraction. */
typedef struct slab {
    const product_call *call;
    int64_t first, columns;
    int64_t begin, depth;
    const float *w; /* in f32 */
    int64_t stride; /* between its rows */
    const hone_low_rank *low;
    float beta;
    float *panels;
} slab;

static int64_t rank_of(const hone_low_rank *low) {
    return low ? low->rank : 0;
}

static int64_t panel_size(const slab *s) {
    return (s->depth + rank_of(s->low)) * PANEL;
}

static int64_t panels_of(const slab *s) {
    return (s->columns + PANEL - 1) / PANEL;
}

/* --- Packing --- */

/* Decodes rows of w into `to`, so many inputs of each. */
static void decode_rows(float *to, const product_call *call, int64_t row, int64_t rows,
                        int64_t input, int64_t inputs) {
    hone_decode_fn decode = HONE_SIMD(hone_decoder)(call->type);
    size_t row_bytes = hone_dtype_row_bytes(call->type, call->in);
    const unsigned char *from = (const unsigned char *)call->w + (size_t)row * row_bytes +
                                hone_dtype_row_bytes(call->type, input);
    for (int64_t r = 0; r < rows; r++, from += row_bytes, to += inputs) decode(to, from, inputs);
}

static void take_weights(slab *s, float *decoded) {
    const product_call *call = s->call;
    int64_t row = call->forward ? s->first : s->begin, input = call->forward ? s->begin : s->first;
    if (call->type == HONE_F32) {
        s->w = (const float *)call->w + row * call->in + input;
        s->stride = call->in;
        return;
    }
    int64_t rows = call->forward ? s->columns : s->depth;
    s->stride = call->forward ? s->depth : s->columns;
    s->w = decoded;
    decode_rows(decoded, call, row, rows, input, s->stride);
}

static void pack(const slab *s) {
    bool forward = s->call->forward;
    for (int64_t p = 0; p < panels_of(s); p++) {
        int64_t column = p * PANEL, columns = smaller(s->columns - column, PANEL);
        float *to = s->panels + p * panel_size(s);
        if (forward) {
            pack_transposed(to, PANEL, s->w + column * s->stride, s->stride, columns, s->depth);
        } else {
            pack_rows(to, PANEL, s->w + column, s->stride, s->depth, columns, 1.0f);
        }
        if (s->low) {
            pack_low_rank(to + s->depth * PANEL, PANEL, s->low, forward, s->first + column, columns,
                          s->call->cut.columns);
        }
    }
}

/* --- The inner loops --- */

typedef struct tile_sums {
    vf of[ROWS][VECTORS];
} tile_sums;

/* Adds left [rows, depth] times panel [depth, 2 vectors]; `rows` is a constant at every use. */
HONE_INLINE void add_products(tile_sums *sums, const float *left, int64_t stride,
                              const float *panel, int64_t depth, const int rows) {
    const float *group[ROWS / GROUP];
#pragma GCC unroll 4
    for (int g = 0; g < (rows + GROUP - 1) / GROUP; g++) group[g] = left + g * GROUP * stride;
    for (int64_t k = 0; k < depth; k++, panel += PANEL) {
        vf right[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) right[v] = vf_load(panel + v * VW);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            vf one = vf_set(group[r / GROUP][r % GROUP * stride + k]);
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) sums->of[r][v] += one * right[v];
        }
    }
}

/* Panel `p` for the tokens from `token` on; the first `skipped` rows of the tile were written before. */
HONE_INLINE void run_panel(const slab *s, int64_t token, int64_t p, const int rows,
                           int64_t skipped) {
    const product_call *call = s->call;
    int64_t column = p * PANEL, columns = smaller(s->columns - column, PANEL);
    const float *panel = s->panels + p * panel_size(s);
    float *to = call->result + token * call->cut.columns + s->first + column;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) { /* the lines arrive while the sums are taken */
        __builtin_prefetch(to + r * call->cut.columns, 1);
        __builtin_prefetch(to + r * call->cut.columns + columns - 1, 1);
    }
    tile_sums sums;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sums.of[r][v] = (vf){0};
    }
    add_products(&sums, call->left + token * call->cut.depth + s->begin, call->cut.depth, panel,
                 s->depth, rows);
    if (s->low) {
        int64_t rank = s->low->rank;
        add_products(&sums, s->low->t + token * rank, rank, panel + s->depth * PANEL, rank, rows);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        if (r < skipped) continue;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++)
            write_part(to + r * call->cut.columns + v * VW, sums.of[r][v], columns - v * VW,
                       s->beta);
    }
}

/* The last tile reaches back over tokens that are done, or another thread's, so that it is whole as well. */
static void run_tokens(const slab *s, int64_t begin, int64_t end) {
    if (s->call->tokens < ROWS) {
        for (int64_t token = begin; token < end; token++) {
            for (int64_t p = 0; p < panels_of(s); p++) run_panel(s, token, p, 1, 0);
        }
        return;
    }
    for (int64_t token = begin; token < end; token += ROWS) {
        int64_t over = token + ROWS - end, skipped = over > 0 ? over : 0;
        for (int64_t p = 0; p < panels_of(s); p++) run_panel(s, token - skipped, p, ROWS, skipped);
    }
}

/* --- Parts --- */

/* A part of the columns, for a part of the tokens. */
static void run_part(const product_call *call, int64_t i, float *scratch) {
    product_part part = part_of(&call->cut, i, (call->tokens + ROWS - 1) / ROWS, ROWS);
    slab s = {.call = call, .panels = scratch, .first = part.first, .columns = part.columns};
    int64_t end = smaller(part.end, call->tokens);
    if (part.begin >= end) return;
    for (s.begin = 0; s.begin < call->cut.depth; s.begin += call->cut.slab_depth) {
        s.depth = smaller(call->cut.slab_depth, call->cut.depth - s.begin);
        s.low = s.begin == 0 ? call->low : NULL;
        s.beta = s.begin == 0 ? call->beta : 1.0f;
        take_weights(&s, scratch + call->panels_size);
        pack(&s);
        run_tokens(&s, part.begin, end);
    }
}

static void run_parts(void *context, int64_t begin, int64_t end, int thread) {
    const product_call *call = context;
    for (int64_t i = begin; i < end; i++)
        run_part(call, i, call->scratch + thread * call->scratch_size);
}

/* Cuts the product and sizes the scratch of its parts. */
static product_call prepare(hone_dtype type, bool forward, int64_t in, int64_t out, int64_t rank) {
    product_call call = {.type = type, .forward = forward, .in = in};
    call.cut = cut_product(type, forward, in, out);
    call.panels_size = round_up(call.cut.widest, PANEL) * (call.cut.slab_depth + rank);
    int64_t decoded = type == HONE_F32 ? 0 : call.cut.widest * call.cut.slab_depth;
    call.scratch_size = call.panels_size + round_up(decoded, LINE);
    return call;
}

static void run(product_call *call, void *workspace) {
    call->scratch = workspace;
    hone_parallel_each(call->cut.parts * call->cut.token_parts, run_parts, call);
}

size_t HONE_SIMD(hone_linear_workspace)(hone_dtype type, int64_t in, int64_t out, int64_t rank) {
    int64_t forward = prepare(type, true, in, out, rank).scratch_size;
    int64_t backward = prepare(type, false, in, out, rank).scratch_size;
    int64_t most = forward > backward ? forward : backward;
    return (size_t)(most * hone_threads()) * sizeof(float);
}

void HONE_SIMD(hone_linear_fwd)(float *y, const float *x, const void *w, hone_dtype type,
                                const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                                float beta, void *workspace) {
    if (tokens <= FEW_TOKENS) {
        HONE_SIMD(hone_matvec)(y, x, w, type, tokens, in, out, beta);
        if (low) {
            HONE_GEMM(y, low->t, low->factor, tokens, out, low->rank, false, true, low->rank,
                      low->rank, out, (float)low->scale, 1);
        }
        return;
    }
    product_call call = prepare(type, true, in, out, rank_of(low));
    call.result = y, call.left = x, call.w = w;
    call.tokens = tokens, call.low = low, call.beta = beta;
    run(&call, workspace);
}

void HONE_SIMD(hone_linear_bwd)(float *dx, const float *dy, const void *w, hone_dtype type,
                                const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                                float beta, void *workspace) {
    product_call call = prepare(type, false, in, out, rank_of(low));
    call.result = dx, call.left = dy, call.w = w;
    call.tokens = tokens, call.low = low, call.beta = beta;
    run(&call, workspace);
}
