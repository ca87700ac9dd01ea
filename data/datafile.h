/*
 * The data file: a person's records in one HDF5 file that every HDF5 tool can read.
 *
 *     /meta             attributes: format, created, program, generation (SHA-256 over all records, in order)
 *     /sources          one compound row per imported file: id, name, sha256, importer, time, note, records
 *     /records/text     uint8[bytes]: every record's JSON followed by a line end, that is, one JSONL text
 *     /records/end      int64[n]: where record i ends in `text` (past its line end)
 *     /records/source   int32[n]: id of the source it came from
 *     /records/hash     uint64[n][2]: the first 16 bytes of the record's SHA-256, big-endian; column 0 picks the split
 *     /ledger           one compound row per (source, reason): source, reason, count, example
 *
 * Datasets are chunked, compressed (deflate) and checked (Fletcher-32). A record's JSON is {"text": ...} or
 * {"messages": [{"role": ..., "content": ...}, ...]}, written by the importers in one canonical spelling, so that equal
 * records have equal hashes. The file is never changed in place: adding writes a new file and renames it.
 *
 * Memory is flat: a reader holds one chunk of each dataset, an addition sorts hashes on disk.
 */
#ifndef HONE_DATA_DATAFILE_H
#define HONE_DATA_DATAFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "base/status.h"

typedef struct hone_datafile hone_datafile;

typedef struct hone_data_source {
    int32_t id; /* counts from 0 */
    char name[256];
    char sha256[HONE_SHA256_TEXT]; /* of the imported file's bytes */
    char importer[32];             /* importer and shape: "jsonl messages" */
    char time[32];                 /* UTC, 2026-01-31T12:00:00Z */
    char note[256];                /* licence or remark */
    int64_t records;               /* that came from it */
} hone_data_source;

/* What happened to rows that did not become a record of their own. */
typedef struct hone_data_ledger_row {
    int32_t source;
    char reason[64]; /* "duplicate", "empty", ... */
    int64_t count;
    char example[128]; /* where it was seen first: "row 17" */
} hone_data_ledger_row;

/* Opens read-only. A file that is cut short, corrupt or not of this kind gives an error that names it and the cause. */
HONE_MUST_USE hone_status hone_datafile_open(hone_datafile **out, const char *path);
void hone_datafile_free(hone_datafile *file); /* takes NULL */

const char *hone_datafile_path(const hone_datafile *file);
int64_t hone_datafile_count(const hone_datafile *file); /* records */
int64_t hone_datafile_bytes(const hone_datafile *file); /* of all records' JSON */
const char *
hone_datafile_generation(const hone_datafile *file); /* 64 digits: equal records, equal text */

int32_t hone_datafile_sources(const hone_datafile *file);
const hone_data_source *hone_datafile_source(const hone_datafile *file, int32_t id); /* borrowed */
int64_t hone_datafile_ledger_rows(const hone_datafile *file);
const hone_data_ledger_row *hone_datafile_ledger(const hone_datafile *file,
                                                 int64_t row); /* borrowed */

/* A record. `json` belongs to the caller, who may hand the same struct in again, and frees it with hone_buf_free. */
typedef struct hone_data_record {
    int64_t index;
    int32_t source;
    uint64_t hash; /* picks the split: hone_data_is_eval */
    hone_buf json; /* without a line end */
} hone_data_record;

/* Reads record `index`. Records read in rising order cost one decompression a chunk. Not for two threads at once. */
HONE_MUST_USE hone_status hone_datafile_read(hone_data_record *out, hone_datafile *file,
                                             int64_t index);

/* Whether a record belongs to the evaluation split: decided by its content alone, so that adding files never moves it.
 * `fraction` is in [0, 1]. */
bool hone_data_is_eval(uint64_t hash, double fraction);

#endif
