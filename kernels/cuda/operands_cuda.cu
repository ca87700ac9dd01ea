/*
 * What products need beside the multiplication: operands in bf16 and fp8, and outputs that get nothing added.
 */
#include "kernels/cuda/elements.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

void hone_dequantize_rows_cuda(uint16_t *y, int64_t stride, const void *x, hone_dtype type,
                               int64_t rows, int64_t width) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    launch_element_rows_apart(y, stride, x, type, rows, width, item);
}

/* --- fp8 --- */

enum { PARTS = 512, SIDE = 32, PITCH = SIDE + 1 };

/* The largest magnitudes of parts of a side, on their way to the second kernel; the stream runs one such pair at a time. How
 * many there are changes no maximum. */
__device__ static float largest_of[PARTS];

__device__ static inline void keep_largest(float largest) {
    largest = block_max(largest);
    if (threadIdx.x == 0) largest_of[blockIdx.x] = largest;
}

template <typename X> __global__ void largest_parts(const X *x, int64_t n, bool wide) {
    float largest = 0.0f;
    int64_t stride = (int64_t)gridDim.x * BLOCK * GROUP;
    for (int64_t i = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * GROUP; i < n; i += stride) {
        group_of<X> group = load_group(x, i, n, wide && i + GROUP <= n);
        for (int e = 0; e < GROUP; e++)
            largest = fmaxf(largest, fabsf(static_cast<float>(group.at[e])));
    }
    keep_largest(largest);
}

__global__ static void largest_of_blocks(const void *x, hone_dtype type, int64_t n) {
    float largest = 0.0f;
    int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride)
        largest = fmaxf(largest, fabsf(hone_element_quantised(x, type, i)));
    keep_largest(largest);
}

__global__ static void scale_of_parts(float *scale, int parts, hone_fp8_format format) {
    float largest = 0.0f;
    for (int i = (int)threadIdx.x; i < parts; i += BLOCK) largest = fmaxf(largest, largest_of[i]);
    largest = block_max(largest);
    if (threadIdx.x != 0) return;
    scale[0] = hone_fp8_scale(largest, format);
    scale[HONE_CUDA_FP8_INVERSE] = 1.0f / scale[0];
}

void hone_scale_fp8_cuda(float scale[HONE_CUDA_FP8_SCALES], const void *x, hone_dtype type,
                         int64_t n, hone_fp8_format format) {
    int parts = n > 0 ? (int)blocks_for(n) : 0;
    if (parts > PARTS) parts = PARTS;
    auto plain = [=](auto *from) {
        auto *kernel = largest_parts<std::remove_const_t<std::remove_pointer_t<decltype(from)>>>;
        if (parts > 0) HONE_LAUNCH(kernel, (unsigned)parts, BLOCK, from, n, begin_groups(from));
    };
    if (!use_plain(x, type, plain) && parts > 0)
        HONE_LAUNCH(largest_of_blocks, (unsigned)parts, BLOCK, x, type, n);
    HONE_LAUNCH(scale_of_parts, 1, BLOCK, scale, parts, format);
}

void hone_quantize_fp8_cuda(uint8_t *y, const void *x, hone_dtype type, int64_t n,
                            hone_fp8_format format, const float *scale) {
    auto item = [=] __device__(uint8_t & to, float from) {
        to = hone_fp8_from_f32(from * scale[0], format);
    };
    launch_elements(y, x, type, n, item);
}

/* A block turns a square: threads side by side read elements side by side, and write them so. */
__global__ static void quantize_aside(uint8_t *y, const void *x, hone_dtype type, int64_t rows,
                                      int64_t columns, const float *scale) {
    HONE_SHARED(uint8_t, square, SIDE * PITCH);
    int lane = (int)threadIdx.x % SIDE;
    int64_t row = (int64_t)blockIdx.y * SIDE, column = (int64_t)blockIdx.x * SIDE;
    for (int i = (int)threadIdx.x / SIDE; i < SIDE; i += BLOCK / SIDE) {
        if (row + i >= rows || column + lane >= columns) continue;
        float value = hone_element_float(x, type, (row + i) * columns + column + lane) * scale[0];
        square[i * PITCH + lane] = hone_fp8_from_f32(value, HONE_E4M3);
    }
    __syncthreads();
    for (int i = (int)threadIdx.x / SIDE; i < SIDE; i += BLOCK / SIDE) {
        if (row + lane >= rows || column + i >= columns) continue;
        y[(column + i) * rows + row + lane] = square[lane * PITCH + i];
    }
}

void hone_quantize_fp8_aside_cuda(uint8_t *y, const void *x, hone_dtype type, int64_t rows,
                                  int64_t columns, const float *scale) {
    dim3 grid((unsigned)((columns + SIDE - 1) / SIDE), (unsigned)((rows + SIDE - 1) / SIDE));
    if (grid.x == 0 || grid.y == 0) return;
    HONE_LAUNCH(quantize_aside, grid, BLOCK, y, x, type, rows, columns, scale);
}

/* --- Outputs --- */

void hone_scale_matrix_cuda(float *c, int64_t m, int64_t n, int64_t ldc, float beta) {
    rows_of<float> place = {c, ldc};
    bool wide = rows_begin_groups(n, c) && ldc % GROUP == 0;
    if (beta == 0.0f) {
        auto zero = [=] __device__(float &to) { to = 0.0f; };
        launch_map_rows(m, n, wide, zero, place);
        return;
    }
    auto item = [=] __device__(float &to, float from) { to = beta * from; };
    launch_map_rows(m, n, wide, item, place, rows_of<const float>{c, ldc});
}
