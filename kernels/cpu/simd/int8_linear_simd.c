/*
 * Products of int8 activations with frozen weights (kernels/int8.h). The columns of the result are cut into parts, and each
 * is one thread's: it packs the weights of its columns, of a slab of output rows at a time, into panels of 32 columns (16
 * without AVX-512), in the order in which the inner loop reads them, so that they stay in its caches:
 *
 *     panel   [blocks of the contraction][steps][PANEL columns][DOT_WIDTH elements]
 *
 * Tiles of 12 tokens then go through all panels. The finished tile, 12 x PANEL in the nearest cache, gets the factors of its
 * columns and its low-rank part before it is written once.
 */
#include "base/parallel.h"
#include "base/size.h"
#include "kernels/cpu/simd/int8_dot.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/tile.h"

/* Columns of a panel, and rows of a tile whose sums are in registers at once, beside the weights of a step. Sums take three
 * quarters of the 32 wide registers of AVX-512 and of AVX2's 16; half of NEON's 32, where with the dot product the activations
 * of four steps take an eighth; and half of 16 elsewhere. */
#if defined(__AVX512F__)
enum { PANEL = 32, ROWS = 12 };
#elif defined(__AVX2__)
enum { PANEL = 16, ROWS = 6 };
#elif defined(__ARM_NEON)
enum { PANEL = 16, ROWS = 4 };
#else
enum { PANEL = 16, ROWS = 2 };
#endif

enum {
    BLOCK = HONE_INT8_BLOCK,
    TILE = HONE_INT8_TILE,
    VECTORS = PANEL / VW,      /* of a row of a tile */
    STEPS = BLOCK / DOT_WIDTH, /* along the contraction of a block */
    /* With a whole tile's sums in registers all steps of a block are written out, so that every address is a constant. */
    UNROLL = ROWS == TILE && WEIGHT_OFFSET != 0 ? STEPS : 1,
    PANEL_BLOCK = PANEL * BLOCK,     /* elements */
    LINE = 64 / sizeof(dot_element), /* elements in a line of a cache */
    PART = 320,                      /* columns of the result in a part, at most */
    SLAB_COUNT =
        (1 << 20) / sizeof(dot_element), /* weights packed that stay near, or quantised each time */
};

/* One product, of a slab of the weights at a time. */
typedef struct product_call {
    float *result;
    hone_int8_rows rows;
    const hone_int8_weight *w;
    const int8_t *q;          /* [slab rows][in] */
    const float *scale;       /* of the slab's blocks */
    bool forward;             /* over inputs; else over outputs */
    int64_t first_block;      /* of the contraction, that the slab begins with */
    int64_t blocks;           /* of the contraction, in the slab */
    int64_t begin;            /* result column that the panels begin with */
    int64_t columns;          /* that they make */
    int64_t stride;           /* between rows of the result */
    const float *factor;      /* of all columns of the result */
    const hone_low_rank *low; /* NULL: none, or not in this slab */
    float beta;
    int64_t slab_rows;   /* of w */
    int64_t first_panel; /* of the part at hand */
    dot_element *panels;
    float *low_panels;    /* [panels][R][PANEL] */
    dot_element *widened; /* [blocks][TILE][BLOCK]: a tile's activations, where they are widened */
    int64_t parts;        /* of the columns */
    int64_t token_parts;  /* where there are too few of them for the threads */
    unsigned char *parts_scratch;
    size_t part_bytes; /* of it, per thread: panels, low-rank panels, tile */
    size_t panels_bytes, low_bytes;
} product_call;

static int64_t panels_of(int64_t columns) {
    return (columns + PANEL - 1) / PANEL;
}

/* --- Packing --- */

/* Adding 128 to a byte turns its sign bit. */
enum { TURNED = WEIGHT_OFFSET ? INT8_MIN : 0 };

/* Forward: PANEL output rows of block `b` of inputs; neighbouring inputs of a row lie together already. */
static void pack_rows_of(dot_element *to, const product_call *call, int64_t column, int64_t b) {
    _Alignas(64) dot_element rows[PANEL][BLOCK] = {{0}};
    int64_t in = call->w->in;
    int64_t left = in - b * BLOCK, width = left < BLOCK ? left : (int64_t)BLOCK;
    int64_t count = call->columns - column < PANEL ? call->columns - column : (int64_t)PANEL;
    const int8_t *from = call->q + column * in + b * BLOCK;
    for (int64_t n = 0; n < count; n++) {
        int8_t row[BLOCK] = {0};
        memcpy(row, from + n * in, (size_t)width);
        for (int64_t i = 0; i < BLOCK; i++) rows[n][i] = (dot_element)(row[i] ^ TURNED);
        __builtin_prefetch(from + n * in + BLOCK); /* of the next block */
    }
    pack_transposed((float *)(void *)to, PANEL, (const float *)(const void *)rows, STEPS, PANEL,
                    STEPS);
}

