/*
 * NCCL between processes without a GPU, for tests: the functions that hone calls, over shared memory that the unique id names.
 * Sums are taken in the order of ranks, in f32 or f64. Calls do not block: a sum is work of its stream (fake_stream.h), made once
 * all ranks have asked for it. What the library does not promise to do is refused:
 *
 *     communicators   NULL, ended, or not complete yet; a rank that another process has
 *     configuration   not initialised, of before 2.14, or blocking
 *     buffers         NULL, of the host, not in one piece of device memory, or partly overlapping
 *     types and sums  other than f32 and f64, and ncclSum
 *     ranks           that ask for sums of another size or type than the others: an asynchronous error of all
 *
 * A process that ends is a remote error for the others; the stream of a sum that fails hangs.
 *
 * Environment: FAKE_NCCL_FAIL=R:N has rank R fail at its N-th sum (0: when it joins); with FAKE_NCCL_DEAF=1 nobody finds out
 * that a process has ended, as between GPUs that write into each other's memory.
 *
 * After NVIDIA's NCCL documentation, 2.28: "Communicator Creation and Management Functions", "Collective Communication
 * Functions", "Fault Tolerance", and the comments of nccl.h.
 */
#ifndef HONE_TESTS_CUDA_FAKE_NCCL_H
#define HONE_TESTS_CUDA_FAKE_NCCL_H

#include "kernels/cuda/nccl.h"

hone_nccl fake_nccl_functions(void);

/* Why the last refusal of this process was one. */
const char *fake_nccl_complaint(void);

/* Sums that this process was asked for so far. */
int fake_nccl_sums(void);

#endif
