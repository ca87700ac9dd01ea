#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

hone_status hone_added_put(hone_added *added, const hone_added_token *token, const char *pattern,
                           size_t length) {
    if (length == 0) return HONE_OK;
    HONE_TRY(hone_grow(&added->items, &added->capacity, added->count + 1, sizeof *added->items));
    char *copy = hone_strndup(pattern, length);
    if (!copy) return HONE_ERR_MEMORY;
    hone_added_token *item = &added->items[added->count++];
    *item = *token;
    item->pattern = copy;
    item->length = length;
    added->starts[(unsigned char)pattern[0]] = true;
    return HONE_OK;
}

static int by_pattern(const void *left, const void *right) {
    const hone_added_token *a = left;
    const hone_added_token *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->pattern, b->pattern, shorter);
    if (order != 0) return order;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

void hone_added_sort(hone_added *added) {
    if (added->count) qsort(added->items, added->count, sizeof *added->items, by_pattern);
}

void hone_added_free(hone_added *added) {
    for (size_t i = 0; i < added->count; i++) hone_free(added->items[i].pattern);
    hone_free(added->items);
    *added = (hone_added){0};
}

/* The first of the items low <= i < high, equal up to `depth`, whose byte at `depth` is at least `byte`. */
static size_t first_from(const hone_added *added, size_t low, size_t high, size_t depth, int byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const hone_added_token *item = &added->items[middle];
        int found = item->length > depth ? (unsigned char)item->pattern[depth] : -1;
        if (found < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest pattern that `text` starts with, or NULL. */
static const hone_added_token *longest_at(const hone_added *added, const char *text,
                                          size_t length) {
    const hone_added_token *best = NULL;
    size_t low = 0;
    size_t high = added->count;
    for (size_t depth = 0; depth < length && low < high; depth++) {
        int byte = (unsigned char)text[depth];
        low = first_from(added, low, high, depth, byte);
        high = first_from(added, low, high, depth, byte + 1);
        /* patterns that end here come first; the last of equal ones counts */
        for (size_t i = low; i < high && added->items[i].length == depth + 1; i++) {
            best = &added->items[i];
        }
    }
    return best;
}

const hone_added_token *hone_added_find(size_t *begin, const hone_added *added, const char *text,
                                        size_t length, size_t from) {
    if (added->count == 0) return NULL;
    for (size_t at = from; at < length; at++) {
        if (!added->starts[(unsigned char)text[at]]) continue;
        const hone_added_token *token = longest_at(added, text + at, length - at);
        if (!token) continue;
        *begin = at;
        return token;
    }
    return NULL;
}

bool hone_added_fits(const hone_added_token *token, const char *text, size_t length, size_t begin,
                     size_t end) {
    if (!token->single_word) return true;
    int32_t code;
    if (begin > 0) {
        hone_utf8_before(&code, text, begin);
        if (hone_utf8_is_word(code)) return false;
    }
    if (end == length) return true;
    hone_utf8_next(&code, text + end, length - end);
    return !hone_utf8_is_word(code);
}

static bool strips(const hone_added_token *token, int32_t code) {
    return hone_utf8_is_space(code) && (!token->ascii || code < 0x80);
}

void hone_added_strip(size_t *begin, size_t *end, const hone_added_token *token, const char *text,
                      size_t length, size_t least) {
    int32_t code;
    if (token->lstrip && *begin < least) *begin = least;
    while (token->lstrip && *begin > least) {
        size_t at = hone_utf8_before(&code, text, *begin);
        if (!strips(token, code) || at < least) break;
        *begin = at;
    }
    while (token->rstrip && *end < length) {
        size_t bytes = hone_utf8_next(&code, text + *end, length - *end);
        if (!strips(token, code)) break;
        *end += bytes;
    }
}
