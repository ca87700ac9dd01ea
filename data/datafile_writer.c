#include "data/datafile_writer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

struct hone_datafile_writer {
    hone_file file;
    hone_data_columns columns;
    char generation[HONE_SHA256_TEXT];
    bool created;
};

static hone_status copy_stream(hone_file *to, FILE *from) {
    enum { CHUNK = 1 << 16 };
    char chunk[CHUNK];
    size_t got;
    while ((got = fread(chunk, 1, CHUNK, from)) > 0) HONE_TRY(hone_file_write(to, chunk, got));
    if (ferror(from)) return hone_fail_errno(HONE_ERR_IO, "%s: cannot read", to->path);
    return HONE_OK;
}

/* Makes the temporary file, with what is at the final name already. Its stream is closed: HDF5 opens it by name. */
static hone_status start_temporary(hone_datafile_writer *writer, const char *path) {
    HONE_TRY(hone_file_create(&writer->file, path));
    hone_status status = HONE_OK;
    if (!writer->created) {
        FILE *old = fopen(path, "rbe");
        status = old ? copy_stream(&writer->file, old)
                     : hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
        if (old) fclose(old);
    }
    /* A file of an earlier crash may have had another mode. */
    if (status == HONE_OK && fchmod(fileno(writer->file.stream), 0600) != 0)
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot make private", writer->file.temporary);
    if (fclose(writer->file.stream) != 0 && status == HONE_OK)
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot write (is the disk full?)",
                                 writer->file.temporary);
    writer->file.stream = NULL;
    return status;
}

static hone_status create_empty(hone_datafile_writer *writer) {
    const char *name = writer->file.temporary;
    hid_t access = hone_h5_access();
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    hone_status status = file < 0 ? hone_h5_fail(HONE_ERR_IO, name, "cannot create") : HONE_OK;
    H5Pclose(access);
    HONE_TRY(status);
    hone_sha256_bytes(writer->generation, "", 0);
    return hone_data_columns_create(&writer->columns, file, name);
}

static hone_status open_copy(hone_datafile_writer *writer) {
    const char *name = writer->file.temporary;
    hid_t file;
    HONE_TRY(hone_data_h5_open(&file, name, true));
    HONE_TRY(hone_data_columns_open(&writer->columns, file, true, name));
    hid_t meta = H5Gopen2(file, "/meta", H5P_DEFAULT);
    if (meta < 0) return hone_h5_fail(HONE_ERR_FORMAT, name, "cannot open /meta");
    hone_status status =
        hone_h5_get_text(writer->generation, sizeof writer->generation, meta, "generation", name);
    H5Gclose(meta);
    return status;
}

static hone_status start(hone_datafile_writer *writer, const char *path) {
    HONE_TRY(start_temporary(writer, path));
    return writer->created ? create_empty(writer) : open_copy(writer);
}

hone_status hone_datafile_writer_new(hone_datafile_writer **out, const char *path) {
    *out = NULL;
    hone_h5_quiet();
    hone_datafile_writer *writer = hone_alloc(1, sizeof *writer);
    if (!writer) return HONE_ERR_MEMORY;
    writer->created = !hone_path_exists(path);
    hone_status status = start(writer, path);
    if (status != HONE_OK) {
        hone_datafile_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return HONE_OK;
}

int32_t hone_datafile_writer_sources(const hone_datafile_writer *writer) {
    return (int32_t)writer->columns.sources.count;
}

hone_status hone_datafile_writer_record(hone_datafile_writer *writer, int32_t source,
                                        hone_data_hash hash, const char *json, size_t length) {
    hone_data_columns *c = &writer->columns;
    HONE_TRY(hone_h5_column_append(&c->text, json, (int64_t)length));
    HONE_TRY(hone_h5_column_append(&c->text, "\n", 1));
    HONE_TRY(hone_h5_column_append(&c->end, &c->text.count, 1));
    HONE_TRY(hone_h5_column_append(&c->source, &source, 1));
    HONE_TRY(hone_h5_column_append(&c->hash, &hash, 1));
    hone_data_generation_step(writer->generation, hash, source);
    return HONE_OK;
}

hone_status hone_datafile_writer_source(hone_datafile_writer *writer,
                                        const hone_data_source *source) {
    return hone_h5_column_append(&writer->columns.sources, source, 1);
}

hone_status hone_datafile_writer_ledger(hone_datafile_writer *writer,
                                        const hone_data_ledger_row *row) {
    return hone_h5_column_append(&writer->columns.ledger, row, 1);
}

static hone_status write_meta(hone_datafile_writer *writer) {
    const char *name = writer->file.temporary;
    char now[32];
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    hid_t meta = H5Gopen2(writer->columns.file, "/meta", H5P_DEFAULT);
    if (meta < 0) return hone_h5_fail(HONE_ERR_IO, name, "cannot open /meta");
    hone_status status = hone_h5_put_text(meta, "format", HONE_DATA_FORMAT, name);
    if (status == HONE_OK) status = hone_h5_put_text(meta, "version", HONE_DATA_VERSION, name);
    if (status == HONE_OK && writer->created) status = hone_h5_put_text(meta, "created", now, name);
    if (status == HONE_OK) status = hone_h5_put_text(meta, "changed", now, name);
    if (status == HONE_OK) status = hone_h5_put_text(meta, "program", "hone " HONE_VERSION, name);
    if (status == HONE_OK) status = hone_h5_put_text(meta, "generation", writer->generation, name);
    H5Gclose(meta);
    return status;
}

/* Everything of HDF5's goes to the file here, so that a full disk is seen before the rename. */
static hone_status flush_all(hone_datafile_writer *writer) {
    hone_data_columns *c = &writer->columns;
    HONE_TRY(hone_h5_column_flush(&c->text));
    HONE_TRY(hone_h5_column_flush(&c->end));
    HONE_TRY(hone_h5_column_flush(&c->source));
    HONE_TRY(hone_h5_column_flush(&c->hash));
    HONE_TRY(hone_h5_column_flush(&c->sources));
    HONE_TRY(hone_h5_column_flush(&c->ledger));
    HONE_TRY(write_meta(writer));
    if (H5Fflush(c->file, H5F_SCOPE_GLOBAL) < 0)
        return hone_h5_fail(HONE_ERR_IO, writer->file.temporary, "cannot write");
    return HONE_OK;
}

hone_status hone_datafile_writer_commit(hone_datafile_writer *writer) {
    hone_status status = flush_all(writer);
    if (status == HONE_OK) {
        hid_t file = writer->columns.file;
        writer->columns.file = 0;
        hone_data_columns_close(&writer->columns);
        if (H5Fclose(file) < 0) {
            status = hone_h5_fail(HONE_ERR_IO, writer->file.temporary, "cannot write");
            hone_h5_divert(file);
            H5Fclose(file);
        }
    }
    if (status == HONE_OK) status = hone_file_commit(&writer->file);
    hone_datafile_writer_abandon(writer);
    return status;
}

void hone_datafile_writer_abandon(hone_datafile_writer *writer) {
    if (!writer) return;
    if (writer->columns.file > 0) hone_h5_divert(writer->columns.file);
    hone_data_columns_close(&writer->columns);
    hone_file_abandon(&writer->file);
    hone_free(writer);
}
