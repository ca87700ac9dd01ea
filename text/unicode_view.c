#include <string.h>

#include "text/unicode_recent.h"
#include "text/utf8.h"

/* The stand-in of a recent character, or -1. */
static int32_t stand_in(int32_t code) {
    size_t low = 0;
    size_t high = hone_unicode_recent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const hone_unicode_range *range = &hone_unicode_recent[middle];
        if (code < range->first) {
            high = middle;
        } else if (code > range->last) {
            low = middle + 1;
        } else {
            return range->like;
        }
    }
    return -1;
}

int32_t hone_unicode_like(int32_t code) {
    int32_t like = stand_in(code);
    return like < 0 ? code : like;
}

/* The next recent character at or after `at`: its place, or `length`, and its stand-in. */
static size_t next_recent(int32_t *like, const char *text, size_t length, size_t at) {
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) { /* eight ASCII bytes at once */
            memcpy(&word, text + at, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                at += sizeof word;
                continue;
            }
        }
        int32_t code;
        size_t bytes = hone_utf8_next(&code, text + at, length - at);
        if (bytes > 2 && (*like = stand_in(code)) >= 0) return at;
        at += bytes;
    }
    return length;
}

hone_status hone_unicode_view(const char **view, hone_buf *copy, const char *text, size_t length) {
    int32_t like;
    *view = text;
    size_t at = next_recent(&like, text, length, 0);
    if (at == length) return HONE_OK;
    hone_buf_clear(copy);
    HONE_TRY(hone_buf_append(copy, text, length));
    while (at < length) {
        at += hone_utf8_put(copy->data + at, like);
        at = next_recent(&like, text, length, at);
    }
    *view = copy->data;
    return HONE_OK;
}
