/*
 * Products of matrices on a GPU: those in f32, TF32, bf16 and fp8 by cuBLASLt, those in int8 by hone's own kernels. What
 * each computes stands at its member of hone_kernels.
 *
 * In f32 nothing is rounded below f32. In the other precisions and in int8 tensor cores take LoRA's factors as well, in
 * TF32. A frozen weight is used where it lies when it has the dtype of the product and begins at a multiple of 16 bytes; otherwise rows of it, as many as a slab holds, are converted into the workspace, one
 * slab after the other.
 *
 * Layers in bf16 of rows that lie rounded (bf16_linear_cuda.c) take LoRA's factors into the same product.
 *
 * Descriptors and algorithms are kept by shape, alignment of the operands and size of the workspace: a call that was made
 * before with the same ones creates nothing, and may be captured in a CUDA graph. Where texts of every length come by, those
 * that were not used for longest are let go.
 */
#ifndef HONE_KERNELS_CUDA_PRODUCTS_H
#define HONE_KERNELS_CUDA_PRODUCTS_H

#include "kernels/cuda/cuda.h"
#include "kernels/fp8.h"

struct hone_cublaslt;

enum {
    /* Bytes: of parts of a workspace, and the most that cuBLASLt asks for. */
    HONE_CUDA_ALIGNMENT = 256,
    /* What cuBLAS recommends as its own workspace from Hopper on. */
    HONE_CUDA_MATMUL_BYTES = 32 << 20,
    HONE_CUDA_SLAB_BYTES = 128 << 20,
    /* Floats: of the scales of a side in fp8, and where the second of them lies. cuBLASLt takes what is at a multiple of 16
     * bytes (from 12.9 on; else CUBLAS_STATUS_NOT_SUPPORTED), which its documentation does not say. */
    HONE_CUDA_FP8_INVERSE = 4,
    HONE_CUDA_FP8_SCALES = 8,
};

/* Makes what products need of the library, whose functions are copied. One at a time per process.
 * Errors: UNSUPPORTED where cuBLASLt does not start. */
HONE_MUST_USE hone_status hone_cuda_products_open(const struct hone_cublaslt *library);
/* Gives everything back; no product may be running. Nothing to do when none is open. */
void hone_cuda_products_close(void);

/* The first failure of a library since products were opened, with its message. Kernels cannot fail: who queued a step asks
 * here, and throws its numbers away. */
HONE_MUST_USE hone_status hone_cuda_products_status(void);
/* Forgets it; false where there was none. */
bool hone_cuda_products_forgive(void);
/* Keeps one for it, unless one is kept already. */
void hone_cuda_keep_failure(hone_status status, const char *message);

/* Memory on the device for products without a workspace argument, the same at every call; to be given by who opens the
 * device. Aligned to HONE_CUDA_ALIGNMENT; *bytes is its size. */
void *hone_cuda_scratch(size_t *bytes);

/* How many bytes of a workspace are for a slab and for cuBLASLt itself: the two above, unless set before any workspace is
 * asked for. */
void hone_cuda_products_sizes(size_t slab_bytes, size_t matmul_bytes);
/* The second of them. */
size_t hone_cuda_matmul_bytes(void);
/* How many of `rows` rows of `row_bytes` are in a slab: whole blocks of 64, at least one, or all rows. */
int64_t hone_cuda_slab_rows(int64_t rows, size_t row_bytes);

void hone_gemm_cuda(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                    bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc, float alpha,
                    float beta);

void hone_linear_fwd_cuda(float *y, const float *x, const void *w, hone_dtype type,
                          const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                          float beta, void *workspace);
void hone_linear_bwd_cuda(float *dx, const float *dy, const void *w, hone_dtype type,
                          const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                          float beta, void *workspace);
size_t hone_linear_workspace_cuda(hone_dtype type, int64_t in, int64_t out, int64_t rank);

void hone_reduced_fwd_cuda(float *y, const float *x, const void *w, hone_dtype type,
                           hone_precision precision, const hone_low_rank *low, int64_t tokens,
                           int64_t in, int64_t out, float beta, void *workspace);
void hone_reduced_bwd_cuda(float *dx, const float *dy, const void *w, hone_dtype type,
                           hone_precision precision, const hone_low_rank *low, int64_t tokens,
                           int64_t in, int64_t out, float beta, void *workspace);
