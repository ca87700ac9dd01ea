/*
 * One product of matrices by cuBLASLt.
 */
#ifndef HONE_KERNELS_CUDA_MATMUL_H
#define HONE_KERNELS_CUDA_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

/* c[m,n] = alpha op(a) op(b) + beta c as gemm of hone_kernels, with a and b of `type` (HONE_F32 or HONE_BF16) and c and the
 * sums in f32. Strides are in elements. */
typedef struct hone_matmul {
    hone_dtype type;
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc;
} hone_matmul;

/* `workspace` has `bytes` bytes and is aligned to HONE_CUDA_ALIGNMENT. A failure of cuBLASLt is kept for
 * hone_cuda_products_status(). */
void hone_cuda_matmul(float *c, const void *a, const void *b, const hone_matmul *shape, float alpha,
                      float beta, void *workspace, size_t bytes);

#endif
