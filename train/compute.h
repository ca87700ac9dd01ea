/*
 * How products with frozen weights are taken in a run: as the options say, or, with `auto`, the way that is fastest here.
 *
 * `auto` runs two blocks of the model and its head each way (below f32 only in what the device multiplies in, and never in
 * fp8, which rounds the most), for two seconds in all, on a GPU without what making its kernels ready takes, and remembers the outcome by processor, shape of the model and shape of the pass in a file of the user's cache folder. Models of
 * fewer than 20 million weights are not measured: f32. What is fastest but does not fit the memory gives way to f32. A resumed
 * run goes on as its checkpoint says.
 */
#ifndef HONE_TRAIN_COMPUTE_H
#define HONE_TRAIN_COMPUTE_H

#include "train/run.h"

/* Of a new run: parameters of the smallest model that is measured, as below steps are too short for the choice to matter;
 * and seconds that passes may take to measure them. */
enum { HONE_COMPUTE_LEAST = 20000000, HONE_COMPUTE_SECONDS = 2 };

/* Settles run->compute, says why in run->why, and makes the model ready for it; model and parameters are open. */
HONE_MUST_USE hone_status hone_run_settle_compute(hone_run *run);

/* Whether f32 may be taken where what was settled on does not fit; and takes it, as the data are open. */
bool hone_run_may_compute_in_f32(const hone_run *run);
HONE_MUST_USE hone_status hone_run_compute_in_f32(hone_run *run);

/* Of products that are not taken in int8. */
hone_precision hone_compute_precision(hone_compute way);

/* Makes the model ready for a way, in int8 so many blocks of it. Errors: UNSUPPORTED where the device does not compute so. */
HONE_MUST_USE hone_status hone_compute_prepare(hone_model *model, hone_compute way, int64_t blocks);

/* Whether `auto` would not measure the model. */
bool hone_run_is_small(const hone_run *run);

/* What decides how long a pass of the run takes, as text: what measurements are remembered by. */
HONE_MUST_USE hone_status hone_run_measured_key(hone_buf *key, const hone_run *run);

/* Seconds of a token, by hone_plan_cost, of the model as it is, measured within `most` seconds; 0 where a
 * library of the device's fails at it. */
HONE_MUST_USE hone_status hone_run_time_token(double *seconds, const hone_run *run, double most);

#endif
