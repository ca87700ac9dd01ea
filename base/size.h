/*
 * Sizes in bytes as people read them.
 */
#ifndef HONE_BASE_SIZE_H
#define HONE_BASE_SIZE_H

#include <stdint.h>

/* "1.5 GiB", "312 MiB", "12 KiB". */
typedef struct hone_size_text {
    char text[32];
} hone_size_text;
hone_size_text hone_size(int64_t bytes);

#endif
