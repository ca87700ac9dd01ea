/*
 * CSV with a header line, as in RFC 4180: fields may stand in quotes, quotes in them are doubled, quoted fields may hold
 * separators and line ends. The separator (comma, semicolon or tab) is the one seen most in the header.
 */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "data/importer.h"

/* One row: fields one after another in `text`, each ending where `ends` says. */
typedef struct csv_row {
    hone_buf text;
    size_t *ends;
    size_t count, capacity;
    bool quoted; /* some field stood in quotes: a row of one empty field is no blank line then */
} csv_row;

typedef struct csv {
    hone_import *import;
    char separator;
    csv_row header, row;
    int64_t line; /* of the file, from 1 */
} csv;

static void row_free(csv_row *row) {
    hone_buf_free(&row->text);
    hone_free(row->ends);
}

static hone_status end_field(csv_row *row) {
    HONE_TRY(hone_grow(&row->ends, &row->capacity, row->count + 1, sizeof *row->ends));
    row->ends[row->count++] = row->text.length;
    return HONE_OK;
}

static const char *field_of(const csv_row *row, size_t i, size_t *length) {
    size_t begin = i > 0 ? row->ends[i - 1] : 0;
    *length = row->ends[i] - begin;
    return row->text.data ? row->text.data + begin : "";
}

static hone_status peek(int *out, hone_reader *reader) {
    const unsigned char *bytes;
    size_t length;
    HONE_TRY(hone_reader_peek(&bytes, &length, reader));
    *out = length > 0 ? bytes[0] : -1;
    return HONE_OK;
}

/* After an opening quote, up to and with the closing one. */
static hone_status read_quoted(csv *in, csv_row *row) {
    hone_reader *reader = in->import->reader;
    int64_t opened = in->line;
    for (;;) {
        int c;
        HONE_TRY(hone_reader_byte(&c, reader));
        if (c < 0)
            return hone_fail(HONE_ERR_FORMAT,
                             "the quote opened in line %lld is not closed before the file ends",
                             (long long)opened);
        if (c == '"') {
            HONE_TRY(peek(&c, reader));
            if (c != '"') return HONE_OK;
            hone_reader_skip(reader, 1);
        }
        if (c == '\n') in->line++;
        char byte = (char)c;
        HONE_TRY(hone_row_append(&row->text, &byte, 1, reader->name));
    }
}

/* What ends a field: the separator, '\n' for a line end (LF, CRLF, CR), -1 for the end of the file, 0 for none. */
static hone_status delimiter_at(int *out, int c, csv *in) {
    *out = 0;
    if (c == in->separator || c == '\n' || c < 0) *out = c;
    if (c == '\r') {
        int next;
        HONE_TRY(peek(&next, in->import->reader));
        if (next == '\n') hone_reader_skip(in->import->reader, 1);
        *out = '\n';
    }
    return HONE_OK;
}

/* One field with what ends it. */
static hone_status read_field(int *delimiter, csv *in, csv_row *row) {
    hone_reader *reader = in->import->reader;
    bool quoted = false;
    bool first = true;
    for (;;) {
        int c;
        HONE_TRY(hone_reader_byte(&c, reader));
        if (first && c == '"') {
            HONE_TRY(read_quoted(in, row));
            quoted = row->quoted = true;
            first = false;
            continue;
        }
        first = false;
        HONE_TRY(delimiter_at(delimiter, c, in));
        if (*delimiter != 0) return end_field(row);
        if (quoted)
            return hone_fail(HONE_ERR_FORMAT,
                             "line %lld: text after a closing quote; a quote inside a field is "
                             "written twice",
                             (long long)in->line);
        char byte = (char)c;
        HONE_TRY(hone_row_append(&row->text, &byte, 1, reader->name));
    }
}

static hone_status read_row(bool *more, csv *in, csv_row *row) {
    hone_buf_clear(&row->text);
    row->count = 0;
    row->quoted = false;
    int c;
    HONE_TRY(peek(&c, in->import->reader));
    *more = c >= 0;
    if (!*more) return HONE_OK;
    int delimiter;
    do {
        HONE_TRY(read_field(&delimiter, in, row));
    } while (delimiter == in->separator);
    in->line++;
    return hone_check_utf8(row->text.data ? row->text.data : "", row->text.length,
                           in->import->reader->name, "the row");
}

static bool is_blank_line(const csv_row *row) {
    return row->count == 1 && row->text.length == 0 && !row->quoted;
}

