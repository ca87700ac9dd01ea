/*
 * Streams, events and graphs of the fake CUDA runtime. Work runs as late as CUDA allows: not before the host waits for it,
 * so that what host and device do at the same time in the wrong order shows. (With fake_cudart.at_once it runs when it is
 * queued.) Refused while a stream is captured, whose capture is then of no use: memory taken or given back, on either side;
 * copies of memory that is not pinned; waiting for a stream or an event.
 */
#ifndef HONE_TESTS_CUDA_FAKE_STREAM_H
#define HONE_TESTS_CUDA_FAKE_STREAM_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "tests/cuda/fake_work.h"

/* Queues a kernel, or what stands for one: it runs with the fence open. Takes the work over in any case. */
cudaError_t fake_stream_launch(cudaStream_t stream, fake_work work);

/* The same of other work, which sees to the fence itself. */
cudaError_t fake_stream_queue(cudaStream_t stream, fake_work work);

/* The same of work of other processes too: `attempt` is called until it says FAKE_DONE. */
typedef enum fake_progress { FAKE_DONE, FAKE_LATER, FAKE_NEVER } fake_progress;
cudaError_t fake_stream_attempt(cudaStream_t stream, fake_progress (*attempt)(void *context),
                                void (*drop)(void *context), void *context);

/* Of a device that is lost: what is queued, and streams, events and graphs. */
void fake_stream_lose_all(void);

/* Runs what is queued anywhere; what the host does by that is to wait. */
void fake_stream_finish(void);

/* Asked by calls that CUDA does not permit while a stream is captured: false where one is, which is spoilt by it. */
bool fake_stream_permits(void);

#endif
