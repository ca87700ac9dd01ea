/*
 * Training runs on a small model: they learn, resume to the same bits, and refuse what cannot work.
 */
#include <dirent.h>
#include <math.h>

#include "tests/train_support.h"
#include "train/checkpoint.h"

START_TEST(train_small_run_learns_and_writes_its_files) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &silent));
    ck_assert_int_eq(result.steps, 12);
    ck_assert_msg(result.last_loss < result.first_loss - 0.3, "loss %g to %g", result.first_loss,
                  result.last_loss);
    ck_assert(result.has_eval && result.eval_loss < result.eval_loss_before);
    static const char *const files[] = {"run.yaml",
                                        "metrics.jsonl",
                                        "adapter.gguf",
                                        "adapter/adapter_config.json",
                                        "adapter/adapter_model.safetensors",
                                        "Modelfile",
                                        "report.html"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", o.out, files[i]);
        ck_assert_msg(hone_path_exists(path), "%s is missing", files[i]);
    }
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_USAGE, "exists already");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(train_interrupted_and_resumed_gives_the_same_bytes) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options whole = options_for(in_folder("whole"));
    hone_train_result result;
    ck_ok(hone_train(&result, &whole, false, &silent));
    hone_train_options parts = options_for(in_folder("parts"));
    static const int64_t stops[] = {1, 5, 7, 11};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        stop_flag = 0;
        stop_after = stops[i];
        ck_fails(hone_train(&result, &parts, i > 0, &stopping), HONE_ERR_INTERRUPTED, "--resume");
        ck_assert_int_eq(result.steps, stops[i]);
    }
    stop_flag = 0;
    stop_after = -1;
    ck_ok(hone_train(&result, &parts, true, &stopping));
    ck_assert_int_eq(result.resumed_from, 11);
    check_same_file(whole.out, parts.out, "adapter/adapter_model.safetensors");
    check_same_file(whole.out, parts.out, "adapter.gguf");
    hone_train_options_free(&whole);
    hone_train_options_free(&parts);
    remove_folder();
}
END_TEST

START_TEST(train_resumed_with_other_options_is_refused) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    hone_train_result result;
    stop_flag = 0;
    stop_after = 4;
    ck_fails(hone_train(&result, &o, false, &stopping), HONE_ERR_INTERRUPTED, "step 4");
    set(&o, "lr=2e-2");
    ck_fails(hone_train(&result, &o, true, &silent), HONE_ERR_USAGE, "options");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* A checkpoint as a version wrote it that did not know a name: of its plan, or of its options. */
static void write_earlier(const char *run, const hone_checkpoint_state *state, bool of_plan,
                          const char *name) {
    char checkpoints[512], text[4096];
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", run);
    snprintf(text, sizeof text, "%s", of_plan ? state->plan : state->config);
    char *line = strstr(text, name), *next = line ? strchr(line, '\n') : NULL;
    ck_assert_ptr_nonnull(next);
    memmove(line, next + 1, strlen(next));
    hone_checkpoint_state earlier = *state;
    earlier.step++;
    *(of_plan ? &earlier.plan : &earlier.config) = text;
    float number = 1;
    hone_checkpoint_tensor tensor = {.name = "a", .data = &number, .dims = 1, .shape = {1}};
    ck_ok(hone_checkpoint_write(checkpoints, &earlier, &tensor, 1, 9));
}

START_TEST(train_resumed_from_an_earlier_version_says_what_is_missing) {
    static const struct {
        bool of_plan;
        const char *name;
    } rows[] = {{true, "compute"},
                {true, "attention"},
                {true, "activations"},
                {true, "template"},
                {false, "too_long"}};
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    hone_train_result result;
    stop_flag = 0;
    stop_after = 4;
    ck_fails(hone_train(&result, &o, false, &stopping), HONE_ERR_INTERRUPTED, "step 4");
    hone_checkpoint_state state;
    char path[512], message[64];
    snprintf(path, sizeof path, "%s/checkpoints/step-000004.h5", o.out);
    ck_ok(hone_checkpoint_read_state(&state, path));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_earlier(o.out, &state, rows[i].of_plan, rows[i].name);
        snprintf(message, sizeof message, "says nothing of \"%s\", because", rows[i].name);
        ck_fails(hone_train(&result, &o, true, &silent), HONE_ERR_UNSUPPORTED, message);
    }
    hone_checkpoint_state_free(&state);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(train_accumulation_changes_rounding_only) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options a = options_for(in_folder("a")), b = options_for(in_folder("b"));
    set(&b, "accumulation=1");
    set(&b, "batch_size=4");
    set(&b, "recompute=none");
    hone_train_result first, second;
    ck_ok(hone_train(&first, &a, false, &silent));
    ck_ok(hone_train(&second, &b, false, &silent));
    ck_assert_double_eq_tol(first.first_loss, second.first_loss, 1e-6 * first.first_loss);
    ck_assert_double_eq_tol(first.last_loss, second.last_loss, 1e-4 * first.last_loss);
    hone_train_options_free(&a);
    hone_train_options_free(&b);
    remove_folder();
}
END_TEST

