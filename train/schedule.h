/*
 * Learning-rate schedules with warm-up, as transformers' get_constant_, get_linear_ and
 * get_cosine_schedule_with_warmup compute them, with a floor as in get_cosine_with_min_lr_schedule_with_warmup.
 */
#ifndef HONE_TRAIN_SCHEDULE_H
#define HONE_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum hone_schedule_kind {
    HONE_SCHEDULE_CONSTANT,
    HONE_SCHEDULE_LINEAR,
    HONE_SCHEDULE_COSINE,
} hone_schedule_kind;

typedef struct hone_schedule {
    hone_schedule_kind kind;
    double lr;           /* the peak */
    int64_t warmup;      /* steps of the rise from 0 */
    int64_t steps;       /* of the whole run */
    double min_lr_ratio; /* floor of the decay, as a part of lr: 0 to 1 */
} hone_schedule;

/* The steps of warm-up of an option: as given, or for -1 one in twenty of the run's steps, 50 at most. */
int64_t hone_schedule_warmup(int64_t warmup, int64_t steps);

/* The learning rate of step `step`, counted from 0:
 *   step < warmup    lr step / warmup
 *   constant         lr
 *   linear, cosine   lr (min + (1 - min) f),  p = (step - warmup) / (steps - warmup)
 *                    f = 1 - p,  f = (1 + cos(pi p)) / 2;  f = 0 beyond `steps`
 * So with a warm-up the first step has rate 0, as in transformers. */
double hone_schedule_lr(const hone_schedule *schedule, int64_t step);

#endif
