/*
 * What a measurement found fastest, remembered by what it depends on, in a file of the user's cache folder each.
 */
#ifndef HONE_TRAIN_MEASURED_H
#define HONE_TRAIN_MEASURED_H

/* One of some words, of which the first stands for none. */
typedef struct hone_measured {
    int word;             /* its number; 0: nothing is known */
    double token_seconds; /* by hone_plan_cost */
} hone_measured;

/* What an earlier measurement of `key` found. `words` end with NULL. */
hone_measured hone_measured_recall(const char *key, const char *const *words);

/* Remembers it. Where no file can be written it is measured anew each time. */
void hone_measured_remember(const char *key, const char *const *words, hone_measured found);

#endif
