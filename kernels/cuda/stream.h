/*
 * What launching kernels needs of the device that is open: one per process.
 */
#ifndef HONE_KERNELS_CUDA_STREAM_H
#define HONE_KERNELS_CUDA_STREAM_H

#include <cuda_runtime_api.h>

/* Where all work of the process is queued, in order. */
cudaStream_t hone_cuda_stream(void);

#endif
