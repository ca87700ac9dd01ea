/*
 * Layers in bf16 of rows that lie rounded (bf16_fwd and bf16_bwd of hone_kernels), in plain loops with sums in double.
 */
#ifndef HONE_TESTS_CUDA_ORACLE_BF16_H
#define HONE_TESTS_CUDA_ORACLE_BF16_H

#include "base/alloc.h"
#include "kernels/device.h"
#include "tests/support.h"

static inline float bf16_of(double value) {
    return hone_bf16_to_f32(hone_bf16_from_f32((float)value));
}

/* Rows of w, rounded; owned by the caller. */
static inline float *rounded_weight(const hone_bf16_linear *l) {
    int64_t n = l->out * l->in;
    float *w = hone_alloc((size_t)n + 1, sizeof *w);
    ck_assert_ptr_nonnull(w);
    hone_kernels_ref()->dequantize(w, l->w, l->type, n);
    for (int64_t i = 0; i < n; i++) w[i] = bf16_of((double)w[i]);
    return w;
}

static inline double bf16_at(const uint16_t *x, int64_t row, int64_t stride, int64_t column) {
    return (double)hone_bf16_to_f32(x[row * stride + column]);
}

static inline void oracle_bf16_fwd(void *y, uint16_t *t, uint16_t *x, const hone_bf16_linear *l,
                                   void *workspace) {
    (void)workspace;
    float *w = rounded_weight(l);
    int64_t room = l->x_stride - l->in;
    for (int64_t i = 0; i < l->tokens; i++) {
        for (int64_t r = 0; l->rank > 0 && r < room; r++) {
            double sum = 0;
            for (int64_t c = 0; r < l->rank && c < l->in; c++)
                sum += bf16_at(x, i, l->x_stride, c) * (double)bf16_of((double)l->a[r * l->in + c]);
            t[i * room + r] = hone_bf16_from_f32((float)sum);
        }
        for (int64_t o = 0; o < l->out; o++) {
            double sum = l->bias ? (double)l->bias[o] : 0;
            for (int64_t c = 0; c < l->in; c++)
                sum += bf16_at(x, i, l->x_stride, c) * (double)w[o * l->in + c];
            for (int64_t r = 0; r < l->rank; r++)
                sum += bf16_at(t, i, room, r) *
                       (double)bf16_of((double)((float)l->scale * l->b[o * l->rank + r]));
            if (l->y_stride > 0)
                ((uint16_t *)y)[i * l->y_stride + o] = hone_bf16_from_f32((float)sum);
            else
                ((float *)y)[i * l->out + o] = (float)sum;
        }
    }
    hone_free(w);
}

/* u = dy sb, rounded; owned by the caller. */
static inline float *oracle_u(const uint16_t *dy, const hone_bf16_linear *l) {
    float *u = hone_alloc((size_t)(l->tokens * l->rank) + 1, sizeof *u);
    ck_assert_ptr_nonnull(u);
    for (int64_t i = 0; i < l->tokens; i++) {
        for (int64_t r = 0; r < l->rank; r++) {
            double sum = 0;
            for (int64_t o = 0; o < l->out; o++)
                sum += bf16_at(dy, i, l->dy_stride, o) *
                       (double)bf16_of((double)((float)l->scale * l->b[o * l->rank + r]));
            u[i * l->rank + r] = bf16_of(sum);
        }
    }
    return u;
}

static inline void oracle_bf16_bwd(void *dx, float *da, float *db, uint16_t *dy, const uint16_t *x,
                                   const uint16_t *t, const hone_bf16_linear *l, float beta,
                                   void *workspace) {
    (void)workspace;
    float *w = rounded_weight(l), *u = oracle_u(dy, l);
    int64_t tokens = l->tokens, in = l->in, out = l->out, rank = l->rank, room = l->x_stride - in;
    for (int64_t r = 0; r < rank; r++) {
        for (int64_t c = 0; da && c < in; c++) {
            double sum = (double)da[r * in + c];
            for (int64_t i = 0; i < tokens; i++)
                sum += (double)u[i * rank + r] * bf16_at(x, i, l->x_stride, c);
            da[r * in + c] = (float)sum;
        }
        for (int64_t o = 0; db && o < out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < tokens; i++)
                sum += bf16_at(dy, i, l->dy_stride, o) * bf16_at(t, i, room, r);
            db[o * rank + r] = (float)((double)db[o * rank + r] + l->scale * sum);
        }
    }
    for (int64_t i = 0; i < tokens; i++) {
        for (int64_t c = 0; dx && c < in; c++) {
            double sum = beta != 0 ? (double)(beta * ((float *)dx)[i * in + c]) : 0;
            for (int64_t o = 0; o < out; o++)
                sum += bf16_at(dy, i, l->dy_stride, o) * (double)w[o * in + c];
            for (int64_t r = 0; r < rank; r++)
                sum += (double)u[i * rank + r] * (double)bf16_of((double)l->a[r * in + c]);
            if (l->dx_stride > 0)
                ((uint16_t *)dx)[i * l->dx_stride + c] = hone_bf16_from_f32((float)sum);
            else
                ((float *)dx)[i * in + c] = (float)sum;
        }
    }
    hone_free(w);
    hone_free(u);
}

