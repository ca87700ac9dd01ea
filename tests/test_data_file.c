/* The data file: what is written is read, by others too; duplicates, splits, damage, full disks. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "data/datafile_writer.h"
#include "data/extsort.h"
#include "tests/data_support.h"

/* A file of `count` distinct records of some 150 bytes. */
static const char *put_many(const char *name, int64_t first, int64_t count) {
    hone_buf text = {0};
    for (int64_t i = first; i < first + count; i++)
        ck_ok(hone_buf_printf(&text,
                              "{\"question\":\"What is %lld times %lld?\",\"answer\":\"It is %lld, "
                              "of course: %lld.\"}\n",
                              (long long)i, (long long)i, (long long)(i * i), (long long)(i ^ 77)));
    const char *path = put_bytes(name, text.data, text.length);
    hone_buf_free(&text);
    return path;
}

START_TEST(add_many_records_read_back_in_order) {
    hone_data_report_file report = add_file(put_many("a.jsonl", 0, 30000));
    ck_assert_int_eq(report.added, 30000);
    hone_datafile *file;
    hone_data_record record = {0};
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_assert_int_eq(hone_datafile_count(file), 30000);
    int64_t bytes = 0;
    for (int64_t i = 0; i < 30000; i++) {
        char want[64];
        ck_ok(hone_datafile_read(&record, file, i));
        snprintf(want, sizeof want, "What is %lld times", (long long)i);
        ck_assert_ptr_nonnull(strstr(record.json.data, want));
        ck_assert_int_eq(record.index, i);
        ck_assert_int_eq(record.source, 0);
        bytes += (int64_t)record.json.length + 1;
    }
    ck_assert_int_eq(bytes, hone_datafile_bytes(file));
    static const int64_t places[] = {29999, 0, 15000, 8192, 8191, 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char want[64];
        ck_ok(hone_datafile_read(&record, file, places[i]));
        snprintf(want, sizeof want, "What is %lld times", (long long)places[i]);
        ck_assert_ptr_nonnull(strstr(record.json.data, want));
    }
    hone_buf_free(&record.json);
    hone_datafile_free(file);
}
END_TEST

