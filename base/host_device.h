/*
 * Marks functions that CUDA's kernels call as well as the host.
 */
#ifndef HONE_BASE_HOST_DEVICE_H
#define HONE_BASE_HOST_DEVICE_H

#ifdef __CUDACC__
#define HONE_HOST_DEVICE __host__ __device__
#else
#define HONE_HOST_DEVICE
#endif

#endif
