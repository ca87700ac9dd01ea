#include "data/datafile_layout.h"

#include <string.h>

static void insert_text(hid_t type, const char *name, size_t offset, size_t size) {
    hid_t text = hone_h5_text_type(size);
    H5Tinsert(type, name, offset, text);
    H5Tclose(text);
}

#define INSERT_TEXT(type, row, field)                                                              \
    insert_text(type, #field, offsetof(row, field), sizeof((row){0}.field))

static hid_t source_type(void) {
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(hone_data_source));
    H5Tinsert(type, "id", offsetof(hone_data_source, id), H5T_NATIVE_INT32);
    INSERT_TEXT(type, hone_data_source, name);
    INSERT_TEXT(type, hone_data_source, sha256);
    INSERT_TEXT(type, hone_data_source, importer);
    INSERT_TEXT(type, hone_data_source, time);
    INSERT_TEXT(type, hone_data_source, note);
    H5Tinsert(type, "records", offsetof(hone_data_source, records), H5T_NATIVE_INT64);
    return type;
}

static hid_t ledger_type(void) {
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(hone_data_ledger_row));
    H5Tinsert(type, "source", offsetof(hone_data_ledger_row, source), H5T_NATIVE_INT32);
    INSERT_TEXT(type, hone_data_ledger_row, reason);
    H5Tinsert(type, "count", offsetof(hone_data_ledger_row, count), H5T_NATIVE_INT64);
    INSERT_TEXT(type, hone_data_ledger_row, example);
    return type;
}

static void start(hone_data_columns *out, hid_t file) {
    hsize_t two = 2;
    *out = (hone_data_columns){.file = file};
    out->hash_type = H5Tarray_create2(H5T_NATIVE_UINT64, 1, &two);
    out->source_type = source_type();
    out->ledger_type = ledger_type();
}

/* The type without the holes that alignment leaves in memory. */
static hid_t packed(hid_t type) {
    hid_t copy = H5Tcopy(type);
    H5Tpack(copy);
    return copy;
}

static hone_status create_tables(hone_data_columns *out, const char *path) {
    hid_t sources = packed(out->source_type);
    hid_t ledger = packed(out->ledger_type);
    hone_status status =
        hone_h5_column_create(&out->sources, out->file, "/sources", sources, out->source_type,
                              sizeof(hone_data_source), HONE_DATA_TABLE_CHUNK, path);
    if (status == HONE_OK) {
        status = hone_h5_column_create(&out->ledger, out->file, "/ledger", ledger, out->ledger_type,
                                       sizeof(hone_data_ledger_row), HONE_DATA_TABLE_CHUNK, path);
    }
    H5Tclose(sources);
    H5Tclose(ledger);
    return status;
}

static hone_status create_group(hid_t file, const char *name, const char *path) {
    hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0) return hone_h5_fail(HONE_ERR_IO, path, name);
    H5Gclose(group);
    return HONE_OK;
}

hone_status hone_data_columns_create(hone_data_columns *out, hid_t file, const char *path) {
    start(out, file);
    HONE_TRY(create_group(file, "/meta", path));
    HONE_TRY(create_group(file, "/records", path));
    HONE_TRY(create_tables(out, path));
    HONE_TRY(hone_h5_column_create(&out->text, file, "/records/text", H5T_STD_U8LE,
                                   H5T_NATIVE_UINT8, 1, HONE_DATA_TEXT_CHUNK, path));
    HONE_TRY(hone_h5_column_create(&out->end, file, "/records/end", H5T_STD_I64LE, H5T_NATIVE_INT64,
                                   sizeof(int64_t), HONE_DATA_CHUNK, path));
    HONE_TRY(hone_h5_column_create(&out->source, file, "/records/source", H5T_STD_I32LE,
                                   H5T_NATIVE_INT32, sizeof(int32_t), HONE_DATA_CHUNK, path));
    return hone_h5_column_create(&out->hash, file, "/records/hash", out->hash_type, out->hash_type,
                                 sizeof(hone_data_hash), HONE_DATA_CHUNK, path);
}