START_TEST(add_new_file_is_private) {
    umask(0);
    add_file(put_file("a.txt", "x"));
    struct stat info;
    ck_assert_int_eq(stat(test_path("data.h5"), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
}
END_TEST

START_TEST(add_same_records_again_counts_duplicates) {
    const char *first = put_many("a.jsonl", 0, 100);
    const char *second = put_many("b.jsonl", 50, 100);
    add_file(first);
    hone_data_report_file report = add_file(second);
    ck_assert_int_eq(report.added, 50);
    ck_assert_int_eq(report.duplicates, 50);
    report = add_file(put_file("c.csv", "question,answer\nq,a\nq,a\n"));
    ck_assert_int_eq(report.added, 1);
    ck_assert_int_eq(report.duplicates, 1);
    hone_datafile *file;
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_assert_int_eq(hone_datafile_count(file), 151);
    ck_assert_int_eq(hone_datafile_sources(file), 3);
    const hone_data_source *source = hone_datafile_source(file, 1);
    ck_assert_str_eq(source->name, "b.jsonl");
    ck_assert_str_eq(source->importer, "jsonl question/answer");
    ck_assert_int_eq(source->records, 50);
    char sha[HONE_SHA256_TEXT];
    ck_ok(hone_sha256_file(sha, second));
    ck_assert_str_eq(source->sha256, sha);
    ck_assert_int_eq(hone_datafile_ledger_rows(file), 2);
    const hone_data_ledger_row *row = hone_datafile_ledger(file, 0);
    ck_assert_str_eq(row->reason, "duplicate");
    ck_assert_int_eq(row->source, 1);
    ck_assert_int_eq(row->count, 50);
    ck_assert_str_eq(row->example, "row 1");
    ck_assert_str_eq(hone_datafile_ledger(file, 1)->example, "row 2");
    hone_datafile_free(file);
}
END_TEST

/* More hashes than are sorted in memory: runs go to disk and are merged. */
START_TEST(add_duplicates_across_sorted_runs_found) {
    add_file(put_many("a.jsonl", 0, 70000));
    hone_data_report_file report = add_file(put_many("b.jsonl", 69990, 70000));
    ck_assert_int_eq(report.added, 69990);
    ck_assert_int_eq(report.duplicates, 10);
    ck_assert_int_eq(count_records(), 139990);
}
END_TEST

START_TEST(generation_follows_from_records_not_from_steps) {
    char one[HONE_SHA256_TEXT];
    hone_datafile *file;
    add_file(put_many("a.jsonl", 0, 10));
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    strcpy(one, hone_datafile_generation(file));
    hone_datafile_free(file);
    ck_assert_uint_eq(strlen(one), 64);
    add_file(put_file("b.txt", "more"));
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_assert_str_ne(one, hone_datafile_generation(file));
    hone_datafile_free(file);
    ck_assert_int_eq(unlink(test_path("data.h5")), 0);
    add_file(put_many("other-name.jsonl", 0, 10));
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_assert_str_eq(one, hone_datafile_generation(file));
    hone_datafile_free(file);
}
END_TEST

START_TEST(split_of_a_record_never_moves) {
    add_file(put_many("a.jsonl", 100, 2000));
    hone_datafile *file;
    hone_data_record record = {0};
    uint64_t hash;
    int64_t eval = 0;
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    for (int64_t i = 0; i < 2000; i++) {
        ck_ok(hone_datafile_read(&record, file, i));
        eval += hone_data_is_eval(record.hash, 0.1);
        ck_assert(!hone_data_is_eval(record.hash, 0.0));
        ck_assert(hone_data_is_eval(record.hash, 1.0));
    }
    ck_assert_int_gt(eval, 150);
    ck_assert_int_lt(eval, 250);
    ck_ok(hone_datafile_read(&record, file, 7));
    hash = record.hash;
    hone_datafile_free(file);
    ck_assert_int_eq(unlink(test_path("data.h5")), 0);
    add_file(put_many("b.jsonl", 0, 108));
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_ok(hone_datafile_read(&record, file, 107));
    ck_assert_uint_eq(record.hash, hash);
    hone_buf_free(&record.json);
    hone_datafile_free(file);
}
END_TEST

START_TEST(file_is_readable_by_h5py) {
    const char *python = getenv("HONE_PYTHON");
    if (!python) {
        printf("SKIP: reading the data file with h5py needs HONE_PYTHON\n");
        return;
    }
    add_file(put_many("a.jsonl", 0, 20000));
    const char *script = put_file(
        "check.py", "import h5py, json, hashlib, sys\n"
                    "f = h5py.File(sys.argv[1], 'r')\n"
                    "assert f['meta'].attrs['format'] == b'hone-data'\n"
                    "text = f['records/text'][:].tobytes()\n"
                    "end = f['records/end'][:]\n"
                    "lines = text.decode().splitlines()\n"
                    "assert len(lines) == len(end) == 20000 and end[-1] == len(text)\n"
                    "assert json.loads(lines[3])['messages'][1]['role'] == 'assistant'\n"
                    "raw = text[end[6]:end[7] - 1]\n"
                    "want = hashlib.sha256(raw).digest()[:16]\n"
                    "got = b''.join(int(x).to_bytes(8, 'big') for x in f['records/hash'][7])\n"
                    "assert got == want\n"
                    "assert f['sources'][0]['name'] == b'a.jsonl'\n"
                    "for name in ('text', 'end', 'source', 'hash'):\n"
                    "    d = f['records/' + name]\n"
                    "    assert d.compression == 'gzip' and d.fletcher32 and d.chunks\n");
    char command[512];
    snprintf(command, sizeof command, "'%s' '%s' '%s'", python, script, test_path("data.h5"));
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* --- damage ---------------------------------------------------------------------------------------------------- */

/* Opens and reads everything; the message must name the file when that fails. */
static bool fails_by_name(const char *path) {
    hone_datafile *file;
    hone_data_record record = {0};
    hone_status status = hone_datafile_open(&file, path);
    if (status == HONE_OK) {
        for (int64_t i = 0; i < hone_datafile_count(file) && status == HONE_OK; i++)
            status = hone_datafile_read(&record, file, i);
        hone_buf_free(&record.json);
        hone_datafile_free(file);
    }
    if (status != HONE_OK)
        ck_assert_msg(strstr(hone_fail_message(), path) != NULL, "%s", hone_fail_message());
    return status != HONE_OK;
}

/* What goes to standard error meanwhile; HDF5 prints its stack there unless told not to. */
static FILE *catch_stderr(int *saved) {
    FILE *caught = tmpfile();
    fflush(stderr);
    *saved = dup(2);
    dup2(fileno(caught), 2);
    return caught;
}

static long release_stderr(FILE *caught, int saved) {
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    fseek(caught, 0, SEEK_END);
    long size = ftell(caught);
    fclose(caught);
    return size;
}

START_TEST(open_truncated_at_any_length_refused) {
    add_file(put_many("a.jsonl", 0, 200));
    hone_buf bytes = {0};
    ck_ok(hone_file_get(&bytes, test_path("data.h5")));
    int saved;
    FILE *caught = catch_stderr(&saved);
    size_t kept = 0;
    for (size_t length = 0; length < bytes.length; length += length / 7 + 1) {
        const char *path = put_bytes("cut.h5", bytes.data, length);
        if (!fails_by_name(path)) kept = length;
    }
    ck_assert_int_eq(release_stderr(caught, saved), 0);
    ck_assert_uint_eq(kept, 0);
    ck_assert(fails_by_name(put_bytes("cut.h5", bytes.data, bytes.length / 2)));
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "truncated file"));
    hone_buf_free(&bytes);
}
END_TEST

START_TEST(read_flipped_record_bytes_refused_by_checksum) {
    add_file(put_many("a.jsonl", 0, 20000));
    hone_buf bytes = {0};
    ck_ok(hone_file_get(&bytes, test_path("data.h5")));
    int saved;
    FILE *caught = catch_stderr(&saved);
    size_t refused = 0;
    size_t tried = 0;
    for (size_t at = 20000; at < bytes.length; at += bytes.length / 40) {
        bytes.data[at] ^= 0x10;
        tried++;
        refused += fails_by_name(put_bytes("flip.h5", bytes.data, bytes.length));
        bytes.data[at] ^= 0x10;
    }
    ck_assert_int_eq(release_stderr(caught, saved), 0);
    /* Some bytes are unused space between HDF5's blocks. */
    ck_assert_uint_ge(refused * 10, tried * 7);
    hone_buf_free(&bytes);
}
END_TEST

START_TEST(open_other_files_refused_by_name) {
    hone_datafile *file;
    ck_fails(hone_datafile_open(&file, put_file("t.h5", "hello")), HONE_ERR_FORMAT,
             "not an HDF5 file");
    ck_fails(hone_datafile_open(&file, test_path("none.h5")), HONE_ERR_IO, "none.h5");
    ck_fails(hone_datafile_open(&file, test_folder), HONE_ERR_IO, "not a regular file");
    const char *input = put_file("a.txt", "x");
    hone_data_report report;
    ck_fails(hone_data_add(&report, test_path("t.h5"), &input, 1, NULL), HONE_ERR_FORMAT,
             "not an HDF5 file");
    hone_buf still = {0};
    ck_ok(hone_file_get(&still, test_path("t.h5")));
    ck_assert_str_eq(still.data, "hello");
    hone_buf_free(&still);
}
END_TEST

/* A file with one record and one source. */
static const char *put_one(const hone_data_source *source) {
    const char *path = test_path("one.h5");
    unlink(path);
    hone_datafile_writer *writer;
    ck_ok(hone_datafile_writer_new(&writer, path));
    ck_ok(hone_datafile_writer_record(writer, 0, hone_data_hash_of("{}", 2), "{}", 2));
    ck_ok(hone_datafile_writer_source(writer, source));
    ck_ok(hone_datafile_writer_commit(writer));
    return path;
}

START_TEST(open_sources_that_do_not_fit_refused) {
    hone_datafile *file;
    hone_data_source good = {.name = "a.jsonl", .records = 1};
    hone_sha256_bytes(good.sha256, "", 0);
    ck_ok(hone_datafile_open(&file, put_one(&good)));
    hone_datafile_free(file);
    struct {
        hone_data_source source;
        const char *said;
    } wrong[] = {
        {good, "row 0 has another number"}, {good, "row 0 has no name"},
        {good, "row 0 has no SHA-256"},     {good, "row 0 has no SHA-256"},
        {good, "claims more records"},      {good, "claims more records"},
        {good, "1 of 1 records belong"},
    };
    wrong[0].source.id = 1;
    wrong[1].source.name[0] = 0;
    wrong[2].source.sha256[63] = 0;
    wrong[3].source.sha256[5] = 'x';
    wrong[4].source.records = 2;
    wrong[5].source.records = -1;
    wrong[6].source.records = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_fails(hone_datafile_open(&file, put_one(&wrong[i].source)), HONE_ERR_FORMAT,
                 wrong[i].said);
        ck_assert_ptr_nonnull(strstr(hone_fail_message(), "one.h5: "));
    }
}
END_TEST