size_t hone_reduced_workspace_cuda(hone_dtype type, hone_precision precision, int64_t tokens,
                                   int64_t in, int64_t out, int64_t rank, bool backward);

void hone_lora_fwd_cuda(float *t, const float *x, const float *a, hone_lora_shape shape,
                        void *workspace);
void hone_lora_bwd_cuda(float *dt, float *da, float *db, const float *dy, const float *x,
                        const float *t, const float *b, hone_lora_shape shape, void *workspace);
size_t hone_lora_workspace_cuda(hone_lora_shape shape);

/* y[tokens,width] += low, of a forward pass or a backward one, its sides in TF32 where they are rounded. `space` has
 * hone_cuda_matmul_bytes(), aligned to HONE_CUDA_ALIGNMENT. */
void hone_cuda_add_low(float *y, const hone_low_rank *low, int64_t tokens, int64_t width,
                       bool backward, bool rounded, void *space);

void hone_int8_quantize_cuda(void *rows, hone_int8_counts *counts, const float *x,
                             const float *column_factor, int64_t tokens, int64_t width);
void hone_int8_fwd_cuda(float *y, const void *rows, const hone_int8_weight *w,
                        const hone_low_rank *low, int64_t tokens, float beta, void *workspace);
void hone_int8_bwd_cuda(float *dx, const void *rows, const hone_int8_weight *w,
                        const hone_low_rank *low, int64_t tokens, float beta, void *workspace);
size_t hone_int8_workspace_cuda(const hone_int8_weight *w, int64_t rank);
void hone_int8_column_factors_cuda(float *factor, const hone_int8_weight *w);
void hone_int8_row_factors_cuda(float *factor, const hone_int8_weight *w);
void hone_int8_quantize_weight_cuda(int8_t *q, float *scale, const hone_int8_weight *w,
                                    int64_t begin, int64_t rows);

void hone_bf16_fwd_cuda(void *y, uint16_t *t, uint16_t *x, const hone_bf16_linear *layer,
                        void *workspace);
void hone_bf16_bwd_cuda(void *dx, float *da, float *db, uint16_t *dy, const uint16_t *x,
                        const uint16_t *t, const hone_bf16_linear *layer, float beta,
                        void *workspace);
size_t hone_bf16_workspace_cuda(const hone_bf16_linear *layer);
void hone_round_rows_cuda(uint16_t *y, const float *x, int64_t tokens, int64_t width,
                          int64_t stride);

/* Whether a weight serves as an operand where it lies. */
bool hone_cuda_lies_ready(const void *w, hone_dtype type, hone_precision precision);

/* A layer's weight in a slab whose rows are `stride` elements apart, with scale b behind its rows, up to the stride, and below
 * them `below` rows of a and zeros. */
void hone_fill_slab_cuda(uint16_t *slab, int64_t stride, const hone_bf16_linear *layer,
                         int64_t below);
/* y [T,width], rows `stride` apart = x [T,width]. */
void hone_copy_columns_cuda(uint16_t *y, int64_t stride, const uint16_t *x, int64_t tokens,
                            int64_t width);

/* Operands of products: y [rows,width], rows `stride` elements apart = those of x, of any dtype, rounded to bf16 to nearest even. */
void hone_dequantize_rows_cuda(uint16_t *y, int64_t stride, const void *x, hone_dtype type,
                               int64_t rows, int64_t width);
/* For fp8: scale[0] of a side of n elements by hone_fp8_scale(), and scale[HONE_CUDA_FP8_INVERSE] = 1 / scale[0]. */
void hone_scale_fp8_cuda(float scale[HONE_CUDA_FP8_SCALES], const void *x, hone_dtype type,
                         int64_t n, hone_fp8_format format);
/* y[n] = the elements of x times scale[0], in fp8. */
void hone_quantize_fp8_cuda(uint8_t *y, const void *x, hone_dtype type, int64_t n,
                            hone_fp8_format format, const float *scale);
/* y[columns,rows] = the transposed x [rows,columns] times scale[0], in e4m3. */
void hone_quantize_fp8_aside_cuda(uint8_t *y, const void *x, hone_dtype type, int64_t rows,
                                  int64_t columns, const float *scale);
/* c[m,n] = beta c, rows ldc apart; 0 never reads. */
void hone_scale_matrix_cuda(float *c, int64_t m, int64_t n, int64_t ldc, float beta);

#endif
