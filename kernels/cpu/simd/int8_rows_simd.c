/*
 * Activations in int8: blocks of 64 along a row get a scale, tiles of 12 tokens lie together (kernels/int8.h).
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { BLOCK = HONE_INT8_BLOCK, TILE = HONE_INT8_TILE, GRAIN = 2 };

/* A block is marked when its largest element is this many times the mean of all (64 when it is alone): a step of q is then
 * more than a quarter of that mean. Gated activations reach 30 now and then, other values rarely 10. */
static const float mark_ratio = 32.0f;

typedef struct rows_call {
    hone_int8_rows rows;
    const float *x, *factor;
    int64_t blocks;
} rows_call;

/* Block `b` of a row times the columns' factors, with zeros past the row's end. */
HONE_INLINE void load_block(float *values, const rows_call *call, int64_t token, int64_t b) {
    int64_t first = b * BLOCK, left = call->rows.width - first;
    const float *x = call->x + token * call->rows.width + first;
    const float *factor = call->factor + first;
    for (int64_t i = 0; i < BLOCK; i += VW) {
        vf v = {0};
        if (left >= i + VW) {
            v = vf_load(x + i) * vf_load(factor + i);
        } else if (left > i) {
            v = vf_load_part(x + i, left - i) * vf_load_part(factor + i, left - i);
        }
        vf_store(values + i, v);
    }
}

/* The scale of 64 values, and whether one stands out. Not a number when one of them is none, so that it shows. */
HONE_INLINE float scale_of(bool *marked, const float *values) {
    vf most = {0}, all = {0};
    for (int i = 0; i < BLOCK; i += VW) {
        vf size = (vf)((vi)vf_load(values + i) & INT32_MAX);
        most = vf_max(most, size);
        all += size;
    }
    float largest = vf_largest(most), sum = vf_sum(all);
    *marked = largest * (float)BLOCK > mark_ratio * sum;
    if (!(sum <= 3e38f)) return sum - sum;
    return largest < 1e-30f ? 0.0f : largest / 127.0f;
}

/* The nearest whole number. */
HONE_INLINE vf nearest(vf x) {
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

/* Whole numbers of 127 at most, as bytes. */
HONE_INLINE void store_bytes(int8_t *to, vf whole) {
    vb bytes = __builtin_convertvector(__builtin_convertvector(whole, vi), vb);
    memcpy(to, &bytes, sizeof bytes);
}

HONE_INLINE vf within_127(vf x) {
    return vf_min(vf_max(x, vf_set(-127.0f)), vf_set(127.0f));
}

/* Writes 64 values as q and, when `residual` is given, what rounding left of them; sums are of both. */
HONE_INLINE void write_block(int8_t *q, int8_t *residual, int32_t sums[2], const float *values,
                             float scale) {
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    vf sum = {0}, residual_sum = {0}; /* exact: whole numbers below 2^24 */
    for (int i = 0; i < BLOCK; i += VW) {
        vf exact = vf_load(values + i) * inverse;
        vf whole = within_127(nearest(exact));
        store_bytes(q + i, whole);
        sum += whole;
        if (!residual) continue;
        vf fine = within_127(nearest((exact - whole) * (float)HONE_INT8_FINE));
        store_bytes(residual + i, fine);
        residual_sum += fine;
    }
    sums[0] = (int32_t)vf_sum(sum);
    sums[1] = residual ? (int32_t)vf_sum(residual_sum) : 0;
}

/* The residuals of a tile are taken together; a token that has no outlier gets zeros, so that what becomes of it does not
 * depend on those it lies beside. */
static void quantize_tile_block(const rows_call *call, int64_t tile, int64_t b) {
    const hone_int8_rows *rows = &call->rows;
    int64_t at = tile * call->blocks + b;
    int64_t left = rows->tokens - tile * TILE;
    int64_t tokens = left < TILE ? left : (int64_t)TILE;
    float values[TILE][BLOCK];
    bool marked[TILE] = {false}, narrow = call->blocks <= HONE_INT8_NARROW;
    rows->marked[at] = 0;
    for (int64_t i = 0; i < TILE; i++) {
        memset(values[i], 0, sizeof values[i]);
        if (i < tokens) load_block(values[i], call, tile * TILE + i, b);
        rows->scale[at * TILE + i] = scale_of(&marked[i], values[i]);
        if (marked[i]) rows->marked[at]++;
    }
    for (int64_t i = 0; i < TILE; i++) {
        int64_t row = at * TILE + i;
        int8_t *residual = rows->residual + row * BLOCK;
        int32_t sums[2];
        write_block(rows->q + row * BLOCK, marked[i] || narrow ? residual : NULL, sums, values[i],
                    rows->scale[row]);
        if (rows->marked[at] && !marked[i] && !narrow) memset(residual, 0, BLOCK);
        rows->sum[row] = sums[0];
        rows->residual_sum[row] = sums[1];
    }
}

static void quantize_tiles(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const rows_call *call = context;
    for (int64_t tile = begin; tile < end; tile++) {
        for (int64_t b = 0; b < call->blocks; b++) quantize_tile_block(call, tile, b);
    }
}

void HONE_SIMD(hone_int8_quantize)(void *memory, hone_int8_counts *counts, const float *x,
                                   const float *column_factor, int64_t tokens, int64_t width) {
    rows_call call = {hone_int8_rows_view(memory, tokens, width), x, column_factor,
                      hone_int8_blocks(width)};
    hone_parallel_for(hone_int8_tiles(tokens), GRAIN, quantize_tiles, &call);
    hone_int8_count(counts, &call.rows);
}
