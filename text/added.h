/*
 * Added tokens: texts that are found in the input before the model sees it, and become their ids.
 */
#ifndef HONE_TEXT_ADDED_H
#define HONE_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_added_token {
    int32_t id;
    char *pattern; /* what is looked for; owned */
    size_t length;
    bool control;     /* only where control tokens are parsed */
    bool lstrip;      /* white space before it belongs to it */
    bool rstrip;      /* and behind it */
    bool ascii;       /* lstrip and rstrip take ASCII white space only (llama.cpp) */
    bool single_word; /* not inside a word */
    bool normalized;  /* looked for in the normalised text, else in the text as it came */
} hone_added_token;

/* Tokens sorted by pattern once hone_added_sort was called. */
typedef struct hone_added {
    hone_added_token *items; /* owned */
    size_t count, capacity;
    bool starts[256]; /* whether some pattern starts with the byte */
} hone_added;

/* Adds a token with a copy of its pattern; an empty pattern is left out. Of equal patterns the last counts. */
HONE_MUST_USE hone_status hone_added_put(hone_added *added, const hone_added_token *token,
                                         const char *pattern, size_t length);
void hone_added_sort(hone_added *added);
void hone_added_free(hone_added *added);

/* The leftmost longest match at or after `from`: its token, or NULL, and its place without stripping. */
const hone_added_token *hone_added_find(size_t *begin, const hone_added *added, const char *text,
                                        size_t length, size_t from);

/* Whether the single_word rule lets `token` stand at text[begin..end). */
bool hone_added_fits(const hone_added_token *token, const char *text, size_t length, size_t begin,
                     size_t end);

/* Widens *begin, not below `least`, and *end by the white space that lstrip and rstrip ask for. *begin == *end: the token was
 * white space that the one before took. */
void hone_added_strip(size_t *begin, size_t *end, const hone_added_token *token, const char *text,
                      size_t length, size_t least);

#endif
