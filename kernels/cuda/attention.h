/*
 * The attention kernels of a GPU (attention_choice.c takes them by the shape's kind). What they compute stands at
 * attention_fwd and attention_bwd in hone_kernels.
 */
#ifndef HONE_KERNELS_CUDA_ATTENTION_H
#define HONE_KERNELS_CUDA_ATTENTION_H

#include "kernels/kernels.h"

/* In f32, for heads of up to 256 elements. */
void hone_attention_fwd_exact(float *o, float *lse, const float *q, const float *k, const float *v,
                              const hone_segment *segments, hone_attention_shape shape);
void hone_attention_bwd_exact(float *dq, float *dk, float *dv, const float *do_, const float *q,
                              const float *k, const float *v, const float *o, const float *lse,
                              const hone_segment *segments, hone_attention_shape shape);

/* On tensor cores, of operands rounded to bf16, for heads of up to 256 elements. Backward's workspace has
 * hone_attention_workspace_own() bytes, for which the shape has to have its tokens. */
void hone_attention_fwd_own(float *o, float *lse, const float *q, const float *k, const float *v,
                            const hone_segment *segments, hone_attention_shape shape);
void hone_attention_bwd_own(float *dq, float *dk, float *dv, const float *do_, const float *q,
                            const float *k, const float *v, const float *o, const float *lse,
                            const hone_segment *segments, hone_attention_shape shape,
                            void *workspace);
size_t hone_attention_workspace_own(hone_attention_shape shape, bool backward);

#endif
