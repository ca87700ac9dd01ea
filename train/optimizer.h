/*
 * AdamW over a model's parameters, with clipping by the norm of all gradients.
 *
 * The moments may lie in the host's memory, where the device has its own: a step then takes them through two slots on the
 * device, a part at a time, each copied in and out while the other is updated. That changes no bit.
 */
#ifndef HONE_TRAIN_OPTIMIZER_H
#define HONE_TRAIN_OPTIMIZER_H

#include "model/model.h"

enum { HONE_OPTIMIZER_SLOTS = 2 };

typedef struct hone_optimizer {
    const hone_params *params; /* borrowed */
    const hone_device *device;
    hone_buffer m, v;    /* moments, laid out as the values */
    hone_buffer scalars; /* the step's numbers and the norm's square, in device memory */
    hone_buffer slots;   /* of parts of both moments, where those lie on the host; none otherwise */
    double beta1, beta2, epsilon, decay;
    double clip; /* 0: off */
} hone_optimizer;

HONE_MUST_USE hone_status hone_optimizer_new(hone_optimizer *out, const hone_params *params,
                                             const hone_device *device, bool on_host);
void hone_optimizer_free(hone_optimizer *optimizer);

/* Bytes of the moments of so many parameters; and those that an optimiser takes of the device: with the moments on the host a
 * quarter of theirs, 16 MiB at most. */
int64_t hone_optimizer_moments(int64_t elements);
int64_t hone_optimizer_bytes(int64_t elements, bool on_host);

HONE_MUST_USE hone_status hone_optimizer_zero_grad(hone_optimizer *optimizer);

/* One step: `step` counts from 1. *grad_norm is the norm before clipping; when it is no finite number nothing is
 * changed and HONE_ERR_NUMERIC is returned. */
HONE_MUST_USE hone_status hone_optimizer_step(double *grad_norm, hone_optimizer *optimizer,
                                              int64_t step, double lr);

#endif
