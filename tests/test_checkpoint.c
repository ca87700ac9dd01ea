#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/file.h"
#include "support.h"
#include "train/checkpoint.h"

/* HDF5 1.10 leaks a little when it refuses a damaged file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5";
}

static char folder[64];
static float a[6] = {1, -0.0f, 3e-42f, 4, 5, 6}; /* a negative zero, a subnormal */
static float b[1] = {7};
static float c[300000]; /* more than one chunk */
static hone_checkpoint_tensor tensors[] = {
    {.name = "parameter/blk.0.q.a", .data = a, .dims = 2, .shape = {2, 3}},
    {.name = "adam_m/b", .data = b, .dims = 1, .shape = {1}},
    {.name = "adam_m/c", .data = c, .dims = 3, .shape = {3, 1000, 100}},
};
enum { COUNT = 3 };

static hone_checkpoint_state state_of(int64_t step) {
    static char plan[] = "kernel: avx512\n";
    static char config[] = "rank: 4\n# \xc3\xbc\n";
    hone_checkpoint_state state = {.step = step,
                                   .epoch = 2,
                                   .bin = 17,
                                   .seed = 42,
                                   .tokens = INT64_C(5000000000),
                                   .supervised_tokens = 3,
                                   .has_best = true,
                                   .best_eval_loss = 1.0 / 3,
                                   .best_step = 100,
                                   .evals_since_best = 2,
                                   .finished = false,
                                   .plan = plan,
                                   .config = config};
    memset(state.model_hash, 'a', HONE_SHA256_TEXT - 1);
    return state;
}

