#include "data/reader.h"

#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/file.h"
#include "text/utf8.h"

hone_status hone_reader_open(hone_reader *out, const char *path) {
    *out = (hone_reader){.name = path};
    if (hone_path_is_dir(path))
        return hone_fail(HONE_ERR_IO, "%s: is a folder; name the files in it", path);
    out->gz = gzopen(path, "rbe");
    if (!out->gz) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
    out->buffer = hone_alloc(HONE_READER_BUFFER, 1);
    if (!out->buffer) {
        hone_reader_close(out);
        return HONE_ERR_MEMORY;
    }
    out->gzipped = gzdirect(out->gz) == 0;
    return HONE_OK;
}

void hone_reader_memory(hone_reader *out, const void *bytes, size_t length, const char *name) {
    *out =
        (hone_reader){.name = name, .buffer = (unsigned char *)(uintptr_t)bytes, .filled = length};
}

void hone_reader_close(hone_reader *reader) {
    if (!reader || !reader->gz) return;
    gzclose_r(reader->gz);
    hone_free(reader->buffer);
    *reader = (hone_reader){0};
}

static hone_status refill(hone_reader *reader) {
    reader->at = reader->filled = 0;
    if (!reader->gz) return HONE_OK;
    int got = gzread(reader->gz, reader->buffer, HONE_READER_BUFFER);
    int code = Z_OK;
    const char *cause = gzerror(reader->gz, &code);
    if (got > 0) reader->filled = (size_t)got;
    if (got >= 0 && (code == Z_OK || code == Z_STREAM_END || got > 0)) return HONE_OK;
    if (code == Z_ERRNO) return hone_fail_errno(HONE_ERR_IO, "%s: cannot read", reader->name);
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: the gzip data is damaged: %s; get the file again, or unpack what is left "
                     "of it with gzip -dc",
                     reader->name, cause);
}

hone_status hone_reader_peek(const unsigned char **bytes, size_t *length, hone_reader *reader) {
    if (reader->at == reader->filled) HONE_TRY(refill(reader));
    *bytes = reader->buffer + reader->at;
    *length = reader->filled - reader->at;
    return HONE_OK;
}

hone_status hone_reader_byte(int *out, hone_reader *reader) {
    if (reader->at == reader->filled) HONE_TRY(refill(reader));
    *out = reader->at < reader->filled ? reader->buffer[reader->at++] : -1;
    return HONE_OK;
}

hone_status hone_row_append(hone_buf *row, const void *bytes, size_t length, const char *name) {
    if (length > HONE_ROW_MOST - row->length)
        return hone_fail(HONE_ERR_DATA,
                         "%s: a single row or document of more than 256 MiB; cut it into smaller "
                         "ones",
                         name);
    return hone_buf_append(row, bytes, length);
}

hone_status hone_reader_line(hone_buf *out, bool *more, hone_reader *reader) {
    hone_buf_clear(out);
    *more = false;
    for (;;) {
        const unsigned char *bytes;
        size_t length;
        HONE_TRY(hone_reader_peek(&bytes, &length, reader));
        if (length == 0) break;
        *more = true;
        const unsigned char *end = memchr(bytes, '\n', length);
        size_t part = end ? (size_t)(end - bytes) : length;
        HONE_TRY(hone_row_append(out, bytes, part, reader->name));
        hone_reader_skip(reader, part + (end ? 1 : 0));
        if (end) break;
    }
    if (out->length > 0 && out->data[out->length - 1] == '\r') out->data[--out->length] = '\0';
    return HONE_OK;
}

hone_status hone_reader_skip_bom(hone_reader *reader) {
    const unsigned char *bytes;
    size_t length;
    HONE_TRY(hone_reader_peek(&bytes, &length, reader));
    if (length >= 2 &&
        ((bytes[0] == 0xff && bytes[1] == 0xfe) || (bytes[0] == 0xfe && bytes[1] == 0xff))) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: the text is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
                         reader->name);
    }
    if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) hone_reader_skip(reader, 3);
    return HONE_OK;
}

hone_status hone_check_utf8(const char *text, size_t length, const char *name, const char *what) {
    size_t valid = hone_utf8_valid(text, length);
    if (valid == length) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: %s: byte %zu (0x%02x) is not UTF-8 text; if the file is text, save it as "
                     "UTF-8 (for example iconv -f WINDOWS-1252 -t UTF-8)",
                     name, what, valid, (unsigned char)text[valid]);
}
