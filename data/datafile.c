#include "data/datafile.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/datafile_layout.h"

enum { MOST_TABLE_ROWS = 1000000 };

struct hone_datafile {
    char *path;
    hone_data_columns columns;
    char generation[HONE_SHA256_TEXT];
    hone_data_source *sources;    /* [columns.sources.count] */
    hone_data_ledger_row *ledger; /* [columns.ledger.count] */
};

static hone_status read_meta(hone_datafile *file) {
    const char *path = file->path;
    hid_t meta = H5Gopen2(file->columns.file, "/meta", H5P_DEFAULT);
    if (meta < 0) {
        H5Eclear2(H5E_DEFAULT);
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: an HDF5 file, but not a data file of hone (it has no /meta); make "
                         "one with hone data add",
                         path);
    }
    char format[32] = "";
    char version[16] = "";
    hone_status status = hone_h5_get_text(format, sizeof format, meta, "format", path);
    if (status == HONE_OK)
        status = hone_h5_get_text(version, sizeof version, meta, "version", path);
    if (status == HONE_OK) {
        status =
            hone_h5_get_text(file->generation, sizeof file->generation, meta, "generation", path);
    }
    H5Gclose(meta);
    HONE_TRY(status);
    if (strcmp(format, HONE_DATA_FORMAT) == 0 && strcmp(version, HONE_DATA_VERSION) == 0)
        return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: format \"%s\" version \"%s\" where this hone reads \"%s\" version \"%s\"",
                     path, format, version, HONE_DATA_FORMAT, HONE_DATA_VERSION);
}

/* Tables are small: all of a table at once. */
static hone_status read_table(void *out, hone_h5_column *column, const char *path) {
    if (column->count > MOST_TABLE_ROWS)
        return hone_fail(HONE_ERR_FORMAT, "%s: %s has %lld rows; at most %d are read", path,
                         column->name, (long long)column->count, MOST_TABLE_ROWS);
    void *rows = hone_alloc((size_t)column->count, column->item);
    if (!rows) return HONE_ERR_MEMORY;
    memcpy(out, &rows, sizeof rows);
    return hone_h5_column_read(rows, column, 0, column->count);
}

static hone_status read_tables(hone_datafile *file) {
    hone_data_columns *c = &file->columns;
    HONE_TRY(read_table(&file->sources, &c->sources, file->path));
    HONE_TRY(read_table(&file->ledger, &c->ledger, file->path));
    for (int64_t i = 0; i < c->sources.count; i++) {
        hone_data_source *row = &file->sources[i];
        row->name[sizeof row->name - 1] = '\0';
        row->sha256[sizeof row->sha256 - 1] = '\0';
        row->importer[sizeof row->importer - 1] = '\0';
        row->time[sizeof row->time - 1] = '\0';
        row->note[sizeof row->note - 1] = '\0';
    }
    for (int64_t i = 0; i < c->ledger.count; i++) {
        hone_data_ledger_row *row = &file->ledger[i];
        row->reason[sizeof row->reason - 1] = '\0';
        row->example[sizeof row->example - 1] = '\0';
    }
    return HONE_OK;
}

static bool is_sha256(const char *text) {
    return strlen(text) == HONE_SHA256_TEXT - 1 &&
           strspn(text, "0123456789abcdef") == HONE_SHA256_TEXT - 1;
}

/* The tables must fit each other and the records: a table whose bytes HDF5 lost is read as zeros. */
static hone_status check_tables(const hone_datafile *file) {
    int64_t left = file->columns.end.count;
    for (int64_t i = 0; i < file->columns.sources.count; i++) {
        const hone_data_source *row = &file->sources[i];
        const char *wrong = NULL;
        if (row->id != i) wrong = "has another number";
        if (!row->name[0]) wrong = "has no name";
        if (!is_sha256(row->sha256)) wrong = "has no SHA-256";
        if (row->records < 0 || row->records > left) wrong = "claims more records than there are";
        if (wrong)
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: /sources: row %lld %s; the file is corrupt: restore it from a "
                             "copy, or make it again from the files it came from",
                             file->path, (long long)i, wrong);
        left -= row->records;
    }
    if (left == 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: %lld of %lld records belong to no source of /sources; the file is "
                     "corrupt: restore it from a copy, or make it again from the files it came "
                     "from",
                     file->path, (long long)left, (long long)file->columns.end.count);
}

/* The last end must be the end of the text: a file that was cut and mended elsewhere fails here, not in training. */
static hone_status check_end(hone_datafile *file) {
    hone_data_columns *c = &file->columns;
    int64_t end = 0;
    if (c->end.count > 0) HONE_TRY(hone_h5_column_read(&end, &c->end, c->end.count - 1, 1));
    if (end == c->text.count) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: the last record ends at byte %lld of %lld; the file is corrupt: restore "
                     "it from a copy",
                     file->path, (long long)end, (long long)c->text.count);
}

