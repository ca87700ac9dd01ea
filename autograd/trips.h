/*
 * Trips of a tape's memory to the host: what backward reads of a part of the step is sent there when that part and the next
 * have no use for it any more, and fetched one part before backward needs it.
 *
 * The parts are sections: the blocks of a transformer, what is before and what is after them; backward passes them the other way
 * round. At the begin of each, what was sent and fetched at the begin of the one before is waited for; then copies begin:
 *
 *     section     0      1      2      3      4    |    5      6      7      8      9
 *     forward     embed  block  block  block  head | head   block  block  block  embed    backward
 *     made in 1, read in 8:     sent   gone                 fetched       read
 *
 * So a block has two lives in the arena, and both may lie elsewhere than the other.
 */
#ifndef HONE_AUTOGRAD_TRIPS_H
#define HONE_AUTOGRAD_TRIPS_H

#include "autograd/layout.h"

typedef struct hone_trip {
    size_t block, back;      /* of the layout: the first life and the second */
    int64_t leaves, returns; /* sections at whose begin it is sent and fetched */
    size_t place;            /* in the host's memory */
} hone_trip;

typedef struct hone_trips {
    hone_trip *items; /* owned */
    size_t count, capacity;
    int64_t *begins; /* owned: the first pass of every section but the first, which begins at 0 */
    size_t begin_count, begin_capacity;
    size_t bytes; /* of the host's memory */
} hone_trips;

void hone_trips_clear(hone_trips *trips);
void hone_trips_free(hone_trips *trips);

/* A section begins at that pass of the plan. */
HONE_MUST_USE hone_status hone_trips_begin(hone_trips *trips, int64_t clock);

/* Chooses the trips of all that is long enough of no use, small blocks left out, and parts the layout accordingly, before it is
 * solved. */
HONE_MUST_USE hone_status hone_trips_plan(hone_trips *trips, hone_layout *layout);

#endif