static const char *const target_sets[] = {"q", "k", "v", "q,v", "gate", "up", "o", "down", "k,up"};
enum { TARGET_SETS = sizeof target_sets / sizeof *target_sets };

START_TEST(train_any_targets_learn) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    char text[64];
    snprintf(text, sizeof text, "targets=%s", target_sets[_i]);
    set(&o, text);
    set(&o, _i % 2 ? "recompute=none" : "recompute=full");
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &silent));
    ck_assert_msg(result.last_loss < result.first_loss, "%s: %g to %g", text, result.first_loss,
                  result.last_loss);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(train_early_stop_ends_with_the_best_parameters) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    static const char *const hasty[] = {"steps=200",     "lr=3e-2",   "eval_every=5",
                                        "early_stop=2",  "dropout=0", "eval_fraction=0.3",
                                        "recompute=none"};
    for (size_t i = 0; i < sizeof hasty / sizeof *hasty; i++) set(&o, hasty[i]);
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &silent));
    ck_assert(result.stopped_early && result.steps < 200);
    hone_metrics_history history = {0};
    ck_ok(hone_metrics_read(&history, o.out));
    double best = history.evals[0].eval_loss;
    for (size_t i = 0; i < history.eval_count; i++) best = fmin(best, history.evals[i].eval_loss);
    ck_assert_double_eq_tol(result.eval_loss, best, 1e-6);
    hone_metrics_history_free(&history);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

static const struct {
    const char *setting, *message;
} impossible[] = {
    {"memory=16M", "even the smallest step does not fit"},
    {"seq_len=100000", "context"},
    {"template=nosuch", "unknown chat template"},
    {"data=/nowhere.jsonl", "/nowhere.jsonl"},
    {"model=/nowhere", "/nowhere"},
    {"adapter=/nowhere", "/nowhere"},
    {"too_long=refuse", "96"},
    {"lr=10", "no finite number"},
};
enum { IMPOSSIBLE = sizeof impossible / sizeof *impossible };

START_TEST(train_impossible_run_says_what_to_do) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    if (strncmp(impossible[_i].setting, "memory", 6) == 0) set(&o, "batch_size=512");
    if (strncmp(impossible[_i].setting, "too_long", 8) == 0) {
        hone_buf record = {0};
        for (int i = 0; i < 300; i++) ck_ok(hone_buf_puts(&record, "word "));
        hone_buf line = {0};
        ck_ok(hone_buf_printf(&line, "{\"text\": \"%s\"}\n", record.data));
        ck_ok(hone_file_put(in_folder("records.jsonl"), line.data, line.length));
        hone_buf_free(&record);
        hone_buf_free(&line);
    }
    if (strncmp(impossible[_i].setting, "lr", 2) == 0) {
        set(&o, "clip=0");
        set(&o, "warmup=0");
        set(&o, "steps=400");
        set(&o, "weight_decay=10");
    }
    set(&o, impossible[_i].setting);
    hone_train_result result;
    hone_status status = hone_train(&result, &o, false, &silent);
    ck_assert_msg(status != HONE_OK, "%s was accepted", impossible[_i].setting);
    ck_assert_msg(strstr(hone_fail_message(), impossible[_i].message), "%s: %s",
                  impossible[_i].setting, hone_fail_message());
    /* What never began leaves nothing, so that the corrected command works; a run that failed keeps its folder. */
    ck_assert(hone_path_exists(o.out) == (strncmp(impossible[_i].setting, "lr", 2) == 0));
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("train");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_test(values, train_small_run_learns_and_writes_its_files);
    tcase_add_test(values, train_interrupted_and_resumed_gives_the_same_bytes);
    tcase_add_test(values, train_accumulation_changes_rounding_only);
    tcase_add_loop_test(values, train_any_targets_learn, 0, TARGET_SETS);
    tcase_add_test(values, train_early_stop_ends_with_the_best_parameters);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 120);
    tcase_add_test(errors, train_resumed_with_other_options_is_refused);
    tcase_add_test(errors, train_resumed_from_an_earlier_version_says_what_is_missing);
    tcase_add_loop_test(errors, train_impossible_run_says_what_to_do, 0, IMPOSSIBLE);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
