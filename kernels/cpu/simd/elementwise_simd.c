#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { GRAIN = 1 << 15 }; /* elements, below which a thread is not worth waking */

typedef struct elementwise_call {
    float *y;
    const float *a, *b;
    const int32_t *rows;
    int64_t width;
} elementwise_call;

static void run_add(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const elementwise_call *call = context;
    int64_t i = begin;
    for (; i + VW <= end; i += VW)
        vf_store(call->y + i, vf_load(call->a + i) + vf_load(call->b + i));
    for (; i < end; i++) call->y[i] = call->a[i] + call->b[i];
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
