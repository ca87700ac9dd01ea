/*
 * From the notation of Oniguruma (Ruby's, the one that tokenizer.json is written for) to PCRE2's.
 *
 * What means something else to PCRE2 is written so that it means the same: white space, words, digits and their
 * borders, properties by name, POSIX classes, brackets in brackets and && between them, (?m), isolated options, repeated
 * repeats, {,n}, line ends. Refused by name, since PCRE2 has nothing alike: calls of groups (\g), \K, \G, \X, \y,
 * absent groups, conditions, callouts, extended mode, options a, d, u, bytes above 7F as \xHH, control and meta
 * escapes, and under (?i) properties of case and letters that stand for several (ss, ff, fi, fl, st). Look-behind must
 * have lengths that PCRE2 can tell.
 */
#ifndef HONE_TEXT_REGEX_SYNTAX_H
#define HONE_TEXT_REGEX_SYNTAX_H

#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

/* Appends the expression as PCRE2 with UTF, UCP and MULTILINE reads it. HONE_ERR_UNSUPPORTED names what it has not. */
HONE_MUST_USE hone_status hone_regex_translate(hone_buf *out, const char *pattern, size_t length);

#endif
