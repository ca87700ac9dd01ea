/*
 * One product of matrices by cuBLASLt.
 */
#ifndef HONE_KERNELS_CUDA_MATMUL_H
#define HONE_KERNELS_CUDA_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/fp8.h"
#include "kernels/precision.h"

/* In fp8: the format of a (b is in e4m3), and where on the device the numbers lie that the product is multiplied by. */
typedef struct hone_matmul_fp8 {
    hone_fp8_format a_format;
    const float *a_scale, *b_scale;
} hone_matmul_fp8;

/* c[m,n] = alpha op(a) op(b) + beta c + bias as gemm of hone_kernels, with the sums in f32. Strides are in elements. a and b
 * are in bf16 for products in bf16, in fp8 for those in fp8, else in f32; for those in TF32 tensor cores round them as they
 * read them. In fp8 trans_a is false and trans_b true: tensor cores take no other form before Blackwell. */
typedef struct hone_matmul {
    hone_precision precision;
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc;
    const hone_matmul_fp8 *fp8; /* else NULL */
    const float *bias;          /* [n], added to every row of c; NULL: none */
    bool rounds;                /* of products in bf16: c is in bf16, too; else it is in f32 */
} hone_matmul;

/* Plans that are kept at most: many times those of a step. */
enum { HONE_CUDA_MOST_PLANS = 1024 };

/* `workspace` has `bytes` bytes and is aligned to HONE_CUDA_ALIGNMENT. A failure of cuBLASLt is kept for
 * hone_cuda_products_status(). */
void hone_cuda_matmul(void *c, const void *a, const void *b, const hone_matmul *shape, float alpha,
                      float beta, void *workspace, size_t bytes);

#endif
