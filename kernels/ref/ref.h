/*
 * The reference kernels, one by one, so that other tables can fall back on them. What each computes stands at its
 * member of hone_kernels; here sums are taken in double precision, one element after the other.
 */
#ifndef HONE_KERNELS_REF_REF_H
#define HONE_KERNELS_REF_REF_H

#include <math.h>

#include "kernels/kernels.h"

/* cap tanh(x / cap); x itself when cap is 0. */
static inline double hone_capped(double x, double cap) {
    return cap > 0.0 ? cap * tanh(x / cap) : x;
}

/* The slope of the above where its value is z. */
static inline double hone_capped_slope(double z, double cap) {
    return cap > 0.0 ? 1.0 - z / cap * (z / cap) : 1.0;
}

void hone_gemm_ref(hone_real *c, const hone_real *a, const hone_real *b, int64_t m, int64_t n,
                   int64_t k, bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                   hone_real alpha, hone_real beta);

void hone_linear_fwd_ref(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                         const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                         hone_real beta, void *workspace);
void hone_linear_bwd_ref(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                         const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                         hone_real beta, void *workspace);
size_t hone_linear_workspace_ref(hone_dtype type, int64_t in, int64_t out, int64_t rank);

void hone_reduced_fwd_ref(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                          hone_precision precision, const hone_low_rank *low, int64_t tokens,
                          int64_t in, int64_t out, hone_real beta, void *workspace);
void hone_reduced_bwd_ref(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                          hone_precision precision, const hone_low_rank *low, int64_t tokens,
                          int64_t in, int64_t out, hone_real beta, void *workspace);
size_t hone_reduced_workspace_ref(hone_dtype type, hone_precision precision, int64_t tokens,
                                  int64_t in, int64_t out, int64_t rank, bool backward);

/* One element of a low-rank part: of token t and a column of the result, which has so many; 0 where there is none. */
double hone_low_rank_ref(const hone_low_rank *low, int64_t t, int64_t column, int64_t columns,
                         bool forward);

void hone_lora_fwd_ref(hone_real *t, const hone_real *x, const hone_real *a, hone_lora_shape shape,
                       void *workspace);
void hone_lora_bwd_ref(hone_real *dt, hone_real *da, hone_real *db, const hone_real *dy,
                       const hone_real *x, const hone_real *t, const hone_real *b,
                       hone_lora_shape shape, void *workspace);
size_t hone_lora_workspace_ref(hone_lora_shape shape);

void hone_int8_quantize_ref(void *rows, hone_int8_counts *counts, const hone_real *x,
                            const float *column_factor, int64_t tokens, int64_t width);
/* Of weights with an int8 copy only. */
void hone_int8_fwd_ref(hone_real *y, const void *rows, const hone_int8_weight *w,
                       const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace);
void hone_int8_bwd_ref(hone_real *dx, const void *rows, const hone_int8_weight *w,
                       const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace);
size_t hone_int8_workspace_ref(const hone_int8_weight *w, int64_t rank);
void hone_int8_column_factors_ref(float *factor, const hone_int8_weight *w);
void hone_int8_row_factors_ref(float *factor, const hone_int8_weight *w);
void hone_int8_quantize_weight_ref(int8_t *q, float *scale, const hone_int8_weight *w,
                                   int64_t begin, int64_t rows);

void hone_embedding_fwd_ref(hone_real *y, const int32_t *ids, const void *table, hone_dtype type,
                            int64_t tokens, int64_t width);
void hone_embedding_bwd_ref(hone_real *dtable, const int32_t *ids, const hone_real *dy,
                            int64_t tokens, int64_t width);

void hone_rmsnorm_fwd_ref(hone_real *y, hone_real *rstd, const hone_real *x, const hone_real *w,
                          int64_t tokens, int64_t width, double epsilon);
void hone_rmsnorm_bwd_ref(hone_real *dx, hone_real *dw, const hone_real *dy, const hone_real *x,
                          const hone_real *w, const hone_real *rstd, int64_t tokens, int64_t width,
                          hone_real beta);

