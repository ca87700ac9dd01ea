/*
 * The printable alphabet of byte-level BPE: each byte as one character. Bytes 33-126, 161-172 and 174-255 stand for
 * the code point of the same number, the other 68 in rising order for U+0100, U+0101, ... (GPT-2's encoder.py).
 */
#ifndef HONE_TEXT_BYTE_LEVEL_H
#define HONE_TEXT_BYTE_LEVEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* The character of a byte, in UTF-8: 1 or 2 bytes, returned. */
size_t hone_byte_level_put(char out[4], unsigned char byte);

/* The byte of a character, or -1 when it is none of the alphabet. */
int hone_byte_level_of(int32_t code);

/* Appends the bytes that `text` stands for; characters outside the alphabet as they are. */
HONE_MUST_USE hone_status hone_byte_level_decode(hone_buf *out, const char *text, size_t length);

#endif