START_TEST(read_record_beyond_the_end_refused) {
    add_file(put_file("a.txt", "x"));
    hone_datafile *file;
    hone_data_record record = {0};
    ck_ok(hone_datafile_open(&file, test_path("data.h5")));
    ck_fails(hone_datafile_read(&record, file, 1), HONE_ERR_USAGE, "there is no record 1");
    ck_fails(hone_datafile_read(&record, file, -1), HONE_ERR_USAGE, "there is no record -1");
    hone_datafile_free(file);
}
END_TEST

/* In a child whose files may not grow past `most` bytes: what a full disk looks like to a program. */
static int add_with_limit(const char *input, rlim_t most) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {most, most};
        setrlimit(RLIMIT_FSIZE, &limit);
        signal(SIGXFSZ, SIG_IGN);
        hone_data_report report;
        hone_status status = hone_data_add(&report, test_path("data.h5"), &input, 1, NULL);
        exit(status == HONE_ERR_IO && strstr(hone_fail_message(), "data.h5") ? 0 : 1);
    }
    int exit_status;
    ck_assert_int_eq(waitpid(child, &exit_status, 0), child);
    return exit_status;
}

START_TEST(add_on_a_full_disk_leaves_the_file_as_it_was) {
    add_file(put_file("a.txt", "x"));
    hone_buf before = {0};
    hone_buf after = {0};
    ck_ok(hone_file_get(&before, test_path("data.h5")));
    const char *input = put_many("b.jsonl", 0, 20000);
    static const rlim_t limits[] = {1000, 100000, 300000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        ck_assert_int_eq(add_with_limit(input, limits[i]), 0);
        hone_buf_clear(&after);
        ck_ok(hone_file_get(&after, test_path("data.h5")));
        ck_assert_uint_eq(after.length, before.length);
        ck_assert_mem_eq(after.data, before.data, before.length);
        ck_assert(!hone_path_exists(test_path("data.h5.partial")));
    }
    hone_buf_free(&before);
    hone_buf_free(&after);
}
END_TEST

