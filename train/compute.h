/*
 * How products with frozen weights are taken in a run: as the options say, or, with `auto`, the way that is fastest here.
 *
 * `auto` runs two blocks of the model and its head each way (bf16 only where the processor multiplies in it), for two seconds in
 * all, and remembers the outcome by processor, model and shape of the pass in a file of the user's cache folder. Models of fewer than 20 million weights
 * are not measured: f32. A resumed run goes on as its checkpoint says.
 */
#ifndef HONE_TRAIN_COMPUTE_H
#define HONE_TRAIN_COMPUTE_H

#include "train/run.h"

/* Settles run->compute and makes the model ready for it; model and parameters are open. */
HONE_MUST_USE hone_status hone_run_settle_compute(hone_run *run);

/* The way that an earlier measurement of `key` found fastest; HONE_COMPUTE_AUTO when there is none. */
hone_compute hone_compute_recall(const char *key);

/* Remembers it. Where no file can be written it is measured anew each time. */
void hone_compute_remember(const char *key, hone_compute compute);

#endif
