/*
 * The reference kernels, but that LoRA's factors and what they are multiplied by are rounded to TF32 where a GPU does that.
 * Without it a step in bf16 or int8 would differ by more than its test allows: what is a little off before it is rounded
 * falls the other way now and then.
 */
#ifndef HONE_TESTS_CUDA_ORACLE_H
#define HONE_TESTS_CUDA_ORACLE_H

#include "base/alloc.h"
#include "kernels/device.h"
#include "kernels/ref/ref.h"
#include "tests/cuda/oracle_bf16.h"
#include "tests/support.h"

/* Owned by the caller. */
static inline float *tf32_copy(const float *x, int64_t n) {
    float *copy = hone_alloc((size_t)n + 1, sizeof *copy);
    ck_assert_ptr_nonnull(copy);
    for (int64_t i = 0; i < n; i++) copy[i] = hone_tf32(x[i]);
    return copy;
}

static inline void oracle_lora_fwd(float *t, const float *x, const float *a, hone_lora_shape shape,
                                   void *workspace) {
    if (!shape.rounded) {
        hone_lora_fwd_ref(t, x, a, shape, workspace);
        return;
    }
    float *x_copy = tf32_copy(x, shape.tokens * shape.in);
    float *a_copy = tf32_copy(a, shape.rank * shape.in);
    hone_lora_fwd_ref(t, x_copy, a_copy, shape, workspace);
    hone_free(x_copy);
    hone_free(a_copy);
}

static inline void oracle_lora_bwd(float *dt, float *da, float *db, const float *dy, const float *x,
                                   const float *t, const float *b, hone_lora_shape shape,
                                   void *workspace) {
    if (!shape.rounded) {
        hone_lora_bwd_ref(dt, da, db, dy, x, t, b, shape, workspace);
        return;
    }
    int64_t tokens = shape.tokens, rank = shape.rank, in = shape.in;
    float *dy_copy = tf32_copy(dy, tokens * shape.out), *b_copy = tf32_copy(b, shape.out * rank);
    float *t_copy = tf32_copy(t, tokens * rank);
    hone_lora_bwd_ref(dt, NULL, db, dy_copy, NULL, t_copy, b_copy, shape, workspace);
    float *dt_copy = tf32_copy(dt, tokens * rank), *x_copy = da ? tf32_copy(x, tokens * in) : NULL;
    if (da) hone_gemm_ref(da, dt_copy, x_copy, rank, in, tokens, true, false, rank, in, in, 1, 1);
    float *copies[] = {dy_copy, b_copy, t_copy, dt_copy, x_copy};
    for (int i = 0; i < 5; i++) hone_free(copies[i]);
}

/* A low-rank part with both sides rounded, of a result of so many columns; to be given back. */
static inline hone_low_rank rounded_low(const hone_low_rank *low, int64_t tokens, int64_t columns) {
    if (!low) return (hone_low_rank){0};
    return (hone_low_rank){tf32_copy(low->t, tokens * low->rank),
                           tf32_copy(low->factor, columns * low->rank), low->rank, low->scale};
}

static inline void free_low(hone_low_rank *low) {
    hone_free((void *)(uintptr_t)low->t);
    hone_free((void *)(uintptr_t)low->factor);
}

static inline void oracle_reduced_fwd(float *y, const float *x, const void *w, hone_dtype type,
                                      hone_precision precision, const hone_low_rank *low,
                                      int64_t tokens, int64_t in, int64_t out, float beta,
                                      void *workspace) {
    hone_low_rank own = rounded_low(low, tokens, out);
    hone_reduced_fwd_ref(y, x, w, type, precision, low ? &own : NULL, tokens, in, out, beta,
                         workspace);
    free_low(&own);
}

static inline void oracle_reduced_bwd(float *dx, const float *dy, const void *w, hone_dtype type,
                                      hone_precision precision, const hone_low_rank *low,
                                      int64_t tokens, int64_t in, int64_t out, float beta,
                                      void *workspace) {
    hone_low_rank own = rounded_low(low, tokens, in);
    hone_reduced_bwd_ref(dx, dy, w, type, precision, low ? &own : NULL, tokens, in, out, beta,
                         workspace);
    free_low(&own);
}

static inline void oracle_int8_fwd(float *y, const void *rows, const hone_int8_weight *w,
                                   const hone_low_rank *low, int64_t tokens, float beta,
                                   void *workspace) {
    hone_low_rank own = rounded_low(low, tokens, w->out);
    hone_int8_fwd_ref(y, rows, w, low ? &own : NULL, tokens, beta, workspace);
    free_low(&own);
}

static inline void oracle_int8_bwd(float *dx, const void *rows, const hone_int8_weight *w,
                                   const hone_low_rank *low, int64_t tokens, float beta,
                                   void *workspace) {
    hone_low_rank own = rounded_low(low, tokens, w->in);
    hone_int8_bwd_ref(dx, rows, w, low ? &own : NULL, tokens, beta, workspace);
    free_low(&own);
}

/* A device that computes so. */
static inline void open_oracle(hone_device *device) {
    static hone_kernels table;
    hone_device_open_ref(device);
    table = with_bf16(*device->kernels);
    table.lora_fwd = oracle_lora_fwd;
    table.lora_bwd = oracle_lora_bwd;
    table.reduced_fwd = oracle_reduced_fwd;
    table.reduced_bwd = oracle_reduced_bwd;
    table.int8_fwd = oracle_int8_fwd;
    table.int8_bwd = oracle_int8_bwd;
    device->kernels = &table;
}

#endif
