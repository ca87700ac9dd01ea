#include "kernels/cuda/map.cuh"

void hone_add_cuda(float *y, const float *a, const float *b, int64_t n) {
    auto item = [=] __device__(float &to, float x, float z) { to = x + z; };
    launch_map(n, item, y, a, b);
}

void hone_scale_cuda(float *y, const float *x, int64_t n, double factor) {
    float by = (float)factor;
    auto item = [=] __device__(float &to, float from) { to = from * by; };
    launch_map(n, item, y, x);
}

void hone_bias_fwd_cuda(float *y, const float *x, const float *b, int64_t tokens, int64_t width) {
    auto item = [=] __device__(float &to, float from, float bias) { to = from + bias; };
    launch_map_rows(tokens, width, rows_begin_groups(width, y, x, b), item,
                    rows_of<float>{y, width}, rows_of<const float>{x, width},
                    rows_of<const float>{b, 0});
}

void hone_bias_bwd_cuda(float *db, const float *dy, int64_t tokens, int64_t width) {
    launch_add_columns(db, tokens, width,
                       [=] __device__(int64_t t, int64_t c) { return dy[t * width + c]; });
}

void hone_softcap_fwd_cuda(float *y, const float *x, int64_t n, double cap) {
    float at = (float)cap;
    auto item = [=] __device__(float &to, float from) { to = capped(from, at); };
    launch_map(n, item, y, x);
}

void hone_softcap_bwd_cuda(float *dx, const float *dy, const float *y, int64_t n, double cap) {
    float at = (float)cap;
    auto item = [=] __device__(float &to, float d, float z) { to = d * capped_slope(z, at); };
    launch_map(n, item, dx, dy, y);
}

void hone_copy_cuda(float *y, const float *x, int64_t n) {
    auto item = [=] __device__(float &to, float from) { to = from; };
    launch_map(n, item, y, x);
}

void hone_zero_cuda(float *y, int64_t n) {
    auto item = [=] __device__(float &to) { to = 0.0f; };
    launch_map(n, item, y);
}

void hone_to_bf16_cuda(uint16_t *y, const float *x, int64_t n) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    launch_map(n, item, y, x);
}

void hone_gather_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n,
                           int64_t width) {
    auto item = [=] __device__(float &to, float from) { to = from; };
    launch_map_rows(n, width, rows_begin_groups(width, y, x), item, rows_of<float>{y, width},
                    rows_at<const float>{x, rows, width});
}

void hone_scatter_rows_cuda(float *y, const float *x, const int32_t *rows, int64_t n,
                            int64_t width) {
    auto item = [=] __device__(float &to, float from) { to = from; };
    launch_map_rows(n, width, rows_begin_groups(width, y, x), item, rows_at<float>{y, rows, width},
                    rows_of<const float>{x, width});
}
