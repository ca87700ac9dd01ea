/*
 * Computations that cuDNN compiles into one kernel: a graph of operations on tensors, described node by node, and the plan
 * that the library makes of it. After the comments of cudnn_graph.h on each descriptor, and NVIDIA's cudnn-frontend.
 */
#ifndef HONE_KERNELS_CUDA_CUDNN_GRAPH_H
#define HONE_KERNELS_CUDA_CUDNN_GRAPH_H

#include <stdbool.h>

#include "kernels/cuda/cudnn.h"

enum { HONE_CUDNN_DIMS = 4, HONE_CUDNN_DESCRIPTORS = 192, HONE_CUDNN_OPERATIONS = 48 };

/* What plans are made for: a device by its handle, or one that is only described (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR). */
typedef struct hone_cudnn_target {
    const hone_cudnn *library;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device; /* counts where there is no handle */
} hone_cudnn_target;

/* [batch, heads, rows, columns]; strides in elements, of which a row or column of a ragged tensor has those within its
 * batch. One of one batch, head, row and column has the same value for all. */
typedef struct hone_cudnn_shape {
    int64_t dims[HONE_CUDNN_DIMS], strides[HONE_CUDNN_DIMS];
} hone_cudnn_shape;

typedef struct hone_cudnn_tensor {
    cudnnBackendDescriptor_t descriptor;
    hone_cudnn_shape shape;
} hone_cudnn_tensor;

/* Where a tensor of the caller's lies; those without are inside the kernel. Zeroed but for what is said. */
typedef struct hone_cudnn_place {
    int64_t uid;       /* from 1 up; 0: inside the kernel */
    int64_t alignment; /* bytes */
    bool by_value;     /* one float in the host's memory */
    const hone_cudnn_tensor
        *ragged; /* [batch + 1] where each batch begins, in elements; may be NULL */
} hone_cudnn_place;

/* A graph that is being described. After a failure calls do nothing; the first is kept. */
typedef struct hone_cudnn_graph {
    hone_cudnn_target target;
    cudnnBackendDescriptor_t made[HONE_CUDNN_DESCRIPTORS];
    cudnnBackendDescriptor_t operations[HONE_CUDNN_OPERATIONS];
    int made_count, operation_count;
    int64_t inner; /* uids of tensors inside the kernel */
    cudnnStatus_t status;
    const char *failed; /* doing what */
} hone_cudnn_graph;

/* Keeps what it was made of. */
typedef struct hone_cudnn_plan {
    cudnnBackendDescriptor_t descriptor;
    int64_t bytes; /* of workspace */
    cudnnBackendDescriptor_t made[HONE_CUDNN_DESCRIPTORS];
    int made_count;
} hone_cudnn_plan;

/* Dense, in the order of the dimensions. */
hone_cudnn_shape hone_cudnn_dense(int64_t batch, int64_t heads, int64_t rows, int64_t columns);

hone_cudnn_tensor hone_cudnn_tensor_at(hone_cudnn_graph *g, cudnnDataType_t type,
                                       hone_cudnn_shape shape, hone_cudnn_place place);
/* Inside the kernel. */
hone_cudnn_tensor hone_cudnn_inner(hone_cudnn_graph *g, cudnnDataType_t type,
                                   hone_cudnn_shape shape);

/* y = mode(x, b, where), element by element: b and `where` as the mode has them, else NULL. Comparisons and logic give and
 * compute CUDNN_DATA_BOOLEAN, all else floats. */
void hone_cudnn_pointwise_into(hone_cudnn_graph *g, const hone_cudnn_tensor *y,
                               cudnnPointwiseMode_t mode, const hone_cudnn_tensor *x,
                               const hone_cudnn_tensor *b, const hone_cudnn_tensor *where);
/* The same into a tensor inside the kernel, of x's shape. */
hone_cudnn_tensor hone_cudnn_pointwise(hone_cudnn_graph *g, cudnnPointwiseMode_t mode,
                                       const hone_cudnn_tensor *x, const hone_cudnn_tensor *b,
                                       const hone_cudnn_tensor *where);
/* The number of each row (axis 2) or column (3) of x's shape, in CUDNN_DATA_INT32. */
hone_cudnn_tensor hone_cudnn_index(hone_cudnn_graph *g, const hone_cudnn_tensor *x, int64_t axis);

/* y = a b for each batch and head, sums in f32. m, n, k: [batch] how many rows of a, columns of b and terms count; may be
 * NULL. Heads of b serve as many heads of a as there are for each. */
typedef struct hone_cudnn_lengths {
    const hone_cudnn_tensor *m, *n, *k;
} hone_cudnn_lengths;
void hone_cudnn_product(hone_cudnn_graph *g, const hone_cudnn_tensor *y, const hone_cudnn_tensor *a,
                        const hone_cudnn_tensor *b, hone_cudnn_lengths lengths);

/* Sums or maxima over the dimensions that y lacks, in an order that is the same at each run. */
void hone_cudnn_reduce(hone_cudnn_graph *g, const hone_cudnn_tensor *y, cudnnReduceTensorOp_t how,
                       const hone_cudnn_tensor *x);
/* y has x's elements under another shape. */
void hone_cudnn_reshape(hone_cudnn_graph *g, const hone_cudnn_tensor *y,
                        const hone_cudnn_tensor *x);

/* Compiles what was described, which is given back after a failure; `what` names it in messages.
 * Errors: UNSUPPORTED where the library takes the graph for invalid, or has no kernel for it on the target. */
HONE_MUST_USE hone_status hone_cudnn_plan_make(hone_cudnn_plan *out, hone_cudnn_graph *g,
                                               const char *what);
void hone_cudnn_plan_free(hone_cudnn_plan *plan, const hone_cudnn *library);

/* Queues the plan on the handle's stream; `addresses` belong to `uids`. */
cudnnStatus_t hone_cudnn_run(const hone_cudnn_target *target, const hone_cudnn_plan *plan,
                             const int64_t *uids, void *const *addresses, int64_t count,
                             void *workspace);

#endif
