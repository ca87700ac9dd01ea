/*
 * Products with frozen weights of any dtype, in f32. Weights are taken by slabs that fit the caches: decoded, where they
 * are not F32, and packed into panels of two vectors of columns of the result, in the order in which the inner loop reads
 * them; the low-rank factor's rows follow those of the weights:
 *
 *     panel   [contraction of the slab + R][2 vectors]
 *
 * Tiles of tokens then go through all panels, their sums in registers over the whole contraction. No full f32 copy of the
 * weights ever exists. Few tokens, as in generation, read each weight once instead.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/tile.h"

enum {
    VECTORS = 2,
    PANEL = VECTORS * VW,
    SLAB_WIDTH = 512,     /* inputs of a slab, about: whole blocks of every dtype */
    SLAB_COUNT = 1 << 18, /* its weights */
    BLOCK = 256,
    LINE = 16,     /* floats in a line of a cache */
    FEW_TOKENS = 8 /* up to so many, reading the weights is what takes the time */
};

/* Tokens of a tile: as many as the registers hold sums of. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { ROWS = 12, GROUP = 3 };
#else
enum { ROWS = 6, GROUP = 3 };
#endif

/* One product, of a slab of the weights at a time. */
typedef struct product_call {
    float *result;     /* from the first column that the slab makes */
    int64_t stride;    /* between its rows: all of its columns */
    int64_t columns;   /* that the slab makes */
    const float *left; /* from the first column that the slab meets */
    int64_t left_stride;
    int64_t depth; /* of the contraction in the slab */
    int64_t tokens;
    bool forward;             /* over inputs; else over outputs */
    const float *w;           /* the slab in f32 */
    int64_t w_stride;         /* between its rows */
    int64_t first;            /* column of the result that the slab begins with */
    const hone_low_rank *low; /* NULL: none, or not in this slab */
    float beta;
    float *panels;
} product_call;

HONE_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t rank_of(const product_call *call) {
    return call->low ? call->low->rank : 0;
}

static int64_t panel_size(const product_call *call) {
    return (call->depth + rank_of(call)) * PANEL;
}

/* --- Packing --- */

static void pack_panels(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const product_call *call = context;
    for (int64_t p = begin; p < end; p++) {
        int64_t column = p * PANEL, columns = smaller(call->columns - column, PANEL);
        float *to = call->panels + p * panel_size(call);
        if (call->forward) {
            pack_transposed(to, PANEL, call->w + column * call->w_stride, call->w_stride, columns,
                            call->depth);
        } else {
            pack_rows(to, PANEL, call->w + column, call->w_stride, call->depth, columns, 1.0f);
        }
        if (call->low) {
            pack_low_rank(to + call->depth * PANEL, PANEL, call->low, call->forward,
                          call->first + column, columns, call->stride);
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
    for (int g = 0; g < ROWS / GROUP; g++) group[g] = left + g * GROUP * stride;
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

HONE_INLINE void write_part(float *to, vf value, int64_t n, float beta) {
    if (n >= VW) {
        vf_store(to, beta != 0.0f ? value + beta * vf_load(to) : value);
    } else if (n > 0) {
        vf_store_part(to, beta != 0.0f ? value + beta * vf_load_part(to, n) : value, n);
    }
}

/* Panel `p` for the tokens from `token` on; the first `skipped` rows of the tile were written before. */
HONE_INLINE void run_panel(const product_call *call, int64_t token, int64_t p, const int rows,
                           int64_t skipped) {
    int64_t column = p * PANEL, columns = smaller(call->columns - column, PANEL);
    const float *panel = call->panels + p * panel_size(call);
    float *to = call->result + token * call->stride + column;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) { /* the lines arrive while the sums are taken */
        __builtin_prefetch(to + r * call->stride, 1);
        __builtin_prefetch(to + r * call->stride + columns - 1, 1);
    }
    tile_sums sums;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sums.of[r][v] = (vf){0};
    }
    add_products(&sums, call->left + token * call->left_stride, call->left_stride, panel,
                 call->depth, rows);
    if (call->low) {
        int64_t rank = call->low->rank;
        add_products(&sums, call->low->t + token * rank, rank, panel + call->depth * PANEL, rank,
                     rows);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        if (r < skipped) continue;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++)
            write_part(to + r * call->stride + v * VW, sums.of[r][v], columns - v * VW, call->beta);
    }
}

static int64_t panels_of(const product_call *call) {
    return (call->columns + PANEL - 1) / PANEL;
}

/* While one of so many panels is used, its part of the next tile's tokens arrives. */
static void fetch_part(const product_call *call, int64_t token, int64_t p, int64_t panels) {
    int64_t begin = call->depth * p / panels, end = call->depth * (p + 1) / panels;
    for (int64_t t = token; t < smaller(token + ROWS, call->tokens); t++) {
        const float *row = call->left + t * call->left_stride;
        for (int64_t k = begin; k < end; k += LINE) __builtin_prefetch(row + k, 0, 2);
    }
}

/* The last tile reaches back over tokens that are done, so that it is whole as well. */
static void run_tiles(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const product_call *call = context;
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t over = tile * ROWS + ROWS - call->tokens;
        int64_t skipped = over > 0 ? over : 0;
        for (int64_t p = 0; p < panels_of(call); p++) {
            fetch_part(call, (tile + 1) * ROWS, p, panels_of(call));
            run_panel(call, tile * ROWS - skipped, p, ROWS, skipped);
        }
    }
}