typedef int8_t v16 __attribute__((vector_size(16)));
typedef int16_t v8s __attribute__((vector_size(16)));
typedef dot_element wide16 __attribute__((vector_size(16 * sizeof(dot_element))));

HONE_INLINE v16 load_turned(const int8_t *p) {
    v16 x;
    memcpy(&x, p, sizeof x);
    return x ^ (int8_t)TURNED;
}

/* The bytes of a and b in turns. */
HONE_INLINE void interleave(v16 to[2], v16 a, v16 b) {
    to[0] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    to[1] =
        __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* to[16][DOT_WIDTH]: 16 columns of so many rows. */
HONE_INLINE void weave(dot_element *to, const int8_t *rows, int64_t stride) {
    v16 ab[2], cd[2];
    interleave(ab, load_turned(rows), load_turned(rows + stride));
    if (DOT_WIDTH == 2) {
        for (int i = 0; i < 2; i++, to += 16) {
            wide16 wide = __builtin_convertvector(ab[i], wide16);
            memcpy(to, &wide, sizeof wide);
        }
        return;
    }
    interleave(cd, load_turned(rows + 2 * stride), load_turned(rows + 3 * stride));
    for (int i = 0; i < 2; i++, to += 32) {
        v8s first = (v8s)ab[i], second = (v8s)cd[i];
        v8s low = __builtin_shufflevector(first, second, 0, 8, 1, 9, 2, 10, 3, 11);
        v8s high = __builtin_shufflevector(first, second, 4, 12, 5, 13, 6, 14, 7, 15);
        memcpy(to, &low, sizeof low);
        memcpy(to + 16, &high, sizeof high);
    }
}

/* Backward: PANEL inputs of block `b` of output rows; neighbouring rows are woven together. */
static void pack_columns_of(dot_element *to, const product_call *call, int64_t column, int64_t b) {
    int64_t in = call->w->in, first = b * BLOCK;
    int64_t left = call->columns - column, width = left < PANEL ? left : (int64_t)PANEL;
    const int8_t *from = call->q + first * in + column;
    int8_t edge[BLOCK][PANEL];
    if (width < PANEL || first + BLOCK > call->slab_rows) {
        memset(edge, 0, sizeof edge);
        for (int64_t r = 0; r < BLOCK && first + r < call->slab_rows; r++)
            memcpy(edge[r], from + r * in, (size_t)width);
        from = edge[0];
        in = PANEL;
    }
    for (int64_t step = 0; step < STEPS; step++, from += DOT_WIDTH * in) {
        for (int n = 0; n < PANEL; n += 16, to += 16 * DOT_WIDTH) weave(to, from + n, in);
    }
}

static void pack_panel(const product_call *call, int64_t p) {
    dot_element *to = call->panels + (p - call->first_panel) * call->blocks * PANEL_BLOCK;
    for (int64_t b = 0; b < call->blocks; b++, to += PANEL_BLOCK) {
        if (call->forward) {
            pack_rows_of(to, call, p * PANEL, b);
        } else {
            pack_columns_of(to, call, p * PANEL, b);
        }
    }
    if (!call->low) return;
    int64_t column = p * PANEL, left = call->columns - column;
    pack_low_rank(call->low_panels + (p - call->first_panel) * call->low->rank * PANEL, PANEL,
                  call->low, call->forward, call->begin + column,
                  left < PANEL ? left : (int64_t)PANEL, call->w->in);
}

/* --- The inner loops --- */

/* tile[ROWS][PANEL] += by[row] (start[row] + the int8 product of one block). A function of its own, whose numbers come from
 * memory: what an inlined one keeps in registers is no longer there for the sums. */
static __attribute__((noinline)) void add_block(float *tile, const dot_element *q,
                                                const int32_t *start, const float *by,
                                                const dot_element *panel) {
    vi total[ROWS][VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) total[r][v] = start[r] - (vi){0};
    }
#pragma GCC unroll UNROLL
    for (int first = 0; first < STEPS; first += DOT_STEPS) {
#pragma GCC unroll 4
        for (int step = first; step < first + DOT_STEPS; step++) {
            const dot_element *now = panel + step * PANEL * DOT_WIDTH;
            /* The next block, of which a line of activations and a step's weights are first touched at once. */
            if (step < TILE) __builtin_prefetch(q + (TILE + step) * BLOCK);
            for (int line = 0; line < PANEL * DOT_WIDTH; line += LINE)
                __builtin_prefetch(now + PANEL_BLOCK + line);
            dot_weights weights[VECTORS];
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++)
                memcpy(&weights[v], now + v * VW * DOT_WIDTH, sizeof weights[v]);
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++) {
                dot_activations some = dot_load(q + r * BLOCK + first * DOT_WIDTH);
#pragma GCC unroll 8
                for (int v = 0; v < VECTORS; v++)
                    total[r][v] = dot(total[r][v], weights[v], some, step - first);
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            float *at = tile + r * PANEL + v * VW;
            vf_store(at, vf_load(at) + __builtin_convertvector(total[r][v], vf) * by[r]);
        }
    }
}

