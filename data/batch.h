/*
 * Batches: the bins of a micro-batch as host arrays, without padding, and the cursor that says which bins come next.
 *
 * The documents of all bins stand one after another. T is the number of tokens, N the number of supervised rows.
 *
 *     hone_loader_new(&loader, samples, HONE_SPLIT_TRAIN, seq_len, seed)
 *     each step:  hone_loader_count(&counts, loader, cursor, bins)       supervised tokens of the whole step
 *                 hone_loader_fill(&batch, loader, &cursor, bins / 2)    a micro-batch; the cursor moves on
 */
#ifndef HONE_DATA_BATCH_H
#define HONE_DATA_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/samples.h"

typedef enum hone_split {
    HONE_SPLIT_ALL,
    HONE_SPLIT_TRAIN,
    HONE_SPLIT_EVAL,
} hone_split;

/* The next bin to be taken: all that a checkpoint needs to go on exactly. Starts as zeros. */
typedef struct hone_cursor {
    int64_t epoch;
    int64_t bin; /* in the order of that epoch */
} hone_cursor;

/* Arrays are owned by the batch, grow as needed and are used again by the next fill. */
typedef struct hone_batch {
    int64_t tokens;     /* T */
    int32_t *ids;       /* [T] */
    int32_t *positions; /* [T]: 0, 1, ... from the start of each document */
    uint32_t *
        records; /* [T]: low half of the sample's index, the same wherever it is packed: a dropout key */

    int64_t documents;        /* D */
    int32_t *document_begin;  /* [D]: first token of each document */
    int32_t *document_length; /* [D] */

    int64_t rows;    /* N */
    int32_t *row;    /* [N], rising: token `row[n]` predicts ... */
    int32_t *target; /* [N]: ... this id, which stands at row[n] + 1 in the same document */

    int64_t bins; /* that were filled in */
    size_t token_capacity, document_capacity, row_capacity;
} hone_batch;

void hone_batch_free(hone_batch *batch); /* takes a zeroed one */

typedef struct hone_loader hone_loader;

/* Packs the samples of one split. `samples` is borrowed until hone_loader_free. Fails when the split is empty.
 * seq_len 0 stands for the longest sample, so that every sample has its place. */
HONE_MUST_USE hone_status hone_loader_new(hone_loader **out, const hone_samples *samples,
                                          hone_split split, int64_t seq_len, uint64_t seed);
void hone_loader_free(hone_loader *loader); /* takes NULL */

int64_t hone_loader_bins(const hone_loader *loader);    /* in an epoch */
int64_t hone_loader_samples(const hone_loader *loader); /* in an epoch */
int64_t hone_loader_tokens(const hone_loader *loader);  /* in an epoch */
int64_t hone_loader_seq_len(const hone_loader *loader); /* most tokens in a bin */

typedef struct hone_loader_counts {
    int64_t documents, tokens, supervised;
} hone_loader_counts;

/* What the next `bins` bins hold, without moving. Past the end of an epoch the next one begins. */
HONE_MUST_USE hone_status hone_loader_count(hone_loader_counts *out, hone_loader *loader,
                                            hone_cursor cursor, int64_t bins);

/* Fills *out with the next `bins` bins and moves the cursor past them, into the next epoch where one ends. */
HONE_MUST_USE hone_status hone_loader_fill(hone_batch *out, hone_loader *loader,
                                           hone_cursor *cursor, int64_t bins);

/* Moves a cursor by `bins` bins without reading: for ranks that leave bins to others. */
void hone_loader_skip(const hone_loader *loader, hone_cursor *cursor, int64_t bins);

#endif
