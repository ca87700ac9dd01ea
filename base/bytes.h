/*
 * A reader over bytes in memory that cannot run past their end: every read checks the length against what remains.
 * All numbers are little-endian, as in GGUF and safetensors.
 */
#ifndef HONE_BASE_BYTES_H
#define HONE_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

typedef struct hone_bytes {
    const unsigned char *data; /* borrowed */
    size_t length;
    size_t at;
    const char *file; /* for messages; borrowed */
} hone_bytes;

/* Points *out at the next `length` bytes and steps over them. `what` names them in the message. */
HONE_MUST_USE static inline hone_status hone_bytes_take(const void **out, hone_bytes *in,
                                                        uint64_t length, const char *what) {
    size_t left = in->length - in->at;
    if (length > left) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: byte %zu: %s needs %llu bytes but %zu remain; the file is cut short "
                         "or corrupt, get it "
                         "again",
                         in->file, in->at, what, (unsigned long long)length, left);
    }
    *out = in->data + in->at;
    in->at += (size_t)length;
    return HONE_OK;
}

/* Copies the next `size` bytes into a number. */
HONE_MUST_USE static inline hone_status hone_bytes_read(void *out, hone_bytes *in, size_t size,
                                                        const char *what) {
    const void *from;
    HONE_TRY(hone_bytes_take(&from, in, size, what));
    memcpy(out, from, size);
    return HONE_OK;
}

#endif