/* tile[TILE][PANEL] += the product of one block of a tile's tokens, or of its residuals, with the panel's. */
static void add_tile(float *tile, const dot_element *q, const int32_t *sum, const float *scale,
                     float factor, const dot_element *panel) {
    int32_t start[TILE];
    float by[TILE];
    for (int r = 0; r < TILE; r++) start[r] = -WEIGHT_OFFSET * sum[r];
    for (int r = 0; r < TILE; r++) by[r] = scale[r] * factor;
    for (int r = 0; r < TILE; r += ROWS)
        add_block(tile + r * PANEL, q + r * BLOCK, start + r, by + r, panel);
}

/* The weights' scale where block `b` of the contraction meets the panel's columns. */
HONE_INLINE float block_scale(const product_call *call, int64_t b, int64_t column) {
    int64_t across = hone_int8_blocks(call->w->in);
    int64_t other = (call->begin + column) / BLOCK;
    return call->forward ? call->scale[(column / BLOCK) * across + b]
                         : call->scale[b * across + other];
}

/* Where a tile's blocks of this slab begin among all of the activations'. */
HONE_INLINE int64_t first_row_block(const product_call *call, int64_t number) {
    return number * hone_int8_blocks(call->rows.width) + call->first_block;
}

/* Activations as the inner loop reads them: where they are, or widened in `to`. */
HONE_INLINE const dot_element *take_rows(dot_element *to, const int8_t *q, int64_t n) {
    if (sizeof *to == sizeof *q) return (const dot_element *)q;
    for (int64_t i = 0; i < n; i++) to[i] = q[i];
    return to;
}

/* Of the tile of tokens with this number; `q` are its activations. */
static void add_blocks(float *tile, const product_call *call, int64_t number, const dot_element *q,
                       const dot_element *panel, int64_t column) {
    const hone_int8_rows *rows = &call->rows;
    int64_t at = first_row_block(call, number);
    for (int64_t b = 0; b < call->blocks; b++, at++, panel += PANEL_BLOCK) {
        float scale = block_scale(call, b, column);
        int64_t row = at * TILE;
        add_tile(tile, q + b * TILE * BLOCK, rows->sum + row, rows->scale + row, scale, panel);
        if (!hone_int8_is_fine(rows, at)) continue;
        dot_element fine[TILE * BLOCK];
        add_tile(tile, take_rows(fine, rows->residual + row * BLOCK, TILE * BLOCK),
                 rows->residual_sum + row, rows->scale + row, scale / (float)HONE_INT8_FINE, panel);
    }
}

/* tile[ROWS][PANEL] times the factors of its columns, plus t b^T; rows from `count` on are not used. */
HONE_INLINE void finish_rows(float *tile, const float *factor, const float *t, int64_t rank,
                             int64_t count, const float *panel) {
    vf sum[ROWS][VECTORS];
    const float *row[ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
        row[r] = rank > 0 ? t + (r < count ? r : 0) * rank : tile;
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = vf_load(tile + r * PANEL + v * VW) * vf_load(factor + v * VW);
    }
    for (int64_t k = 0; k < rank; k++, panel += PANEL) {
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) sum[r][v] += row[r][k] * vf_load(panel + v * VW);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) vf_store(tile + r * PANEL + v * VW, sum[r][v]);
    }
}

