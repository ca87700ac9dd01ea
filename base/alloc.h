/*
 * The one heap of the program. Every allocation goes through here, so that a test can fail the n-th one.
 */
#ifndef HONE_BASE_ALLOC_H
#define HONE_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* `count` items of `size` bytes, zeroed. NULL with the message set when memory is out or the product overflows.
 * A request of zero bytes gives a valid pointer. */
void *hone_alloc(size_t count, size_t size) __attribute__((malloc));

/* Grows or shrinks `block` (may be NULL) to `count` items of `size` bytes; new bytes are not zeroed.
 * NULL with the message set on failure; `block` then stays valid. */
void *hone_realloc(void *block, size_t count, size_t size);

/* Makes room for at least `need` items in the array *items of *capacity items, doubling. */
HONE_MUST_USE hone_status hone_grow(void *items, size_t *capacity, size_t need, size_t size);

char *hone_strdup(const char *text);
char *hone_strndup(const char *text, size_t length);

/* Takes NULL. */
void hone_free(void *block);

/* Gives memory that was freed back to the system, as far as it goes. */
void hone_alloc_trim(void);

/* For tests: the n-th allocation from now (1 = the next) fails; 0 turns it off. */
void hone_alloc_fail_at(int64_t n);

#endif
