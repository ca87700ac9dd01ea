/* JSON Lines, and JSON: a list of rows, or rows one after another. Never more than a row is in memory. */
#include <string.h>

#include "data/importer.h"
#include "formats/json.h"

static hone_status take_row(hone_import *import, const char *text, size_t length) {
    json_t *row = NULL;
    hone_status status = hone_json_parse(&row, text, length, "the row");
    if (status == HONE_OK) status = hone_import_row(import, row);
    json_decref(row);
    bool placed = status == HONE_OK || status == HONE_ERR_IO || status == HONE_ERR_MEMORY;
    return placed ? status : hone_import_row_failed(import, status, text, length);
}

static bool is_space(int c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const hone_buf *line) {
    for (size_t i = 0; i < line->length; i++) {
        if (!is_space((unsigned char)line->data[i])) return false;
    }
    return true;
}

/* The first byte that is no white space, left unread; -1 at the end. Line ends on the way are counted. */
static hone_status look(int *out, int64_t *lines, hone_reader *reader) {
    for (;;) {
        const unsigned char *bytes;
        size_t length;
        HONE_TRY(hone_reader_peek(&bytes, &length, reader));
        *out = length > 0 ? bytes[0] : -1;
        if (!is_space(*out)) return HONE_OK;
        if (*out == '\n' && lines) ++*lines;
        hone_reader_skip(reader, 1);
    }
}

/* What is known of a value while its bytes pass by. */
typedef struct scan {
    int depth;
    bool in_string, escaped;
} scan;

/* Whether the value ends with (`takes`) or before this byte; a scalar ends before a delimiter. */
static bool ends_at(scan *s, int c, bool *takes) {
    *takes = true;
    if (s->in_string) {
        if (s->escaped) {
            s->escaped = false;
        } else if (c == '\\') {
            s->escaped = true;
        } else if (c == '"') {
            s->in_string = false;
            return s->depth == 0;
        }
        return false;
    }
    if (c == '"') s->in_string = true;
    if (c == '{' || c == '[') s->depth++;
    if (c == '}' || c == ']') {
        if (s->depth > 0) return --s->depth == 0;
        *takes = false; /* the end of the list around it */
        return true;
    }
    *takes = s->depth > 0 || !(is_space(c) || c == ',');
    return !*takes;
}

/* The bytes of the next value into *out. Whether they are JSON is for the parser to say. */
static hone_status read_value(hone_buf *out, hone_reader *reader) {
    scan s = {0};
    hone_buf_clear(out);
    for (;;) {
        const unsigned char *bytes;
        size_t length;
        HONE_TRY(hone_reader_peek(&bytes, &length, reader));
        if (length == 0) return HONE_OK;
        size_t used = 0;
        bool ended = false;
        while (used < length && !ended) {
            bool takes;
            ended = ends_at(&s, bytes[used], &takes);
            if (takes) used++;
        }
        HONE_TRY(hone_row_append(out, bytes, used, reader->name));
        hone_reader_skip(reader, used);
        if (ended) return HONE_OK;
    }
}

static hone_status bad_list(const hone_import *import, const char *what) {
    return hone_fail(HONE_ERR_FORMAT, "%s: after row %lld: %s; the file is cut short or no JSON",
                     import->reader->name, (long long)import->row, what);
}

/* After the opening bracket: rows with commas between, up to the closing one. */
static hone_status read_list(hone_import *import, hone_buf *value) {
    hone_reader *reader = import->reader;
    int c;
    HONE_TRY(look(&c, NULL, reader));
    while (c != ']') {
        if (c < 0 || c == ',') return bad_list(import, "a row is missing");
        import->row++;
        HONE_TRY(read_value(value, reader));
        HONE_TRY(take_row(import, value->data ? value->data : "", value->length));
        HONE_TRY(look(&c, NULL, reader));
        if (c == ']') break;
        if (c != ',') return bad_list(import, "neither a comma nor the end of the list follows");
        hone_reader_skip(reader, 1);
        HONE_TRY(look(&c, NULL, reader));
        if (c == ']') return bad_list(import, "a row is missing");
    }
    hone_reader_skip(reader, 1);
    HONE_TRY(look(&c, NULL, reader));
    return c < 0 ? HONE_OK : bad_list(import, "there is more after the end of the list");
}

static hone_status read_sequence(hone_import *import, hone_buf *value) {
    hone_reader *reader = import->reader;
    int c;
    HONE_TRY(look(&c, NULL, reader));
    while (c >= 0) {
        if (c == ',' || c == ']' || c == '}') return bad_list(import, "a stray bracket or comma");
        import->row++;
        HONE_TRY(read_value(value, reader));
        HONE_TRY(take_row(import, value->data ? value->data : "", value->length));
        HONE_TRY(look(&c, NULL, reader));
    }
    return HONE_OK;
}

static hone_status read_lines(hone_import *import, hone_buf *line) {
    for (;;) {
        bool more;
        HONE_TRY(hone_reader_line(line, &more, import->reader));
        if (!more) return HONE_OK;
        import->row++;
        if (!is_blank(line)) HONE_TRY(take_row(import, line->data, line->length));
    }
}

/* A file that starts with a bracket is one list, whatever its name. */
static hone_status read_json(hone_import *import, bool by_line) {
    hone_buf row = {0};
    int64_t lines = 0;
    int c = -1;
    hone_status status = hone_reader_skip_bom(import->reader);
    if (status == HONE_OK) status = look(&c, &lines, import->reader);
    if (status == HONE_OK && c == '[') {
        hone_reader_skip(import->reader, 1);
        status = read_list(import, &row);
    } else if (status == HONE_OK && by_line) {
        import->row = lines;
        status = read_lines(import, &row);
    } else if (status == HONE_OK) {
        status = read_sequence(import, &row);
    }
    hone_buf_free(&row);
    return status;
}

hone_status hone_import_jsonl(hone_import *import) {
    return read_json(import, true);
}

hone_status hone_import_json(hone_import *import) {
    return read_json(import, false);
}
