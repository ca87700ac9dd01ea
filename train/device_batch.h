/*
 * A micro-batch on the device: packed documents and the rows that carry loss, in memory taken once for the largest.
 *
 * Where it `pads`, as on a GPU, its shapes are few, so that what is queued for one batch can be queued again for the next
 * (train/passes.h): bins are filled up to `longest` tokens each, by documents of token 0 that predict nothing and that
 * nothing looks at; predicting rows to whole eighths of the tokens, by rows without a target; segments to a power of two,
 * by empty ones. Losses and gradients stay what they are, but for rounding.
 */
#ifndef HONE_TRAIN_DEVICE_BATCH_H
#define HONE_TRAIN_DEVICE_BATCH_H

#include "data/batch.h"
#include "model/transformer.h"

typedef struct hone_device_batch {
    const hone_device *device;
    hone_buffer memory;
    unsigned char *image; /* of the memory, which the host writes: the memory itself, or owned */
    int64_t capacity;     /* tokens, and so most documents and rows */
    int64_t longest;      /* tokens of any document */
    bool pads;            /* false at first */
    hone_tokens tokens;
    hone_loss_call loss;
} hone_device_batch;

HONE_MUST_USE hone_status hone_device_batch_new(hone_device_batch *out, const hone_device *device,
                                                int64_t capacity, int64_t longest);
void hone_device_batch_free(hone_device_batch *batch); /* takes a zeroed one */

/* Bytes on the device for a capacity. */
size_t hone_device_batch_bytes(int64_t capacity);

/* Sets the shapes to the largest that may come, for planning. */
void hone_device_batch_fill_up(hone_device_batch *batch);

/* Begins a step of one batch or more: no losses yet, and `weight` for each in the gradients. */
HONE_MUST_USE hone_status hone_device_batch_begin(hone_device_batch *batch, double weight);

/* Copies a host batch in. */
HONE_MUST_USE hone_status hone_device_batch_load(hone_device_batch *batch, const hone_batch *host);

/* The sum of the losses since the step began. Waits for them. */
HONE_MUST_USE hone_status hone_device_batch_loss(double *out, const hone_device_batch *batch);

#endif
