/*
 * What the kernel files share: the dialect that compiles for GPUs and, with tests/cuda/emulator.hh before it, for the
 * host; loops over items; sums and maxima of warps, blocks and columns. All of it is deterministic.
 *
 * Kernels are written in it as follows. Shared memory is one-dimensional, begins at a multiple of 16 bytes and is declared by HONE_SHARED; a grid is started by
 * HONE_LAUNCH on the process's stream; every warp is whole, so that masks are FULL. HONE_LAUNCH_SHARED gives each block an
 * array of its own of so many bytes, up to 99 KB, that begins at a multiple of 16: HONE_SHARED_GIVEN, one to a kernel.
 */
#ifndef HONE_KERNELS_CUDA_DEVICE_CUH
#define HONE_KERNELS_CUDA_DEVICE_CUH

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "kernels/cuda/cuda.h"
#include "kernels/element.h"
}

#ifdef __CUDACC__
extern "C" {
#include "kernels/cuda/stream.h"
}
/* Before a loop that indexes registers, and before one that is seldom run. */
#define HONE_UNROLL                    _Pragma("unroll")
#define HONE_ROLLED                    _Pragma("unroll 1")
#define HONE_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define HONE_SHARED_POINTER(type)      type *
#define HONE_LAUNCH(kernel, grid, block, ...)                                                      \
    kernel<<<(grid), (block), 0, hone_cuda_stream()>>>(__VA_ARGS__)
#define HONE_SHARED_GIVEN(type, name) extern __shared__ __align__(16) type name[]
#define HONE_LAUNCH_SHARED(kernel, grid, block, bytes, ...)                                        \
    do {                                                                                           \
        (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,            \
                                   (int)(bytes));                                                  \
        kernel<<<(grid), (block), (bytes), hone_cuda_stream()>>>(__VA_ARGS__);                     \
    } while (0)
#else
#define HONE_UNROLL
#define HONE_ROLLED
#endif

enum { WARP = 32, BLOCK = 256 };
constexpr uint32_t FULL = 0xffffffffu;

/* --- Loops --- */

/* Calls item(i) for 0 <= i < n, one thread each. */
template <typename Item> __global__ void each(int64_t n, Item item) {
    int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) item(i);
}

static inline unsigned blocks_for(int64_t threads) {
    int64_t needed = (threads + BLOCK - 1) / BLOCK;
    int64_t most = hone_cuda_resident_blocks();
    return (unsigned)(needed < most ? needed : most);
}

template <typename Item> static void launch_each(int64_t n, Item item) {
    if (n > 0) HONE_LAUNCH(each<Item>, blocks_for(n), BLOCK, n, item);
}

/* Calls row(i, lane) for 0 <= i < n, one warp each. */
template <typename Row> __global__ void each_row(int64_t n, Row row) {
    int64_t stride = (int64_t)gridDim.x * (BLOCK / WARP);
    int64_t first = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) / WARP;
    for (int64_t i = first; i < n; i += stride) row(i, (int)(threadIdx.x % WARP));
}

template <typename Row> static void launch_each_row(int64_t n, Row row) {
    if (n > 0) HONE_LAUNCH(each_row<Row>, blocks_for(n * WARP), BLOCK, n, row);
}

/* --- Sums and maxima: every thread gets the result --- */

template <typename T> __device__ static inline T warp_sum(T x) {
    for (int bits = WARP / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(FULL, x, bits);
    return x;
}

/* A NaN counts only where there is nothing else. */
__device__ static inline float warp_max(float x) {
    for (int bits = WARP / 2; bits > 0; bits /= 2) x = fmaxf(x, __shfl_xor_sync(FULL, x, bits));
    return x;
}

/* Of a block of so many threads. */
template <int THREADS = BLOCK, typename T> __device__ static inline T block_sum(T x) {
    HONE_SHARED(T, parts, THREADS / WARP);
    x = warp_sum(x);
    __syncthreads(); /* all have read the parts of the last call */
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < THREADS / WARP; i++) sum += parts[i];
    return sum;
}

template <int THREADS = BLOCK> __device__ static inline float block_max(float x) {
    HONE_SHARED(float, parts, THREADS / WARP);
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    float largest = parts[0];
    for (int i = 1; i < THREADS / WARP; i++) largest = fmaxf(largest, parts[i]);
    return largest;
}

/* Columns that a block takes: 32 bytes of each row, which are moved whole; no more, so that narrow rows too keep all of a GPU
 * busy. */
enum { COLUMNS_OF_BLOCK = 8 };

/* Adds to out[c] the sum of value(t, c) over 0 <= t < rows. */
template <typename Value>
__global__ void add_columns(float *out, int64_t rows, int64_t width, Value value) {
    enum { ACROSS = COLUMNS_OF_BLOCK, DEEP = BLOCK / ACROSS };
    HONE_SHARED(float, parts, BLOCK);
    int column = (int)threadIdx.x % ACROSS;
    int64_t c = (int64_t)blockIdx.x * ACROSS + column;
    float sum = 0.0f;
    int64_t end = c < width ? rows : 0;
    for (int64_t t = threadIdx.x / ACROSS; t < end; t += DEEP) sum += value(t, c);
    parts[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= ACROSS || c >= width) return;
    float total = 0.0f;
    for (int i = 0; i < DEEP; i++) total += parts[i * ACROSS + column];
    out[c] += total;
}

template <typename Value>
static void launch_add_columns(float *out, int64_t rows, int64_t width, Value value) {
    unsigned blocks = (unsigned)((width + COLUMNS_OF_BLOCK - 1) / COLUMNS_OF_BLOCK);
    if (blocks > 0) HONE_LAUNCH(add_columns<Value>, blocks, BLOCK, out, rows, width, value);
}

/* --- Caps on scores and logits --- */

/* cap tanh(x / cap); x itself when cap is 0. */
__device__ static inline float capped(float x, float cap) {
    return cap > 0.0f ? cap * tanhf(x / cap) : x;
}

/* The slope of the above where its value is z. */
__device__ static inline float capped_slope(float z, float cap) {
    return cap > 0.0f ? 1.0f - z / cap * (z / cap) : 1.0f;
}

#endif
