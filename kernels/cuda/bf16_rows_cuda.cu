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

__device__ static inline void place(const hone_bf16_block &to, int64_t i) {
    int64_t row = quotient(i, to.columns), column = i - row * to.columns;
    bool within = row < to.x_rows && column < to.x_columns;
    float value = within ? to.scale * to.x[row * to.x_columns + column] : 0.0f;
    to.y[row * to.stride + column] = hone_bf16_from_f32(value);
}

void hone_place_bf16_cuda(const hone_bf16_block *first, const hone_bf16_block *second) {
    hone_bf16_block a = *first, b = second ? *second : *first;
    int64_t of_a = a.rows * a.columns, of_b = second ? b.rows * b.columns : 0;
    launch_each(of_a + of_b, [=] __device__(int64_t i) {
        if (i < of_a) {
            place(a, i);
        } else {
            place(b, i - of_a);
        }
    });
}

void hone_dequantize_rows_cuda(uint16_t *y, int64_t stride, const void *x, hone_dtype type,
                               int64_t rows, int64_t width) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    launch_element_rows_apart(y, stride, x, type, rows, width, item);
}
