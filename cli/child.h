/*
 * Other programs, run as children without a shell.
 */
#ifndef HONE_CLI_CHILD_H
#define HONE_CLI_CHILD_H

#include "base/buf.h"
#include "base/status.h"

typedef struct hone_child_result {
    hone_buf output, errors; /* what it wrote on both streams, owned; each cut at 16 MB */
    int status;              /* of its exit; 128 + the signal that ended it */
} hone_child_result;

void hone_child_free(hone_child_result *result); /* takes a zeroed one */

/* Runs argv[0] (looked for in PATH when it has no slash), NULL-ended, with nothing on its standard input, and waits.
 * HONE_ERR_IO when it cannot be started. */
HONE_MUST_USE hone_status hone_child_run(hone_child_result *out, const char *const *argv);

#endif
