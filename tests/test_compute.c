/* What `compute: auto` takes, says, and remembers of its measurements. */
#include <sys/stat.h>

#include "tests/train_support.h"
#include "train/attention_kind.h"
#include "train/compute.h"
#include "train/measured.h"

static void setup(void) {
    make_folder();
    setenv("XDG_CACHE_HOME", folder, 1);
}

static void teardown(void) {
    remove_folder();
    unsetenv("XDG_CACHE_HOME");
}

static hone_compute recalled(const char *key) {
    return (hone_compute)hone_measured_recall(key, hone_compute_names).word;
}

static void remember(const char *key, hone_compute compute) {
    hone_measured_remember(key, hone_compute_names, (hone_measured){(int)compute, 2.5e-3});
}

START_TEST(recall_gives_what_was_remembered_of_the_same_key) {
    ck_assert_int_eq(recalled("one"), HONE_COMPUTE_AUTO);
    remember("one", HONE_COMPUTE_INT8);
    remember("two", HONE_COMPUTE_F32);
    remember("four", HONE_COMPUTE_BF16);
    ck_assert_int_eq(recalled("one"), HONE_COMPUTE_INT8);
    ck_assert_int_eq(recalled("two"), HONE_COMPUTE_F32);
    ck_assert_int_eq(recalled("three"), HONE_COMPUTE_AUTO);
    ck_assert_int_eq(recalled("four"), HONE_COMPUTE_BF16);
    remember("one", HONE_COMPUTE_F32);
    ck_assert_int_eq(recalled("one"), HONE_COMPUTE_F32);
    ck_assert_double_eq_tol(hone_measured_recall("two", hone_compute_names).token_seconds, 2.5e-3,
                            1e-9);
}
END_TEST

START_TEST(recall_damaged_file_counts_for_nothing) {
    static const char *const texts[] = {"",        "int8",      "int8\nx",    "auto\n",
                                        "fp4\n",   "int8\n",    "int8 1e-3",  "int8 1e-3\nx",
                                        "int8 \n", "int8 -1\n", "int8 nan\n", "auto 1e-3\n"};
    remember("one", HONE_COMPUTE_INT8);
    char *path = hone_path_join(folder, "hone");
    char command[256];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(command, sizeof command, "for f in %s/measured-*; do printf '%s' > $f; done", path,
                 texts[i]);
        ck_assert_int_eq(system(command), 0);
        ck_assert_int_eq(recalled("one"), HONE_COMPUTE_AUTO);
    }
    hone_free(path);
}
END_TEST

START_TEST(remember_without_a_folder_is_harmless) {
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    remember("one", HONE_COMPUTE_INT8);
    ck_assert_int_eq(recalled("one"), HONE_COMPUTE_AUTO);
    unsetenv("XDG_CACHE_HOME");
    char *home = getenv("HOME");
    unsetenv("HOME");
    ck_assert_int_eq(recalled("one"), HONE_COMPUTE_AUTO);
    if (home) setenv("HOME", home, 1);
}
END_TEST

/* --- Runs --- */

/* What a run of the options settles on, where models of `small` parameters are measured within `seconds`. */
typedef struct settled {
    hone_train_options options;
    hone_run *run;
} settled;

static void settle(settled *s, const char *setting, int64_t small, double seconds) {
    write_records(in_folder("records.jsonl"), 20);
    s->options = options_for(in_folder("run"));
    set(&s->options, setting);
    ck_ok(hone_run_new(&s->run, &s->options, &silent));
    s->run->resolved.out = NULL;
    s->run->small = small;
    s->run->auto_seconds = seconds;
    ck_ok(hone_run_open(s->run, false));
    ck_assert_int_ne(s->run->compute, HONE_COMPUTE_AUTO);
    ck_assert_int_eq(s->run->session.model->int8 != NULL, s->run->compute == HONE_COMPUTE_INT8);
}

static void end(settled *s) {
    hone_run_free(s->run);
    hone_train_options_free(&s->options);
}

