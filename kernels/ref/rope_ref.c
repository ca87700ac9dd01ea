#include "kernels/ref/ref.h"

void hone_rope_ref(hone_real *x, const hone_real *cosine, const hone_real *sine,
                   const int32_t *positions, hone_rope_shape shape, bool inverse) {
    int64_t pairs = shape.rotated / 2;
    for (int64_t row = 0; row < shape.tokens * shape.heads; row++) {
        hone_real *head = x + row * shape.head_size;
        int64_t angle = positions[row / shape.heads] * pairs;
        for (int64_t p = 0; p < pairs; p++) {
            hone_real *first = head + (shape.interleaved ? 2 * p : p);
            hone_real *second = first + (shape.interleaved ? 1 : pairs);
            double c = (double)cosine[angle + p];
            double s = (double)sine[angle + p] * (inverse ? -1.0 : 1.0);
            double a = (double)*first;
            double b = (double)*second;
            *first = (hone_real)(a * c - b * s);
            *second = (hone_real)(a * s + b * c);
        }
    }
}
