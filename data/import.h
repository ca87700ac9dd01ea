/*
 * Importers: files of other programs into the data file.
 *
 * The kind of a file is found by its name and first bytes, the shape of its rows by looking at their fields; both are
 * said in the report. Each kind is a row of one table (hone_importers). Any of them may be gzipped. Text must be UTF-8.
 *
 * A text file (.txt, .md) becomes one record: the document as a whole. Long ones are left to the length policy of the
 * training run, which can split them. Everything else has a record a row, or one per instance where rows nest them.
 */
#ifndef HONE_DATA_IMPORT_H
#define HONE_DATA_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/datafile.h"

/* `field` of the input plays `role`: text, prompt, completion, system, user or assistant. */
typedef struct hone_data_map {
    const char *field;
    const char *role;
} hone_data_map;

typedef struct hone_data_add_options {
    const hone_data_map *map; /* [map_count]; NULL: find the shape by looking */
    size_t map_count;
    const char *note; /* licence or remark, kept with each source; may be NULL */
} hone_data_add_options;

/* What was made of one input file. */
typedef struct hone_data_report_file {
    char *path;           /* owned */
    const char *importer; /* "jsonl", "csv", ... */
    char shape[64];       /* "messages", "question/answer", "prompt=q completion=a", ... */
    bool gzipped;
    int64_t rows;       /* read */
    int64_t added;      /* records written */
    int64_t duplicates; /* left out: the data file or this addition has the same record already */
    int64_t empty;      /* rows with nothing to learn in them: left out */
    char empty_example[64]; /* the first of those: "row 17" */
} hone_data_report_file;

typedef struct hone_data_report {
    hone_data_report_file *files; /* [count], owned */
    size_t count;
    int64_t records_before, records_after;
    bool created; /* the data file is new */
} hone_data_report;

void hone_data_report_free(hone_data_report *report); /* takes a zeroed one */

/* Adds input files to the data file at `path`, which is made when it is not there. All or nothing: on any error the
 * data file is as it was. Errors name the file, the row and the start of what stands there. */
HONE_MUST_USE hone_status hone_data_add(hone_data_report *report, const char *path,
                                        const char *const *inputs, size_t count,
                                        const hone_data_add_options *options);

/* Whether hone_data_add could read a file of this name and content, and the sentence that lists what it reads. */
bool hone_data_importable(const char *path);
const char *hone_data_importer_list(void);

#endif
