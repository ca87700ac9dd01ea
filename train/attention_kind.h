/*
 * Which attention a run takes (hone_attention_kind): as the options say, or, with `auto`, the exact one in f32 and on the
 * processor, and else the faster of those that the GPU has for the model. That is measured where there is a choice, on two
 * blocks of the model at the run's own shape, and remembered as compute.h says. A resumed run goes on as its
 * checkpoint says, or not at all.
 */
#ifndef HONE_TRAIN_ATTENTION_KIND_H
#define HONE_TRAIN_ATTENTION_KIND_H

#include "train/run.h"

enum { HONE_ATTENTION_SECONDS = 1 }; /* that passes of a kind may take to measure it */

/* Settles run->attention for run->compute, and makes the model ready for it. HONE_ERR_USAGE for what the device does not have. */
HONE_MUST_USE hone_status hone_run_settle_attention(hone_run *run);

/* What that would be in a way to compute, but for a measurement: for measuring these ways. */
hone_attention_kind hone_run_likely_attention(const hone_run *run, hone_compute compute);

#endif
