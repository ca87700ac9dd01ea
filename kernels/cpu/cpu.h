/*
 * What the parts of the CPU table share. The files of simd/ are compiled once per instruction set; each copy fills
 * its kernels into a table through its function below. Sets that only add instructions for one kind of product have
 * just these.
 */
#ifndef HONE_KERNELS_CPU_CPU_H
#define HONE_KERNELS_CPU_CPU_H

#include "kernels/kernels.h"

typedef void hone_cpu_fill_fn(hone_kernels *table);
hone_cpu_fill_fn hone_cpu_fill_plain, hone_cpu_fill_avx2, hone_cpu_fill_avx512, hone_cpu_fill_neon;
/* Products in int8 alone, in bf16 alone. */
hone_cpu_fill_fn hone_cpu_fill_int8_plain, hone_cpu_fill_int8_avx2, hone_cpu_fill_int8_avxvnni,
    hone_cpu_fill_int8_avx512, hone_cpu_fill_int8_avx512vnni, hone_cpu_fill_int8_neon,
    hone_cpu_fill_int8_neondot;
hone_cpu_fill_fn hone_cpu_fill_bf16_plain, hone_cpu_fill_bf16_avx2, hone_cpu_fill_bf16_avx512,
    hone_cpu_fill_bf16_avx512bf16, hone_cpu_fill_bf16_neon;

/* hone_kernels.gemm: through oneDNN, where the build has it, and the own one of each level. */
typedef void hone_gemm_fn(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                          bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                          float alpha, float beta);
hone_gemm_fn hone_gemm_onednn;
hone_gemm_fn hone_gemm_plain, hone_gemm_avx2, hone_gemm_avx512, hone_gemm_neon;

#endif