static hone_status check_counts(const hone_data_columns *c, const char *path) {
    if (c->end.count == c->source.count && c->end.count == c->hash.count) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: /records/end, source and hash have %lld, %lld and %lld items where they "
                     "must have one each a record; the file is corrupt: restore it from a copy",
                     path, (long long)c->end.count, (long long)c->source.count,
                     (long long)c->hash.count);
}

hone_status hone_data_columns_open(hone_data_columns *out, hid_t file, bool writing,
                                   const char *path) {
    start(out, file);
    HONE_TRY(hone_h5_column_open(&out->sources, file, "/sources", out->source_type,
                                 sizeof(hone_data_source), HONE_DATA_TABLE_CHUNK, path));
    HONE_TRY(hone_h5_column_open(&out->ledger, file, "/ledger", out->ledger_type,
                                 sizeof(hone_data_ledger_row), HONE_DATA_TABLE_CHUNK, path));
    HONE_TRY(hone_h5_column_open(&out->text, file, "/records/text", H5T_NATIVE_UINT8, 1,
                                 HONE_DATA_TEXT_CHUNK, path));
    HONE_TRY(hone_h5_column_open(&out->end, file, "/records/end", H5T_NATIVE_INT64, sizeof(int64_t),
                                 HONE_DATA_CHUNK, path));
    HONE_TRY(hone_h5_column_open(&out->source, file, "/records/source", H5T_NATIVE_INT32,
                                 sizeof(int32_t), HONE_DATA_CHUNK, path));
    HONE_TRY(hone_h5_column_open(&out->hash, file, "/records/hash", out->hash_type,
                                 sizeof(hone_data_hash), HONE_DATA_CHUNK, path));
    hone_h5_column *all[] = {&out->text, &out->end,     &out->source,
                             &out->hash, &out->sources, &out->ledger};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) all[i]->writing = writing;
    return check_counts(out, path);
}

void hone_data_columns_close(hone_data_columns *columns) {
    hone_h5_column_close(&columns->text);
    hone_h5_column_close(&columns->end);
    hone_h5_column_close(&columns->source);
    hone_h5_column_close(&columns->hash);
    hone_h5_column_close(&columns->sources);
    hone_h5_column_close(&columns->ledger);
    if (columns->hash_type > 0) H5Tclose(columns->hash_type);
    if (columns->source_type > 0) H5Tclose(columns->source_type);
    if (columns->ledger_type > 0) H5Tclose(columns->ledger_type);
    if (columns->file > 0) H5Fclose(columns->file);
    H5Eclear2(H5E_DEFAULT);
    *columns = (hone_data_columns){0};
}

hone_status hone_data_h5_open(hid_t *out, const char *path, bool writing) {
    hid_t access = hone_h5_access();
    *out = H5Fopen(path, writing ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
    /* Any further call would clear HDF5's error stack. */
    hone_status status =
        *out < 0 ? hone_h5_fail(HONE_ERR_FORMAT, path, "cannot open as HDF5") : HONE_OK;
    H5Pclose(access);
    return status;
}

static uint64_t word_of(const char *digits) {
    uint64_t word = 0;
    for (int i = 0; i < 16; i++) {
        char c = digits[i];
        word = word << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return word;
}

hone_data_hash hone_data_hash_of(const char *json, size_t length) {
    char digits[HONE_SHA256_TEXT];
    hone_sha256_bytes(digits, json, length);
    return (hone_data_hash){{word_of(digits), word_of(digits + 16)}};
}

void hone_data_generation_step(char generation[HONE_SHA256_TEXT], hone_data_hash hash,
                               int32_t source) {
    char bytes[HONE_SHA256_TEXT - 1 + sizeof hash + sizeof source];
    memcpy(bytes, generation, HONE_SHA256_TEXT - 1);
    memcpy(bytes + HONE_SHA256_TEXT - 1, &hash, sizeof hash);
    memcpy(bytes + HONE_SHA256_TEXT - 1 + sizeof hash, &source, sizeof source);
    hone_sha256_bytes(generation, bytes, sizeof bytes);
}
