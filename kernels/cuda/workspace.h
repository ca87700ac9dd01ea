/*
 * Parts of a workspace, each of which begins on HONE_CUDA_ALIGNMENT.
 */
#ifndef HONE_KERNELS_CUDA_WORKSPACE_H
#define HONE_KERNELS_CUDA_WORKSPACE_H

#include "kernels/cuda/products.h"

static inline size_t hone_cuda_whole(size_t bytes) {
    return (bytes + HONE_CUDA_ALIGNMENT - 1) / HONE_CUDA_ALIGNMENT * HONE_CUDA_ALIGNMENT;
}

/* Takes a part from what is left of a workspace. */
static inline void *hone_cuda_take(char **left, size_t bytes) {
    char *part = *left;
    *left += hone_cuda_whole(bytes);
    return part;
}

/* Where parts begin in a workspace that has HONE_CUDA_ALIGNMENT bytes to spare: it begins on 64 bytes only. */
static inline char *hone_cuda_parts_of(void *workspace) {
    return (char *)workspace +
           (HONE_CUDA_ALIGNMENT - (uintptr_t)workspace % HONE_CUDA_ALIGNMENT) % HONE_CUDA_ALIGNMENT;
}

#endif
