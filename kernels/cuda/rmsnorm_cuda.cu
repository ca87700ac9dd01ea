#include "kernels/cuda/device.cuh"

void hone_rmsnorm_fwd_cuda(float *y, float *rstd, const float *x, const float *w, int64_t tokens,
                           int64_t width, double epsilon) {
    float room = (float)epsilon;
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        const float *row = x + t * width;
        float squares = 0.0f;
        for (int64_t c = lane; c < width; c += WARP) squares += row[c] * row[c];
        float scale = 1.0f / sqrtf(warp_sum(squares) / (float)width + room);
        for (int64_t c = lane; c < width; c += WARP) y[t * width + c] = row[c] * scale * w[c];
        if (lane == 0) rstd[t] = scale;
    });
}

void hone_rmsnorm_bwd_cuda(float *dx, float *dw, const float *dy, const float *x, const float *w,
                           const float *rstd, int64_t tokens, int64_t width, float beta) {
    /* First dw, because dx may overwrite dy. */
    if (dw) {
        launch_add_columns(dw, tokens, width, [=] __device__(int64_t t, int64_t c) {
            return dy[t * width + c] * x[t * width + c] * rstd[t];
        });
    }
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        int64_t row = t * width;
        float sum = 0.0f; /* of w dy x */
        for (int64_t c = lane; c < width; c += WARP) sum += w[c] * dy[row + c] * x[row + c];
        float scale = rstd[t];
        float slope = scale * scale * warp_sum(sum) / (float)width;
        for (int64_t c = lane; c < width; c += WARP) {
            float gradient = scale * (w[c] * dy[row + c] - x[row + c] * slope);
            if (beta != 0.0f) gradient += beta * dx[row + c];
            dx[row + c] = gradient;
        }
    });
}

void hone_rmsnorm_fwd_bf16_cuda(uint16_t *y, int64_t stride, float *rstd, const float *x,
                                const float *w, int64_t tokens, int64_t width, double epsilon) {
    float room = (float)epsilon;
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        const float *row = x + t * width;
        float squares = 0.0f;
        for (int64_t c = lane; c < width; c += WARP) squares += row[c] * row[c];
        float scale = 1.0f / sqrtf(warp_sum(squares) / (float)width + room);
        for (int64_t c = lane; c < width; c += WARP)
            y[t * stride + c] = hone_bf16_from_f32(row[c] * scale * w[c]);
        if (lane == 0) rstd[t] = scale;
    });
}
