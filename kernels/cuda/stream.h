/*
 * What launching kernels needs of the device that is open: one per process.
 */
#ifndef HONE_KERNELS_CUDA_STREAM_H
#define HONE_KERNELS_CUDA_STREAM_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "base/status.h"

/* Where all work of the process is queued, in order. */
cudaStream_t hone_cuda_stream(void);

/* HONE_OK, or a message: what was being done ("cannot copy memory"), CUDA's error, and what to do. */
HONE_MUST_USE hone_status hone_cuda_check(cudaError_t error, const char *doing);

/* "the GPU has no room for <what>", with sizes: HONE_ERR_MEMORY. */
HONE_MUST_USE hone_status hone_cuda_fail_memory(const char *what);

/* Whether an error was found after which nothing on the device works any more in this process: nothing is to be asked of it then,
 * nor waited for. */
bool hone_cuda_is_lost(void);
/* The same, without an error: of a process that is to end. */
void hone_cuda_give_up(void);
void hone_cuda_forget_errors(void);

/* Return when a stream, or what came before an event, is done. In a group also when another process is lost
 * (kernels/group.h). */
HONE_MUST_USE hone_status hone_cuda_finish(cudaStream_t stream);
HONE_MUST_USE hone_status hone_cuda_await(cudaEvent_t event);
/* The same in a group, otherwise nothing: before a call that itself waits for the stream, whoever is lost. */
HONE_MUST_USE hone_status hone_cuda_finish_group(cudaStream_t stream);

/* The first failure of what was queued so far to be started. */
HONE_MUST_USE hone_status hone_cuda_launches_status(void);

#endif
