/*
 * SentencePiece's precompiled table of replacements (normalizer_spec.precompiled_charsmap).
 *
 *     u32 bytes of the trie | trie: u32 units of a double array (Darts-clone) | texts, each ended by a zero byte
 *
 * A unit: label in bits 0-7 and 31, whether a value follows in bit 8, offset in bits 10-30, shifted by 8 when bit 9 is
 * set; a value's unit has bit 31 set and the place of a text below it.
 */
#ifndef HONE_TEXT_CHARSMAP_H
#define HONE_TEXT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

typedef struct hone_charsmap hone_charsmap;

/* A copy of `length` bytes; `file` and `where` stand in messages. */
HONE_MUST_USE hone_status hone_charsmap_new(hone_charsmap **out, const void *bytes, size_t length,
                                            const char *file, const char *where);
/* Appends what it was made of. */
HONE_MUST_USE hone_status hone_charsmap_write(hone_buf *out, const hone_charsmap *map);
void hone_charsmap_free(hone_charsmap *map); /* takes NULL */

/* The text that stands for the start of `text`: of the longest entry or of the shortest one. Returns how many bytes
 * of `text` the entry has; 0: there is none. */
size_t hone_charsmap_find(const char **with, size_t *with_length, const hone_charsmap *map,
                          const char *text, size_t length, bool longest);

#endif
