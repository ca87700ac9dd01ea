/*
 * A tensor: shape, dtype and an address on the device. Small and plain; it owns nothing.
 */
#ifndef HONE_AUTOGRAD_TENSOR_H
#define HONE_AUTOGRAD_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/int8.h"
#include "kernels/precision.h"
#include "kernels/real.h"

enum { HONE_DIMS = 4 };

typedef struct hone_tensor {
    const char *name; /* for messages and the plan; borrowed */
    hone_dtype dtype;
    int dims;
    int64_t shape[HONE_DIMS]; /* row-major, outermost first; 1 past `dims` */
    void *data;               /* device address; NULL while a tape is planned */
    struct hone_tensor *
        grad; /* same shape, HONE_REAL, or in bf16 (grad_stride); NULL until something flows into it */
    bool needs_grad;
    const hone_int8_weight *int8; /* of a frozen weight whose products are taken in int8 */
    hone_precision precision;     /* of the products with any other one */
    int64_t stride; /* of one in bf16 that an operation makes: elements from a row to the next */
    int64_t grad_stride; /* not 0: its gradient may come in bf16, with rows so far apart */
    int32_t block;       /* the tape's memory it lies in; -1: memory from outside the tape */
    bool halved;         /* for backward it is kept in bf16, at `half` in memory of the tape's */
    int32_t half_block;
    void *half;              /* uint16_t */
    struct hone_node *maker; /* the node whose output it is; NULL: none of the tape's */
} hone_tensor;

static inline int64_t hone_tensor_count(const hone_tensor *t) {
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

/* Takes NULL: nothing. */
static inline double hone_tensor_bytes(const hone_tensor *t) {
    if (!t) return 0;
    int64_t count = hone_tensor_count(t), row = t->shape[t->dims - 1];
    size_t row_bytes = t->dtype == HONE_REAL ? (size_t)row * sizeof(hone_real)
                                             : hone_dtype_row_bytes(t->dtype, row);
    return (double)(count / row) * (double)row_bytes;
}

/* A tensor over memory from outside any tape: weights, parameters, caches. */
static inline hone_tensor hone_tensor_over(const char *name, hone_dtype dtype, int64_t rows,
                                           int64_t columns, void *data) {
    return (hone_tensor){.name = name,
                         .dtype = dtype,
                         .dims = columns > 0 ? 2 : 1,
                         .shape = {rows, columns > 0 ? columns : 1, 1, 1},
                         .data = data,
                         .block = -1};
}

#endif
