/*
 * The bytes of an input file, decompressed when they are gzip (found by its magic bytes), 64 KiB at a time.
 */
#ifndef HONE_DATA_READER_H
#define HONE_DATA_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum { HONE_READER_BUFFER = 1 << 16, HONE_ROW_MOST = 1 << 28 }; /* a row or document: 256 MiB */

typedef struct hone_reader {
    void *gz; /* zlib's handle; NULL when reading from memory */
    const char *name;
    unsigned char *buffer; /* owned, unless from memory */
    size_t at, filled;
    bool gzipped;
} hone_reader;

HONE_MUST_USE hone_status hone_reader_open(hone_reader *out,
                                           const char *path); /* path is borrowed */
void hone_reader_memory(hone_reader *out, const void *bytes, size_t length, const char *name);
void hone_reader_close(hone_reader *reader); /* takes a zeroed one */

/* Points *bytes at what is buffered, at least one byte unless the input has ended. */
HONE_MUST_USE hone_status hone_reader_peek(const unsigned char **bytes, size_t *length,
                                           hone_reader *reader);
static inline void hone_reader_skip(hone_reader *reader, size_t length) {
    reader->at += length;
}

/* The next byte, or -1 at the end. */
HONE_MUST_USE hone_status hone_reader_byte(int *out, hone_reader *reader);

/* The next line into *out (cleared first) without its LF or CRLF; *more is false at the end. */
HONE_MUST_USE hone_status hone_reader_line(hone_buf *out, bool *more, hone_reader *reader);

/* Steps over a byte order mark at the start of UTF-8 text; refuses UTF-16. */
HONE_MUST_USE hone_status hone_reader_skip_bom(hone_reader *reader);

/* Refuses text that is not UTF-8: `what` ("row 3", "the text") and the byte inside it are named. */
HONE_MUST_USE hone_status hone_check_utf8(const char *text, size_t length, const char *name,
                                          const char *what);

/* Appends a byte, refusing rows of more than HONE_ROW_MOST. */
HONE_MUST_USE hone_status hone_row_append(hone_buf *row, const void *bytes, size_t length,
                                          const char *name);

#endif
