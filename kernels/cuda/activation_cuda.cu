#include "kernels/cuda/device.cuh"

/* An activation is x sigma(r): r = x for silu, 2u for gelu. Gives its value, and its slope as
 * sigma (1 + x r' (1 - sigma)). */
__device__ static float activate(float *slope, float x, hone_activation_kind kind) {
    float r = x;
    float r_slope = 1.0f;
    if (kind == HONE_GELU_TANH) {
        float twice = 2.0f * 0.797884561f; /* sqrt(2 / pi) */
        r = twice * (x + 0.044715f * x * x * x);
        r_slope = twice * (1.0f + 3.0f * 0.044715f * x * x);
    }
    float sigma = 1.0f / (1.0f + expf(-r));
    float rest = 1.0f / (1.0f + expf(r)); /* 1 - sigma, which would cancel */
    *slope = sigma * (1.0f + x * r_slope * rest);
    return x * sigma;
}

void hone_activation_fwd_cuda(float *y, const float *x, int64_t n, hone_activation_kind kind) {
    launch_each(n, [=] __device__(int64_t i) {
        float slope;
        y[i] = activate(&slope, x[i], kind);
    });
}

void hone_activation_bwd_cuda(float *dx, const float *dy, const float *x, int64_t n,
                              hone_activation_kind kind) {
    launch_each(n, [=] __device__(int64_t i) {
        float slope;
        (void)activate(&slope, x[i], kind);
        dx[i] = dy[i] * slope;
    });
}

void hone_gated_fwd_cuda(float *y, const float *gate, const float *up, int64_t n,
                         hone_activation_kind kind) {
    launch_each(n, [=] __device__(int64_t i) {
        float slope;
        y[i] = activate(&slope, gate[i], kind) * up[i];
    });
}

void hone_gated_bwd_cuda(float *dgate, float *dup, const float *dy, const float *gate,
                         const float *up, int64_t n, hone_activation_kind kind) {
    launch_each(n, [=] __device__(int64_t i) {
        float d = dy[i], u = up[i], slope;
        float value = activate(&slope, gate[i], kind);
        dgate[i] = d * u * slope;
        dup[i] = d * value;
    });
}
