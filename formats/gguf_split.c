#include "formats/gguf_split.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"

enum { MOST_PARTS = 65535, NAME_END = 40 /* bytes of "-00001-of-00003.gguf" at most */ };

typedef struct place {
    int64_t number, count; /* which part, from 0, of how many */
} place;

static hone_status read_place(place *out, const hone_gguf *gguf) {
    *out = (place){0, 0};
    HONE_TRY(hone_gguf_opt_int(&out->count, gguf, "split.count", 0, MOST_PARTS));
    return hone_gguf_opt_int(&out->number, gguf, "split.no", 0, MOST_PARTS);
}

static void name_end(char out[NAME_END], int64_t number, int64_t count) {
    snprintf(out, NAME_END, "-%05d-of-%05d.gguf", (int)number + 1, (int)count);
}

/* The path of part `number`, after that of the first. */
static hone_status part_path(hone_buf *out, const char *first, int64_t number, int64_t count) {
    char end[NAME_END];
    name_end(end, 0, count);
    if (!hone_path_ends(first, end)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: the first of %lld parts, whose name has to end in %s for the others "
                         "to be found; give the parts their names back",
                         first, (long long)count, end);
    }
    int stem = (int)(strlen(first) - strlen(end));
    name_end(end, number, count);
    return hone_buf_printf(out, "%.*s%s", stem, first, end);
}

static hone_status check_first(const hone_gguf *first, const place *at) {
    if (at->number == 0) return HONE_OK;
    char end[NAME_END];
    name_end(end, 0, at->count);
    return hone_fail(HONE_ERR_USAGE,
                     "%s: part %lld of %lld of a split model; give its first part, whose name "
                     "ends in %s",
                     hone_gguf_path(first), (long long)at->number + 1, (long long)at->count, end);
}

static hone_status open_part(hone_gguf **out, const char *path, const hone_gguf *first,
                             const place *expected) {
    if (!hone_path_exists(path)) {
        return hone_fail(HONE_ERR_IO,
                         "%s: part %lld of %lld of %s is missing; all parts have to lie beside "
                         "each other",
                         path, (long long)expected->number + 1, (long long)expected->count,
                         hone_gguf_path(first));
    }
    place found;
    HONE_TRY(hone_gguf_open_one(out, path));
    HONE_TRY(read_place(&found, *out));
    if (found.number == expected->number && found.count == expected->count) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: says that it is part %lld of %lld, where part %lld of %lld belongs; get "
                     "the parts again",
                     path, (long long)found.number + 1, (long long)found.count,
                     (long long)expected->number + 1, (long long)expected->count);
}

static hone_status check_tensors(const hone_gguf *first, hone_gguf *const *parts, size_t count) {
    int64_t found = (int64_t)hone_gguf_tensor_count(first), expected = -1;
    for (size_t i = 0; i < count; i++) found += (int64_t)hone_gguf_tensor_count(parts[i]);
    HONE_TRY(hone_gguf_opt_int(&expected, first, "split.tensors.count", 0, INT32_MAX));
    if (expected < 0 || expected == found) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: its parts hold %lld tensors together, split.tensors.count says %lld; get "
                     "the parts again",
                     hone_gguf_path(first), (long long)found, (long long)expected);
}

hone_status hone_gguf_open_parts(hone_gguf ***parts, size_t *count, const hone_gguf *first) {
    *parts = NULL;
    *count = 0;
    place at;
    HONE_TRY(read_place(&at, first));
    if (at.count <= 1) return HONE_OK;
    HONE_TRY(check_first(first, &at));
    *parts = hone_alloc((size_t)at.count - 1, sizeof **parts);
    if (!*parts) return HONE_ERR_MEMORY;
    *count = (size_t)at.count - 1;
    for (at.number = 1; at.number < at.count; at.number++) {
        hone_buf path = {0};
        hone_status status = part_path(&path, hone_gguf_path(first), at.number, at.count);
        if (status == HONE_OK) {
            status = open_part(&(*parts)[at.number - 1], path.data, first, &at);
        }
        hone_buf_free(&path);
        if (status != HONE_OK) return status;
    }
    return check_tensors(first, *parts, *count);
}
