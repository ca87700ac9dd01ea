#include "base/parallel.h"
#include "kernels/cpu/simd/curves.h"
#include "kernels/cpu/simd/levels.h"

enum {
    GRAIN = 1 << 15,       /* elements, below which a thread is not worth waking */
    CURVE_GRAIN = 1 << 13, /* where each costs an exponential */
    COLUMN_BLOCK = 64
};

typedef struct elementwise_call {
    float *y;
    const float *a, *b;
    const int32_t *rows;
    int64_t rows_count, width;
    float factor;
} elementwise_call;

static void run_add(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    int64_t i = begin;
    for (; i + VW <= end; i += VW)
        vf_store(call->y + i, vf_load(call->a + i) + vf_load(call->b + i));
    for (; i < end; i++) call->y[i] = call->a[i] + call->b[i];
}

static void run_scale(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    int64_t i = begin;
    for (; i + VW <= end; i += VW) vf_store(call->y + i, vf_load(call->a + i) * call->factor);
    for (; i < end; i++) call->y[i] = call->a[i] * call->factor;
}

static void run_bias(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    for (int64_t t = begin; t < end; t++) {
        float *y = call->y + t * call->width;
        const float *x = call->a + t * call->width;
        int64_t c = 0;
        for (; c + VW <= call->width; c += VW)
            vf_store(y + c, vf_load(x + c) + vf_load(call->b + c));
        for (; c < call->width; c++) y[c] = x[c] + call->b[c];
    }
}

/* Columns are cut into blocks; each sums over the rows in their order, whatever the threads. */
static void run_column_sums(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * COLUMN_BLOCK;
        int64_t left = call->width - first;
        int64_t columns = left < COLUMN_BLOCK ? left : (int64_t)COLUMN_BLOCK;
        float sum[COLUMN_BLOCK] = {0};
        for (int64_t t = 0; t < call->rows_count; t++) {
            const float *row = call->a + t * call->width + first;
            for (int64_t c = 0; c < columns; c++) sum[c] += row[c];
        }
        for (int64_t c = 0; c < columns; c++) call->y[first + c] += sum[c];
    }
}

static void run_softcap(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    softcap_run(call->y + begin, call->a + begin, end - begin, call->factor);
}

static void run_softcap_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    float inverse = 1.0f / call->factor;
    int64_t i = begin;
    for (; i + VW <= end; i += VW)
        vf_store(call->y + i, vf_load(call->a + i) * softcap_slope(vf_load(call->b + i), inverse));
    if (i == end) return;
    vf slope = softcap_slope(vf_load_part(call->b + i, end - i), inverse);
    vf_store_part(call->y + i, vf_load_part(call->a + i, end - i) * slope, end - i);
}

static void run_copy(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    memcpy(call->y + begin, call->a + begin, (size_t)(end - begin) * sizeof(float));
}

static void run_zero(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    memset(call->y + begin, 0, (size_t)(end - begin) * sizeof(float));
}

static void run_gather(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    size_t bytes = (size_t)call->width * sizeof(float);
    for (int64_t i = begin; i < end; i++)
        memcpy(call->y + i * call->width, call->a + call->rows[i] * call->width, bytes);
}

static void run_scatter(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    size_t bytes = (size_t)call->width * sizeof(float);
    for (int64_t i = begin; i < end; i++)
        memcpy(call->y + call->rows[i] * call->width, call->a + i * call->width, bytes);
}

static int64_t row_grain(int64_t width) {
    return width >= GRAIN ? 1 : GRAIN / (width > 0 ? width : 1);
}

void HONE_SIMD(hone_add)(float *y, const float *a, const float *b, int64_t n) {
    elementwise_call call = {.y = y, .a = a, .b = b};
    hone_parallel_for(n, GRAIN, run_add, &call);
}

void HONE_SIMD(hone_scale)(float *y, const float *x, int64_t n, double factor) {
    elementwise_call call = {.y = y, .a = x, .factor = (float)factor};
    hone_parallel_for(n, GRAIN, run_scale, &call);
}

void HONE_SIMD(hone_bias_fwd)(float *y, const float *x, const float *b, int64_t tokens,
                              int64_t width) {
    elementwise_call call = {.y = y, .a = x, .b = b, .width = width};
    hone_parallel_for(tokens, row_grain(width), run_bias, &call);
}

void HONE_SIMD(hone_bias_bwd)(float *db, const float *dy, int64_t tokens, int64_t width) {
    elementwise_call call = {.y = db, .a = dy, .rows_count = tokens, .width = width};
    int64_t blocks = (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    hone_parallel_for(blocks, tokens < 64 ? blocks : 1, run_column_sums, &call);
}

void HONE_SIMD(hone_softcap_fwd)(float *y, const float *x, int64_t n, double cap) {
    elementwise_call call = {.y = y, .a = x, .factor = (float)cap};
    hone_parallel_for(n, CURVE_GRAIN, run_softcap, &call);
}

void HONE_SIMD(hone_softcap_bwd)(float *dx, const float *dy, const float *y, int64_t n,
                                 double cap) {
    elementwise_call call = {.y = dx, .a = dy, .b = y, .factor = (float)cap};
    hone_parallel_for(n, GRAIN, run_softcap_bwd, &call);
}

typedef struct bf16_call {
    uint16_t *y;
    const float *x;
} bf16_call;

static void run_to_bf16(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const bf16_call *call = context;
    round_to_bf16(call->y + begin, call->x + begin, end - begin);
}

void HONE_SIMD(hone_to_bf16)(uint16_t *y, const float *x, int64_t n) {
    bf16_call call = {y, x};
    hone_parallel_for(n, GRAIN, run_to_bf16, &call);
}

void HONE_SIMD(hone_copy)(float *y, const float *x, int64_t n) {
    elementwise_call call = {.y = y, .a = x};
    hone_parallel_for(n, GRAIN, run_copy, &call);
}

void HONE_SIMD(hone_zero)(float *y, int64_t n) {
    elementwise_call call = {.y = y};
    hone_parallel_for(n, GRAIN, run_zero, &call);
}

void HONE_SIMD(hone_gather_rows)(float *y, const float *x, const int32_t *rows, int64_t n,
                                 int64_t width) {
    elementwise_call call = {.y = y, .a = x, .rows = rows, .width = width};
    hone_parallel_for(n, row_grain(width), run_gather, &call);
}

void HONE_SIMD(hone_scatter_rows)(float *y, const float *x, const int32_t *rows, int64_t n,
                                  int64_t width) {
    elementwise_call call = {.y = y, .a = x, .rows = rows, .width = width};
    hone_parallel_for(n, row_grain(width), run_scatter, &call);
}
