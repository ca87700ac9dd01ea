/*
 * Records on their way into a data file: kept in a temporary file until all inputs are known to be good, then read back
 * without those that are there already. Hashes are sorted on disk, so that memory does not grow with the data.
 */
#ifndef HONE_DATA_SPOOL_H
#define HONE_DATA_SPOOL_H

#include <stdbool.h>

#include "base/buf.h"
#include "data/datafile_layout.h"

typedef struct hone_spool hone_spool;

/* Temporary files go to the folder of `neighbour` (borrowed). */
HONE_MUST_USE hone_status hone_spool_new(hone_spool **out, const char *neighbour);
void hone_spool_free(hone_spool *spool); /* takes NULL */

/* A record that the data file has. All of them come before the first new one. */
HONE_MUST_USE hone_status hone_spool_present(hone_spool *spool, hone_data_hash hash);

/* A new record of input file `file`, from its row `row`. */
HONE_MUST_USE hone_status hone_spool_put(hone_spool *spool, int32_t file, int64_t row,
                                         const char *json, size_t length);

/* Ends putting. Then next gives the new records in the order in which they came. */
HONE_MUST_USE hone_status hone_spool_finish(hone_spool *spool);

typedef struct hone_spool_record {
    int32_t file;
    int64_t row;
    hone_data_hash hash;
    hone_buf json;  /* owned by the caller, may be handed in again */
    bool duplicate; /* an earlier record, new or present, is the same */
} hone_spool_record;

HONE_MUST_USE hone_status hone_spool_next(hone_spool_record *out, bool *more, hone_spool *spool);

#endif
