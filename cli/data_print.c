#include "cli/data_print.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"

static json_t *text_json(const char *text) {
    return hone_json_text(text, strlen(text));
}

static json_t *source_json(const hone_data_source *source) {
    return json_pack("{s:i, s:o, s:s, s:s, s:s, s:o, s:I}", "id", (int)source->id, "name",
                     text_json(source->name), "sha256", source->sha256, "importer",
                     source->importer, "time", source->time, "note", text_json(source->note),
                     "records", (json_int_t)source->records);
}

static json_t *ledger_json(const hone_data_ledger_row *row) {
    return json_pack("{s:i, s:s, s:I, s:o}", "source", (int)row->source, "reason", row->reason,
                     "count", (json_int_t)row->count, "example", text_json(row->example));
}

json_t *hone_datafile_json(const hone_datafile *file) {
    json_t *sources = json_array();
    for (int32_t i = 0; i < hone_datafile_sources(file); i++)
        json_array_append_new(sources, source_json(hone_datafile_source(file, i)));
    json_t *ledger = json_array();
    for (int64_t i = 0; i < hone_datafile_ledger_rows(file); i++)
        json_array_append_new(ledger, ledger_json(hone_datafile_ledger(file, i)));
    return json_pack("{s:o, s:I, s:I, s:s, s:o, s:o}", "data", text_json(hone_datafile_path(file)),
                     "records", (json_int_t)hone_datafile_count(file), "bytes",
                     (json_int_t)hone_datafile_bytes(file), "generation",
                     hone_datafile_generation(file), "sources", sources, "ledger", ledger);
}

static void print_source(const hone_data_source *source) {
    printf("  %d  ", (int)source->id);
    hone_print_text(source->name, strlen(source->name));
    printf("\n     %lld records, %s, added %s\n     sha256 %s\n", (long long)source->records,
           source->importer, source->time, source->sha256);
    if (!source->note[0]) return;
    fputs("     ", stdout);
    hone_print_text(source->note, strlen(source->note));
    putchar('\n');
}

void hone_datafile_print(const hone_datafile *file) {
    printf("%s: %lld records, %s of text\ngeneration %s\nsources:\n", hone_datafile_path(file),
           (long long)hone_datafile_count(file), hone_size(hone_datafile_bytes(file)).text,
           hone_datafile_generation(file));
    for (int32_t i = 0; i < hone_datafile_sources(file); i++)
        print_source(hone_datafile_source(file, i));
    if (hone_datafile_ledger_rows(file) > 0) puts("left out:");
    for (int64_t i = 0; i < hone_datafile_ledger_rows(file); i++) {
        const hone_data_ledger_row *row = hone_datafile_ledger(file, i);
        printf("  source %d: %lld %s (first: %s)\n", (int)row->source, (long long)row->count,
               row->reason, row->example);
    }
}
