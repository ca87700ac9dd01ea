/*
 * Rows and factors in bf16, as products take them: rounded, moved and filled up with zeros.
 */
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

/* Elements that are moved at once, where all begins at multiples of 16 bytes. */
enum { AT_ONCE = 8 };

struct alignas(16) eight {
    uint16_t of[AT_ONCE];
};
struct alignas(16) four {
    float of[AT_ONCE / 2];
};

static bool are_aligned(const void *a, const void *b, int64_t width, int64_t stride) {
    return ((uintptr_t)a | (uintptr_t)b) % 16 == 0 && (width | stride) % AT_ONCE == 0;
}

__device__ static inline eight rounded(const float *x) {
    four halves[2] = {reinterpret_cast<const four *>(x)[0], reinterpret_cast<const four *>(x)[1]};
    eight y;
    for (int i = 0; i < AT_ONCE; i++)
        y.of[i] = hone_bf16_from_f32(halves[i / (AT_ONCE / 2)].of[i % (AT_ONCE / 2)]);
    return y;
}

void hone_round_rows_cuda(uint16_t *y, const float *x, int64_t tokens, int64_t width,
                          int64_t stride) {
    if (!are_aligned(y, x, width, stride)) {
        launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
            for (int64_t c = lane; c < width; c += WARP)
                y[t * stride + c] = hone_bf16_from_f32(x[t * width + c]);
        });
        return;
    }
    launch_each_row(tokens, [=] __device__(int64_t t, int lane) {
        const float *from = x + t * width;
        uint16_t *to = y + t * stride;
        for (int64_t c = lane * AT_ONCE; c < width; c += WARP * AT_ONCE)
            *reinterpret_cast<eight *>(to + c) = rounded(from + c);
    });
}

void hone_copy_columns_cuda(uint16_t *y, int64_t stride, const uint16_t *x, int64_t tokens,
                            int64_t width) {
    if (!are_aligned(y, x, width, stride)) {
        launch_each(tokens * width,
                    [=] __device__(int64_t i) { y[i / width * stride + i % width] = x[i]; });
        return;
    }
    int64_t groups = width / AT_ONCE;
    launch_each(tokens * groups, [=] __device__(int64_t i) {
        int64_t at = i / groups * stride + i % groups * AT_ONCE;
        *reinterpret_cast<eight *>(y + at) = reinterpret_cast<const eight *>(x)[i];
    });
}

__device__ static void place(const hone_bf16_block &to, int64_t i) {
    int64_t row = i / to.columns, column = i % to.columns;
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
    if (stride == width) {
        hone_dequantize_bf16_cuda(y, x, type, rows * width);
        return;
    }
    launch_each_row(rows, [=] __device__(int64_t row, int lane) {
        for (int64_t c = lane; c < width; c += WARP)
            y[row * stride + c] = hone_bf16_from_f32(hone_element_float(x, type, row * width + c));
    });
}
