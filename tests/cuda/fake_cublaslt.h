/*
 * cuBLASLt on the host, for tests: the functions that hone calls, with the library's own types. Addresses are the host's,
 * operands of products in TF32 are rounded to it, sums are in double precision, and what the library does not promise to do is refused:
 *
 *     handles       NULL, destroyed, or of another kind; destroying one twice
 *     attributes    of a wrong size, or values that do not exist
 *     layouts       a stride below the number of rows, sizes that do not fit together, C unlike D, no elements
 *     types         rows of the table of compute, scale and operand types that do not exist or that hone has no use for
 *     fp8           A not transposed, or B; columns, strides, addresses and scales that do not begin at multiples of 16
 *                   bytes; both operands in e5m2; a scale of operands that are not in fp8
 *     in place      C == D with two layouts
 *     alpha, beta   NULL; a pointer mode other than one number on the host or on the device
 *     algorithms    used for another operation, other layouts or less aligned addresses than they were chosen for
 *     workspace     not aligned to 256 bytes, or smaller than the algorithm needs, which writes to it
 *     addresses     NULL; an output or a workspace that overlaps an operand
 *
 * After the comments of cublasLt.h and the description of cublasLtMatmul() in NVIDIA's cuBLAS documentation, 3.4.17 (in
 * place, the table of types, alignment and size of the workspace, algo == NULL). What is asked of scales cuBLASLt 13.1 showed
 * on an H200; NVIDIA's TransformerEngine aligns them for the same reason (its pull request 1925).
 */
#ifndef HONE_TESTS_CUDA_FAKE_CUBLASLT_H
#define HONE_TESTS_CUDA_FAKE_CUBLASLT_H

#include <stdint.h>

#include "kernels/cuda/cublaslt.h"

/* What tests look at, and set. */
typedef struct fake_cublaslt {
    int64_t created; /* handles, descriptors and algorithms so far */
    int64_t live;    /* handles and descriptors that are not destroyed */
    int64_t matmuls;
    cudaStream_t stream;      /* of the last product */
    cublasStatus_t to_return; /* where it is no success: by the next create, heuristic or matmul */
    char complaint[256];      /* why the last refusal was one */
} fake_cublaslt;

/* One per process. */
fake_cublaslt *fake_cublaslt_state(void);

/* The functions. */
hone_cublaslt fake_cublaslt_functions(void);

#endif
