#include "text/jinja_arena.h"

#include <string.h>

#include "base/alloc.h"

enum { SMALLEST_BLOCK = 1 << 14, LARGEST_DOUBLING = 1 << 22, ALIGNMENT = 16 };

struct hone_jarena_block {
    hone_jarena_block *older;
    size_t used, size; /* of the bytes that follow */
};

_Static_assert(sizeof(hone_jarena_block) <= 2 * ALIGNMENT, "the head of a block has 32 bytes");

static char *bytes_of(hone_jarena_block *block) {
    return (char *)block + (size_t)2 * ALIGNMENT;
}

static hone_status too_much(hone_jarena *arena) {
    arena->exceeded = true;
    return hone_fail(HONE_ERR_DATA, "the template needs more than %lld MB of memory",
                     (long long)(arena->limit >> 20));
}

static hone_status add_block(hone_jarena *arena, size_t need) {
    size_t size = SMALLEST_BLOCK;
    while (size < (size_t)arena->total && size < LARGEST_DOUBLING) size *= 2;
    if (size < need) size = need;
    if (arena->limit > 0 && (int64_t)size > arena->limit - arena->total) return too_much(arena);
    hone_jarena_block *block = hone_alloc(size + (size_t)2 * ALIGNMENT, 1);
    if (!block) return HONE_ERR_MEMORY;
    block->size = size;
    block->older = arena->blocks;
    arena->blocks = block;
    arena->total += (int64_t)size;
    return HONE_OK;
}

static bool product(size_t *bytes, size_t count, size_t size) {
    if (__builtin_mul_overflow(count, size, bytes)) return false;
    if (*bytes > SIZE_MAX / 4) return false;
    *bytes = (*bytes + ALIGNMENT - 1) & ~((size_t)ALIGNMENT - 1);
    return true;
}

hone_status hone_jarena_take(void *out, hone_jarena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!product(&bytes, count, size)) return too_much(arena);
    hone_jarena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        HONE_TRY(add_block(arena, bytes));
        block = arena->blocks;
    }
    void *place = bytes_of(block) + block->used;
    block->used += bytes;
    memcpy(out, &place, sizeof place);
    return HONE_OK;
}

hone_status hone_jarena_grow(void *items, hone_jarena *arena, size_t used, size_t *capacity,
                             size_t need, size_t size) {
    if (need <= *capacity) return HONE_OK;
    char *old;
    memcpy(&old, items, sizeof old);
    size_t more = *capacity > 0 ? *capacity : 8;
    while (more < need && more < SIZE_MAX / 4) more *= 2;
    size_t old_bytes = 0, bytes;
    if (!product(&bytes, more, size)) return too_much(arena);
    if (old) product(&old_bytes, *capacity, size);
    hone_jarena_block *block = arena->blocks;
    bool last = old && block && old + old_bytes == bytes_of(block) + block->used;
    if (last && block->size - block->used >= bytes - old_bytes) {
        block->used += bytes - old_bytes;
    } else {
        char *grown;
        HONE_TRY(hone_jarena_take(&grown, arena, more, size));
        if (old && used > 0) memcpy(grown, old, used * size);
        memcpy(items, &grown, sizeof grown);
    }
    *capacity = more;
    return HONE_OK;
}

void hone_jarena_free(hone_jarena *arena) {
    while (arena->blocks) {
        hone_jarena_block *older = arena->blocks->older;
        hone_free(arena->blocks);
        arena->blocks = older;
    }
    arena->total = 0;
}