/* On a small file system of the test's own, where the kernel lets it have one. Exit statuses: 77 for no such thing. */
static int add_on_small_disk(const char *input, const char *size) {
    const char *disk = test_path("disk");
    const char *to = test_path("disk/data.h5");
    if (mkdir(disk, 0700) != 0) return 99;
    if (!hone_test_small_disk(disk, size)) return 77;
    hone_data_report report;
    hone_status status = hone_data_add(&report, to, &input, 1, NULL);
    if (status == HONE_OK) return 98;
    if (hone_path_exists(to) || hone_path_exists(test_path("disk/data.h5.partial"))) return 97;
    bool said = strstr(hone_fail_message(), "disk/") && !strchr(hone_fail_message(), '\n');
    return said ? (int)status : 96;
}

static const char *const disk_sizes[] = {"4k", "40k", "56k", "64k", "72k"};

START_TEST(add_on_a_full_file_system_fails_cleanly) {
    const char *input = put_many("b.jsonl", 0, 300);
    pid_t child = fork();
    if (child == 0) exit(add_on_small_disk(input, disk_sizes[_i]));
    int result;
    ck_assert_int_eq(waitpid(child, &result, 0), child);
    ck_assert(WIFEXITED(result));
    if (WEXITSTATUS(result) == 77) {
        printf("SKIP: a full disk needs a mount namespace\n");
        return;
    }
    ck_assert_int_eq(WEXITSTATUS(result), HONE_ERR_IO);
}
END_TEST

