/*
 * A file that grows record by record, each one in a single write: what a crash leaves is whole records but for the last.
 */
#ifndef HONE_TRAIN_APPENDER_H
#define HONE_TRAIN_APPENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct hone_appender {
    int fd;
    char *path; /* owned; NULL while closed */
} hone_appender;

/* Opens for appending (0600), making the file. When `fresh`, an existing one is refused: HONE_ERR_IO, errno EEXIST. */
HONE_MUST_USE hone_status hone_appender_open(hone_appender *out, const char *path, bool fresh);
HONE_MUST_USE hone_status hone_appender_write(hone_appender *file, const void *bytes,
                                              size_t length);
HONE_MUST_USE hone_status hone_appender_sync(hone_appender *file);
void hone_appender_close(hone_appender *file); /* takes a zeroed one */

#endif
