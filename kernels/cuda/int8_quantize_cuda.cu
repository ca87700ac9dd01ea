/*
 * Activations and weights in int8, bit for bit as the reference makes them (kernels/int8.h): products that are rounded to
 * int8 are never fused with a sum.
 */
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

enum { SIDE = HONE_INT8_BLOCK, TILE = HONE_INT8_TILE, MARK_RATIO = 32 };

__device__ static inline int8_t step_of(float x) {
    return (int8_t)fminf(fmaxf(rintf(x), -127.0f), 127.0f);
}

/* --- Activations: a warp takes a tile's block, a lane two elements of each of its tokens --- */

typedef struct activations {
    hone_int8_rows rows;
    const float *x, *factor;
    hone_int8_counts *counts; /* may be NULL */
} activations;

/* A token's element times its column's factor; 0 outside. */
__device__ static inline float value_at(const activations &a, int64_t token, int64_t column) {
    if (token >= a.rows.tokens || column >= a.rows.width) return 0.0f;
    return __fmul_rn(a.x[token * a.rows.width + column], a.factor[column]);
}

/* Scales of the tokens of a tile's block. Gives a bit for each that has an outlier. */
__device__ static uint32_t scale_block(float *scale, const activations &a, int64_t token,
                                       int64_t column) {
    uint32_t marks = 0;
    for (int r = 0; r < TILE; r++) {
        float first = fabsf(value_at(a, token + r, column));
        float second = fabsf(value_at(a, token + r, column + WARP));
        float largest = warp_max(fmaxf(first, second));
        float sum = warp_sum(first + second);
        scale[r] = largest < 1e-30f ? 0.0f : largest / 127.0f;
        if (!isfinite(sum)) scale[r] = NAN;
        if (largest * (float)SIDE > (float)MARK_RATIO * sum) marks |= 1u << r;
    }
    return marks;
}

/* What a row's block of steps and of residuals sums up to: 64 times 127 at most, so that both travel in one word. */
typedef struct row_sums {
    int steps, rests;
} row_sums;

__device__ static inline row_sums warp_sums(row_sums own) {
    int both = warp_sum(own.steps + own.rests * 65536);
    int steps = (int16_t)(both & 0xffff);
    return {steps, (both - steps) / 65536};
}

/* How a row's block is quantised: with residuals, which are written all the same where a neighbour has some. */
typedef struct row_plan {
    int64_t row;
    float inverse; /* of the scale; 0: all steps are 0 */
    bool fine, kept;
} row_plan;

__device__ static inline void quantize_element(row_sums *sums, const activations &a,
                                               const row_plan &plan, int i, int64_t token,
                                               int64_t column) {
    float value = plan.inverse > 0.0f ? value_at(a, token, column) : 0.0f;
    float exact = __fmul_rn(value, plan.inverse);
    int8_t q = step_of(exact);
    int8_t rest = step_of(plan.fine ? (exact - (float)q) * (float)HONE_INT8_FINE : 0.0f);
    a.rows.q[plan.row * SIDE + i] = q;
    if (plan.kept) a.rows.residual[plan.row * SIDE + i] = rest;
    sums->steps += q;
    sums->rests += rest;
}

/* Many warps add to it at once: whole numbers, whose order changes no sum. */
__device__ static inline void add_count(int64_t *count, int64_t more) {
    (void)atomicAdd((unsigned long long *)count, (unsigned long long)more);
}

/* The first tile's block counts the blocks of all tokens; each its own that are marked, of which there are few. */
__device__ static inline void count_block(const activations &a, int64_t at, int marked) {
    a.rows.marked[at] = (uint8_t)marked;
    if (!a.counts) return;
    if (at == 0) add_count(&a.counts->blocks, a.rows.tokens * hone_int8_blocks(a.rows.width));
    if (marked > 0) add_count(&a.counts->marked, marked);
}

__device__ static void quantize_block(const activations &a, int64_t at, int lane) {
    int64_t blocks = hone_int8_blocks(a.rows.width);
    int64_t token = at / blocks * TILE, column = at % blocks * SIDE + lane;
    float scale[TILE];
    uint32_t marks = scale_block(scale, a, token, column);
    bool narrow = blocks <= HONE_INT8_NARROW;
    int marked = 0;
    for (int r = 0; r < TILE; r++) {
        bool mark = marks >> r & 1u;
        row_plan plan = {at * TILE + r, scale[r] > 0.0f ? 1.0f / scale[r] : 0.0f, mark || narrow,
                         marks != 0 || narrow};
        row_sums sums = {0, 0};
        quantize_element(&sums, a, plan, lane, token + r, column);
        quantize_element(&sums, a, plan, lane + WARP, token + r, column + WARP);
        sums = warp_sums(sums);
        marked += mark;
        if (lane > 0) continue;
        a.rows.scale[plan.row] = scale[r];
        a.rows.sum[plan.row] = sums.steps;
        a.rows.residual_sum[plan.row] = sums.rests;
    }
    if (lane == 0) count_block(a, at, marked);
}

