/*
 * A CUDA runtime without a GPU, for tests: device memory is host memory that nobody may touch but kernels while they run
 * and copies while they are made. It refuses what CUDA refuses; what would go wrong unseen ends the program. What is queued
 * runs late (tests/cuda/fake_stream.h).
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
    int capability;    /* of a device: 80 for 8.0; usually 90 */
    int64_t memory;    /* bytes of a device */
    int broken_after;  /* launches until one fails for good; 0: none does */
    int error;         /* cudaError_t of that; 0: an illegal address */
    bool bad_launch;   /* the next launch is refused */
    int refused_after; /* launches until one is refused for lack of memory; 0: none is */
    bool no_host;      /* no memory is pinned */
    bool early;        /* copies beside hone's stream are made at once */
    bool at_once;      /* work runs when it is queued, for kernels on the host's addresses */
} fake_cudart;
extern fake_cudart fake_cudart_settings;

/* What is taken now, of which bytes and pieces are the device's; and how often something was done so far. */
typedef struct fake_cudart_use {
    int64_t bytes, pieces, pinned, streams, events, graphs;
    int64_t launches, copies, replays;
    int64_t late_copies; /* of the copies, those beside hone's stream */
    int64_t lost_calls;  /* that waited for a broken device, or gave it something back */
    int64_t waits;       /* of the host for work that was not done */
} fake_cudart_use;
fake_cudart_use fake_cudart_used(void);

/* Settings as usual, nothing broken. What is taken stays, but for that of a broken device, which has lost it. */
void fake_cudart_reset(void);

#endif
