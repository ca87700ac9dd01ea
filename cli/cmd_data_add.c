#include <string.h>

#include "base/alloc.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "data/import.h"

/* Takes "field=role" apart. The texts lie in `copies`, which the caller frees. */
static hone_status read_maps(hone_data_map *maps, char **copies, const hone_flag_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        copies[i] = hone_strdup(list->items[i]);
        if (!copies[i]) return HONE_ERR_MEMORY;
        char *equals = strrchr(copies[i], '=');
        if (!equals || equals == copies[i] || equals[1] == 0)
            return hone_fail(HONE_ERR_USAGE,
                             "--map \"%s\": must be FIELD=ROLE, with a role of text, "
                             "prompt, completion, system, user or assistant",
                             list->items[i]);
        *equals = 0;
        maps[i] = (hone_data_map){copies[i], equals + 1};
    }
    return HONE_OK;
}

static void say_file(const hone_data_report_file *file) {
    hone_say("%s: %s%s, %s: %lld rows, %lld records added", file->path, file->importer,
             file->gzipped ? " (gzipped)" : "", file->shape, (long long)file->rows,
             (long long)file->added);
    if (file->duplicates > 0)
        hone_say("  %lld left out: the same record is there already", (long long)file->duplicates);
    if (file->empty > 0)
        hone_say("  %lld left out: nothing to learn in them (first: %s)", (long long)file->empty,
                 file->empty_example);
}

static json_t *file_json(const hone_data_report_file *file) {
    return json_pack("{s:o, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "path",
                     hone_json_text(file->path, strlen(file->path)), "importer", file->importer,
                     "shape", file->shape, "gzipped", (int)file->gzipped, "rows",
                     (json_int_t)file->rows, "added", (json_int_t)file->added, "duplicates",
                     (json_int_t)file->duplicates, "empty", (json_int_t)file->empty);
}

static hone_status print_report(const hone_data_report *report, const char *path) {
    json_t *files = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(files, file_json(&report->files[i]));
    return hone_print_json(json_pack(
        "{s:o, s:b, s:I, s:I, s:o}", "data", hone_json_text(path, strlen(path)), "created",
        (int)report->created, "records_before", (json_int_t)report->records_before, "records",
        (json_int_t)report->records_after, "files", files));
}

static hone_status add(char **operands, int count, const hone_data_add_options *options,
                       bool json) {
    hone_data_report report = {0};
    HONE_TRY(hone_data_add(&report, operands[0], (const char *const *)(operands + 1),
                           (size_t)(count - 1), options));
    for (size_t i = 0; i < report.count; i++) say_file(&report.files[i]);
    hone_say("%s: %lld records", operands[0], (long long)report.records_after);
    hone_status status = json ? print_report(&report, operands[0]) : HONE_OK;
    hone_data_report_free(&report);
    return status;
}

static hone_status run(int argc, char **argv) {
    hone_flag_list map_list = {0};
    const char *note = NULL;
    bool json = false;
    const hone_flag flags[] = {
        {.name = "map",
         .type = HONE_FLAG_LIST,
         .target = &map_list,
         .unit = "FIELD=ROLE",
         .text = "what a field is: text, prompt, completion, system, user or assistant; may be "
                 "given again; without it the shape is found by looking"},
        {.name = "note",
         .type = HONE_FLAG_TEXT,
         .target = &note,
         .unit = "TEXT",
         .text = "a licence or remark to keep with the sources"},
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &json,
         .text = "one JSON object on standard output"},
    };
    hone_arguments arguments = {.minimum = 2, .maximum = -1};
    hone_status status =
        hone_flags_parse(&arguments, &hone_command_data_add, flags, HONE_COUNT(flags), argc, argv);
    if (status != HONE_OK || arguments.help) {
        hone_flag_list_free(&map_list);
        return status;
    }
    hone_data_map *maps = hone_alloc(map_list.count, sizeof *maps);
    char **copies = hone_alloc(map_list.count, sizeof *copies);
    status = maps && copies ? read_maps(maps, copies, &map_list) : HONE_ERR_MEMORY;
    hone_data_add_options options = {
        .map = map_list.count ? maps : NULL, .map_count = map_list.count, .note = note};
    if (status == HONE_OK) status = add(arguments.operands, arguments.count, &options, json);
    for (size_t i = 0; copies && i < map_list.count; i++) hone_free(copies[i]);
    hone_free(copies);
    hone_free(maps);
    hone_flag_list_free(&map_list);
    return status;
}

const hone_command hone_command_data_add = {
    .name = "data add",
    .usage = "FILE.h5 INPUT... [options]",
    .summary =
        "put records into a data file, which is made when it is not there; INPUT: JSONL, JSON, "
        "CSV, TXT, Markdown, each also gzipped",
    .run = run,
};
