/*
 * hone's own CUDA kernels: what each computes stands at its member of hone_kernels. Pointers are device addresses; a
 * call queues its work and returns. Sums are taken in an order that depends on the sizes alone, without atomics.
 */
#ifndef HONE_KERNELS_CUDA_CUDA_H
#define HONE_KERNELS_CUDA_CUDA_H

#include "kernels/kernels.h"

/* Blocks of 256 threads that the device could hold at once if threads alone counted: as many as loops over any number of
 * items take. No result depends on it. */
int64_t hone_cuda_resident_blocks(void);

/* The whole table. */
const hone_kernels *hone_kernels_cuda(void);

/* What has no CUDA kernel is an error that names it: nothing is computed on the host in its place. */
HONE_MUST_USE hone_status hone_cuda_check_table(const hone_kernels *table);

/* Of the device that is open: looks the segments up. */
double hone_attention_pairs_cuda(const hone_segment *segments, hone_attention_shape shape);

void hone_embedding_fwd_cuda(float *y, const int32_t *ids, const void *table, hone_dtype type,
                             int64_t tokens, int64_t width);
void hone_embedding_bwd_cuda(float *dtable, const int32_t *ids, const float *dy, int64_t tokens,
                             int64_t width);

void hone_rmsnorm_fwd_cuda(float *y, float *rstd, const float *x, const float *w, int64_t tokens,
                           int64_t width, double epsilon);
void hone_rmsnorm_fwd_bf16_cuda(uint16_t *y, int64_t stride, float *rstd, const float *x,
                                const float *w, int64_t tokens, int64_t width, double epsilon);
void hone_rmsnorm_bwd_cuda(float *dx, float *dw, const float *dy, const float *x, const float *w,
                           const float *rstd, int64_t tokens, int64_t width, float beta);

void hone_layernorm_fwd_cuda(float *y, float *statistics, const float *x, const float *w,
                             const float *b, int64_t tokens, int64_t width, double epsilon);
void hone_layernorm_bwd_cuda(float *dx, float *dw, float *db, const float *dy, const float *x,
                             const float *w, const float *statistics, int64_t tokens, int64_t width,
                             float beta);

void hone_rope_cuda(float *x, const float *cosine, const float *sine, const int32_t *positions,
                    hone_rope_shape shape, bool inverse);

/* For heads of up to 256 elements, by the shape's kind (kernels/cuda/attention.h). */
const char *hone_attention_lacks_cuda(hone_attention_kind kind, hone_attention_shape shape);
void hone_attention_fwd_cuda(float *o, float *lse, const float *q, const float *k, const float *v,
                             const hone_segment *segments, hone_attention_shape shape,
                             void *workspace);
void hone_attention_bwd_cuda(float *dq, float *dk, float *dv, const float *do_, const float *q,
                             const float *k, const float *v, const float *o, const float *lse,
                             const hone_segment *segments, hone_attention_shape shape,
                             void *workspace);
size_t hone_attention_workspace_cuda(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                     bool backward);

void hone_activation_fwd_cuda(float *y, const float *x, int64_t n, hone_activation_kind kind);
void hone_activation_bwd_cuda(float *dx, const float *dy, const float *x, int64_t n,
                              hone_activation_kind kind);
void hone_gated_fwd_cuda(float *y, const float *gate, const float *up, int64_t n,
                         hone_activation_kind kind);
void hone_gated_fwd_bf16_cuda(uint16_t *y, int64_t stride, const uint16_t *gate, const uint16_t *up,
                              int64_t gate_stride, int64_t tokens, int64_t width,
                              hone_activation_kind kind);
void hone_gated_bwd_cuda(float *dgate, float *dup, const float *dy, const float *gate,
                         const float *up, int64_t n, hone_activation_kind kind);
void hone_gated_bwd_bf16_cuda(uint16_t *dgate, int64_t dgate_stride, uint16_t *dup,
                              int64_t dup_stride, const uint16_t *dy, int64_t dy_stride,
                              const uint16_t *gate, const uint16_t *up, int64_t gate_stride,
                              int64_t tokens, int64_t width, hone_activation_kind kind);

void hone_add_cuda(float *y, const float *a, const float *b, int64_t n);
void hone_scale_cuda(float *y, const float *x, int64_t n, double factor);
void hone_bias_fwd_cuda(float *y, const float *x, const float *b, int64_t tokens, int64_t width);
void hone_bias_bwd_cuda(float *db, const float *dy, int64_t tokens, int64_t width);
void hone_softcap_fwd_cuda(float *y, const float *x, int64_t n, double cap);
void hone_softcap_bwd_cuda(float *dx, const float *dy, const float *y, int64_t n, double cap);
void hone_copy_cuda(float *y, const float *x, int64_t n);
void hone_zero_cuda(float *y, int64_t n);
void hone_to_bf16_cuda(uint16_t *y, const float *x, int64_t n);
void hone_gather_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n, int64_t width);
void hone_scatter_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n,
                            int64_t width);

void hone_cross_entropy_cuda(float *loss, float *logits, const int32_t *targets, int64_t n,
                             int64_t vocabulary, const double *weight, double softcap,
                             hone_loss_gradient gradient);

void hone_dropout_cuda(float *y, const float *x, hone_dropout draw, int64_t tokens, int64_t width,
                       float beta);

void hone_sum_cuda(double *out, const float *x, int64_t n);
void hone_sum_squares_cuda(double *out, const float *x, int64_t n);

void hone_adamw_cuda(float *p, const float *grad, float *m, float *v, int64_t n,
                     const hone_adamw_step *step, double decay);

void hone_dequantize_cuda(float *y, const void *x, hone_dtype type, int64_t n);

#endif
