/*
 * Sizes in bytes: in whole cache lines, and as people read them.
 */
#ifndef HONE_BASE_SIZE_H
#define HONE_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* For parts of one piece of memory that are to begin on cache lines. */
static inline size_t hone_whole_lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* "1.5 GiB", "312 MiB", "12 KiB". */
typedef struct hone_size_text {
    char text[32];
} hone_size_text;
hone_size_text hone_size(int64_t bytes);

#endif
