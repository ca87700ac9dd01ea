#include "kernels/cuda/device.cuh"

void hone_add_cuda(float *y, const float *a, const float *b, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) { y[i] = a[i] + b[i]; });
}

void hone_scale_cuda(float *y, const float *x, int64_t n, double factor) {
    float by = (float)factor;
    launch_each(n, [=] __device__(int64_t i) { y[i] = x[i] * by; });
}

void hone_bias_fwd_cuda(float *y, const float *x, const float *b, int64_t tokens, int64_t width) {
    launch_each(tokens * width, [=] __device__(int64_t i) { y[i] = x[i] + b[i % width]; });
}

void hone_bias_bwd_cuda(float *db, const float *dy, int64_t tokens, int64_t width) {
    launch_add_columns(db, tokens, width,
                       [=] __device__(int64_t t, int64_t c) { return dy[t * width + c]; });
}

void hone_softcap_fwd_cuda(float *y, const float *x, int64_t n, double cap) {
    float at = (float)cap;
    launch_each(n, [=] __device__(int64_t i) { y[i] = capped(x[i], at); });
}

void hone_softcap_bwd_cuda(float *dx, const float *dy, const float *y, int64_t n, double cap) {
    float at = (float)cap;
    launch_each(n, [=] __device__(int64_t i) { dx[i] = dy[i] * capped_slope(y[i], at); });
}

void hone_copy_cuda(float *y, const float *x, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) { y[i] = x[i]; });
}

void hone_zero_cuda(float *y, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) { y[i] = 0.0f; });
}

void hone_to_bf16_cuda(uint16_t *y, const float *x, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) { y[i] = hone_bf16_from_f32(x[i]); });
}

void hone_gather_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n,
                           int64_t width) {
    launch_each(n * width,
                [=] __device__(int64_t i) { y[i] = x[rows[i / width] * width + i % width]; });
}

void hone_scatter_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n,
                            int64_t width) {
    launch_each(n * width,
                [=] __device__(int64_t i) { y[rows[i / width] * width + i % width] = x[i]; });
}
