/*
 * What a person sees: messages and progress on standard error, results on standard output.
 *
 * No control codes unless the stream is a terminal and NO_COLOR is unset or empty (no-color.org).
 */
#ifndef HONE_CLI_OUTPUT_H
#define HONE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/size.h"
#include "base/status.h"

/* -q: no messages but warnings and errors, no progress. */
void hone_output_quiet(void);

/* One line on standard error. */
void hone_say(const char *format, ...) HONE_PRINTF(1, 2);
void hone_warn(const char *format, ...) HONE_PRINTF(1, 2);
void hone_error(const char *format, ...) HONE_PRINTF(1, 2);

/* Rewrites the progress line; nothing off a terminal. */
void hone_progress(const char *format, ...) HONE_PRINTF(1, 2);

/* Whether hone_progress shows anything. */
bool hone_progress_shown(void);

/* Whether a stream takes colours. */
bool hone_colours(FILE *stream);

/* One line of JSON on standard output, reals with nine significant digits. Takes the reference; NULL is HONE_ERR_MEMORY. */
HONE_MUST_USE hone_status hone_print_json(json_t *value);

/* A text of any bytes as a JSON string: U+FFFD for what is not UTF-8. NULL when memory is out. */
json_t *hone_json_text(const char *text, size_t length);

/* Writes text to standard output; control characters but line ends and tabs as spaces when it is a terminal. */
void hone_print_text(const char *text, size_t length);

/* Flushes standard output; HONE_ERR_IO when anything could not be written. */
HONE_MUST_USE hone_status hone_output_finish(void);

/* The exit status: 0; 2 for HONE_ERR_USAGE; 130 or 143 for HONE_ERR_INTERRUPTED; 1 for all else. */
int hone_exit_status(hone_status status);

#endif
