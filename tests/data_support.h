/*
 * What the suites of data/ share: a folder of their own, small files in it, records read back.
 */
#ifndef HONE_TESTS_DATA_SUPPORT_H
#define HONE_TESTS_DATA_SUPPORT_H

#include <sys/stat.h>
#include <zlib.h>

#include "base/file.h"
#include "data/datafile.h"
#include "data/import.h"
#include "tests/support.h"

enum { HONE_TEST_PATHS = 16 };

static char test_folder[64];

static inline void make_test_folder(void) {
    snprintf(test_folder, sizeof test_folder, "/tmp/hone-data-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test_folder));
}

static inline void remove_test_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", test_folder);
    ck_assert_int_eq(system(command), 0);
}

/* Good until 16 further calls. */
static inline const char *test_path(const char *name) {
    static char paths[HONE_TEST_PATHS][512];
    static int next;
    char *path = paths[next++ % HONE_TEST_PATHS];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline const char *put_bytes(const char *name, const void *bytes, size_t length) {
    const char *path = test_path(name);
    ck_ok(hone_file_put(path, bytes, length));
    return path;
}

static inline const char *put_file(const char *name, const char *content) {
    return put_bytes(name, content, strlen(content));
}

static inline const char *put_gzip(const char *name, const char *content) {
    const char *path = test_path(name);
    gzFile gz = gzopen(path, "wb");
    ck_assert_ptr_nonnull(gz);
    ck_assert_int_eq(gzwrite(gz, content, (unsigned)strlen(content)), (int)strlen(content));
    ck_assert_int_eq(gzclose(gz), Z_OK);
    return path;
}

/* Adds one file to "data.h5" and gives the report's row for it; the report is released. */
static inline hone_data_report_file add_file(const char *input) {
    hone_data_report report;
    ck_ok(hone_data_add(&report, test_path("data.h5"), &input, 1, NULL));
    hone_data_report_file file = report.files[0];
    hone_data_report_free(&report);
    file.path = NULL;
    return file;
}

/* Fails with the message when record `index` of "data.h5" is not `want`. */
static inline void check_record(int64_t index, const char *want) {
    hone_datafile *file;
    hone_data_record record = {0};
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_ok(hone_datafile_read(&record, file, index));
    ck_assert_str_eq(record.json.data, want);
    hone_buf_free(&record.json);
    hone_datafile_free(file);
}

static inline int64_t count_records(void) {
    hone_datafile *file;
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    int64_t count = hone_datafile_count(file);
    hone_datafile_free(file);
    return count;
}

#endif
