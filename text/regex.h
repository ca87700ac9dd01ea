/*
 * Regular expressions of pre-tokenizers (PCRE2 with JIT, UTF-8, Unicode classes), with the meaning that Oniguruma, the
 * engine behind tokenizer.json, gives them. A hone_regex is read-only; each thread matches with its own hone_matcher.
 */
#ifndef HONE_TEXT_REGEX_H
#define HONE_TEXT_REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_regex hone_regex;
typedef struct hone_matcher hone_matcher;

/* An expression that does not compile, or whose meaning differs between the engines, is refused with its text. */
HONE_MUST_USE hone_status hone_regex_new(hone_regex **out, const char *pattern, size_t length);

/* Matches exactly `text`. */
HONE_MUST_USE hone_status hone_regex_literal(hone_regex **out, const char *text, size_t length);
void hone_regex_free(hone_regex *regex); /* takes NULL */

HONE_MUST_USE hone_status hone_matcher_new(hone_matcher **out);
void hone_matcher_free(hone_matcher *matcher); /* takes NULL */

/* The next match at or after `from` in valid UTF-8 of `length` bytes; *begin = *end = SIZE_MAX when there is none. */
HONE_MUST_USE hone_status hone_regex_find(size_t *begin, size_t *end, const hone_regex *regex,
                                          hone_matcher *matcher, const char *text, size_t length,
                                          size_t from);

#endif
