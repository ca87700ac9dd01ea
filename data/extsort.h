/*
 * Sorting more than fits in memory: runs of sorted entries go to a temporary file and are merged while reading.
 * Two megabytes of memory, whatever the number of entries.
 */
#ifndef HONE_DATA_EXTSORT_H
#define HONE_DATA_EXTSORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Ordered by key[0], key[1], value. */
typedef struct hone_sort_entry {
    uint64_t key[2];
    int64_t value;
} hone_sort_entry;

typedef struct hone_extsort hone_extsort;

/* Temporary files go to the folder of `neighbour` (borrowed). */
HONE_MUST_USE hone_status hone_extsort_new(hone_extsort **out, const char *neighbour);
void hone_extsort_free(hone_extsort *sort); /* takes NULL */

HONE_MUST_USE hone_status hone_extsort_push(hone_extsort *sort, hone_sort_entry entry);

/* Ends pushing; then each call of next gives one entry in order, until *more is false. */
HONE_MUST_USE hone_status hone_extsort_finish(hone_extsort *sort);
HONE_MUST_USE hone_status hone_extsort_next(hone_sort_entry *out, bool *more, hone_extsort *sort);

#endif