START_TEST(auto_measures_once_and_says_what_it_found) {
    settled first, second;
    settle(&first, "compute=auto", 0, HONE_COMPUTE_SECONDS);
    ck_assert_ptr_nonnull(strstr(first.run->why, " of the time of f32 here"));
    ck_assert(first.run->token_seconds > 0);
    settle(&second, "compute=auto", 0, HONE_COMPUTE_SECONDS);
    ck_assert_str_eq(second.run->why, "as measured before");
    ck_assert_int_eq(second.run->compute, first.run->compute);
    ck_assert_double_eq_tol(second.run->token_seconds, first.run->token_seconds,
                            0.01 * first.run->token_seconds);
    end(&first);
    end(&second);
}
END_TEST

START_TEST(auto_without_time_takes_f32_and_remembers_nothing) {
    settled first, second;
    settle(&first, "compute=auto", 0, 0);
    ck_assert_int_eq(first.run->compute, HONE_COMPUTE_F32);
    ck_assert_str_eq(first.run->why, "others take too long to measure here");
    settle(&second, "compute=auto", 0, HONE_COMPUTE_SECONDS);
    ck_assert_str_ne(second.run->why, "as measured before");
    end(&first);
    end(&second);
}
END_TEST

static const struct {
    const char *setting, *why;
    hone_compute compute;
} unmeasured[] = {{"compute=auto", "fewer than 20 million parameters", HONE_COMPUTE_F32},
                  {"compute=int8", "as asked for", HONE_COMPUTE_INT8},
                  {"compute=f32", "as asked for", HONE_COMPUTE_F32}};

START_TEST(settle_unmeasured_says_why) {
    settled s;
    settle(&s, unmeasured[_i].setting, HONE_COMPUTE_LEAST, HONE_COMPUTE_SECONDS);
    ck_assert_int_eq(s.run->compute, unmeasured[_i].compute);
    ck_assert_str_eq(s.run->why, unmeasured[_i].why);
    ck_assert(s.run->token_seconds == 0);
    end(&s);
}
END_TEST

/* The next plan is for a model whose int8 form takes 64 MB more than now, in 32 MB more. */
static hone_status plan_again_with_large_int8(hone_run *run) {
    hone_model *model = run->session.model;
    hone_buffer_free(&model->int8_memory);
    ck_ok(hone_buffer_new(&model->int8_memory, model->device, 64 << 20));
    run->resolved.memory = run->plan.memory.total + (32 << 20);
    hone_checkpoint_state_free(&run->state);
    hone_buf_free(&run->file);
    return hone_run_plan(run);
}

START_TEST(auto_what_does_not_fit_gives_way_to_f32) {
    settled s;
    settle(&s, "compute=int8", 0, HONE_COMPUTE_SECONDS);
    s.run->resolved.compute = HONE_COMPUTE_AUTO; /* as if it had been the fastest */
    ck_ok(plan_again_with_large_int8(s.run));
    ck_assert_int_eq(s.run->compute, HONE_COMPUTE_F32);
    ck_assert_str_eq(s.run->why, "int8 takes more memory than there is");
    ck_assert_ptr_null(s.run->session.model->int8);
    ck_assert_ptr_nonnull(strstr(s.run->state.plan, "compute: f32\n"));
    end(&s);
}
END_TEST

START_TEST(asked_for_what_the_processor_lacks_is_refused) {
    hone_train_options o = options_for(in_folder("run"));
    hone_train_result result;
    write_records(in_folder("records.jsonl"), 20);
    set(&o, "compute=tf32");
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_UNSUPPORTED,
             "no products in tf32, which GPUs do: use --device cuda");
    hone_train_options_free(&o);
}
END_TEST

START_TEST(asked_for_what_does_not_fit_is_refused) {
    settled s;
    settle(&s, "compute=int8", 0, HONE_COMPUTE_SECONDS);
    ck_fails(plan_again_with_large_int8(s.run), HONE_ERR_MEMORY, "the run needs");
    end(&s);
}
END_TEST

/* --- Attention --- */

static const char *lacks_nothing(hone_attention_kind kind, hone_attention_shape shape) {
    (void)kind, (void)shape;
    return NULL;
}

