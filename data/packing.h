/*
 * Packing: which samples share a bin of seq_len tokens, and in what order the bins come in each epoch.
 *
 * Samples are dealt into blocks of at most 65,536 by a permutation keyed by the seed (a Feistel network over Philox), so
 * that each block is a random part of the data and only one block is in memory at a time. Inside a block one bin is
 * filled after the other: the longest sample that is left opens it, and a bounded search looks for those that leave
 * the least of it empty (the minimum bin slack of Gupta and Ho, 1999): short records fill it to the last token, where
 * best fit decreasing leaves some 2 % of it. The list of bins follows from the lengths, the seed and seq_len only. An epoch visits the blocks, and the bins inside each, in an
 * order drawn from Philox with (seed, epoch): with up to 65,536 samples that is a plain shuffle of all bins.
 */
#ifndef HONE_DATA_PACKING_H
#define HONE_DATA_PACKING_H

#include <stdint.h>

#include "base/status.h"

typedef struct hone_packing hone_packing;

/* Sets *out to the tokens of sample `index`; 0 leaves the sample out (it belongs to another split). */
typedef hone_status (*hone_length_fn)(int32_t *out, void *context, int64_t index);

/* Packs samples 0 <= i < count. Fails when one is longer than seq_len or none is left. `context` is kept until free. */
HONE_MUST_USE hone_status hone_packing_new(hone_packing **out, hone_length_fn length, void *context,
                                           int64_t count, int64_t seq_len, uint64_t seed);
void hone_packing_free(hone_packing *packing); /* takes NULL */

int64_t hone_packing_bins(const hone_packing *packing);    /* in an epoch */
int64_t hone_packing_samples(const hone_packing *packing); /* in all bins */
int64_t hone_packing_tokens(const hone_packing *packing);  /* in all bins */

/* A bin: the samples that share it, in the order in which their tokens are laid out. */
typedef struct hone_bin {
    const int64_t *samples; /* [count], borrowed: good until the next call */
    int64_t count;
    int64_t tokens; /* <= seq_len */
} hone_bin;

/* Bin `position` of the order of `epoch`; both count from 0. Going through positions in order is fast. */
HONE_MUST_USE hone_status hone_packing_bin(hone_bin *out, hone_packing *packing, int64_t epoch,
                                           int64_t position);

#endif
