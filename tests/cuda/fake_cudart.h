/*
 * A CUDA runtime without a GPU, for tests: device memory is host memory that nobody may touch but kernels while they run
 * and copies while they are made. It refuses what CUDA refuses; what would go wrong unseen ends the program.
 *
 * Launches go to the first stream that was made, and are done at once. Copies in any other are made as late as they may be:
 * when something waits for them, or at once. They must wait for all that the first was given before, and their host side be pinned.
 *
 * The emulator's launches open the fence around a kernel. Other functions that stand for kernels do so by the two calls
 * below.
 */
#ifndef HONE_TESTS_CUDA_FAKE_CUDART_H
#define HONE_TESTS_CUDA_FAKE_CUDART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the next calls find. Zeroed numbers stand for the usual ones. */
typedef struct fake_cudart {
    int driver;        /* version that it serves, as CUDA counts: 13000; -1: none is loaded */
    int devices;       /* -1: none */
    int64_t memory;    /* bytes of a device */
    int broken_after;  /* launches until one fails for good; 0: none does */
    int error;         /* cudaError_t of that; 0: an illegal address */
    bool bad_launch;   /* the next launch is refused */
    int refused_after; /* launches until one is refused for lack of memory; 0: none is */
    bool no_host;      /* no memory is pinned */
    bool early;        /* copies beside the first stream are made at once */
} fake_cudart;
extern fake_cudart fake_cudart_settings;

/* Bytes and pieces that are taken now (pinned: of the host), streams and events that are open. */
typedef struct fake_cudart_use {
    int64_t bytes, pieces, pinned, streams, events, launches, copies, late_copies;
    int64_t lost_calls; /* that waited for a broken device, or gave it something back */
} fake_cudart_use;
fake_cudart_use fake_cudart_used(void);

/* Settings as usual, nothing broken. What is taken stays, but for that of a broken device, which has lost it. */
void fake_cudart_reset(void);

/* Around what stands for a kernel. A launch that fails opens nothing, and false says that it is not to run. */
bool fake_cudart_launch_begin(void);
void fake_cudart_launch_end(void);

/* Has the emulator call the two (fence_hooks.cc). */
void fake_cudart_fence_launches(void);

#endif
