/*
 * Names of sets of characters in regular expressions, as Oniguruma knows them, in PCRE2's notation.
 */
#ifndef HONE_TEXT_REGEX_CLASSES_H
#define HONE_TEXT_REGEX_CLASSES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

/* What \w is inside brackets. */
#define HONE_REGEX_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

/* The inside of a bracket for [:name:], or NULL. */
const char *hone_regex_posix(const char *name, size_t length);

/* Appends \p{name} or its contrary, fit for brackets and for outside of them. A name that is not known is refused, with
 * the pattern in the message. */
HONE_MUST_USE hone_status hone_regex_put_property(hone_buf *out, bool negated, const char *name,
                                                  size_t length, const char *pattern,
                                                  size_t pattern_length);

#endif