static inline size_t oracle_bf16_workspace(const hone_bf16_linear *layer) {
    (void)layer;
    return 0;
}

static inline void oracle_round_rows(uint16_t *y, const float *x, int64_t tokens, int64_t width,
                                     int64_t stride) {
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t c = 0; c < width; c++)
            y[i * stride + c] = hone_bf16_from_f32(x[i * width + c]);
}

/* --- What comes out in bf16 --- */

static inline float *oracle_floats(int64_t n) {
    float *x = hone_alloc((size_t)n + 1, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* Rows in bf16 as floats; owned by the caller. */
static inline float *oracle_widened(const uint16_t *x, int64_t stride, int64_t tokens,
                                    int64_t width) {
    float *whole = oracle_floats(tokens * width);
    for (int64_t i = 0; i < tokens * width; i++)
        whole[i] = (float)bf16_at(x, i / width, stride, i % width);
    return whole;
}

static inline void oracle_gated_fwd(uint16_t *y, int64_t stride, const uint16_t *gate,
                                    const uint16_t *up, int64_t gate_stride, int64_t tokens,
                                    int64_t width, hone_activation_kind kind) {
    float *g = oracle_widened(gate, gate_stride, tokens, width);
    float *u = oracle_widened(up, gate_stride, tokens, width);
    hone_kernels_ref()->gated_fwd(g, g, u, tokens * width, kind);
    oracle_round_rows(y, g, tokens, width, stride);
    hone_free(g);
    hone_free(u);
}

static inline void oracle_gated_bwd(uint16_t *dgate, int64_t dgate_stride, uint16_t *dup,
                                    int64_t dup_stride, const uint16_t *dy, int64_t dy_stride,
                                    const uint16_t *gate, const uint16_t *up, int64_t gate_stride,
                                    int64_t tokens, int64_t width, hone_activation_kind kind) {
    float *g = oracle_widened(gate, gate_stride, tokens, width);
    float *u = oracle_widened(up, gate_stride, tokens, width);
    float *d = oracle_widened(dy, dy_stride, tokens, width);
    hone_kernels_ref()->gated_bwd(g, u, d, g, u, tokens * width, kind);
    oracle_round_rows(dgate, g, tokens, width, dgate_stride);
    oracle_round_rows(dup, u, tokens, width, dup_stride);
    hone_free(g);
    hone_free(u);
    hone_free(d);
}

static inline void oracle_rmsnorm_fwd(uint16_t *y, int64_t stride, float *rstd, const float *x,
                                      const float *w, int64_t tokens, int64_t width,
                                      double epsilon) {
    float *whole = oracle_floats(tokens * width);
    hone_kernels_ref()->rmsnorm_fwd(whole, rstd, x, w, tokens, width, epsilon);
    oracle_round_rows(y, whole, tokens, width, stride);
    hone_free(whole);
}

/* A table with all of them. */
static inline hone_kernels with_bf16(hone_kernels table) {
    table.bf16_fwd = oracle_bf16_fwd;
    table.bf16_bwd = oracle_bf16_bwd;
    table.bf16_workspace = oracle_bf16_workspace;
    table.round_rows = oracle_round_rows;
    table.gated_fwd_bf16 = oracle_gated_fwd;
    table.gated_bwd_bf16 = oracle_gated_bwd;
    table.rmsnorm_fwd_bf16 = oracle_rmsnorm_fwd;
    return table;
}

#endif
