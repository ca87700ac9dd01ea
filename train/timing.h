/*
 * How long a pass of the model takes on this machine, found by making a part of it.
 */
#ifndef HONE_TRAIN_TIMING_H
#define HONE_TRAIN_TIMING_H

#include "model/transformer.h"

typedef struct hone_pass_shape {
    int64_t tokens;    /* that go through the model at once */
    int64_t document;  /* tokens of a document, on average */
    double supervised; /* part of the tokens that is learned */
    int64_t memory;    /* bytes that the arena may take; 0: any number */
} hone_pass_shape;

/* Seconds of forward and backward of all blocks and the head, with the adapter, dropout and recomputation of `forward` (its
 * tokens do not count). One and two blocks of the real weights are run; the others take as long as the second. Passes
 * of 16 tokens come first, on a GPU of 1024, in any case, larger ones as long as they fit and all of them take `most` seconds
 * together; what making a GPU's kernels ready takes does not count. Adds to the gradients. */
HONE_MUST_USE hone_status hone_time_pass(double *seconds, const hone_forward *forward,
                                         const hone_pass_shape *shape, double most);

#endif
