/*
 * The pass over a micro-batch, forward and backward, which a device that can record repeats without being told again what
 * to do: the first batch of a shape runs, the second is recorded while it is queued, those after it replay what was
 * recorded. All of them give the same bits.
 *
 * What a shape leaves open is read from the device's memory: tokens, rows, targets, weight, dropout's key, parameters.
 */
#ifndef HONE_TRAIN_PASSES_H
#define HONE_TRAIN_PASSES_H

#include "train/device_batch.h"

/* Shapes that are recorded: those after them run. */
enum { HONE_PASSES_SHAPES = 32 };

typedef struct hone_pass_key {
    int64_t tokens, segments, rows, rope;
} hone_pass_key;

typedef struct hone_passes {
    bool on; /* false at first */
    const hone_device *device;
    struct {
        hone_pass_key key;
        hone_recording *recording; /* owned; NULL: it ran once */
    } shapes[HONE_PASSES_SHAPES];
    size_t count;
} hone_passes;

/* From now on passes on this device are recorded, where it can. */
void hone_passes_record(hone_passes *passes, const hone_device *device);
void hone_passes_free(hone_passes *passes); /* takes a zeroed one */

/* Runs the pass, always from the same memory, or queues it again. `passes` may be NULL: it runs. */
HONE_MUST_USE hone_status hone_passes_run(hone_passes *passes, hone_tape *tape,
                                          const hone_forward *forward, const hone_loss_call *loss);

#endif
