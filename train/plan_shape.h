/*
 * Plans for models that are not there: what a run on a model of some shape would take.
 */
#ifndef HONE_TRAIN_PLAN_SHAPE_H
#define HONE_TRAIN_PLAN_SHAPE_H

#include "train/plan.h"

typedef struct hone_shape_plans {
    hone_plan fastest;    /* nothing is computed again, all rows of a step at once */
    hone_plan recomputed; /* the same with full recomputation */
    hone_plan least;      /* the smallest that there is */
    hone_plan chosen;     /* within `limit` */
    bool fits;
} hone_shape_plans;

/* For frozen weights of `type`, the adapter and batch of `options`, and `limit` bytes. Takes no memory to speak of. */
HONE_MUST_USE hone_status hone_shape_plan(hone_shape_plans *out, const hone_arch *arch,
                                          hone_dtype type, const hone_train_options *options,
                                          int64_t limit);

#endif
