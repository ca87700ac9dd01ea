#include "kernels/cuda/map.cuh"

/* An activation is x sigma(r): r = x for silu, 2u for gelu. Gives its value, and its slope as
 * sigma (1 + x r' (1 - sigma)). */
__device__ static inline float activate(float *slope, float x, hone_activation_kind kind) {
    float r = x;
    float r_slope = 1.0f;
    if (kind == HONE_GELU_TANH) {
        float twice = 2.0f * 0.797884561f; /* sqrt(2 / pi) */
        r = twice * (x + 0.044715f * x * x * x);
        r_slope = twice * (1.0f + 3.0f * 0.044715f * x * x);
    }
    /* Of |r|, so that nothing overflows, and that neither sigma nor 1 - sigma cancels. */
    float tail = expf(-fabsf(r));
    float larger = __fdividef(1.0f, 1.0f + tail), smaller = tail * larger;
    float sigma = r < 0.0f ? smaller : larger;
    float rest = r < 0.0f ? larger : smaller;
    *slope = sigma * (1.0f + x * r_slope * rest);
    return x * sigma;
}

void hone_activation_fwd_cuda(float *y, const float *x, int64_t n, hone_activation_kind kind) {
    auto item = [=] __device__(float &to, float from) {
        float slope;
        to = activate(&slope, from, kind);
    };
    launch_map(n, item, y, x);
}

void hone_activation_bwd_cuda(float *dx, const float *dy, const float *x, int64_t n,
                              hone_activation_kind kind) {
    auto item = [=] __device__(float &to, float d, float from) {
        float slope;
        (void)activate(&slope, from, kind);
        to = d * slope;
    };
    launch_map(n, item, dx, dy, x);
}

void hone_gated_fwd_cuda(float *y, const float *gate, const float *up, int64_t n,
                         hone_activation_kind kind) {
    auto item = [=] __device__(float &to, float g, float u) {
        float slope;
        to = activate(&slope, g, kind) * u;
    };
    launch_map(n, item, y, gate, up);
}

void hone_gated_bwd_cuda(float *dgate, float *dup, const float *dy, const float *gate,
                         const float *up, int64_t n, hone_activation_kind kind) {
    auto item = [=] __device__(float &to_gate, float &to_up, float d, float g, float u) {
        float slope;
        float value = activate(&slope, g, kind);
        to_gate = d * u * slope;
        to_up = d * value;
    };
    launch_map(n, item, dgate, dup, dy, gate, up);
}

void hone_gated_fwd_bf16_cuda(uint16_t *y, int64_t stride, const uint16_t *gate, const uint16_t *up,
                              int64_t gate_stride, int64_t tokens, int64_t width,
                              hone_activation_kind kind) {
    auto item = [=] __device__(uint16_t & to, uint16_t g, uint16_t u) {
        float slope;
        to = hone_bf16_from_f32(activate(&slope, hone_bf16_to_f32(g), kind) * hone_bf16_to_f32(u));
    };
    bool wide = rows_begin_groups(width, y, gate, up) && (stride | gate_stride) % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{y, stride},
                    rows_of<const uint16_t>{gate, gate_stride},
                    rows_of<const uint16_t>{up, gate_stride});
}

void hone_gated_bwd_bf16_cuda(uint16_t *dgate, int64_t dgate_stride, uint16_t *dup,
                              int64_t dup_stride, const uint16_t *dy, int64_t dy_stride,
                              const uint16_t *gate, const uint16_t *up, int64_t gate_stride,
                              int64_t tokens, int64_t width, hone_activation_kind kind) {
    auto item = [=] __device__(uint16_t & to_gate, uint16_t & to_up, uint16_t d, uint16_t g,
                               uint16_t u) {
        float slope, of_y = hone_bf16_to_f32(d);
        float value = activate(&slope, hone_bf16_to_f32(g), kind);
        to_gate = hone_bf16_from_f32(of_y * hone_bf16_to_f32(u) * slope);
        to_up = hone_bf16_from_f32(of_y * value);
    };
    bool wide = rows_begin_groups(width, dgate, dup, dy, gate, up) &&
                (dgate_stride | dup_stride | dy_stride | gate_stride) % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{dgate, dgate_stride},
                    rows_of<uint16_t>{dup, dup_stride}, rows_of<const uint16_t>{dy, dy_stride},
                    rows_of<const uint16_t>{gate, gate_stride},
                    rows_of<const uint16_t>{up, gate_stride});
}