/* A run whose device has every kind, all of which take the same time. */
static void settle_with_all(settled *s, hone_kernels *table) {
    settle(s, "compute=int8", 0, HONE_COMPUTE_SECONDS);
    ck_assert_int_eq(s->run->attention, HONE_ATTENTION_EXACT);
    *table = *s->run->session.device.kernels;
    table->attention_lacks = lacks_nothing;
    s->run->session.device.kernels = table;
}

static hone_attention_kind attention_of(const settled *s) {
    ck_ok(hone_run_settle_attention(s->run));
    ck_assert_int_eq(s->run->session.model->attention, s->run->attention);
    return s->run->attention;
}

START_TEST(auto_attention_is_the_fastest_that_was_found_and_exact_in_f32) {
    settled s;
    hone_kernels table;
    hone_buf key = {0};
    settle_with_all(&s, &table);
    s.run->token_seconds = 0;
    hone_attention_kind found = attention_of(&s);
    ck_assert(found == HONE_ATTENTION_OWN || found == HONE_ATTENTION_CUDNN);
    ck_assert(s.run->token_seconds > 0);
    ck_ok(hone_run_measured_key(&key, s.run));
    ck_ok(hone_buf_puts(&key, " attention"));
    ck_assert_int_eq(hone_measured_recall(key.data, hone_attention_names).word, 1 + (int)found);
    for (int kind = HONE_ATTENTION_OWN; kind <= HONE_ATTENTION_CUDNN; kind++) {
        hone_measured_remember(key.data, hone_attention_names, (hone_measured){1 + kind, 1});
        ck_assert_int_eq(attention_of(&s), kind);
    }
    s.run->compute = HONE_COMPUTE_F32;
    ck_assert_int_eq(attention_of(&s), HONE_ATTENTION_EXACT);
    hone_buf_free(&key);
    end(&s);
}
END_TEST

START_TEST(attention_is_as_asked_for_or_as_recorded) {
    settled s;
    hone_kernels table;
    char plan[] = "compute: int8\nattention: cudnn\n", earlier[] = "compute: int8\n";
    settle_with_all(&s, &table);
    s.run->resolved.attention = 1 + HONE_ATTENTION_OWN;
    ck_assert_int_eq(attention_of(&s), HONE_ATTENTION_OWN);
    s.run->resolved.attention = 0;
    s.run->small = INT64_MAX; /* not worth measuring: hone's own */
    ck_assert_int_eq(attention_of(&s), HONE_ATTENTION_OWN);
    s.run->found.plan = plan;
    ck_assert_int_eq(attention_of(&s), HONE_ATTENTION_CUDNN);
    table.attention_lacks = hone_kernels_ref()->attention_lacks;
    ck_fails(hone_run_settle_attention(s.run), HONE_ERR_USAGE, "attention = cudnn is a GPU's");
    s.run->found.plan = earlier;
    ck_fails(hone_run_settle_attention(s.run), HONE_ERR_UNSUPPORTED, "says nothing of");
    s.run->found.plan = NULL;
    end(&s);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("compute");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, recall_gives_what_was_remembered_of_the_same_key);
    tcase_add_test(values, recall_damaged_file_counts_for_nothing);
    tcase_add_test(values, auto_measures_once_and_says_what_it_found);
    tcase_add_test(values, auto_without_time_takes_f32_and_remembers_nothing);
    tcase_add_loop_test(values, settle_unmeasured_says_why, 0,
                        (int)(sizeof unmeasured / sizeof *unmeasured));
    tcase_add_test(values, auto_what_does_not_fit_gives_way_to_f32);
    tcase_add_test(values, auto_attention_is_the_fastest_that_was_found_and_exact_in_f32);
    tcase_add_test(values, attention_is_as_asked_for_or_as_recorded);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, remember_without_a_folder_is_harmless);
    tcase_add_test(errors, asked_for_what_the_processor_lacks_is_refused);
    tcase_add_test(errors, asked_for_what_does_not_fit_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
