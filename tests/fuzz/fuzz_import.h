/*
 * What the fuzz targets of importers share: any record that an importer hands on can be read back.
 */
#ifndef HONE_TESTS_FUZZ_IMPORT_H
#define HONE_TESTS_FUZZ_IMPORT_H

#include "data/importer.h"
#include "data/record.h"
#include "tests/fuzz/fuzz.h"

static inline hone_status check_taken(void *context, const char *json, size_t length, int64_t row) {
    hone_record record = {0};
    if (row < 1) __builtin_trap();
    if (hone_record_parse(&record, json, length, "record") != HONE_OK) __builtin_trap();
    if (!record.text && record.conversation.count == 0) __builtin_trap();
    hone_record_free(&record);
    ++*(int64_t *)context;
    return HONE_OK;
}

static inline void fuzz_import(hone_status (*read)(hone_import *), const uint8_t *bytes,
                               size_t length, const hone_data_map *map, size_t map_count) {
    hone_reader reader;
    hone_data_add_options options = {.map = map, .map_count = map_count};
    hone_data_report_file report = {0};
    int64_t taken = 0;
    hone_reader_memory(&reader, bytes, length, "input");
    hone_import import = {.reader = &reader,
                          .options = &options,
                          .report = &report,
                          .shape = {.map = map, .map_count = map_count},
                          .take = check_taken,
                          .context = &taken};
    if (read(&import) == HONE_OK && taken == 0 && report.rows != report.empty) {
        /* A row without instances makes no record and is counted as empty; all else makes one. */
        __builtin_trap();
    }
    hone_buf_free(&import.record);
}

#endif
