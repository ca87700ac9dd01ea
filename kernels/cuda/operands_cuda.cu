/*
 * What products need beside the multiplication: operands in bf16, and outputs that get nothing added.
 */
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

void hone_dequantize_bf16_cuda(uint16_t *y, const void *x, hone_dtype type, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) {
        y[i] = hone_bf16_from_f32((float)hone_element(x, type, i));
    });
}

void hone_scale_matrix_cuda(float *c, int64_t m, int64_t n, int64_t ldc, float beta) {
    launch_each(m * n, [=] __device__(int64_t i) {
        float *at = &c[i / n * ldc + i % n];
        *at = beta != 0.0f ? beta * *at : 0.0f;
    });
}
