/*
 * Copies to the device that nobody waits for. What is copied goes to the host's pinned memory first, from where the device
 * fetches it when it comes to that. There are two halves: one is filled while what the other holds is fetched, and taken
 * again only when all of that was.
 */
#ifndef HONE_KERNELS_CUDA_STAGING_H
#define HONE_KERNELS_CUDA_STAGING_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "base/status.h"

enum { HONE_CUDA_STAGING_HALF = 4 << 20 }; /* bytes */

typedef struct hone_cuda_staging {
    unsigned char *half[2];
    cudaEvent_t fetched[2];
    int filling;
    size_t used; /* bytes of that half */
} hone_cuda_staging;

/* Closed by who asked for it, also when it fails. */
HONE_MUST_USE hone_status hone_cuda_staging_open(hone_cuda_staging *staging);
void hone_cuda_staging_close(hone_cuda_staging *staging); /* takes a zeroed one */

/* Copies to the device on hone's stream: `from` may be changed at once. */
HONE_MUST_USE hone_status hone_cuda_staging_copy(hone_cuda_staging *staging, void *to,
                                                 const void *from, size_t bytes);

#endif
