/*
 * Adding to a data file: a copy under a temporary name is extended, synced and renamed. Until the commit the file is as
 * it was.
 */
#ifndef HONE_DATA_DATAFILE_WRITER_H
#define HONE_DATA_DATAFILE_WRITER_H

#include "data/datafile_layout.h"

typedef struct hone_datafile_writer hone_datafile_writer;

/* Starts from the data file at `path`, or from an empty one when there is none. */
HONE_MUST_USE hone_status hone_datafile_writer_new(hone_datafile_writer **out, const char *path);

/* Sources that were there before. New ones count on from here. */
int32_t hone_datafile_writer_sources(const hone_datafile_writer *writer);

HONE_MUST_USE hone_status hone_datafile_writer_record(hone_datafile_writer *writer, int32_t source,
                                                      hone_data_hash hash, const char *json,
                                                      size_t length);
HONE_MUST_USE hone_status hone_datafile_writer_source(hone_datafile_writer *writer,
                                                      const hone_data_source *source);
HONE_MUST_USE hone_status hone_datafile_writer_ledger(hone_datafile_writer *writer,
                                                      const hone_data_ledger_row *row);

/* Either way the writer is released; on failure the temporary file is gone. */
HONE_MUST_USE hone_status hone_datafile_writer_commit(hone_datafile_writer *writer);
void hone_datafile_writer_abandon(hone_datafile_writer *writer); /* takes NULL */

#endif