void hone_int8_quantize_cuda(void *memory, hone_int8_counts *counts, const float *x,
                             const float *column_factor, int64_t tokens, int64_t width) {
    activations a = {hone_int8_rows_view(memory, tokens, width), x, column_factor, counts};
    launch_each_row(hone_int8_tiles(tokens) * hone_int8_blocks(width),
                    [=] __device__(int64_t at, int lane) { quantize_block(a, at, lane); });
}

/* --- Weights --- */

__device__ static inline float source_element(const hone_int8_weight &w, int64_t o, int64_t i) {
    return hone_element_float(w.source, w.type, o * w.in + i);
}

/* A block takes a warp's width of columns. */
__global__ static void find_column_factors(float *factor, hone_int8_weight w) {
    enum { DEEP = BLOCK / WARP };
    HONE_SHARED(float, parts, BLOCK);
    int lane = (int)threadIdx.x % WARP;
    int64_t i = (int64_t)blockIdx.x * WARP + lane;
    float largest = 0.0f;
    for (int64_t o = threadIdx.x / WARP; i < w.in && o < w.out; o += DEEP)
        largest = fmaxf(largest, fabsf(source_element(w, o, i)));
    parts[threadIdx.x] = largest;
    __syncthreads();
    if (threadIdx.x >= WARP || i >= w.in) return;
    for (int d = 1; d < DEEP; d++) largest = fmaxf(largest, parts[d * WARP + lane]);
    factor[i] = hone_int8_factor(largest);
}

void hone_int8_column_factors_cuda(float *factor, const hone_int8_weight *w) {
    unsigned blocks = (unsigned)((w->in + WARP - 1) / WARP);
    if (blocks > 0) HONE_LAUNCH(find_column_factors, blocks, BLOCK, factor, *w);
}

void hone_int8_row_factors_cuda(float *factor, const hone_int8_weight *weight) {
    hone_int8_weight w = *weight;
    launch_each_row(w.out, [=] __device__(int64_t o, int lane) {
        float largest = 0.0f;
        for (int64_t i = lane; i < w.in; i += WARP)
            largest = fmaxf(largest, fabsf(source_element(w, o, i) / w.column_factor[i]));
        largest = warp_max(largest);
        if (lane == 0) factor[o] = hone_int8_factor(largest);
    });
}

/* Element (o, i) divided by the factors of its column and row. */
__device__ static inline float balanced(const hone_int8_weight &w, int64_t o, int64_t i) {
    return __fmul_rn(source_element(w, o, i) / w.column_factor[i], 1.0f / w.row_factor[o]);
}

/* A block of threads takes a block of weights; q and scale are of the rows from `begin` on. */
__global__ static void quantize_weight(int8_t *q, float *scale, hone_int8_weight w, int64_t begin,
                                       int64_t rows) {
    int64_t across = hone_int8_blocks(w.in);
    int64_t first_row = blockIdx.x / across * SIDE, first_column = blockIdx.x % across * SIDE;
    float largest = 0.0f;
    for (int at = (int)threadIdx.x; at < SIDE * SIDE; at += BLOCK) {
        int64_t o = first_row + at / SIDE, i = first_column + at % SIDE;
        if (o < rows && i < w.in) largest = fmaxf(largest, fabsf(balanced(w, begin + o, i)));
    }
    largest = block_max(largest);
    float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (int at = (int)threadIdx.x; at < SIDE * SIDE; at += BLOCK) {
        int64_t o = first_row + at / SIDE, i = first_column + at % SIDE;
        if (o < rows && i < w.in)
            q[o * w.in + i] = step_of(__fmul_rn(balanced(w, begin + o, i), inverse));
    }
    if (threadIdx.x == 0) scale[blockIdx.x] = largest / 127.0f;
}

void hone_int8_quantize_weight_cuda(int8_t *q, float *scale, const hone_int8_weight *w,
                                    int64_t begin, int64_t rows) {
    unsigned blocks = (unsigned)(hone_int8_blocks(rows) * hone_int8_blocks(w->in));
    if (blocks > 0) HONE_LAUNCH(quantize_weight, blocks, BLOCK, q, scale, *w, begin, rows);
}
