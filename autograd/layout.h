/*
 * Laying out blocks of memory that live for known spans of time: blocks that never live together share addresses.
 *
 * Greedy by size, largest first, each at the lowest free address (the "greedy by size" of arXiv 2001.03288): within a
 * few per cent of the largest sum of living blocks for the steps met here.
 */
#ifndef HONE_AUTOGRAD_LAYOUT_H
#define HONE_AUTOGRAD_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_block {
    const char *name;    /* what the itemisation sums by; borrowed */
    size_t bytes;        /* rounded up to whole cache lines */
    int64_t first, last; /* passes in which it lives, both included */
    size_t offset;       /* set by hone_layout_solve */
    int64_t before;      /* the last pass before the turn that touches it */
    int64_t again;       /* the first one after that, of a block from before it; -1: none */
    size_t back;         /* the block of its second life (hone_layout_part); 0: it has one life */
} hone_block;

typedef struct hone_layout {
    hone_block *blocks; /* owned */
    size_t count, capacity;
    size_t bytes; /* of the whole arena, set by hone_layout_solve */
    int64_t turn; /* pass at which backward begins; none so far: INT64_MAX */
} hone_layout;

void hone_layout_clear(hone_layout *layout);
void hone_layout_free(hone_layout *layout);

/* A new block that lives from `clock`; its number is the count before. */
HONE_MUST_USE hone_status hone_layout_add(hone_layout *layout, const char *name, size_t bytes,
                                          int64_t clock);

/* The block lives until `clock` at least. */
void hone_layout_touch(hone_layout *layout, size_t block, int64_t clock);

/* Backward begins. */
void hone_layout_turn(hone_layout *layout, int64_t clock);

/* Gives a block two lives, to pass `until` and from `from` on, the second as a new block. */
HONE_MUST_USE hone_status hone_layout_part(hone_layout *layout, size_t block, int64_t until,
                                           int64_t from);

HONE_MUST_USE hone_status hone_layout_solve(hone_layout *layout);

/* The most bytes that live at once: no layout is smaller. */
size_t hone_layout_least(const hone_layout *layout);

/* What lives when most bytes do, summed by name, in order of first appearance. */
typedef void (*hone_layout_item_fn)(void *context, const char *name, size_t bytes);
void hone_layout_itemise(const hone_layout *layout, hone_layout_item_fn item, void *context);

#endif