static void finish_tile(float *tile, const product_call *call, int64_t token, int64_t count,
                        int64_t p, int64_t width) {
    float factor[PANEL] = {0};
    memcpy(factor, call->factor + call->begin + p * PANEL, (size_t)width * sizeof *factor);
    int64_t rank = call->low ? call->low->rank : 0;
    for (int64_t r = 0; r < count; r += ROWS) {
        finish_rows(tile + r * PANEL, factor, rank ? call->low->t + (token + r) * rank : NULL, rank,
                    count - r, call->low_panels + (p - call->first_panel) * rank * PANEL);
    }
}

static void run_tile(const product_call *call, int64_t number, const dot_element *q, int64_t p) {
    _Alignas(64) float tile[TILE * PANEL] = {0};
    int64_t column = p * PANEL, token = number * TILE;
    int64_t left = call->columns - column, width = left < PANEL ? left : (int64_t)PANEL;
    int64_t tokens = call->rows.tokens - token, count = tokens < TILE ? tokens : (int64_t)TILE;
    float *to = call->result + token * call->stride + call->begin + column;
    for (int64_t i = 0; i < count; i++) { /* the lines arrive while the sums are taken */
        __builtin_prefetch(to + i * call->stride, 1);
        __builtin_prefetch(to + i * call->stride + width - 1, 1);
    }
    add_blocks(tile, call, number, q,
               call->panels + (p - call->first_panel) * call->blocks * PANEL_BLOCK, column);
    finish_tile(tile, call, token, count, p, width);
    for (int64_t i = 0; i < count; i++, to += call->stride) {
        for (int64_t n = 0; n < width; n += VW)
            write_part(to + n, vf_load(tile + i * PANEL + n), width - n, call->beta);
    }
}

/* A part of the columns, for a part of the tokens. A tile goes through all panels, so that its rows of the result are
 * written one column after the other. */
static void run_part(const product_call *all, int64_t part, int64_t token_part, int thread) {
    product_call call = *all;
    unsigned char *scratch = call.parts_scratch + (size_t)thread * call.part_bytes;
    call.panels = (dot_element *)(void *)scratch;
    call.low_panels = (float *)(void *)(scratch + call.panels_bytes);
    call.widened = (dot_element *)(void *)(scratch + call.panels_bytes + call.low_bytes);
    int64_t panels = panels_of(call.columns), tiles = hone_int8_tiles(call.rows.tokens);
    call.first_panel = panels * part / call.parts;
    int64_t last_panel = panels * (part + 1) / call.parts;
    for (int64_t p = call.first_panel; p < last_panel; p++) pack_panel(&call, p);
    int64_t last_tile = tiles * (token_part + 1) / call.token_parts;
    for (int64_t tile = tiles * token_part / call.token_parts; tile < last_tile; tile++) {
        const int8_t *from = call.rows.q + first_row_block(&call, tile) * TILE * BLOCK;
        const dot_element *q = take_rows(call.widened, from, call.blocks * TILE * BLOCK);
        for (int64_t p = call.first_panel; p < last_panel; p++) run_tile(&call, tile, q, p);
    }
}

static void run_parts(void *context, int64_t begin, int64_t end, int thread) {
    const product_call *call = context;
    for (int64_t i = begin; i < end; i++) run_part(call, i % call->parts, i / call->parts, thread);
}

/* --- Slabs --- */

/* Columns of a part, at most, whose panels are so deep. */
static int64_t part_width(int64_t depth) {
    int64_t width = SLAB_COUNT / (depth + 1) / PANEL * PANEL;
    return width < PANEL ? (int64_t)PANEL : smaller(width, PART);
}

/* Output rows of w that are quantised at once, where they have no copy: whole blocks. */
static int64_t quantised_rows(const hone_int8_weight *w) {
    int64_t rows = SLAB_COUNT / (w->in + 1) / BLOCK * BLOCK;
    return rows < BLOCK ? (int64_t)BLOCK : rows;
}

/* Output rows of a slab. Backward, they are the depth of its panels. */
static int64_t slab_rows(const hone_int8_weight *w, bool forward) {
    int64_t rows = forward ? w->out : SLAB_COUNT / PART / BLOCK * BLOCK;
    if (!w->q) rows = smaller(rows, quantised_rows(w));
    return smaller(rows, w->out);
}

typedef struct scratch {
    int8_t *q; /* of a slab, where the weights have no int8 copy */
    float *scale;
    unsigned char *parts;
    size_t part_bytes, panels_bytes, low_bytes; /* per thread */
    size_t bytes;
} scratch;

