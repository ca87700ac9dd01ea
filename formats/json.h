/*
 * JSON by Jansson, with errors that say where and what to do. Values are plain json_t: use Jansson's own calls on them.
 *
 * Reading refuses repeated keys, invalid UTF-8 and nesting deeper than 2048; strings may hold NUL (use
 * json_string_length). An integer beyond 64 bits becomes a real: tokenizer_config.json holds such ones.
 * Writing keeps every digit: a real is written with the fewest digits that read back as the same double.
 */
#ifndef HONE_FORMATS_JSON_H
#define HONE_FORMATS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* Reads a file; *out is a new reference (json_decref). The message names file, line and column. */
HONE_MUST_USE hone_status hone_json_load(json_t **out, const char *path);

/* Reads `length` bytes; `name` stands for the file in messages. The top level may be any value. */
HONE_MUST_USE hone_status hone_json_parse(json_t **out, const char *text, size_t length,
                                          const char *name);

/* Members of an object of file `file`. Required ones: HONE_ERR_FORMAT names file and key when the member is absent or
 * null, of another type or out of range. What is returned is borrowed from `object`. A whole real (8.0) is an integer;
 * an integer is a number. */
HONE_MUST_USE hone_status hone_json_get_string(const char **out, const json_t *object,
                                               const char *key, const char *file);
HONE_MUST_USE hone_status hone_json_get_int(int64_t *out, const json_t *object, const char *key,
                                            int64_t min, int64_t max, const char *file);
HONE_MUST_USE hone_status hone_json_get_number(double *out, const json_t *object, const char *key,
                                               const char *file);
HONE_MUST_USE hone_status hone_json_get_bool(bool *out, const json_t *object, const char *key,
                                             const char *file);
HONE_MUST_USE hone_status hone_json_get_array(const json_t **out, const json_t *object,
                                              const char *key, const char *file);
HONE_MUST_USE hone_status hone_json_get_object(const json_t **out, const json_t *object,
                                               const char *key, const char *file);

/* Optional ones: an absent or null member leaves *out as the caller set it (its default); all else as above. */
HONE_MUST_USE hone_status hone_json_opt_string(const char **out, const json_t *object,
                                               const char *key, const char *file);
HONE_MUST_USE hone_status hone_json_opt_int(int64_t *out, const json_t *object, const char *key,
                                            int64_t min, int64_t max, const char *file);
HONE_MUST_USE hone_status hone_json_opt_number(double *out, const json_t *object, const char *key,
                                               const char *file);
HONE_MUST_USE hone_status hone_json_opt_bool(bool *out, const json_t *object, const char *key,
                                             const char *file);
HONE_MUST_USE hone_status hone_json_opt_array(const json_t **out, const json_t *object,
                                              const char *key, const char *file);
HONE_MUST_USE hone_status hone_json_opt_object(const json_t **out, const json_t *object,
                                               const char *key, const char *file);

/* "object", "array", "string", "integer", "real", "true or false", "null". */
const char *hone_json_kind(const json_t *value);

/* Appends a value as text: on one line when `indent` is 0, else indented by that many spaces. Members stand in the
 * order they were put in. */
HONE_MUST_USE hone_status hone_json_append(hone_buf *out, const json_t *value, int indent);

/* Appends a string with its quotes; bytes that are not UTF-8 become U+FFFD. */
HONE_MUST_USE hone_status hone_json_append_string(hone_buf *out, const char *text, size_t length);

/* Appends a number, always readable as a real ("3.0"); NaN and infinities, which JSON lacks, as null. */
HONE_MUST_USE hone_status hone_json_append_number(hone_buf *out, double value);

/* Writes a value to a file, indented by 2 and ending with a newline, atomically (base/file.h). */
HONE_MUST_USE hone_status hone_json_save(const json_t *value, const char *path);

#endif