void hone_layernorm_fwd_ref(hone_real *y, hone_real *statistics, const hone_real *x,
                            const hone_real *w, const hone_real *b, int64_t tokens, int64_t width,
                            double epsilon);
void hone_layernorm_bwd_ref(hone_real *dx, hone_real *dw, hone_real *db, const hone_real *dy,
                            const hone_real *x, const hone_real *w, const hone_real *statistics,
                            int64_t tokens, int64_t width, hone_real beta);

void hone_rope_ref(hone_real *x, const hone_real *cosine, const hone_real *sine,
                   const int32_t *positions, hone_rope_shape shape, bool inverse);

const char *hone_attention_lacks_ref(hone_attention_kind kind, hone_attention_shape shape);
void hone_attention_fwd_ref(hone_real *o, hone_real *lse, const hone_real *q, const hone_real *k,
                            const hone_real *v, const hone_segment *segments,
                            hone_attention_shape shape, void *workspace);
void hone_attention_bwd_ref(hone_real *dq, hone_real *dk, hone_real *dv, const hone_real *do_,
                            const hone_real *q, const hone_real *k, const hone_real *v,
                            const hone_real *o, const hone_real *lse, const hone_segment *segments,
                            hone_attention_shape shape, void *workspace);
size_t hone_attention_workspace_ref(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                    bool backward);
double hone_attention_pairs_ref(const hone_segment *segments, hone_attention_shape shape);

void hone_activation_fwd_ref(hone_real *y, const hone_real *x, int64_t n,
                             hone_activation_kind kind);
void hone_activation_bwd_ref(hone_real *dx, const hone_real *dy, const hone_real *x, int64_t n,
                             hone_activation_kind kind);
void hone_gated_fwd_ref(hone_real *y, const hone_real *gate, const hone_real *up, int64_t n,
                        hone_activation_kind kind);
void hone_gated_bwd_ref(hone_real *dgate, hone_real *dup, const hone_real *dy,
                        const hone_real *gate, const hone_real *up, int64_t n,
                        hone_activation_kind kind);

void hone_add_ref(hone_real *y, const hone_real *a, const hone_real *b, int64_t n);
void hone_scale_ref(hone_real *y, const hone_real *x, int64_t n, double factor);
void hone_bias_fwd_ref(hone_real *y, const hone_real *x, const hone_real *b, int64_t tokens,
                       int64_t width);
void hone_bias_bwd_ref(hone_real *db, const hone_real *dy, int64_t tokens, int64_t width);
void hone_softcap_fwd_ref(hone_real *y, const hone_real *x, int64_t n, double cap);
void hone_softcap_bwd_ref(hone_real *dx, const hone_real *dy, const hone_real *y, int64_t n,
                          double cap);
void hone_copy_ref(hone_real *y, const hone_real *x, int64_t n);
void hone_to_bf16_ref(uint16_t *y, const hone_real *x, int64_t n);
void hone_zero_ref(hone_real *y, int64_t n);
void hone_gather_rows_ref(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                          int64_t width);
void hone_scatter_rows_ref(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                           int64_t width);

void hone_cross_entropy_ref(hone_real *loss, hone_real *logits, const int32_t *targets, int64_t n,
                            int64_t vocabulary, const double *weight, double softcap,
                            hone_loss_gradient gradient);

void hone_dropout_ref(hone_real *y, const hone_real *x, hone_dropout draw, int64_t tokens,
                      int64_t width, hone_real beta);

void hone_sum_ref(double *out, const hone_real *x, int64_t n);
void hone_sum_squares_ref(double *out, const hone_real *x, int64_t n);

void hone_adamw_ref(hone_real *p, const hone_real *grad, hone_real *m, hone_real *v, int64_t n,
                    const hone_adamw_step *step, double decay);

void hone_dequantize_ref(hone_real *y, const void *x, hone_dtype type, int64_t n);

#endif
