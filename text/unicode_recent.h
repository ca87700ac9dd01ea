/*
 * Characters younger than the tables of the regular expression library (Unicode 14). Texts with such a character are
 * matched through a copy in which an older one of the same kind and length stands for it.
 */
#ifndef HONE_TEXT_UNICODE_RECENT_H
#define HONE_TEXT_UNICODE_RECENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* The characters first <= c <= last are of the kind of `like`. */
typedef struct hone_unicode_range {
    int32_t first, last, like;
} hone_unicode_range;

extern const hone_unicode_range hone_unicode_recent[];
extern const size_t hone_unicode_recent_count;

/* The character that stands for `code`, or `code` itself. */
int32_t hone_unicode_like(int32_t code);

/* *view is `text`, valid UTF-8, or where it has recent characters a copy in `copy` with their stand-ins. Every byte
 * keeps its place. */
HONE_MUST_USE hone_status hone_unicode_view(const char **view, hone_buf *copy, const char *text,
                                            size_t length);

#endif
