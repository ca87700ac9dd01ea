#include "data/import.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/datafile_writer.h"
#include "data/importer.h"
#include "data/samples.h"
#include "data/spool.h"

/* One addition: inputs go through the spool into a new copy of the data file. */
typedef struct addition {
    const char *path;
    const hone_data_add_options *options;
    hone_data_report *report;
    hone_spool *spool;
    hone_datafile_writer *writer;
    int32_t file;              /* number of the input being read */
    hone_data_source *sources; /* [report->count] */
    int64_t *duplicate_rows;   /* [report->count]: row of the first duplicate */
} addition;

void hone_data_report_free(hone_data_report *report) {
    for (size_t i = 0; i < report->count; i++) hone_free(report->files[i].path);
    hone_free(report->files);
    *report = (hone_data_report){0};
}

/* --- reading the inputs ---------------------------------------------------------------------------------------- */

static hone_status take_record(void *context, const char *json, size_t length, int64_t row) {
    addition *add = context;
    return hone_spool_put(add->spool, add->file, row, json, length);
}

static hone_status check_not_empty(const hone_data_report_file *file) {
    if (file->rows == 0)
        return hone_fail(HONE_ERR_DATA, "%s: holds no rows: there is nothing to train on",
                         file->path);
    return HONE_OK;
}

static hone_status read_input(addition *add, hone_data_report_file *file) {
    const hone_importer *importer;
    HONE_TRY(hone_importer_find(&importer, file->path));
    hone_reader reader;
    HONE_TRY(hone_reader_open(&reader, file->path));
    file->importer = importer->name;
    file->gzipped = reader.gzipped;
    hone_import import = {.reader = &reader,
                          .options = add->options,
                          .report = file,
                          .shape = {.map = add->options->map, .map_count = add->options->map_count},
                          .take = take_record,
                          .context = add};
    hone_status status = importer->read(&import);
    hone_buf_free(&import.record);
    hone_reader_close(&reader);
    return status == HONE_OK ? check_not_empty(file) : status;
}

static void copy_text(char *out, size_t size, const char *text) {
    size_t length = strlen(text);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) length--;
    }
    memcpy(out, text, length);
    out[length] = '\0';
}

