/*
 * cuDNN's backend functions without a GPU, for tests: descriptors are taken and checked as the library does, and a graph's
 * operations are made one after the other on the host, by plain loops, whatever the graph. What is outside a ragged tensor
 * reads as NaN, and is not written. Refused, with the status of the library and `complaint` saying why:
 *     descriptors   of no known kind; that are no descriptor, are destroyed, or of another kind than the attribute has
 *     attributes    that the kind lacks, of another type or number of elements, set or missing when finalised, asked for before
 *     tensors       sizes or strides below 1, an alignment that elements lack, both virtual and by value
 *     operations    sizes that do not fit, types that do not, a virtual tensor that nothing wrote or that is written twice
 *     plans         without a handle; of graphs for which no kernel is there (`no_backward`)
 *     execution     a tensor without an address, an address without a tensor, NULL, addresses that are not aligned, another
 *                   handle, no workspace where one is needed (its ends lose what they held)
 *
 * After the comments of cudnn_graph.h (9.26) on each descriptor.
 */
#ifndef HONE_TESTS_CUDA_FAKE_CUDNN_H
#define HONE_TESTS_CUDA_FAKE_CUDNN_H

#include <stdbool.h>

#include "kernels/cuda/cudnn.h"

/* What tests look at, and set. */
typedef struct fake_cudnn {
    int64_t created, live; /* handles and descriptors so far, and not destroyed */
    int64_t plans, runs;
    cudaStream_t stream;            /* of the handle */
    bool missing;                   /* the library cannot be loaded */
    bool no_backward;               /* no kernel sums in order, as before Hopper */
    cudnnStatus_t to_return;        /* where it is no success: by the next create or finalize */
    cudnnStatus_t to_return_of_run; /* by every execute */
    char complaint[256];            /* why the last refusal was one */
} fake_cudnn;

/* One per process. */
fake_cudnn *fake_cudnn_state(void);

/* The functions. */
hone_cudnn fake_cudnn_functions(void);

#endif
