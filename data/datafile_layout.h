/*
 * What the reader and the writer of the data file share: names, types and chunk sizes.
 */
#ifndef HONE_DATA_DATAFILE_LAYOUT_H
#define HONE_DATA_DATAFILE_LAYOUT_H

#include "data/datafile.h"
#include "data/h5.h"

#define HONE_DATA_FORMAT  "hone-data"
#define HONE_DATA_VERSION "1"

enum {
    HONE_DATA_TEXT_CHUNK = 1 << 18, /* bytes */
    HONE_DATA_CHUNK = 1 << 13,      /* records */
    HONE_DATA_TABLE_CHUNK = 1 << 6, /* rows of sources and ledger */
    HONE_DATA_RECORD_MOST = 1 << 30 /* bytes of one record */
};

typedef struct hone_data_hash {
    uint64_t word[2];
} hone_data_hash;

/* One open file: the columns of /records and the two tables. Types are owned. */
typedef struct hone_data_columns {
    hid_t file;
    hid_t hash_type, source_type, ledger_type;
    hone_h5_column text, end, source, hash, sources, ledger;
} hone_data_columns;

HONE_MUST_USE hone_status hone_data_columns_create(hone_data_columns *out, hid_t file,
                                                   const char *path);
HONE_MUST_USE hone_status hone_data_columns_open(hone_data_columns *out, hid_t file, bool writing,
                                                 const char *path);
void hone_data_columns_close(hone_data_columns *columns); /* the file too; takes a zeroed one */

/* Opens an HDF5 file; HDF5's lock is left out, because data files are never changed in place. */
HONE_MUST_USE hone_status hone_data_h5_open(hid_t *out, const char *path, bool writing);

/* The stored hash of record `index`, which is in range. */
HONE_MUST_USE hone_status hone_datafile_read_hash(hone_data_hash *out, hone_datafile *file,
                                                  int64_t index);

/* Hash of a record's JSON. */
hone_data_hash hone_data_hash_of(const char *json, size_t length);

/* Moves the generation on by one record: SHA-256 over the old one, the record's hash and its source. */
void hone_data_generation_step(char generation[HONE_SHA256_TEXT], hone_data_hash hash,
                               int32_t source);

#endif
