#include "base/alloc.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

static _Atomic int64_t fail_countdown;

static bool fails_now(void) {
    if (fail_countdown == 0) return false;
    return --fail_countdown == 0;
}

static void *report(void *block, size_t count, size_t size) {
    if (!block)
        (void)hone_fail(HONE_ERR_MEMORY, "out of memory: cannot allocate %zu x %zu bytes", count,
                        size);
    return block;
}

void *hone_alloc(size_t count, size_t size) {
    if (count == 0 || size == 0) count = size = 1;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || fails_now())
        return report(NULL, count, size);
    return report(calloc(count, size), count, size);
}

void *hone_realloc(void *block, size_t count, size_t size) {
    if (count == 0 || size == 0) count = size = 1;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || fails_now())
        return report(NULL, count, size);
    return report(realloc(block, bytes), count, size);
}

hone_status hone_grow(void *items, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) return HONE_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need) {
        if (__builtin_mul_overflow(wanted, (size_t)2, &wanted)) wanted = need;
    }
    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = hone_realloc(old, wanted, size);
    if (!grown) return HONE_ERR_MEMORY;
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return HONE_OK;
}

char *hone_strndup(const char *text, size_t length) {
    char *copy = hone_alloc(length + 1, 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

char *hone_strdup(const char *text) {
    return hone_strndup(text, strlen(text));
}

void hone_free(void *block) {
    free(block);
}

void hone_alloc_trim(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void hone_alloc_fail_at(int64_t n) {
    fail_countdown = n;
}
