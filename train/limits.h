/*
 * What the machine can do at best, as hone's own kernels reach it: the measure for the speed of everything else.
 */
#ifndef HONE_TRAIN_LIMITS_H
#define HONE_TRAIN_LIMITS_H

#include "base/status.h"
#include "kernels/device.h"
#include "train/options.h"

typedef struct hone_limits {
    double flops;      /* per second: a product of matrices [1024,1024], two for a multiply-add */
    double mode_flops; /* of the same product in the mode of the run, both sides ready for it */
    const char *mode; /* "bf16", "int8" and so on; NULL: f32, which has been said already; static */
    double bytes;     /* per second: a copy beyond the caches, what is read and what is written */
    double copied;    /* bytes of that copy */
} hone_limits;

/* Takes about half a second, or three quarters of one, and up to `most` bytes: 256 MiB at most, some 30 MiB at least; the best of
 * many tries, with the threads that are set. `compute` is what the run settled on. */
HONE_MUST_USE hone_status hone_limits_measure(hone_limits *out, const hone_device *device,
                                              hone_compute compute, int64_t most);

#endif
