/*
 * What the attention kernels share: what they read, which query sees which key, and how blocks find their tiles.
 */
#ifndef HONE_KERNELS_CUDA_ATTENTION_CUH
#define HONE_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/cuda/attention.h"
}

/* What a pass reads; forward has no do_, o and lse. */
struct inputs {
    const float *do_, *q, *k, *v, *o, *lse;
    const hone_segment *segments;
    hone_attention_shape shape;
};

__device__ static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* First key that the query sees whose own key is `last`. */
__device__ static inline int64_t first_key(const hone_attention_shape &shape, int64_t last) {
    return shape.window > 0 && last >= shape.window ? last - shape.window + 1 : 0;
}

__device__ static inline bool sees(const hone_attention_shape &shape, int64_t last, int64_t key) {
    return key <= last && key >= first_key(shape, last);
}

/* Which rows of which segment, of which head. */
struct tile {
    hone_segment run;
    int64_t first;
    int64_t head;
};

/* Finds tiles of ROWS rows, asked for in ascending order, the last ones of a segment first: they see most. A warp looks at
 * 32 segments at once. */
template <int ROWS> struct tile_walk {
    const hone_segment *segments;
    int64_t count, next,
        before; /* segments; the first that was not passed; tiles of those that were */

    /* Tile `number` of all heads; false past the last. */
    __device__ bool seek(tile *out, int64_t number, int64_t heads) {
        int lane = (int)threadIdx.x % WARP;
        for (; next < count; next += WARP) {
            int own = 0;
            if (next + lane < count) own = (segments[next + lane].q_len + ROWS - 1) / ROWS;
            int end = own; /* tiles of the lanes up to this one */
            for (int apart = 1; apart < WARP; apart *= 2) {
                int more = __shfl_sync(FULL, end, lane < apart ? lane : lane - apart);
                end += lane < apart ? 0 : more;
            }
            int at = (int)(number / heads - before);
            unsigned past = __ballot_sync(FULL, at < end);
            if (past) {
                int found = __ffs(past) - 1;
                int last = __shfl_sync(FULL, end, found) - 1;
                out->run = segments[next + found];
                out->first = (int64_t)(last - at) * ROWS;
                out->head = number % heads;
                return true;
            }
            before += __shfl_sync(FULL, end, WARP - 1);
        }
        return false;
    }
};

#endif
