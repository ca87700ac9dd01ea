/*
 * The kernels of cpu/simd, as one level names them. What each computes stands at its member of hone_kernels.
 */
#ifndef HONE_KERNELS_CPU_SIMD_LEVELS_H
#define HONE_KERNELS_CPU_SIMD_LEVELS_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd/simd.h"

/* The products of matrices that this level takes. */
#ifdef HONE_ONEDNN
#define HONE_GEMM hone_gemm_onednn
#else
#define HONE_GEMM HONE_SIMD(hone_gemm)
#endif

void HONE_SIMD(hone_linear_fwd)(float *y, const float *x, const void *w, hone_dtype type,
                                const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                                float beta, void *workspace);
void HONE_SIMD(hone_linear_bwd)(float *dx, const float *dy, const void *w, hone_dtype type,
                                const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                                float beta, void *workspace);
size_t HONE_SIMD(hone_linear_workspace)(hone_dtype type, int64_t in, int64_t out, int64_t rank);

void HONE_SIMD(hone_lora_fwd)(float *t, const float *x, const float *a, hone_lora_shape shape,
                              void *workspace);
void HONE_SIMD(hone_lora_bwd)(float *dt, float *da, float *db, const float *dy, const float *x,
                              const float *t, const float *b, hone_lora_shape shape,
                              void *workspace);
size_t HONE_SIMD(hone_lora_workspace)(hone_lora_shape shape);

void HONE_SIMD(hone_attention_fwd)(float *o, float *lse, const float *q, const float *k,
                                   const float *v, const hone_segment *segments,
                                   hone_attention_shape shape, void *workspace);
void HONE_SIMD(hone_attention_bwd)(float *dq, float *dk, float *dv, const float *do_,
                                   const float *q, const float *k, const float *v, const float *o,
                                   const float *lse, const hone_segment *segments,
                                   hone_attention_shape shape, void *workspace);
/* Bytes of each pass. */
size_t HONE_SIMD(hone_attention_fwd_workspace)(hone_attention_shape shape);
size_t HONE_SIMD(hone_attention_bwd_workspace)(hone_attention_shape shape, int64_t max_q);

/* y[n] = the elements of x, of the type that the function was asked for; n is a multiple of the block. */
typedef void (*hone_decode_fn)(float *y, const void *x, int64_t n);
hone_decode_fn HONE_SIMD_OF_BASE(hone_decoder)(hone_dtype type);

/* linear_fwd for a few tokens: no workspace. */
void HONE_SIMD(hone_matvec)(float *y, const float *x, const void *w, hone_dtype type,
                            int64_t tokens, int64_t in, int64_t out, float beta);

void HONE_SIMD(hone_int8_quantize)(void *rows, hone_int8_counts *counts, const float *x,
                                   const float *column_factor, int64_t tokens, int64_t width);
void HONE_SIMD(hone_int8_column_factors)(float *factor, const hone_int8_weight *w);
void HONE_SIMD(hone_int8_row_factors)(float *factor, const hone_int8_weight *w);
void HONE_SIMD_OF_BASE(hone_int8_quantize_weight)(int8_t *q, float *scale,
                                                  const hone_int8_weight *w, int64_t begin,
                                                  int64_t rows);

void HONE_SIMD(hone_embedding_fwd)(float *y, const int32_t *ids, const void *table, hone_dtype type,
                                   int64_t tokens, int64_t width);
void HONE_SIMD(hone_embedding_bwd)(float *dtable, const int32_t *ids, const float *dy,
                                   int64_t tokens, int64_t width);

void HONE_SIMD(hone_rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w,
                                 int64_t tokens, int64_t width, double epsilon);
void HONE_SIMD(hone_rmsnorm_bwd)(float *dx, float *dw, const float *dy, const float *x,
                                 const float *w, const float *rstd, int64_t tokens, int64_t width,
                                 float beta);

void HONE_SIMD(hone_layernorm_fwd)(float *y, float *statistics, const float *x, const float *w,
                                   const float *b, int64_t tokens, int64_t width, double epsilon);
void HONE_SIMD(hone_layernorm_bwd)(float *dx, float *dw, float *db, const float *dy, const float *x,
                                   const float *w, const float *statistics, int64_t tokens,
                                   int64_t width, float beta);

void HONE_SIMD(hone_rope)(float *x, const float *cosine, const float *sine,
                          const int32_t *positions, hone_rope_shape shape, bool inverse);

void HONE_SIMD(hone_activation_fwd)(float *y, const float *x, int64_t n, hone_activation_kind kind);
void HONE_SIMD(hone_activation_bwd)(float *dx, const float *dy, const float *x, int64_t n,
                                    hone_activation_kind kind);
void HONE_SIMD(hone_gated_fwd)(float *y, const float *gate, const float *up, int64_t n,
                               hone_activation_kind kind);
void HONE_SIMD(hone_gated_bwd)(float *dgate, float *dup, const float *dy, const float *gate,
                               const float *up, int64_t n, hone_activation_kind kind);

void HONE_SIMD(hone_add)(float *y, const float *a, const float *b, int64_t n);
void HONE_SIMD(hone_scale)(float *y, const float *x, int64_t n, double factor);
void HONE_SIMD(hone_bias_fwd)(float *y, const float *x, const float *b, int64_t tokens,
                              int64_t width);
void HONE_SIMD(hone_bias_bwd)(float *db, const float *dy, int64_t tokens, int64_t width);
void HONE_SIMD(hone_softcap_fwd)(float *y, const float *x, int64_t n, double cap);
void HONE_SIMD(hone_softcap_bwd)(float *dx, const float *dy, const float *y, int64_t n, double cap);
void HONE_SIMD(hone_copy)(float *y, const float *x, int64_t n);
void HONE_SIMD(hone_to_bf16)(uint16_t *y, const float *x, int64_t n);
void HONE_SIMD(hone_zero)(float *y, int64_t n);
void HONE_SIMD(hone_gather_rows)(float *y, const float *x, const int32_t *rows, int64_t n,
                                 int64_t width);
void HONE_SIMD(hone_scatter_rows)(float *y, const float *x, const int32_t *rows, int64_t n,
                                  int64_t width);

void HONE_SIMD(hone_cross_entropy)(float *loss, float *logits, const int32_t *targets, int64_t n,
                                   int64_t vocabulary, const double *weight, double softcap,
                                   hone_loss_gradient gradient);

void HONE_SIMD(hone_dropout)(float *y, const float *x, hone_dropout draw, int64_t tokens,
                             int64_t width, float beta);

void HONE_SIMD(hone_sum)(double *out, const float *x, int64_t n);
void HONE_SIMD(hone_sum_squares)(double *out, const float *x, int64_t n);

void HONE_SIMD(hone_adamw)(float *p, const float *grad, float *m, float *v, int64_t n,
                           const hone_adamw_step *step, double decay);

void HONE_SIMD(hone_dequantize)(float *y, const void *x, hone_dtype type, int64_t n);

#endif
