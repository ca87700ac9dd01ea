/*
 * What an importer is: a function that reads one kind of file and hands on its records. Importers are rows of one table;
 * a new kind is a file and a row.
 */
#ifndef HONE_DATA_IMPORTER_H
#define HONE_DATA_IMPORTER_H

#include "base/buf.h"
#include "data/import.h"
#include "data/reader.h"
#include "data/row.h"

/* One input file on its way in. */
typedef struct hone_import {
    hone_reader *reader;
    const hone_data_add_options *options;
    hone_data_report_file *report; /* rows and empty are counted by the importer */
    hone_row_shape shape;          /* of the rows, once the first was seen */
    int64_t row;                   /* number of the present row, as a person counts: from 1 */
    hone_buf record;               /* the record being made */
    hone_status (*take)(void *context, const char *json, size_t length, int64_t row);
    void *context; /* of `take` */
} hone_import;

typedef struct hone_importer {
    const char *name;
    const char *suffixes; /* ".jsonl .ndjson" */
    hone_status (*read)(hone_import *import);
} hone_importer;

hone_status hone_import_jsonl(hone_import *import);
hone_status hone_import_json(hone_import *import);
hone_status hone_import_csv(hone_import *import);
hone_status hone_import_text(hone_import *import);

/* The importer of a file, by name, or by its first bytes when the name has no suffix. Refuses others with the list. */
HONE_MUST_USE hone_status hone_importer_find(const hone_importer **out, const char *path);

/* Hands `import->record` on as coming from the present row. */
HONE_MUST_USE hone_status hone_import_record(hone_import *import);

/* Counts the present row as holding nothing to learn. */
void hone_import_empty(hone_import *import);

/* Imports one row of named fields. */
HONE_MUST_USE hone_status hone_import_row(hone_import *import, const json_t *row);

/* Gives the failure of the present row its place: file, row and the start of what stands there. */
hone_status hone_import_row_failed(const hone_import *import, hone_status status, const char *row,
                                   size_t length);

#endif
