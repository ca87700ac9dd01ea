#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/importer.h"

static const hone_importer importers[] = {
    {"jsonl", ".jsonl .ndjson", hone_import_jsonl},  {"json", ".json", hone_import_json},
    {"csv", ".csv .tsv", hone_import_csv},           {"text", ".txt .text", hone_import_text},
    {"markdown", ".md .markdown", hone_import_text},
};

const char *hone_data_importer_list(void) {
    return ".jsonl .ndjson .json .csv .tsv .txt .text .md .markdown, each also as .gz";
}

/* The suffix of a file's name with .gz taken off: [*begin, *begin + length), "" when it has none. */
static size_t suffix_of(const char **begin, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 3 && strcasecmp(name + length - 3, ".gz") == 0) length -= 3;
    for (size_t i = length; i-- > 1;) {
        if (name[i] != '.') continue;
        *begin = name + i;
        return length - i;
    }
    *begin = name + length;
    return 0;
}

static bool lists(const char *suffixes, const char *suffix, size_t length) {
    while (*suffixes) {
        size_t one = strcspn(suffixes, " ");
        if (one == length && strncasecmp(suffixes, suffix, length) == 0) return true;
        suffixes += one;
        suffixes += strspn(suffixes, " ");
    }
    return false;
}

/* A file without a suffix is taken by its first character that is no white space. */
static hone_status find_by_content(const hone_importer **out, const char *path) {
    hone_reader reader;
    HONE_TRY(hone_reader_open(&reader, path));
    const unsigned char *bytes = NULL;
    size_t length = 0;
    hone_status status = hone_reader_skip_bom(&reader);
    if (status == HONE_OK) status = hone_reader_peek(&bytes, &length, &reader);
    size_t i = 0;
    while (status == HONE_OK && i < length && strchr(" \t\r\n", bytes[i])) i++;
    if (status == HONE_OK && i < length && (bytes[i] == '{' || bytes[i] == '['))
        *out = &importers[bytes[i] == '{' ? 0 : 1];
    hone_reader_close(&reader);
    return status;
}

hone_status hone_importer_find(const hone_importer **out, const char *path) {
    const char *suffix;
    size_t length = suffix_of(&suffix, path);
    *out = NULL;
    for (size_t i = 0; i < sizeof importers / sizeof *importers && length > 0; i++) {
        if (lists(importers[i].suffixes, suffix, length)) *out = &importers[i];
    }
    if (length == 0) HONE_TRY(find_by_content(out, path));
    if (*out) return HONE_OK;
    if (length == 0)
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: a file without a suffix that does not look like JSON; name it by "
                         "what it is: %s",
                         path, hone_data_importer_list());
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: %.*s files cannot be imported; these can: %s", path,
                     (int)length, suffix, hone_data_importer_list());
}

bool hone_data_importable(const char *path) {
    const hone_importer *importer;
    return hone_importer_find(&importer, path) == HONE_OK;
}

hone_status hone_import_record(hone_import *import) {
    return import->take(import->context, import->record.data, import->record.length, import->row);
}

void hone_import_empty(hone_import *import) {
    hone_data_report_file *report = import->report;
    if (report->empty++ == 0)
        snprintf(report->empty_example, sizeof report->empty_example, "row %lld",
                 (long long)import->row);
}

static hone_status take_row_record(void *context, const hone_buf *record) {
    hone_import *import = context;
    return import->take(import->context, record->data, record->length, import->row);
}

/* Adds another shape's name to the report: "text + messages". */
static void report_shape(hone_data_report_file *report, const hone_row_shape *shape) {
    char name[sizeof report->shape];
    hone_row_describe(name, sizeof name, shape);
    if (strstr(report->shape, name)) return;
    size_t used = strlen(report->shape);
    snprintf(report->shape + used, sizeof report->shape - used, "%s%s", used ? " + " : "", name);
}

/* The shape of the first row, for as long as rows have its fields; a row of another known shape has that one. */
static hone_status find_shape(hone_row_shape *out, hone_import *import, const json_t *row) {
    *out = import->shape;
    if (!out->kind) {
        HONE_TRY(hone_row_find_shape(out, row));
        import->shape = *out;
    } else if (!hone_row_fits(out, row)) {
        hone_row_shape other = *out;
        if (hone_row_find_shape(&other, row) == HONE_OK) *out = other;
    }
    report_shape(import->report, out);
    return HONE_OK;
}

hone_status hone_import_row(hone_import *import, const json_t *row) {
    if (!json_is_object(row)) return hone_fail(HONE_ERR_DATA, "is not an object with named fields");
    import->report->rows++;
    hone_row_shape shape;
    HONE_TRY(find_shape(&shape, import, row));
    int64_t made;
    hone_status status =
        hone_row_records(&made, &shape, row, &import->record, take_row_record, import);
    if (status == HONE_ERR_DATA)
        return hone_fail_context(status, "shape %s", import->report->shape);
    if (status == HONE_OK && made == 0) hone_import_empty(import);
    return status;
}

hone_status hone_import_row_failed(const hone_import *import, hone_status status, const char *row,
                                   size_t length) {
    enum { HEAD = 60 };
    char head[HEAD + 1];
    char cause[1024];
    size_t kept = length < HEAD ? length : HEAD;
    while (kept > 0 && kept < length && ((unsigned char)row[kept] & 0xc0) == 0x80) kept--;
    for (size_t i = 0; i < kept; i++) {
        unsigned char c = (unsigned char)row[i];
        head[i] = c < 0x20 || c == 0x7f ? ' ' : row[i];
    }
    head[kept] = '\0';
    snprintf(cause, sizeof cause, "%s", hone_fail_message());
    return hone_fail(status, "%s: row %lld: %s. The row starts: %s%s", import->reader->name,
                     (long long)import->row, cause, head, kept < length ? "..." : "");
}
