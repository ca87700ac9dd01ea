/*
 * The gradients of a step summed over the processes of a run, while backward still goes on: parameters lie in memory in the
 * order in which forward meets them, so that backward completes their gradients from the end, and what is complete is sent
 * piece by piece.
 */
#ifndef HONE_TRAIN_EXCHANGE_H
#define HONE_TRAIN_EXCHANGE_H

#include "autograd/tape.h"
#include "kernels/group.h"
#include "model/model.h"

typedef struct hone_exchange {
    const hone_group *group; /* borrowed, as all below */
    const hone_params *params;
    hone_tape *tape;
    int64_t piece;  /* elements that are sent at once, at least */
    int64_t unsent; /* [0, unsent) is still to be sent */
} hone_exchange;

/* Pieces are of 4 MiB, or of an eighth of the gradients where that is less. */
hone_exchange hone_exchange_of(const hone_group *group, const hone_params *params, hone_tape *tape);

/* Before the last pass of a step: its backward sends what it completes. */
void hone_exchange_begin(hone_exchange *exchange);
/* After it: what is queued from here on sees the sums. */
HONE_MUST_USE hone_status hone_exchange_end(hone_exchange *exchange);

#endif
