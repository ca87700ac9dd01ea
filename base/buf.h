/*
 * A growable run of bytes, always followed by a zero byte so that it can be read as a C string.
 */
#ifndef HONE_BASE_BUF_H
#define HONE_BASE_BUF_H

#include <stddef.h>

#include "base/status.h"

typedef struct hone_buf {
    char *data; /* owned; NULL while empty */
    size_t length;
    size_t capacity;
} hone_buf;

HONE_MUST_USE hone_status hone_buf_append(hone_buf *buf, const void *bytes, size_t length);
HONE_MUST_USE hone_status hone_buf_puts(hone_buf *buf, const char *text);
HONE_MUST_USE hone_status hone_buf_printf(hone_buf *buf, const char *format, ...) HONE_PRINTF(2, 3);

/* Forgets the content, keeps the memory. */
void hone_buf_clear(hone_buf *buf);

/* Releases the memory; the buffer is empty and usable again. Takes NULL. */
void hone_buf_free(hone_buf *buf);

#endif
