/*
 * A CUDA runtime without a GPU, for tests: device memory is host memory that nobody may touch but kernels while they run
 * and copies while they are made. It refuses what CUDA refuses; what would go wrong unseen ends the program.
 *
 * The emulator's launches open the fence around a kernel. Other functions that stand for kernels do so by the two calls
 * below. Work of a stream is done at once, but for what another fake (fake_nccl.h) does later: streams that wait for it by
 * events are then not ready.
 */
#ifndef HONE_TESTS_CUDA_FAKE_CUDART_H
#define HONE_TESTS_CUDA_FAKE_CUDART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the next calls find. Zeroed numbers stand for the usual ones. */
typedef struct fake_cudart {
    int driver; /* version that it serves, as CUDA counts: 13000; -1: none is loaded */
    int devices; /* -1: none; 0: as many as FAKE_GPUS says, else one; FAKE_FAULTY_GPU: one that fails */
    int64_t memory;   /* bytes of a device */
    int broken_after; /* launches until one fails for good; 0: none does */
    bool bad_launch;  /* the next launch is refused */
} fake_cudart;
extern fake_cudart fake_cudart_settings;

/* Bytes and pieces that are taken now, and streams and events that are open. */
typedef struct fake_cudart_use {
    int64_t bytes, pieces, streams, events, launches, copies;
} fake_cudart_use;
fake_cudart_use fake_cudart_used(void);

/* Settings as usual, nothing broken. What is taken stays. */
void fake_cudart_reset(void);

/* Around what stands for a kernel. A launch that fails opens nothing, and false says that it is not to run. */
bool fake_cudart_launch_begin(void);
void fake_cudart_launch_end(void);

/* For fakes of libraries that work on device memory. */

/* Whether a range lies in one piece of device memory; reads and writes one. */
bool fake_cudart_holds(const void *at, size_t bytes);
void fake_cudart_peek(void *to, const void *at, size_t bytes);
void fake_cudart_poke(void *at, const void *from, size_t bytes);

/* Whether work of the stream on a piece of memory that holds `at` comes after all that was queued so far on the first stream,
 * where kernels run, or the stream itself was the last to copy something to it. */
struct CUstream_st; /* what cudaStream_t points to */
bool fake_cudart_is_ordered(struct CUstream_st *stream, const void *at);

/* Does what a stream has left to do, waiting for it or as far as it goes now; false when something is left. NULL: streams
 * have nothing left. */
extern bool (*fake_cudart_settle)(struct CUstream_st *stream, bool wait);

/* Has the emulator call the two (fence_hooks.cc). */
void fake_cudart_fence_launches(void);

#endif
