/*
 * TensorBoard event files, written.
 *
 *     record:  u64 length | u32 masked CRC-32C of the length | `length` bytes | u32 masked CRC-32C of the bytes
 *     bytes:   protobuf Event {1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary, 7: SessionLog}
 *              Summary {1: Value}, Value {1: string tag, 2: float simple_value}, SessionLog {1: enum status}
 *
 * Source: tensorflow/core/util/event.proto, framework/summary.proto and lib/io/record_writer.h of TensorFlow; CRC-32C:
 * RFC 3720, B.4.
 */
#ifndef HONE_TRAIN_TFEVENTS_H
#define HONE_TRAIN_TFEVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_tfevents hone_tfevents;

typedef struct hone_tfscalar {
    const char *tag;
    double value; /* stored as float */
} hone_tfscalar;

/* Creates `folder`/events.out.tfevents.<seconds>.<host>.<process>.<n>, a name not used before (0600). */
HONE_MUST_USE hone_status hone_tfevents_create(hone_tfevents **out, const char *folder);

/* Writes scalars at a step. The first call also says that a session starts at this step, so that readers drop what an
 * earlier file of the same run says about it and later ones. */
HONE_MUST_USE hone_status hone_tfevents_scalars(hone_tfevents *events, int64_t step,
                                                const hone_tfscalar *scalars, size_t count);
HONE_MUST_USE hone_status hone_tfevents_sync(hone_tfevents *events);
void hone_tfevents_free(hone_tfevents *events); /* takes NULL */

/* CRC-32C of bytes; "123456789" gives e3069283. */
uint32_t hone_crc32c(const void *bytes, size_t length);

#endif
