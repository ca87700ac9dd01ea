/*
 * UTF-8, one code point at a time, with the error rule of Unicode 3.9 (Python's errors="replace"): each maximal
 * subpart of an ill-formed sequence is one error.
 */
#ifndef HONE_TEXT_UTF8_H
#define HONE_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define HONE_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Reads the code point at text[0], length > 0; returns its bytes. Ill-formed: *code is -1 and the bytes of the maximal
 * subpart are returned. */
size_t hone_utf8_next(int32_t *code, const char *text, size_t length);

/* Bytes of the code point whose first byte is `lead`, in text known to be valid. */
static inline size_t hone_utf8_length(char lead) {
    unsigned char byte = (unsigned char)lead;
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/* Reads the code point that ends at text[end], end > 0, in valid text; returns where it begins. */
size_t hone_utf8_before(int32_t *code, const char *text, size_t end);

/* Writes `code` to out[0..3]; returns its bytes. */
size_t hone_utf8_put(char out[4], int32_t code);

/* Bytes of the longest valid start of `text`. */
size_t hone_utf8_valid(const char *text, size_t length);

/* Appends `text` with U+FFFD for each error. */
HONE_MUST_USE hone_status hone_utf8_repair(hone_buf *out, const char *text, size_t length);

/* The Unicode property White_Space. */
bool hone_utf8_is_space(int32_t code);

/* What regular expressions call a word character: letters, marks, decimal digits, connectors, joiners. */
bool hone_utf8_is_word(int32_t code);

#endif