START_TEST(extsort_random_entries_come_in_order) {
    static const int64_t counts[] = {0, 1, 2, 65536, 65537, 300000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        hone_extsort *sort;
        ck_ok(hone_extsort_new(&sort, test_path("x")));
        uint64_t state = 88172645463325252u;
        uint64_t sum = 0;
        for (int64_t i = 0; i < counts[c]; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += state;
            ck_ok(hone_extsort_push(sort, (hone_sort_entry){{state % 1000, state}, i}));
        }
        ck_ok(hone_extsort_finish(sort));
        hone_sort_entry last = {0};
        hone_sort_entry entry;
        bool more;
        int64_t count = 0;
        for (;; count++) {
            ck_ok(hone_extsort_next(&entry, &more, sort));
            if (!more) break;
            ck_assert(count == 0 || last.key[0] < entry.key[0] ||
                      (last.key[0] == entry.key[0] && last.key[1] <= entry.key[1]));
            sum -= entry.key[1];
            last = entry;
        }
        ck_assert_int_eq(count, counts[c]);
        ck_assert_uint_eq(sum, 0);
        hone_extsort_free(sort);
    }
}
END_TEST

START_TEST(add_failing_allocation_leaves_nothing) {
    char path[512]; /* test_path() gives out its texts again */
    snprintf(path, sizeof path, "%s", put_many("a.jsonl", 0, 20));
    const char *input = path;
    for (int64_t n = 1; n < 400; n++) {
        hone_data_report report;
        hone_alloc_fail_at(n);
        hone_status status = hone_data_add(&report, test_path("data.h5"), &input, 1, NULL);
        hone_alloc_fail_at(0);
        if (status == HONE_OK) {
            hone_data_report_free(&report);
            ck_assert_int_gt(n, 20);
            return;
        }
        ck_assert_msg(status == HONE_ERR_MEMORY, "allocation %d: status %d: %s", (int)n,
                      (int)status, hone_fail_message());
        ck_assert(!hone_path_exists(test_path("data.h5.partial")));
    }
    ck_abort_msg("never succeeded");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("data_file");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_set_timeout(values, 120);
    tcase_add_test(values, add_many_records_read_back_in_order);
    tcase_add_test(values, add_new_file_is_private);
    tcase_add_test(values, add_same_records_again_counts_duplicates);
    tcase_add_test(values, add_duplicates_across_sorted_runs_found);
    tcase_add_test(values, generation_follows_from_records_not_from_steps);
    tcase_add_test(values, split_of_a_record_never_moves);
    tcase_add_test(values, file_is_readable_by_h5py);
    tcase_add_test(values, extsort_random_entries_come_in_order);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_set_timeout(errors, 120);
    tcase_add_test(errors, open_truncated_at_any_length_refused);
    tcase_add_test(errors, read_flipped_record_bytes_refused_by_checksum);
    tcase_add_test(errors, open_other_files_refused_by_name);
    tcase_add_test(errors, open_sources_that_do_not_fit_refused);
    tcase_add_test(errors, read_record_beyond_the_end_refused);
    tcase_add_test(errors, add_on_a_full_disk_leaves_the_file_as_it_was);
    tcase_add_loop_test(errors, add_on_a_full_file_system_fails_cleanly, 0,
                        sizeof disk_sizes / sizeof *disk_sizes);
    tcase_add_test(errors, add_failing_allocation_leaves_nothing);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