static void setup(void) {
    strcpy(folder, "/tmp/hone-checkpoint-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int i = 0; i < 300000; i++) c[i] = (float)i / 7;
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *path_of(int64_t step) {
    static char path[128];
    snprintf(path, sizeof path, "%s/step-%06lld.h5", folder, (long long)step);
    return path;
}

static void write_step(int64_t step, int64_t keep) {
    hone_checkpoint_state state = state_of(step);
    ck_ok(hone_checkpoint_write(folder, &state, tensors, COUNT, keep));
}

/* Reads into fresh arrays and compares every bit. */
static hone_status read_back(const char *path) {
    static float x[6], y[1], z[300000];
    hone_checkpoint_tensor out[COUNT];
    memcpy(out, tensors, sizeof out);
    out[0].data = x;
    out[1].data = y;
    out[2].data = z;
    hone_status status = hone_checkpoint_read(out, COUNT, path);
    if (status != HONE_OK) return status;
    ck_assert(memcmp(x, a, sizeof a) == 0);
    ck_assert(memcmp(y, b, sizeof b) == 0);
    ck_assert(memcmp(z, c, sizeof c) == 0);
    return HONE_OK;
}

START_TEST(checkpoint_write_reads_back_every_bit) {
    write_step(200, 3);
    ck_ok(read_back(path_of(200)));
    hone_checkpoint_state wrote = state_of(200);
    hone_checkpoint_state state;
    ck_ok(hone_checkpoint_read_state(&state, path_of(200)));
    ck_assert_int_eq(state.step, 200);
    ck_assert_int_eq(state.epoch, 2);
    ck_assert_int_eq(state.bin, 17);
    ck_assert_int_eq(state.seed, 42);
    ck_assert_int_eq(state.tokens, wrote.tokens);
    ck_assert(state.has_best && !state.finished);
    ck_assert_double_eq(state.best_eval_loss, 1.0 / 3);
    ck_assert_int_eq(state.best_step, 100);
    ck_assert_int_eq(state.evals_since_best, 2);
    ck_assert_str_eq(state.plan, wrote.plan);
    ck_assert_str_eq(state.config, wrote.config);
    ck_assert_str_eq(state.model_hash, wrote.model_hash);
    ck_assert_str_eq(state.data_hash, "");
    hone_checkpoint_state_free(&state);
    struct stat info;
    ck_assert_int_eq(stat(path_of(200), &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
}
END_TEST

START_TEST(checkpoint_write_twice_gives_the_same_bytes) {
    hone_buf first = {0};
    hone_buf second = {0};
    write_step(5, 3);
    ck_ok(hone_file_get(&first, path_of(5)));
    sleep(1); /* times, if any were stored, would differ */
    write_step(5, 3);
    ck_ok(hone_file_get(&second, path_of(5)));
    ck_assert_uint_eq(first.length, second.length);
    ck_assert(memcmp(first.data, second.data, first.length) == 0);
    hone_buf_free(&first);
    hone_buf_free(&second);
}
END_TEST

START_TEST(checkpoint_write_keeps_the_newest) {
    for (int64_t step = 1; step <= 5; step++) write_step(step, 2);
    ck_assert(!hone_path_exists(path_of(3)));
    ck_assert(hone_path_exists(path_of(4)) && hone_path_exists(path_of(5)));
    write_step(2, 2); /* resumed from an older one: what came after is gone */
    ck_assert(hone_path_exists(path_of(2)));
    ck_assert(!hone_path_exists(path_of(4)) && !hone_path_exists(path_of(5)));
}
END_TEST

static hone_status note_name(void *context, const char *name, int dims, const int64_t *shape) {
    return hone_buf_printf(context, "%s %d %lld\n", name, dims, (long long)shape[0]);
}

START_TEST(checkpoint_list_names_every_tensor) {
    write_step(1, 1);
    hone_buf names = {0};
    ck_ok(hone_checkpoint_list(path_of(1), note_name, &names));
    ck_assert_str_eq(names.data, "adam_m/b 1 1\nadam_m/c 3 3\nparameter/blk.0.q.a 2 2\n");
    hone_buf_free(&names);
    ck_assert(hone_checkpoint_is(path_of(1)));
    ck_ok(hone_checkpoint_verify(path_of(1)));
}
END_TEST

START_TEST(checkpoint_latest_empty_folder_gives_none) {
    char *path;
    hone_checkpoint_state state;
    ck_ok(hone_checkpoint_latest(&path, &state, NULL, folder));
    ck_assert_ptr_null(path);
    ck_ok(hone_checkpoint_latest(&path, &state, NULL, "/nowhere"));
    ck_assert_ptr_null(path);
}
END_TEST

START_TEST(checkpoint_latest_damaged_newest_falls_back_to_the_next) {
    write_step(1, 3);
    write_step(2, 3);
    write_step(3, 3);
    ck_assert_int_eq(truncate(path_of(3), 5000), 0);
    ck_assert_int_eq(truncate(path_of(2), 0), 0);
    char *path;
    hone_checkpoint_state state;
    hone_buf refused = {0};
    ck_ok(hone_checkpoint_latest(&path, &state, &refused, folder));
    ck_assert_str_eq(path, path_of(1));
    ck_assert_int_eq(state.step, 1);
    ck_assert_ptr_nonnull(strstr(refused.data, "step-000003.h5"));
    ck_assert_ptr_nonnull(strstr(refused.data, "step-000002.h5"));
    hone_checkpoint_state_free(&state);
    hone_free(path);
    hone_buf_free(&refused);
    ck_assert_int_eq(truncate(path_of(1), 100), 0);
    ck_fails(hone_checkpoint_latest(&path, &state, NULL, folder), HONE_ERR_FORMAT,
             "none of its 3 checkpoints");
}
END_TEST

START_TEST(checkpoint_read_other_tensors_are_refused_by_name) {
    write_step(1, 1);
    const char *path = path_of(1);
    hone_checkpoint_tensor other[4];
    memcpy(other, tensors, sizeof tensors);
    ck_fails(hone_checkpoint_read(other, 2, path), HONE_ERR_FORMAT,
             "tensor \"adam_m/c\" has no place");
    other[3] = (hone_checkpoint_tensor){.name = "adam_v/b", .data = b, .dims = 1, .shape = {1}};
    ck_fails(hone_checkpoint_read(other, 4, path), HONE_ERR_FORMAT,
             "tensor \"adam_v/b\" is missing (3 of 4");
    other[0].shape[0] = 3;
    other[0].shape[1] = 2;
    ck_fails(hone_checkpoint_read(other, 3, path), HONE_ERR_FORMAT,
             "tensor \"parameter/blk.0.q.a\" has another shape");
}
END_TEST

START_TEST(checkpoint_read_other_files_are_refused) {
    char path[128];
    snprintf(path, sizeof path, "%s/x.h5", folder);
    ck_ok(hone_file_put(path, "hello", 5));
    hone_checkpoint_state state;
    ck_fails(hone_checkpoint_read_state(&state, path), HONE_ERR_FORMAT, "not an HDF5 file");
    ck_fails(hone_checkpoint_read_state(&state, "/nowhere.h5"), HONE_ERR_IO, "/nowhere.h5");
    ck_assert(!hone_checkpoint_is(path));
}
END_TEST

/* Every damaged byte is noticed, or does not matter: never a wrong number, never a crash. */
START_TEST(checkpoint_read_any_damaged_byte_is_refused_or_harmless) {
    hone_checkpoint_state state = state_of(1);
    ck_ok(hone_checkpoint_write(folder, &state, tensors, 2, 1));
    char path[128];
    snprintf(path, sizeof path, "%s/damaged.h5", folder);
    hone_buf whole = {0};
    ck_ok(hone_file_get(&whole, path_of(1)));
    int refused = 0;
    for (size_t i = 0; i < whole.length; i += 1 + whole.length / 4000) {
        whole.data[i] = (char)(whole.data[i] ^ 0x41);
        FILE *file = fopen(path, "wb");
        ck_assert_uint_eq(fwrite(whole.data, 1, whole.length, file), whole.length);
        fclose(file);
        whole.data[i] = (char)(whole.data[i] ^ 0x41);
        float x[6], y[1];
        hone_checkpoint_tensor out[2] = {tensors[0], tensors[1]};
        out[0].data = x;
        out[1].data = y;
        hone_checkpoint_state got;
        hone_status status = hone_checkpoint_read_state(&got, path);
        if (status == HONE_OK) {
            ck_assert_int_eq(got.step, 1);
            ck_assert_str_eq(got.config, state.config);
            hone_checkpoint_state_free(&got);
            status = hone_checkpoint_read(out, 2, path);
        }
        if (status != HONE_OK) {
            refused++;
            continue;
        }
        ck_assert_msg(memcmp(x, a, sizeof a) == 0 && memcmp(y, b, sizeof b) == 0, "byte %zu", i);
    }
    ck_assert_int_gt(refused, 0);
    hone_buf_free(&whole);
}
END_TEST

START_TEST(checkpoint_read_any_cut_is_refused) {
    write_step(1, 1);
    struct stat info;
    ck_assert_int_eq(stat(path_of(1), &info), 0);
    for (off_t size = info.st_size - 1; size >= 0; size -= 1 + info.st_size / 97) {
        ck_assert_int_eq(truncate(path_of(1), size), 0);
        ck_assert_int_eq(hone_checkpoint_verify(path_of(1)), HONE_ERR_FORMAT);
    }
}
END_TEST

/* In a process of its own, so that the limit does not reach the test's own files. */
static hone_status write_under_limit(rlim_t bytes) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit small = {bytes, RLIM_INFINITY};
        hone_checkpoint_state state = state_of(2);
        if (setrlimit(RLIMIT_FSIZE, &small) != 0) _exit(99);
        exit((int)hone_checkpoint_write(folder, &state, tensors, COUNT, 1));
    }
    int result;
    ck_assert_int_eq(waitpid(child, &result, 0), child);
    ck_assert(WIFEXITED(result));
    return (hone_status)WEXITSTATUS(result);
}

START_TEST(checkpoint_write_beyond_size_limit_keeps_the_older_one) {
    write_step(1, 1);
    for (rlim_t limit = 0; limit < 1200000; limit += 99991) {
        ck_assert_int_eq(write_under_limit(limit), HONE_ERR_IO);
        ck_assert(!hone_path_exists(path_of(2)));
    }
    ck_ok(read_back(path_of(1)));
    ck_assert_int_eq(write_under_limit(8000000), HONE_OK);
    ck_ok(read_back(path_of(2)));
}
END_TEST

/* A small file system of the test's own, where the kernel lets it have one. Exit statuses: 77 for no such thing. */
static int write_on_small_disk(const char *size) {
    if (!hone_test_small_disk(folder, size)) return 77;
    hone_checkpoint_state state = state_of(2);
    hone_status status = hone_checkpoint_write(folder, &state, tensors, COUNT, 1);
    if (hone_path_exists(path_of(2))) return 98;
    bool said = strstr(hone_fail_message(), "is the disk full?") != NULL;
    return said ? (int)status : 97;
}

static const char *const disk_sizes[] = {"4k", "64k", "300k", "700k", "1100k", "1300k"};

START_TEST(checkpoint_write_full_disk_fails_cleanly) {
    pid_t child = fork();
    if (child == 0) exit(write_on_small_disk(disk_sizes[_i]));
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

START_TEST(checkpoint_write_missing_folder_is_refused) {
    hone_checkpoint_state state = state_of(1);
    ck_fails(hone_checkpoint_write("/nowhere", &state, tensors, COUNT, 1), HONE_ERR_IO,
             "/nowhere/step-000001.h5");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoint");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 30);
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, checkpoint_write_reads_back_every_bit);
    tcase_add_test(values, checkpoint_write_twice_gives_the_same_bytes);
    tcase_add_test(values, checkpoint_write_keeps_the_newest);
    tcase_add_test(values, checkpoint_list_names_every_tensor);
    tcase_add_test(values, checkpoint_latest_empty_folder_gives_none);
    tcase_add_test(values, checkpoint_latest_damaged_newest_falls_back_to_the_next);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 120);
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, checkpoint_read_other_tensors_are_refused_by_name);
    tcase_add_test(errors, checkpoint_read_other_files_are_refused);
    tcase_add_test(errors, checkpoint_read_any_damaged_byte_is_refused_or_harmless);
    tcase_add_test(errors, checkpoint_read_any_cut_is_refused);
    tcase_add_test(errors, checkpoint_write_beyond_size_limit_keeps_the_older_one);
    tcase_add_loop_test(errors, checkpoint_write_full_disk_fails_cleanly, 0,
                        sizeof disk_sizes / sizeof *disk_sizes);
    tcase_add_test(errors, checkpoint_write_missing_folder_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