static hone_status describe_source(hone_data_source *out, const hone_data_report_file *file,
                                   const char *note) {
    const char *slash = strrchr(file->path, '/');
    copy_text(out->name, sizeof out->name, slash ? slash + 1 : file->path);
    HONE_TRY(hone_sha256_file(out->sha256, file->path));
    char importer[128];
    snprintf(importer, sizeof importer, "%s %s", file->importer, file->shape);
    copy_text(out->importer, sizeof out->importer, importer);
    copy_text(out->note, sizeof out->note, note ? note : "");
    time_t now = time(NULL);
    struct tm utc;
    strftime(out->time, sizeof out->time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return HONE_OK;
}

static hone_status read_inputs(addition *add) {
    hone_data_report *report = add->report;
    for (size_t i = 0; i < report->count; i++) {
        add->file = (int32_t)i;
        HONE_TRY(read_input(add, &report->files[i]));
        HONE_TRY(describe_source(&add->sources[i], &report->files[i], add->options->note));
    }
    return HONE_OK;
}

/* --- what the data file has already ---------------------------------------------------------------------------- */

static hone_status read_present(addition *add) {
    add->report->created = !hone_path_exists(add->path);
    if (add->report->created) return HONE_OK;
    hone_datafile *file;
    HONE_TRY(hone_datafile_open(&file, add->path));
    int64_t count = hone_datafile_count(file);
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < count && status == HONE_OK; i++) {
        hone_data_hash hash;
        status = hone_datafile_read_hash(&hash, file, i);
        if (status == HONE_OK) status = hone_spool_present(add->spool, hash);
    }
    add->report->records_before = count;
    hone_datafile_free(file);
    return status;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

static hone_status write_records(addition *add, int32_t first_source) {
    hone_spool_record record = {0};
    hone_status status = HONE_OK;
    bool more = true;
    while (status == HONE_OK) {
        status = hone_spool_next(&record, &more, add->spool);
        if (status != HONE_OK || !more) break;
        hone_data_report_file *file = &add->report->files[record.file];
        if (record.duplicate) {
            if (file->duplicates++ == 0) add->duplicate_rows[record.file] = record.row;
            continue;
        }
        file->added++;
        status = hone_datafile_writer_record(add->writer, first_source + record.file, record.hash,
                                             record.json.data, record.json.length);
    }
    hone_buf_free(&record.json);
    return status;
}

static hone_status write_ledger(addition *add, size_t i, int32_t source) {
    const hone_data_report_file *file = &add->report->files[i];
    if (file->duplicates > 0) {
        hone_data_ledger_row row = {
            .source = source, .reason = "duplicate", .count = file->duplicates};
        snprintf(row.example, sizeof row.example, "row %lld", (long long)add->duplicate_rows[i]);
        HONE_TRY(hone_datafile_writer_ledger(add->writer, &row));
    }
    if (file->empty > 0) {
        hone_data_ledger_row row = {.source = source, .reason = "empty", .count = file->empty};
        copy_text(row.example, sizeof row.example, file->empty_example);
        HONE_TRY(hone_datafile_writer_ledger(add->writer, &row));
    }
    return HONE_OK;
}

static hone_status write_all(addition *add) {
    hone_data_report *report = add->report;
    HONE_TRY(hone_spool_finish(add->spool));
    HONE_TRY(hone_datafile_writer_new(&add->writer, add->path));
    int32_t first = hone_datafile_writer_sources(add->writer);
    HONE_TRY(write_records(add, first));
    report->records_after = report->records_before;
    for (size_t i = 0; i < report->count; i++) {
        report->records_after += report->files[i].added;
        add->sources[i].id = first + (int32_t)i;
        add->sources[i].records = report->files[i].added;
        HONE_TRY(hone_datafile_writer_source(add->writer, &add->sources[i]));
        HONE_TRY(write_ledger(add, i, first + (int32_t)i));
    }
    if (report->records_after == 0)
        return hone_fail(HONE_ERR_DATA,
                         "%s: no input has anything to learn in it: every row is empty",
                         report->files[0].path);
    hone_datafile_writer *writer = add->writer;
    add->writer = NULL;
    HONE_TRY(hone_datafile_writer_commit(writer));
    return hone_samples_forget(add->path); /* they are of the records as they were */
}

static hone_status start(addition *add, const char *const *inputs, size_t count) {
    hone_data_report *report = add->report;
    report->files = hone_alloc(count, sizeof *report->files);
    if (!report->files) return HONE_ERR_MEMORY;
    report->count = count;
    for (size_t i = 0; i < count; i++) {
        report->files[i].path = hone_strdup(inputs[i]);
        if (!report->files[i].path) return HONE_ERR_MEMORY;
    }
    add->sources = hone_alloc(count, sizeof *add->sources);
    add->duplicate_rows = hone_alloc(count, sizeof *add->duplicate_rows);
    if (!add->sources || !add->duplicate_rows) return HONE_ERR_MEMORY;
    return hone_spool_new(&add->spool, add->path);
}

/* The kinds of all inputs are known before the first is read: a wrong name at the end costs nothing. */
static hone_status check_inputs(const char *const *inputs, size_t count,
                                const hone_data_add_options *options) {
    if (count == 0) return hone_fail(HONE_ERR_USAGE, "no input file named");
    if (options->map_count > 0) HONE_TRY(hone_row_check_map(options->map, options->map_count));
    for (size_t i = 0; i < count; i++) {
        const hone_importer *importer;
        if (!hone_path_exists(inputs[i]))
            return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", inputs[i]);
        if (hone_path_is_dir(inputs[i]))
            return hone_fail(HONE_ERR_IO, "%s: is a folder; name the files in it", inputs[i]);
        HONE_TRY(hone_importer_find(&importer, inputs[i]));
    }
    return HONE_OK;
}

hone_status hone_data_add(hone_data_report *report, const char *path, const char *const *inputs,
                          size_t count, const hone_data_add_options *options) {
    static const hone_data_add_options none = {0};
    *report = (hone_data_report){0};
    if (!options) options = &none;
    HONE_TRY(check_inputs(inputs, count, options));
    addition add = {.path = path, .options = options, .report = report};
    hone_status status = start(&add, inputs, count);
    if (status == HONE_OK) status = read_present(&add);
    if (status == HONE_OK) status = read_inputs(&add);
    if (status == HONE_OK) status = write_all(&add);
    hone_datafile_writer_abandon(add.writer);
    hone_spool_free(add.spool);
    hone_free(add.sources);
    hone_free(add.duplicate_rows);
    if (status != HONE_OK) hone_data_report_free(report);
    return status;
}
