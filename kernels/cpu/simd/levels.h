/*
 * The kernels of cpu/simd, as one level names them. What each computes stands at its member of hone_kernels.
 */
#ifndef HONE_KERNELS_CPU_SIMD_LEVELS_H
#define HONE_KERNELS_CPU_SIMD_LEVELS_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd/simd.h"

void HONE_SIMD(hone_linear_fwd)(float *y, const float *x, const void *w, hone_dtype type,
                                int64_t tokens, int64_t in, int64_t out, float beta,
                                void *workspace);
void HONE_SIMD(hone_linear_bwd)(float *dx, const float *dy, const void *w, hone_dtype type,
                                int64_t tokens, int64_t in, int64_t out, float beta,
                                void *workspace);
size_t HONE_SIMD(hone_linear_workspace)(hone_dtype type, int64_t tokens, int64_t in, int64_t out);

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

void HONE_SIMD(hone_dequantize)(float *y, const void *x, hone_dtype type, int64_t n);

#endif
