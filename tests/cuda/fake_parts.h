/*
 * What the files of the fake CUDA runtime share.
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

/* What a launch comes to, which then is counted. */
cudaError_t fake_launch_error(void);

/* Around a kernel. One that fails opens nothing, and false says that it is not to run. */
bool fake_fence_open(void);
void fake_fence_close(void);

fake_cudart_use *fake_count(void);

#endif
