#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

#include "base/file.h"
#include "support.h"
#include "train/metrics.h"
#include "train/tfevents.h"

static char folder[64];

static void setup(void) {
    strcpy(folder, "/tmp/hone-metrics-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *lines_path(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    return path;
}

static void expect_lines(const char *wanted) {
    hone_buf text = {0};
    ck_ok(hone_file_get(&text, lines_path()));
    ck_assert_str_eq(text.data, wanted);
    hone_buf_free(&text);
}

static hone_step_metrics step_of(int64_t step) {
    return (hone_step_metrics){.step = step,
                               .loss = 1.0 / 3,
                               .lr = 2e-4,
                               .grad_norm = 12345.678901234,
                               .tokens = 2048,
                               .supervised_tokens = 1000,
                               .seconds = 0.5,
                               .tokens_per_second = 4096,
                               .peak_bytes = INT64_C(5000000000)};
}

static void write_steps(int64_t from, int64_t to) {
    hone_metrics *metrics;
    ck_ok(hone_metrics_open(&metrics, folder));
    for (int64_t step = from; step <= to; step++) {
        hone_step_metrics line = step_of(step);
        ck_ok(hone_metrics_step(metrics, &line));
    }
    ck_ok(hone_metrics_sync(metrics));
    hone_metrics_free(metrics);
}

#define STEP_LINE                                                                                  \
    "{\"step\": 1, \"loss\": 0.333333333, \"lr\": 0.0002, \"grad_norm\": 12345.6789, "             \
    "\"tokens\": 2048, \"supervised_tokens\": 1000, \"seconds\": 0.5, "                            \
    "\"tokens_per_second\": 4096, \"peak_bytes\": 5000000000}\n"

START_TEST(metrics_step_and_eval_write_the_fields_of_the_contract) {
    hone_metrics *metrics;
    ck_ok(hone_metrics_open(&metrics, folder));
    hone_eval_metrics eval = {.step = 0, .eval_loss = 2.5, .eval_tokens = 7, .eval_seconds = 0.25};
    hone_step_metrics step = step_of(1);
    ck_ok(hone_metrics_eval(metrics, &eval));
    ck_ok(hone_metrics_step(metrics, &step));
    expect_lines("{\"step\": 0, \"eval_loss\": 2.5, \"eval_tokens\": 7, "
                 "\"eval_seconds\": 0.25}\n" STEP_LINE);
    hone_metrics_free(metrics);
    struct stat info;
    ck_assert_int_eq(stat(lines_path(), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
}
END_TEST

START_TEST(metrics_step_with_nan_writes_null) {
    hone_metrics *metrics;
    ck_ok(hone_metrics_open(&metrics, folder));
    hone_step_metrics step = step_of(1);
    step.loss = (double)NAN;
    ck_ok(hone_metrics_step(metrics, &step));
    hone_metrics_free(metrics);
    hone_metrics_history history;
    ck_ok(hone_metrics_read(&history, folder));
    ck_assert(isnan(history.steps[0].loss));
    ck_assert_double_eq(history.steps[0].lr, 2e-4);
    hone_metrics_history_free(&history);
}
END_TEST

START_TEST(metrics_resume_cuts_back_to_the_step_and_drops_a_torn_line) {
    write_steps(1, 5);
    FILE *file = fopen(lines_path(), "a");
    fputs("{\"step\": 2, \"lo", file);
    fclose(file);
    ck_ok(hone_metrics_resume(folder, 1));
    expect_lines(STEP_LINE);
    write_steps(2, 3);
    hone_metrics_history history;
    ck_ok(hone_metrics_read(&history, folder));
    ck_assert_uint_eq(history.step_count, 3);
    ck_assert_int_eq(history.steps[2].step, 3);
    hone_metrics_history_free(&history);
}
END_TEST

START_TEST(metrics_resume_before_first_step_or_without_file_leaves_nothing) {
    ck_ok(hone_metrics_resume(folder, 10));
    ck_assert(!hone_path_exists(lines_path()));
    write_steps(1, 2);
    ck_ok(hone_metrics_resume(folder, 0));
    expect_lines("");
}
END_TEST

START_TEST(metrics_open_again_starts_a_new_event_file) {
    write_steps(1, 1);
    write_steps(2, 2);
    DIR *dir = opendir(folder);
    int events = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        events += strncmp(entry->d_name, "events.out.tfevents.", 20) == 0;
    closedir(dir);
    ck_assert_int_eq(events, 2);
}
END_TEST

START_TEST(metrics_read_damaged_line_names_file_and_line) {
    write_steps(1, 1);
    FILE *file = fopen(lines_path(), "a");
    fputs("{\"step\": 2, \"lo\n", file);
    fclose(file);
    hone_metrics_history history;
    ck_fails(hone_metrics_read(&history, folder), HONE_ERR_FORMAT, "metrics.jsonl: line 2");
    ck_fails(hone_metrics_read(&history, "/nowhere"), HONE_ERR_IO, "/nowhere/metrics.jsonl");
}
END_TEST

START_TEST(metrics_open_in_missing_folder_is_refused) {
    hone_metrics *metrics;
    ck_fails(hone_metrics_open(&metrics, "/nowhere"), HONE_ERR_IO, "/nowhere/metrics.jsonl");
}
END_TEST

START_TEST(metrics_step_on_full_disk_says_so) {
    hone_metrics *metrics;
    ck_assert_int_eq(symlink("/dev/full", lines_path()), 0);
    ck_ok(hone_metrics_open(&metrics, folder));
    hone_step_metrics step = step_of(1);
    ck_fails(hone_metrics_step(metrics, &step), HONE_ERR_IO, "is the disk full?");
    hone_metrics_free(metrics);
}
END_TEST

START_TEST(crc32c_known_texts_match_rfc_3720) {
    unsigned char bytes[32] = {0};
    ck_assert_uint_eq(hone_crc32c("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(hone_crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, 32);
    ck_assert_uint_eq(hone_crc32c(bytes, 32), 0x62a8ab43u);
}
END_TEST

/* `test_metrics --write FOLDER` leaves a run of two sessions for tests/interop to read with TensorBoard. */
static int write_for_interop(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
    for (int64_t from = 1; from <= 3; from += 2) {
        hone_metrics *metrics;
        if (hone_metrics_open(&metrics, folder) != HONE_OK) return 1;
        for (int64_t step = from; step <= from + 3; step++) {
            hone_step_metrics line = step_of(step);
            line.loss = 1.0 / (double)(step + from);
            hone_eval_metrics eval = {.step = step, .eval_loss = 0.5};
            if (hone_metrics_step(metrics, &line) != HONE_OK) return 1;
            if (hone_metrics_eval(metrics, &eval) != HONE_OK) return 1;
        }
        hone_metrics_free(metrics);
        if (from == 1 && hone_metrics_resume(folder, 2) != HONE_OK) return 1;
        if (from == 1) sleep(1); /* event files are read in the order of their names' times */
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_for_interop(argv[2]);
    Suite *suite = suite_create("metrics");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, metrics_step_and_eval_write_the_fields_of_the_contract);
    tcase_add_test(values, metrics_step_with_nan_writes_null);
    tcase_add_test(values, metrics_resume_cuts_back_to_the_step_and_drops_a_torn_line);
    tcase_add_test(values, metrics_resume_before_first_step_or_without_file_leaves_nothing);
    tcase_add_test(values, metrics_open_again_starts_a_new_event_file);
    tcase_add_test(values, crc32c_known_texts_match_rfc_3720);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, metrics_read_damaged_line_names_file_and_line);
    tcase_add_test(errors, metrics_open_in_missing_folder_is_refused);
    tcase_add_test(errors, metrics_step_on_full_disk_says_so);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
