#include "kernels/cuda/device.cuh"

void hone_rope_cuda(float *x, const float *cosine, const float *sine, const int32_t *positions,
                    hone_rope_shape shape, bool inverse) {
    int64_t pairs = shape.rotated / 2;
    launch_each(shape.tokens * shape.heads * pairs, [=] __device__(int64_t i) {
        int64_t row = i / pairs, p = i % pairs;
        int64_t angle = positions[row / shape.heads] * pairs + p;
        float *first = x + row * shape.head_size + (shape.interleaved ? 2 * p : p);
        float *second = first + (shape.interleaved ? 1 : pairs);
        float c = cosine[angle], s = inverse ? -sine[angle] : sine[angle];
        float a = *first, b = *second;
        *first = a * c - b * s;
        *second = a * s + b * c;
    });
}