static void run_tokens(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const product_call *call = context;
    for (int64_t token = begin; token < end; token++) {
        for (int64_t p = 0; p < panels_of(call); p++) run_panel(call, token, p, 1, 0);
    }
}

static void run_slab(product_call *call) {
    hone_parallel_for(panels_of(call), 1, pack_panels, call);
    if (call->tokens < ROWS) {
        hone_parallel_for(call->tokens, 1, run_tokens, call);
    } else {
        hone_parallel_each((call->tokens + ROWS - 1) / ROWS, run_tiles, call);
    }
}

/* --- Slabs --- */

/* Inputs of a slab: all, or equal parts in whole blocks. */
static int64_t slab_width(int64_t in) {
    int64_t parts = (in + SLAB_WIDTH / 2) / SLAB_WIDTH;
    if (parts <= 1) return in;
    return ((in + parts - 1) / parts + BLOCK - 1) / BLOCK * BLOCK;
}

static int64_t slab_rows(int64_t in, int64_t out) {
    return smaller(SLAB_COUNT / slab_width(in) / PANEL * PANEL, out);
}

typedef struct scratch {
    float *panels;
    float *decoded; /* a slab in f32, where the weights are not */
    size_t bytes;
} scratch;

static scratch divide(hone_dtype type, int64_t in, int64_t out, int64_t rank, void *workspace) {
    int64_t width = slab_width(in), rows = slab_rows(in, out);
    int64_t forward = round_up(rows, PANEL) * (width + rank);
    int64_t backward = round_up(width, PANEL) * (rows + rank);
    int64_t panels = round_up(forward > backward ? forward : backward, 16);
    int64_t decoded = type == HONE_F32 ? 0 : rows * width;
    float *at = workspace;
    return (scratch){at, at ? at + panels : NULL, (size_t)(panels + decoded) * sizeof(float)};
}

size_t HONE_SIMD(hone_linear_workspace)(hone_dtype type, int64_t in, int64_t out, int64_t rank) {
    return divide(type, in, out, rank, NULL).bytes;
}

typedef struct slab {
    const void *w;
    hone_dtype type;
    int64_t in;
    int64_t row, rows, column, columns;
    float *decoded;
} slab;

static const unsigned char *slab_row(const slab *s, int64_t row) {
    return (const unsigned char *)s->w + hone_dtype_row_bytes(s->type, (s->row + row) * s->in) +
           hone_dtype_row_bytes(s->type, s->column);
}

static void decode_rows(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const slab *s = context;
    hone_decode_fn decode = HONE_SIMD(hone_decoder)(s->type);
    for (int64_t r = begin; r < end; r++)
        decode(s->decoded + r * s->columns, slab_row(s, r), s->columns);
}

/* Points the call to the slab's weights in f32. */
static void take_slab(product_call *call, slab *s) {
    if (s->type == HONE_F32) {
        call->w = (const float *)(const void *)slab_row(s, 0);
        call->w_stride = s->in;
        return;
    }
    hone_parallel_for(s->rows, BLOCK * BLOCK / s->columns + 1, decode_rows, s);
    call->w = s->decoded;
    call->w_stride = s->columns;
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
    int64_t width = slab_width(in), rows = slab_rows(in, out);
    scratch space = divide(type, in, out, low ? low->rank : 0, workspace);
    for (int64_t row = 0; row < out; row += rows) {
        for (int64_t column = 0; column < in; column += width) {
            slab s = {w,
                      type,
                      in,
                      row,
                      smaller(out - row, rows),
                      column,
                      smaller(in - column, width),
                      space.decoded};
            product_call call = {
                .result = y + row,
                .stride = out,
                .columns = s.rows,
                .left = x + column,
                .left_stride = in,
                .depth = s.columns,
                .tokens = tokens,
                .forward = true,
                .first = row,
                .low = column == 0 ? low : NULL,
                .beta = column == 0 ? beta : 1.0f,
                .panels = space.panels,
            };
            take_slab(&call, &s);
            run_slab(&call);
        }
    }
}

void HONE_SIMD(hone_linear_bwd)(float *dx, const float *dy, const void *w, hone_dtype type,
                                const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                                float beta, void *workspace) {
    int64_t width = slab_width(in), rows = slab_rows(in, out);
    scratch space = divide(type, in, out, low ? low->rank : 0, workspace);
    for (int64_t column = 0; column < in; column += width) {
        for (int64_t row = 0; row < out; row += rows) {
            slab s = {w,
                      type,
                      in,
                      row,
                      smaller(out - row, rows),
                      column,
                      smaller(in - column, width),
                      space.decoded};
            product_call call = {
                .result = dx + column,
                .stride = in,
                .columns = s.columns,
                .left = dy + row,
                .left_stride = out,
                .depth = s.rows,
                .tokens = tokens,
                .first = column,
                .low = row == 0 ? low : NULL,
                .beta = row == 0 ? beta : 1.0f,
                .panels = space.panels,
            };
            take_slab(&call, &s);
            run_slab(&call);
        }
    }
}
