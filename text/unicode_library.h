/*
 * What characters are to the normalizers of the tokenizers library, whose tables are of several Unicode versions.
 */
#ifndef HONE_TEXT_UNICODE_LIBRARY_H
#define HONE_TEXT_UNICODE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The characters first <= c <= last; what `value` says is the table's. */
typedef struct hone_unicode_row {
    int32_t first, last, value;
} hone_unicode_row;

/* Rows sorted by code point. */
typedef struct hone_unicode_table {
    const hone_unicode_row *rows;
    size_t count;
} hone_unicode_table;

extern const hone_unicode_table hone_unicode_marks;      /* StripAccents takes them away */
extern const hone_unicode_table hone_unicode_nonspacing; /* and BertNormalizer these */
extern const hone_unicode_table
    hone_unicode_other; /* control, format, private: clean_text removes */
extern const hone_unicode_table
    hone_unicode_lowered; /* where lower case is not utf8proc's; value: of first */
extern const hone_unicode_table hone_unicode_scripts; /* value: a script's number */

/* The row of a character, or NULL. */
const hone_unicode_row *hone_unicode_row_of(const hone_unicode_table *table, int32_t code);

/* The lower case of a character, one or two of them; returns how many. */
size_t hone_unicode_lower(int32_t out[2], int32_t code);

/* The script of a character, kana taken for Han; 0 for what joins any. */
int32_t hone_unicode_script(int32_t code);

#endif