/* What the system says comes first: HDF5 calls a missing file or a folder corrupt. */
static hone_status check_path(const char *path) {
    FILE *stream = fopen(path, "rbe");
    if (!stream) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
    fclose(stream);
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return hone_fail(HONE_ERR_IO, "%s: not a regular file", path);
    htri_t is_hdf5 = H5Fis_hdf5(path);
    H5Eclear2(H5E_DEFAULT);
    if (is_hdf5 > 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: not an HDF5 file, or its start is damaged (%lld bytes); make a data file "
                     "with hone data add",
                     path, (long long)info.st_size);
}

static hone_status open_file(hone_datafile *file) {
    HONE_TRY(check_path(file->path));
    hid_t id;
    HONE_TRY(hone_data_h5_open(&id, file->path, false));
    file->columns.file = id;
    HONE_TRY(read_meta(file));
    HONE_TRY(hone_data_columns_open(&file->columns, id, false, file->path));
    HONE_TRY(read_tables(file));
    HONE_TRY(check_tables(file));
    return check_end(file);
}

hone_status hone_datafile_open(hone_datafile **out, const char *path) {
    *out = NULL;
    hone_h5_quiet();
    hone_datafile *file = hone_alloc(1, sizeof *file);
    if (!file) return HONE_ERR_MEMORY;
    file->path = hone_strdup(path);
    hone_status status = file->path ? open_file(file) : HONE_ERR_MEMORY;
    if (status != HONE_OK) {
        hone_datafile_free(file);
        return status;
    }
    *out = file;
    return HONE_OK;
}

void hone_datafile_free(hone_datafile *file) {
    if (!file) return;
    hone_data_columns_close(&file->columns);
    hone_free(file->sources);
    hone_free(file->ledger);
    hone_free(file->path);
    hone_free(file);
}

const char *hone_datafile_path(const hone_datafile *file) {
    return file->path;
}

int64_t hone_datafile_count(const hone_datafile *file) {
    return file->columns.end.count;
}

int64_t hone_datafile_bytes(const hone_datafile *file) {
    return file->columns.text.count;
}

const char *hone_datafile_generation(const hone_datafile *file) {
    return file->generation;
}

int32_t hone_datafile_sources(const hone_datafile *file) {
    return (int32_t)file->columns.sources.count;
}

const hone_data_source *hone_datafile_source(const hone_datafile *file, int32_t id) {
    return id >= 0 && id < file->columns.sources.count ? &file->sources[id] : NULL;
}

int64_t hone_datafile_ledger_rows(const hone_datafile *file) {
    return file->columns.ledger.count;
}

const hone_data_ledger_row *hone_datafile_ledger(const hone_datafile *file, int64_t row) {
    return row >= 0 && row < file->columns.ledger.count ? &file->ledger[row] : NULL;
}

static hone_status bad_record(const hone_datafile *file, int64_t index, const char *what) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: record %lld: %s; the file is corrupt: restore it from a copy", file->path,
                     (long long)index, what);
}

hone_status hone_datafile_read(hone_data_record *out, hone_datafile *file, int64_t index) {
    hone_data_columns *c = &file->columns;
    if (index < 0 || index >= c->end.count)
        return hone_fail(HONE_ERR_USAGE, "%s: there is no record %lld; the last one is %lld",
                         file->path, (long long)index, (long long)c->end.count - 1);
    int64_t begin = 0;
    int64_t end = 0;
    hone_data_hash hash;
    if (index > 0) HONE_TRY(hone_h5_column_read(&begin, &c->end, index - 1, 1));
    HONE_TRY(hone_h5_column_read(&end, &c->end, index, 1));
    HONE_TRY(hone_h5_column_read(&out->source, &c->source, index, 1));
    HONE_TRY(hone_h5_column_read(&hash, &c->hash, index, 1));
    if (begin < 0 || end <= begin || end > c->text.count)
        return bad_record(file, index, "its place lies outside the text");
    if (end - begin > HONE_DATA_RECORD_MOST) return bad_record(file, index, "larger than 1 GiB");
    if (out->source < 0 || out->source >= c->sources.count)
        return bad_record(file, index, "its source is not listed");
    size_t length = (size_t)(end - begin - 1); /* without the line end */
    hone_buf_clear(&out->json);
    HONE_TRY(hone_grow(&out->json.data, &out->json.capacity, length + 1, 1));
    HONE_TRY(hone_h5_column_read(out->json.data, &c->text, begin, (int64_t)length));
    out->json.data[length] = '\0';
    out->json.length = length;
    out->index = index;
    out->hash = hash.word[0];
    return HONE_OK;
}

hone_status hone_datafile_read_hash(hone_data_hash *out, hone_datafile *file, int64_t index) {
    return hone_h5_column_read(out, &file->columns.hash, index, 1);
}

bool hone_data_is_eval(uint64_t hash, double fraction) {
    return (double)(hash >> 11) * 0x1p-53 < fraction;
}
