/* Plain text and Markdown: the whole document is one record. Line ends become LF, those at the very end go. */
#include <string.h>

#include "data/importer.h"
#include "data/record.h"

static hone_status read_document(hone_buf *out, hone_reader *reader) {
    HONE_TRY(hone_reader_skip_bom(reader));
    for (;;) {
        const unsigned char *bytes;
        size_t length;
        HONE_TRY(hone_reader_peek(&bytes, &length, reader));
        if (length == 0) return HONE_OK;
        HONE_TRY(hone_row_append(out, bytes, length, reader->name));
        hone_reader_skip(reader, length);
    }
}

static void unify_line_ends(hone_buf *text) {
    size_t to = 0;
    for (size_t from = 0; from < text->length; from++) {
        bool crlf =
            text->data[from] == '\r' && from + 1 < text->length && text->data[from + 1] == '\n';
        if (!crlf) text->data[to++] = text->data[from];
    }
    while (to > 0 && text->data[to - 1] == '\n') to--;
    text->length = to;
    if (text->data) text->data[to] = '\0';
}

static bool is_blank(const hone_buf *text) {
    return text->length == 0 || strspn(text->data, " \t\r\n") == text->length;
}

static hone_status take_document(hone_import *import, hone_buf *text) {
    const char *name = import->reader->name;
    HONE_TRY(hone_check_utf8(text->data ? text->data : "", text->length, name, "the text"));
    if (text->length > 0 && memchr(text->data, '\0', text->length))
        return hone_fail(HONE_ERR_FORMAT, "%s: holds zero bytes: a binary file, not text", name);
    unify_line_ends(text);
    import->row = 1;
    import->report->rows = 1;
    snprintf(import->report->shape, sizeof import->report->shape, "one document");
    if (is_blank(text)) {
        hone_import_empty(import);
        return HONE_OK;
    }
    HONE_TRY(hone_record_put_text(&import->record, text->data, text->length));
    return hone_import_record(import);
}

hone_status hone_import_text(hone_import *import) {
    hone_buf text = {0};
    hone_status status = read_document(&text, import->reader);
    if (status == HONE_OK) status = take_document(import, &text);
    hone_buf_free(&text);
    return status;
}
