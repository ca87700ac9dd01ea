/*
 * Rows and factors in bf16, as products take them: rounded, moved and filled up with zeros.
 */
#include "kernels/cuda/elements.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

void hone_round_rows_cuda(uint16_t *y, const float *x, int64_t tokens, int64_t width,
                          int64_t stride) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    bool wide = rows_begin_groups(width, y, x) && stride % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{y, stride},
                    rows_of<const float>{x, width});
}

void hone_copy_columns_cuda(uint16_t *y, int64_t stride, const uint16_t *x, int64_t tokens,
                            int64_t width) {
    auto item = [=] __device__(uint16_t & to, uint16_t from) { to = from; };
    bool wide = rows_begin_groups(width, y, x) && stride % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{y, stride},
                    rows_of<const uint16_t>{x, width});
}

void hone_place_factors_cuda(uint16_t *slab, int64_t stride, const hone_bf16_linear *layer,
                             int64_t below) {
    const float *a = layer->a, *b = layer->b;
    int64_t in = layer->in, out = layer->out, rank = layer->rank, behind = stride - in;
    float scale = (float)layer->scale;
    int64_t of_b = out * behind, of_a = below * stride;
    launch_each(of_b + of_a, [=] __device__(int64_t i) {
        bool beside = i < of_b;
        int64_t width = beside ? behind : stride, at = beside ? i : i - of_b;
        int64_t row = quotient(at, width), column = at - row * width;
        float value = 0.0f;
        if (beside && column < rank) value = scale * b[row * rank + column];
        if (!beside && row < rank && column < in) value = a[row * in + column];
        uint16_t *to = beside ? slab + row * stride + in : slab + (out + row) * stride;
        to[column] = hone_bf16_from_f32(value);
    });
}

void hone_dequantize_rows_cuda(uint16_t *y, int64_t stride, const void *x, hone_dtype type,
                               int64_t rows, int64_t width) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    launch_element_rows_apart(y, stride, x, type, rows, width, item);
}
