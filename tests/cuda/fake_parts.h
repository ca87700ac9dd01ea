/*
 * What the files of the fake CUDA runtime share, with fakes of libraries that work on device memory.
 */
#ifndef HONE_TESTS_CUDA_FAKE_PARTS_H
#define HONE_TESTS_CUDA_FAKE_PARTS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "tests/cuda/fake_cudart.h"

_Noreturn void fake_die(const char *what);

/* Makes it the last error. */
cudaError_t fake_fail(cudaError_t error);
cudaError_t fake_last(void);
/* Whether the last error is for good. */
bool fake_is_broken(void);

/* Whether a range lies in one piece of device memory; reads and writes one. */
bool fake_holds(const void *at, size_t bytes);
void fake_peek(void *to, const void *at, size_t bytes);
void fake_poke(void *at, const void *from, size_t bytes);

/* What a launch comes to, which then is counted. */
cudaError_t fake_launch_error(void);

/* Before a kernel, and after the last of several. One that fails opens nothing, and false says that it is not to run. */
bool fake_fence_open(void);
void fake_fence_close(void);

fake_cudart_use *fake_count(void);

#endif
