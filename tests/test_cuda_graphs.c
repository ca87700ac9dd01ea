/*
 * Runs that keep a GPU busy (tests/cuda/fake_cudart.h): what is recorded and replayed has the bits of what is queued call by
 * call, and the host waits for the step's numbers only.
 */
#include "tests/cuda/device_support.h"
#include "tests/train_support.h"

enum { STEPS = 6, PASSES = 3, CHECKPOINT = 4 };

/* What a run's steps gave, and what was counted when each ended. */
typedef struct steps {
    double loss[STEPS + 1], grad_norm[STEPS + 1];
    fake_cudart_use used[STEPS + 1];
} steps;

static void note_step(void *context, const hone_step_metrics *m, int64_t count, double left) {
    steps *s = context;
    s->loss[m->step] = m->loss;
    s->grad_norm[m->step] = m->grad_norm;
    s->used[m->step] = fake_cudart_used();
    count_steps(context, m, count, left);
}

/* Micro-batches of one row, of several shapes, with an evaluation after every third step. */
static hone_train_options options_of(const char *out, const char *device, const char *more) {
    hone_train_options o = options_for(out);
    static const char *const tiny[] = {"steps=6",
                                       "seq_len=24",
                                       "batch_size=1",
                                       "accumulation=3",
                                       "rank=2",
                                       "alpha=4",
                                       "dropout=0.1",
                                       "eval_every=3",
                                       "eval_fraction=0.2",
                                       "checkpoint_every=4",
                                       "compute=f32",
                                       "too_long=truncate"};
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) set(&o, tiny[i]);
    char text[32];
    snprintf(text, sizeof text, "device=%s", device);
    set(&o, text);
    set(&o, more);
    ck_ok(hone_train_options_check(&o));
    return o;
}

static steps run_whole(const char *out, const char *device, const char *more) {
    steps s = {0};
    hone_train_result result;
    hone_train_options o = options_of(out, device, more);
    stop_flag = 0;
    stop_after = -1;
    ck_ok(hone_train(&result, &o, false, &(hone_train_observer){.context = &s, .step = note_step}));
    hone_train_options_free(&o);
    ck_assert_int_eq(result.steps, STEPS);
    ck_assert(result.has_eval);
    return s;
}

/* Texts of many lengths, so that the number of documents, tokens and targets of a row differs. */
static void write_texts(void) {
    hone_buf text = {0};
    for (int i = 0; i < 40; i++) {
        ck_ok(hone_buf_puts(&text, "{\"text\": \""));
        for (int w = 0; w <= i * 7 % 13; w++)
            ck_ok(hone_buf_printf(&text, "%c ", 'a' + (i * 5 + w * 3) % 26));
        ck_ok(hone_buf_puts(&text, "\"}\n"));
    }
    ck_ok(hone_file_put(in_folder("records.jsonl"), text.data, text.length));
    hone_buf_free(&text);
}

START_TEST(recorded_run_has_the_bits_of_one_that_is_not_and_the_losses_of_the_cpu) {
    make_folder();
    write_texts();
    fake_cudart_use before = fake_cudart_used();
    steps told = run_whole(in_folder("told"), "cuda", "graphs=off");
    ck_assert_int_eq(fake_cudart_used().replays, before.replays);
    steps replayed = run_whole(in_folder("replayed"), "cuda", "graphs=auto");
    int64_t replays = fake_cudart_used().replays - before.replays;
    ck_assert_msg(replays > STEPS * PASSES / 2, "only %lld replays", (long long)replays);
    ck_assert_mem_eq(told.loss, replayed.loss, sizeof told.loss);
    ck_assert_mem_eq(told.grad_norm, replayed.grad_norm, sizeof told.grad_norm);
    check_same_file(in_folder("told"), in_folder("replayed"), "adapter/adapter_model.safetensors");
    steps cpu = run_whole(in_folder("cpu"), "cpu", "graphs=auto");
    for (int i = 1; i <= STEPS; i++) {
        ck_assert_double_eq_tol(replayed.loss[i], cpu.loss[i], 1e-4 * cpu.loss[i]);
        ck_assert_double_eq_tol(replayed.grad_norm[i], cpu.grad_norm[i], 1e-3 * cpu.grad_norm[i]);
    }
    remove_folder();
}
END_TEST

START_TEST(recorded_run_that_is_resumed_has_the_bits_of_one_that_is_not) {
    make_folder();
    write_texts();
    (void)run_whole(in_folder("whole"), "cuda", "graphs=off");
    steps s = {0};
    hone_train_observer observer = {.context = &s, .step = note_step, .stop = &stop_flag};
    hone_train_options o = options_of(in_folder("parts"), "cuda", "graphs=auto");
    hone_train_result result;
    stop_flag = 0;
    stop_after = 5;
    ck_fails(hone_train(&result, &o, false, &observer), HONE_ERR_INTERRUPTED, "--resume");
    stop_flag = 0;
    stop_after = -1;
    int64_t replays = fake_cudart_used().replays;
    ck_ok(hone_train(&result, &o, true, &observer));
    ck_assert_int_gt(fake_cudart_used().replays, replays);
    ck_assert_int_eq(result.resumed_from, 5);
    check_same_file(in_folder("whole"), in_folder("parts"), "adapter/adapter_model.safetensors");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* The loss and the gradient's norm. */
START_TEST(host_waits_twice_a_step) {
    make_folder();
    write_texts();
    steps s = run_whole(in_folder("run"), "cuda", "eval_every=0");
    for (int i = 2; i <= STEPS; i++) {
        if (i == CHECKPOINT + 1) continue;
        int64_t waits = s.used[i].waits - s.used[i - 1].waits;
        ck_assert_msg(waits <= 2, "step %d waits %lld times", i, (long long)waits);
    }
    remove_folder();
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* which makes the large products that are timed too slow */
/* Nothing can be watched that is replayed. */
static void ignore_profile(void *context, const char *table) {
    (void)context, (void)table;
}

START_TEST(run_that_is_profiled_is_not_recorded) {
    make_folder();
    write_texts();
    int64_t replays = fake_cudart_used().replays;
    hone_train_options o = options_of(in_folder("run"), "cuda", "steps=2");
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &(hone_train_observer){.profile = ignore_profile}));
    ck_assert_int_eq(fake_cudart_used().replays, replays);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST
#endif

int main(void) {
    Suite *suite = suite_create("cuda_graphs");
    TCase *runs = tcase_create("runs");
    tcase_add_checked_fixture(runs, start, stop);
    tcase_set_timeout(runs, 120);
    tcase_add_test(runs, recorded_run_has_the_bits_of_one_that_is_not_and_the_losses_of_the_cpu);
    tcase_add_test(runs, recorded_run_that_is_resumed_has_the_bits_of_one_that_is_not);
    tcase_add_test(runs, host_waits_twice_a_step);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test(runs, run_that_is_profiled_is_not_recorded);
#endif
    suite_add_tcase(suite, runs);
    return hone_test_run(suite);
}
