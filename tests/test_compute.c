/* What `compute: auto` remembers of its measurements. */
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "tests/support.h"
#include "train/compute.h"

static char folder[] = "/tmp/hone-test-compute-XXXXXX";

static void setup(void) {
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("XDG_CACHE_HOME", folder, 1);
}

static void teardown(void) {
    hone_dir_remove(folder);
    unsetenv("XDG_CACHE_HOME");
}

START_TEST(recall_gives_what_was_remembered_of_the_same_key) {
    ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_AUTO);
    hone_compute_remember("one", HONE_COMPUTE_INT8);
    hone_compute_remember("two", HONE_COMPUTE_F32);
    hone_compute_remember("four", HONE_COMPUTE_BF16);
    ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_INT8);
    ck_assert_int_eq(hone_compute_recall("two"), HONE_COMPUTE_F32);
    ck_assert_int_eq(hone_compute_recall("three"), HONE_COMPUTE_AUTO);
    ck_assert_int_eq(hone_compute_recall("four"), HONE_COMPUTE_BF16);
    hone_compute_remember("one", HONE_COMPUTE_F32);
    ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_F32);
}
END_TEST

START_TEST(recall_damaged_file_counts_for_nothing) {
    static const char *const texts[] = {"", "int8", "int8\nx", "auto\n", "fp4\n"};
    hone_compute_remember("one", HONE_COMPUTE_INT8);
    char *path = hone_path_join(folder, "hone");
    char command[256];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(command, sizeof command, "for f in %s/compute-*; do printf '%s' > $f; done", path,
                 texts[i]);
        ck_assert_int_eq(system(command), 0);
        ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_AUTO);
    }
    hone_free(path);
}
END_TEST

START_TEST(remember_without_a_folder_is_harmless) {
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    hone_compute_remember("one", HONE_COMPUTE_INT8);
    ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_AUTO);
    unsetenv("XDG_CACHE_HOME");
    char *home = getenv("HOME");
    unsetenv("HOME");
    ck_assert_int_eq(hone_compute_recall("one"), HONE_COMPUTE_AUTO);
    if (home) setenv("HOME", home, 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("compute");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, recall_gives_what_was_remembered_of_the_same_key);
    tcase_add_test(values, recall_damaged_file_counts_for_nothing);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, remember_without_a_folder_is_harmless);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