/* Counts candidates outside of quotes in what is buffered of the first line. */
static hone_status find_separator(csv *in) {
    const unsigned char *bytes;
    size_t length;
    HONE_TRY(hone_reader_peek(&bytes, &length, in->import->reader));
    static const char candidates[] = ",;\t";
    size_t counts[3] = {0};
    bool quoted = false;
    for (size_t i = 0; i < length && (quoted || (bytes[i] != '\n' && bytes[i] != '\r')); i++) {
        if (bytes[i] == '"') quoted = !quoted;
        const char *hit = quoted || !bytes[i] ? NULL : strchr(candidates, bytes[i]);
        if (hit) counts[hit - candidates]++;
    }
    size_t best = 0;
    for (size_t i = 1; i < 3; i++) {
        if (counts[i] > counts[best]) best = i;
    }
    in->separator = candidates[best];
    return HONE_OK;
}

/* Without a map, names are compared in lower case and without space around. */
static void tidy_name(char *name, size_t *length) {
    while (*length > 0 && isspace((unsigned char)name[*length - 1])) --*length;
    size_t skip = 0;
    while (skip < *length && isspace((unsigned char)name[skip])) skip++;
    *length -= skip;
    memmove(name, name + skip, *length);
    for (size_t i = 0; i < *length; i++) name[i] = (char)tolower((unsigned char)name[i]);
}

/* The row as an object; the caller releases it. */
static hone_status make_object(json_t **out, const csv *in) {
    *out = json_object();
    if (!*out) return hone_fail(HONE_ERR_MEMORY, "out of memory: a CSV row");
    for (size_t i = 0; i < in->row.count; i++) {
        size_t name_length;
        size_t length;
        const char *name = field_of(&in->header, i, &name_length);
        const char *text = field_of(&in->row, i, &length);
        json_t *value = json_stringn(text, length);
        char *key = hone_strndup(name, name_length);
        if (key && in->import->options->map_count == 0) {
            tidy_name(key, &name_length);
            key[name_length] = '\0';
        }
        if (key && key[0] && json_object_get(*out, key)) {
            hone_status status = hone_fail(
                HONE_ERR_DATA, "the header names the column \"%.40s\" twice; rename one", key);
            json_decref(value);
            hone_free(key);
            return status;
        }
        bool failed = !key || !value || json_object_set(*out, key, value) != 0;
        json_decref(value);
        hone_free(key);
        if (failed) return hone_fail(HONE_ERR_MEMORY, "out of memory: a CSV row");
    }
    return HONE_OK;
}

static hone_status take_row(csv *in) {
    if (in->row.count != in->header.count)
        return hone_fail(HONE_ERR_DATA, "has %zu fields where the header has %zu", in->row.count,
                         in->header.count);
    json_t *object = NULL;
    hone_status status = make_object(&object, in);
    if (status == HONE_OK) status = hone_import_row(in->import, object);
    json_decref(object);
    return status;
}

/* The row's head is put together again from its fields; the text of an unfinished field comes last. */
static hone_status row_failed(csv *in, hone_status status) {
    enum { HEAD = 100 };
    char head[HEAD];
    size_t used = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= in->row.count && used < HEAD; i++) {
        size_t end = i < in->row.count ? in->row.ends[i] : in->row.text.length;
        if (i == in->row.count && begin == end) break;
        if (i > 0) head[used++] = in->separator;
        size_t part = end - begin < HEAD - used ? end - begin : HEAD - used;
        if (part > 0) memcpy(head + used, in->row.text.data + begin, part);
        used += part;
        begin = end;
    }
    return hone_import_row_failed(in->import, status, head, used);
}

static hone_status read_rows(csv *in) {
    hone_import *import = in->import;
    for (bool more = true;;) {
        import->row++;
        hone_status status = read_row(&more, in, &in->row);
        if (status == HONE_OK && !more) return HONE_OK;
        if (status == HONE_OK && is_blank_line(&in->row)) continue;
        if (status == HONE_OK) status = take_row(in);
        if (status == HONE_ERR_IO || status == HONE_ERR_MEMORY) return status;
        if (status != HONE_OK) return row_failed(in, status);
    }
}

static hone_status read_csv(csv *in) {
    bool more;
    HONE_TRY(hone_reader_skip_bom(in->import->reader));
    HONE_TRY(find_separator(in));
    hone_status status = read_row(&more, in, &in->header);
    if (status != HONE_OK)
        return hone_fail_context(status, "%s: the header", in->import->reader->name);
    return more ? read_rows(in) : HONE_OK;
}

hone_status hone_import_csv(hone_import *import) {
    csv in = {.import = import, .line = 1};
    hone_status status = read_csv(&in);
    row_free(&in.header);
    row_free(&in.row);
    return status;
}