static scratch divide(const hone_int8_weight *w, int64_t rank, void *workspace) {
    int64_t across = hone_int8_blocks(w->in), down = hone_int8_blocks(slab_rows(w, false));
    int64_t forward = part_width(w->in) * across, backward = part_width(0) * down;
    int64_t rows = smaller(quantised_rows(w), w->out);
    size_t q = w->q ? 0 : hone_whole_lines((size_t)(rows * w->in));
    size_t scale = w->q ? 0 : hone_whole_lines((size_t)(hone_int8_blocks(rows) * across) * 4);
    int64_t panels = (forward > backward ? forward : backward) * BLOCK;
    int64_t widened = DOT_WIDTH == 2 ? (across > down ? across : down) * TILE * BLOCK : 0;
    scratch s = {.panels_bytes = hone_whole_lines((size_t)panels * sizeof(dot_element)),
                 .low_bytes = hone_whole_lines((size_t)(PART * rank) * sizeof(float))};
    s.part_bytes =
        s.panels_bytes + s.low_bytes + hone_whole_lines((size_t)widened * sizeof(dot_element));
    s.bytes = q + scale + s.part_bytes * (size_t)hone_threads();
    unsigned char *at = workspace;
    if (!at) return s;
    s.q = (int8_t *)at;
    s.scale = (float *)(void *)(at + q);
    s.parts = at + q + scale;
    return s;
}

static size_t int8_workspace(const hone_int8_weight *w, int64_t rank) {
    return divide(w, rank, NULL).bytes;
}

/* Points the call to rows [begin, begin + rows) of the weights in int8. */
static void take_slab(product_call *call, const scratch *s, int64_t begin, int64_t rows) {
    const hone_int8_weight *w = call->w;
    call->slab_rows = rows;
    if (w->q) {
        call->q = w->q + begin * w->in;
        call->scale = w->block_scale + begin / BLOCK * hone_int8_blocks(w->in);
    } else {
        HONE_SIMD_OF_BASE(hone_int8_quantize_weight)(s->q, s->scale, w, begin, rows);
        call->q = s->q;
        call->scale = s->scale;
    }
}

/* Cuts the columns so that every thread gets as many parts. */
static void run_slab(product_call *call, const scratch *s) {
    int64_t width = part_width(call->forward ? call->w->in : 0), threads = hone_threads();
    int64_t parts = ((call->columns + width - 1) / width + threads - 1) / threads * threads;
    call->parts = smaller(parts, panels_of(call->columns));
    call->token_parts = call->parts < threads ? (threads + call->parts - 1) / call->parts : 1;
    call->parts_scratch = s->parts;
    call->part_bytes = s->part_bytes;
    call->panels_bytes = s->panels_bytes;
    call->low_bytes = s->low_bytes;
    hone_parallel_each(call->parts * call->token_parts, run_parts, call);
}

static void int8_fwd(float *y, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    scratch s = divide(w, low ? low->rank : 0, workspace);
    product_call call = {
        .result = y,
        .rows = hone_int8_rows_view((void *)(uintptr_t)rows, tokens, w->in),
        .w = w,
        .forward = true,
        .blocks = hone_int8_blocks(w->in),
        .stride = w->out,
        .factor = w->row_factor,
        .low = low,
        .beta = beta,
    };
    int64_t step = slab_rows(w, true);
    for (int64_t begin = 0; begin < w->out; begin += step) {
        int64_t n = smaller(w->out - begin, step);
        take_slab(&call, &s, begin, n);
        call.begin = begin;
        call.columns = n;
        run_slab(&call, &s);
    }
}

static void int8_bwd(float *dx, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    scratch s = divide(w, low ? low->rank : 0, workspace);
    product_call call = {
        .result = dx,
        .rows = hone_int8_rows_view((void *)(uintptr_t)rows, tokens, w->out),
        .w = w,
        .columns = w->in,
        .stride = w->in,
        .factor = w->column_factor,
        .low = low,
        .beta = beta,
    };
    int64_t step = slab_rows(w, false);
    for (int64_t begin = 0; begin < w->out; begin += step) {
        int64_t n = smaller(w->out - begin, step);
        take_slab(&call, &s, begin, n);
        call.first_block = begin / BLOCK;
        call.blocks = hone_int8_blocks(n);
        run_slab(&call, &s);
        call.low = NULL; /* once is enough */
        call.beta = 1.0f;
    }
}

void HONE_SIMD(hone_cpu_fill_int8)(hone_kernels *table) {
    table->int8_fwd = int8_fwd;
    table->int8_bwd = int8_bwd;
    table->int8_workspace = int8_workspace;
}
