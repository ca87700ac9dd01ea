/*
 * A micro-batch on the device: packed documents and the rows that carry loss, in memory taken once for the largest.
 */
#ifndef HONE_TRAIN_DEVICE_BATCH_H
#define HONE_TRAIN_DEVICE_BATCH_H

#include "data/batch.h"
#include "model/transformer.h"

typedef struct hone_device_batch {
    const hone_device *device;
    hone_buffer memory;
    int64_t capacity;            /* tokens, and so most documents and rows */
    int64_t longest;             /* tokens of any document */
    hone_segment *host_segments; /* owned, [capacity] */
    hone_tokens tokens;
    hone_loss_call loss; /* rows, targets, count and sum; `weight` is the caller's */
} hone_device_batch;

HONE_MUST_USE hone_status hone_device_batch_new(hone_device_batch *out, const hone_device *device,
                                                int64_t capacity, int64_t longest);
void hone_device_batch_free(hone_device_batch *batch); /* takes a zeroed one */

/* Bytes on the device for a capacity. */
size_t hone_device_batch_bytes(int64_t capacity);

/* Sets the shapes to the largest that may come, for planning. */
void hone_device_batch_fill_up(hone_device_batch *batch);

/* Copies a host batch in. */
HONE_MUST_USE hone_status hone_device_batch_load(hone_device_batch *batch, const hone_batch *host);

/* The sum of the losses that the last forward pass left. */
HONE_MUST_USE hone_status hone_device_batch_loss(double *out, const hone_device_batch *batch);

#endif
