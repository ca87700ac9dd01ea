/*
 * What a data file holds, for `data list` and `inspect`.
 */
#ifndef HONE_CLI_DATA_PRINT_H
#define HONE_CLI_DATA_PRINT_H

#include <jansson.h>

#include "data/datafile.h"

/* {"data", "records", "bytes", "generation", "sources": [...], "ledger": [...]}; NULL when memory is out. */
json_t *hone_datafile_json(const hone_datafile *file);

/* The same for a person, on standard output. */
void hone_datafile_print(const hone_datafile *file);

#endif
