/*
 * AdamW over a model's parameters, with clipping by the norm of all gradients.
 */
#ifndef HONE_TRAIN_OPTIMIZER_H
#define HONE_TRAIN_OPTIMIZER_H

#include "model/model.h"

typedef struct hone_optimizer {
    const hone_params *params; /* borrowed */
    const hone_device *device;
    hone_buffer m, v;    /* moments, laid out as the values */
    hone_buffer scalars; /* the step's numbers and the norm's square, in device memory */
    double beta1, beta2, epsilon, decay;
    double clip; /* 0: off */
} hone_optimizer;

HONE_MUST_USE hone_status hone_optimizer_new(hone_optimizer *out, const hone_params *params,
                                             const hone_device *device);
void hone_optimizer_free(hone_optimizer *optimizer);

HONE_MUST_USE hone_status hone_optimizer_zero_grad(hone_optimizer *optimizer);

/* One step: `step` counts from 1. *grad_norm is the norm before clipping; when it is no finite number nothing is
 * changed and HONE_ERR_NUMERIC is returned. */
HONE_MUST_USE hone_status hone_optimizer_step(double *grad_norm, hone_optimizer *optimizer,
                                              int64_t step, double lr);

#endif
