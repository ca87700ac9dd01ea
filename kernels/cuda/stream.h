/*
 * What launching kernels needs of the device that is open: one per process.
 */
#ifndef HONE_KERNELS_CUDA_STREAM_H
#define HONE_KERNELS_CUDA_STREAM_H

#include <cuda_runtime_api.h>

#include "base/status.h"

/* Where all work of the process is queued, in order. */
cudaStream_t hone_cuda_stream(void);

/* HONE_OK, or a message: what was being done ("cannot copy memory"), CUDA's error, and what to do. */
HONE_MUST_USE hone_status hone_cuda_check(cudaError_t error, const char *doing);

#endif
