/*
 * How far apart two words are, for "did you mean".
 */
#ifndef HONE_BASE_DISTANCE_H
#define HONE_BASE_DISTANCE_H

#include <stddef.h>

/* Edit distance: insert, delete, replace, swap of neighbours: 1 each (optimal string alignment). Words of more than
 * 63 bytes are far from all: 64. */
size_t hone_edit_distance(const char *a, const char *b);

/* Whether `distance` is near enough to `word` to be worth proposing: at most a third of its length, and 1 at least. */
int hone_edit_is_near(const char *word, size_t distance);

#endif
