/*
 * Memory that is given back all at once.
 */
#ifndef HONE_TEXT_JINJA_ARENA_H
#define HONE_TEXT_JINJA_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_jarena_block hone_jarena_block;

typedef struct hone_jarena {
    hone_jarena_block *blocks; /* newest first */
    int64_t total, limit;      /* bytes of all blocks; 0: no limit */
    bool exceeded;             /* something was refused */
} hone_jarena;

/* Zeroed memory for `count` items of `size` bytes, aligned for any type. HONE_ERR_DATA beyond the limit. */
HONE_MUST_USE hone_status hone_jarena_take(void *out, hone_jarena *arena, size_t count,
                                           size_t size);

/* Grows the array *items from `used` to at least `need` items, doubling; in place where nothing was taken since. */
HONE_MUST_USE hone_status hone_jarena_grow(void *items, hone_jarena *arena, size_t used,
                                           size_t *capacity, size_t need, size_t size);

void hone_jarena_free(hone_jarena *arena);

#endif
