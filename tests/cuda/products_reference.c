/*
 * Products for the fenced device: the reference kernels, as if they were launched on it.
 */
#include "kernels/cuda/cuda.h"
#include "tests/cuda/fake_cudart.h"

#define LAUNCH(call)                                                                               \
    do {                                                                                           \
        if (!fake_cudart_launch_begin()) return;                                                   \
        hone_kernels_ref()->call;                                                                  \
        fake_cudart_launch_end();                                                                  \
    } while (0)

static void gemm(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                 bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc, float alpha,
                 float beta) {
    LAUNCH(gemm(c, a, b, m, n, k, trans_a, trans_b, lda, ldb, ldc, alpha, beta));
}

static void linear_fwd(float *y, const float *x, const void *w, hone_dtype type,
                       const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                       float beta, void *workspace) {
    LAUNCH(linear_fwd(y, x, w, type, low, tokens, in, out, beta, workspace));
}

static void linear_bwd(float *dx, const float *dy, const void *w, hone_dtype type,
                       const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                       float beta, void *workspace) {
    LAUNCH(linear_bwd(dx, dy, w, type, low, tokens, in, out, beta, workspace));
}

static void bf16_fwd(float *y, const float *x, const void *w, hone_dtype type,
                     const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out, float beta,
                     void *workspace) {
    LAUNCH(bf16_fwd(y, x, w, type, low, tokens, in, out, beta, workspace));
}

static void bf16_bwd(float *dx, const float *dy, const void *w, hone_dtype type,
                     const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out, float beta,
                     void *workspace) {
    LAUNCH(bf16_bwd(dx, dy, w, type, low, tokens, in, out, beta, workspace));
}

static void lora_fwd(float *t, const float *x, const float *a, hone_lora_shape shape,
                     void *workspace) {
    LAUNCH(lora_fwd(t, x, a, shape, workspace));
}

static void lora_bwd(float *dt, float *da, float *db, const float *dy, const float *x,
                     const float *t, const float *b, hone_lora_shape shape, void *workspace) {
    LAUNCH(lora_bwd(dt, da, db, dy, x, t, b, shape, workspace));
}

static void int8_quantize(void *rows, hone_int8_counts *counts, const float *x,
                          const float *column_factor, int64_t tokens, int64_t width) {
    LAUNCH(int8_quantize(rows, counts, x, column_factor, tokens, width));
}

static void int8_fwd(float *y, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    LAUNCH(int8_fwd(y, rows, w, low, tokens, beta, workspace));
}

static void int8_bwd(float *dx, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    LAUNCH(int8_bwd(dx, rows, w, low, tokens, beta, workspace));
}

static void int8_column_factors(float *factor, const hone_int8_weight *w) {
    LAUNCH(int8_column_factors(factor, w));
}

static void int8_row_factors(float *factor, const hone_int8_weight *w) {
    LAUNCH(int8_row_factors(factor, w));
}

static void int8_quantize_weight(int8_t *q, float *scale, const hone_int8_weight *w, int64_t begin,
                                 int64_t rows) {
    LAUNCH(int8_quantize_weight(q, scale, w, begin, rows));
}

void hone_cuda_fill_products(hone_kernels *table) {
    const hone_kernels *ref = hone_kernels_ref();
    table->gemm = fake_cudart_settings.no_gemm ? NULL : gemm;
    table->linear_fwd = linear_fwd;
    table->linear_bwd = linear_bwd;
    table->linear_workspace = ref->linear_workspace;
    table->bf16_fwd = bf16_fwd;
    table->bf16_bwd = bf16_bwd;
    table->bf16_workspace = ref->bf16_workspace;
    table->lora_fwd = lora_fwd;
    table->lora_bwd = lora_bwd;
    table->lora_workspace = ref->lora_workspace;
    table->int8_quantize = int8_quantize;
    table->int8_fwd = int8_fwd;
    table->int8_bwd = int8_bwd;
    table->int8_workspace = ref->int8_workspace;
    table->int8_column_factors = int8_column_factors;
    table->int8_row_factors = int8_row_factors;
    table->int8_quantize_weight = int8_quantize_weight;
}
