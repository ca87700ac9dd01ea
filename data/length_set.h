/*
 * The items that are still to be packed, by their length: which is the longest that fits into `room` tokens?
 *
 * Items of equal length are a chain; a tree of bitmaps, 64 ways at each level, says which lengths have one. Every call
 * costs log64 of the longest length.
 */
#ifndef HONE_DATA_LENGTH_SET_H
#define HONE_DATA_LENGTH_SET_H

#include <stdint.h>

#include "base/status.h"

typedef struct hone_length_set hone_length_set;

/* For items numbered below `most`, of 1 to `longest` tokens. */
HONE_MUST_USE hone_status hone_length_set_new(hone_length_set **out, int64_t longest, int64_t most);
void hone_length_set_free(hone_length_set *set); /* takes NULL */
void hone_length_set_clear(hone_length_set *set);

void hone_length_set_add(hone_length_set *set, int32_t item, int64_t length);

/* The longest length of at most `room` (itself at most `longest`) that an item has; 0 when none has. */
int64_t hone_length_set_find(const hone_length_set *set, int64_t room);

/* Takes out the item of this length that was added last; there must be one. */
int32_t hone_length_set_take(hone_length_set *set, int64_t length);

#endif
