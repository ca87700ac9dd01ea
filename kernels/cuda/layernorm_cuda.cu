#include "kernels/cuda/device.cuh"

void hone_layernorm_fwd_cuda(float *y, float *statistics, const float *x, const float *w,
                             const float *b, int64_t tokens, int64_t width, double epsilon) {
    float room = (float)epsilon;
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        const float *row = x + t * width;
        float sum = 0.0f, squares = 0.0f;
        for (int64_t c = lane; c < width; c += WARP) sum += row[c];
        float mean = warp_sum(sum) / (float)width;
        for (int64_t c = lane; c < width; c += WARP) squares += (row[c] - mean) * (row[c] - mean);
        float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)width + room);
        for (int64_t c = lane; c < width; c += WARP)
            y[t * width + c] = (row[c] - mean) * rstd * w[c] + b[c];
        if (lane == 0) statistics[2 * t] = mean;
        if (lane == 0) statistics[2 * t + 1] = rstd;
    });
}

void hone_layernorm_bwd_cuda(float *dx, float *dw, float *db, const float *dy, const float *x,
                             const float *w, const float *statistics, int64_t tokens, int64_t width,
                             float beta) {
    /* First dw and db, because dx may overwrite dy. */
    if (dw) {
        launch_add_columns(dw, tokens, width, [=] __device__(int64_t t, int64_t c) {
            float n = (x[t * width + c] - statistics[2 * t]) * statistics[2 * t + 1];
            return dy[t * width + c] * n;
        });
    }
    if (db) hone_bias_bwd_cuda(db, dy, tokens, width);
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        int64_t row = t * width;
        float mean = statistics[2 * t], rstd = statistics[2 * t + 1];
        float sum_g = 0.0f, sum_gn = 0.0f;
        for (int64_t c = lane; c < width; c += WARP) {
            float g = w[c] * dy[row + c];
            sum_g += g;
            sum_gn += g * (x[row + c] - mean) * rstd;
        }
        float mean_g = warp_sum(sum_g) / (float)width;
        float mean_gn = warp_sum(sum_gn) / (float)width;
        for (int64_t c = lane; c < width; c += WARP) {
            float n = (x[row + c] - mean) * rstd;
            float gradient = rstd * (w[c] * dy[row + c] - mean_g - n * mean_gn);
            if (beta != 0.0f) gradient += beta * dx[row + c];
            dx[row + c] = gradient;
        }
    });
}
