/*
 * What a tape tells an observer: every pass of a node, or each part of one, with its time and its work.
 */
#ifndef HONE_AUTOGRAD_OBSERVER_H
#define HONE_AUTOGRAD_OBSERVER_H

#include <stdint.h>

#include "base/dtype.h"

typedef enum hone_phase { HONE_FORWARD, HONE_REPLAY, HONE_BACKWARD, HONE_PHASES } hone_phase;

enum { HONE_WORK_SHAPE = 3 };

typedef struct hone_work {
    const char *name; /* the operation's, or the part's; static */
    hone_phase phase;
    int part;                       /* of the pass, from 0 */
    int64_t shape[HONE_WORK_SHAPE]; /* tells apart what is tuned apart; 0 past its end */
    hone_dtype weights;             /* of the matrix in it */
    const char *
        mode; /* "bf16", "int8" and so on when the product with it is taken so; else NULL; static */
    double flops; /* of products, two for a multiply-add; pointwise arithmetic is not counted */
    double bytes; /* that must at least be moved: what is read and what is written, once each */
    double start, end; /* hone_seconds() */
} hone_work;

/* `passed` is called after each pass that ran; NULL: nobody is told, and nothing is measured. */
typedef struct hone_observer {
    void (*passed)(void *context, const hone_work *work);
    void *context;
} hone_observer;

#endif
