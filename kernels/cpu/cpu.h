/*
 * What the parts of the CPU table share. The files of simd/ are compiled once per instruction set; each copy fills
 * its kernels into a table through its function below.
 */
#ifndef HONE_KERNELS_CPU_CPU_H
#define HONE_KERNELS_CPU_CPU_H

#include "kernels/kernels.h"

void hone_cpu_fill_plain(hone_kernels *table);
void hone_cpu_fill_avx2(hone_kernels *table);
void hone_cpu_fill_avxvnni(hone_kernels *table);
void hone_cpu_fill_avx512(hone_kernels *table);
void hone_cpu_fill_avx512vnni(hone_kernels *table);
void hone_cpu_fill_avx512bf16(hone_kernels *table);
void hone_cpu_fill_neon(hone_kernels *table);
void hone_cpu_fill_neondot(hone_kernels *table);

/* hone_kernels.gemm: through oneDNN, where the build has it, and the own one of each level. */
typedef void hone_gemm_fn(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                          bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                          float alpha, float beta);
hone_gemm_fn hone_gemm_onednn;
hone_gemm_fn hone_gemm_plain, hone_gemm_avx2, hone_gemm_avxvnni, hone_gemm_avx512,
    hone_gemm_avx512vnni, hone_gemm_avx512bf16, hone_gemm_neon, hone_gemm_neondot;

#endif
