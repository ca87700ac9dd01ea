/*
 * Runs on the fenced device (tests/cuda/fake_cudart.h) beside the CPU: losses, checkpoints, what lacks room.
 */
#include "tests/cuda/device_support.h"
#include "tests/cuda/fake_cudnn.h"
#include "tests/train_support.h"
#include "train/evaluate.h"
#include "train/plan.h"
#include "train/run.h"
#include "train/session.h"

static const char shopping[] = "{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n{\"text\": \"b a\"}\n"
                               "{\"text\": \"d c\"}\n{\"text\": \"a d\"}\n{\"text\": \"c b\"}\n";

/* In a folder of the test's own. */
static void put_records(void) {
    make_folder();
    ck_ok(hone_file_put(in_folder("records.jsonl"), shopping, strlen(shopping)));
}

static hone_train_options run_options(const char *out, const char *device) {
    hone_train_options o = options_for(out);
    static const char *const tiny[] = {"steps=3",
                                       "seq_len=8",
                                       "batch_size=1",
                                       "accumulation=1",
                                       "rank=2",
                                       "alpha=4",
                                       "dropout=0.1",
                                       "eval_fraction=0.2",
                                       "eval_every=2",
                                       "early_stop=9",
                                       "recompute=auto",
                                       "checkpoint_every=1",
                                       "checkpoint_keep=9",
                                       "compute=f32"};
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) set(&o, tiny[i]);
    char text[32];
    snprintf(text, sizeof text, "device=%s", device);
    set(&o, text);
    ck_ok(hone_train_options_check(&o));
    return o;
}

static hone_train_result run_whole(const char *out, const char *device) {
    hone_train_result result;
    hone_train_options o = run_options(out, device);
    ck_ok(hone_train(&result, &o, false, &silent));
    hone_train_options_free(&o);
    ck_assert_int_eq(result.steps, 3);
    return result;
}

static void check_text(const char *run, const char *name, const char *text) {
    char path[512];
    hone_buf found = {0};
    snprintf(path, sizeof path, "%s/%s", run, name);
    ck_ok(hone_file_get(&found, path));
    ck_assert_msg(strstr(found.data, text), "%s has no \"%s\"", name, text);
    hone_buf_free(&found);
}

START_TEST(run_on_device_has_the_losses_of_the_cpu_and_resumes_to_the_same_bits) {
    put_records();
    hone_train_result cpu = run_whole(in_folder("cpu"), "cpu");
    ck_assert_int_eq(fake_cudart_used().launches, 0);
    hone_train_result cuda = run_whole(in_folder("cuda"), "cuda");
    ck_assert_int_gt(fake_cudart_used().launches, 0);
    ck_assert_double_eq_tol(cuda.first_loss, cpu.first_loss, 1e-5 * cpu.first_loss);
    ck_assert_double_eq_tol(cuda.last_loss, cpu.last_loss, 1e-4 * cpu.last_loss);
    ck_assert_int_le(cuda.peak_bytes, cuda.planned_bytes);
    /* So small a step takes less than the answers after it, which are planned with what the host keeps of them. */
    ck_assert_int_ge(cuda.peak_bytes, cuda.planned_bytes / 10 * 8);
    ck_assert(cuda.has_eval);
    ck_assert_double_eq_tol(cuda.eval_loss, cpu.eval_loss, 1e-4 * cpu.eval_loss);
    check_text(in_folder("cuda"), "run.yaml", "device: cuda");
    check_text(in_folder("cuda"), "run.yaml", "cuda, Fenced 0");
    hone_train_options parts = run_options(in_folder("parts"), "auto");
    hone_train_result result;
    stop_flag = 0;
    stop_after = 2;
    ck_fails(hone_train(&result, &parts, false, &stopping), HONE_ERR_INTERRUPTED, "--resume");
    stop_flag = 0;
    stop_after = -1;
    ck_ok(hone_train(&result, &parts, true, &stopping));
    ck_assert_int_eq(result.resumed_from, 2);
    check_same_file(in_folder("cuda"), in_folder("parts"), "adapter/adapter_model.safetensors");
    hone_train_options_free(&parts);
    remove_folder();
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* which makes the large products that are timed too slow */
static void keep_profile(void *context, const char *text) {
    hone_buf *out = context;
    ck_ok(hone_buf_puts(out, text));
}

/* The device is measured when the run has closed it. */
START_TEST(run_on_device_is_profiled) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    hone_buf table = {0};
    hone_train_result result;
    set(&o, "steps=1");
    ck_ok(hone_train(&result, &o, false,
                     &(hone_train_observer){.context = &table, .profile = keep_profile}));
    ck_assert_ptr_nonnull(strstr(table.data, "attention"));
    hone_buf_free(&table);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST
#endif

/* One step each. What a processor does not take is beside f32. Attention in bf16 is beside the processor's, which is exact. */
static const struct {
    const char *on_cuda, *on_cpu, *attention, *taken;
    double first, last; /* how far losses may lie apart */
    const char *model;
} kinds[] = {
    {"full=true", "full=true", "attention=auto", "exact", 1e-4, 1e-3, "grouped-tied"},
    {"compute=int8", "compute=int8", "attention=exact", "exact", 1e-4, 1e-3, "grouped-tied"},
    /* LoRA's factors are in TF32 on one side */
    {"compute=bf16", "compute=bf16", "attention=exact", "exact", 1e-4, 4e-2, "grouped-tied"},
    {"compute=bf16", "compute=bf16", "attention=auto", "own", 0.04, 0.4, "grouped-tied"},
    {"compute=bf16", "compute=bf16", "attention=cudnn", "cudnn", 0.04, 0.4, "llama3-rope"},
    {"activations=bf16", "activations=bf16", "attention=auto", "exact", 1e-4, 1e-3, "grouped-tied"},
    {"compute=fp8", "compute=f32", "attention=exact", "exact", 0.2, 0.2, "grouped-tied"},
    {"compute=tf32", "compute=f32", "attention=auto", "exact", 5e-3, 5e-3, "grouped-tied"},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

START_TEST(run_of_every_kind_has_the_losses_of_the_cpu) {
    static const char *const devices[] = {"cpu", "cuda"};
    hone_train_result results[2];
    put_records();
    for (int d = 0; d < 2; d++) {
        hone_train_options o = run_options(in_folder(devices[d]), devices[d]);
        set(&o, "steps=1");
        set(&o, d == 0 ? kinds[_i].on_cpu : kinds[_i].on_cuda);
        set(&o, d == 0 ? "attention=auto" : kinds[_i].attention);
        set(&o, test_text("model=" HONE_TEST_FIXTURES "/models", kinds[_i].model));
        ck_ok(hone_train(&results[d], &o, false, &silent));
        hone_train_options_free(&o);
    }
    char taken[64];
    snprintf(taken, sizeof taken, "\"attention\": \"%s\"", kinds[_i].taken);
    ck_assert_double_eq_tol(results[1].first_loss, results[0].first_loss, kinds[_i].first);
    ck_assert_double_eq_tol(results[1].eval_loss, results[0].eval_loss, kinds[_i].last);
    check_text(in_folder("cpu"), "run.yaml", "\"attention\": \"exact\"");
    check_text(in_folder("cuda"), "run.yaml", taken);
    remove_folder();
}
END_TEST

/* An adapter whose last number is none. */
static void spoil_adapter(const char *run) {
    char path[512];
    hone_buf file = {0};
    const float none = NAN;
    snprintf(path, sizeof path, "%s/adapter/adapter_model.safetensors", run);
    ck_ok(hone_file_get(&file, path));
    memcpy(file.data + file.length - sizeof none, &none, sizeof none);
    ck_ok(hone_file_put(path, file.data, file.length));
    hone_buf_free(&file);
}

START_TEST(run_whose_loss_is_no_number_is_refused_before_it_changes_anything) {
    static const char *const devices[] = {"cpu", "cuda"};
    hone_train_result result;
    put_records();
    (void)run_whole(in_folder("first"), "cpu");
    spoil_adapter(in_folder("first"));
    for (int d = 0; d < 2; d++) {
        char adapter[300];
        hone_train_options o = run_options(in_folder(devices[d]), devices[d]);
        snprintf(adapter, sizeof adapter, "adapter=%s", in_folder("first"));
        set(&o, adapter);
        set(&o, "eval_fraction=0");
        set(&o, "early_stop=0");
        ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_NUMERIC,
                 "step 1: the loss or its gradient is no finite number");
        ck_assert_int_eq(result.steps, 0);
        hone_train_options_free(&o);
    }
    remove_folder();
}
END_TEST

static double loss_of_run(hone_device_kind kind, const char *run) {
    hone_session s;
    hone_buf warning = {0};
    hone_evaluator *evaluator;
    hone_evaluation e;
    ck_ok(hone_session_open(&s, kind, 0, test_fixture(MODEL), NULL, "plain", 1, 0, false));
    ck_assert_int_eq(s.device.kind, kind);
    ck_ok(hone_session_open_adapter(&s, &warning, run));
    ck_ok(hone_session_open_data(&s, in_folder("records.jsonl"), NULL, &(hone_samples_options){0}));
    ck_ok(hone_evaluator_new(&evaluator, s.model, s.adapter, s.samples, HONE_SPLIT_ALL));
    ck_ok(hone_evaluate(&e, evaluator));
    hone_evaluator_free(evaluator);
    hone_session_close(&s);
    hone_buf_free(&warning);
    return e.loss;
}

START_TEST(adapter_of_a_run_is_evaluated_on_the_device) {
    put_records();
    (void)run_whole(in_folder("run"), "cpu");
    double wanted = loss_of_run(HONE_DEVICE_CPU, in_folder("run"));
    double found = loss_of_run(HONE_DEVICE_CUDA, in_folder("run"));
    ck_assert_double_eq_tol(found, wanted, 1e-5 * wanted);
    remove_folder();
}
END_TEST

START_TEST(run_resumed_takes_the_attention_that_it_began_with) {
    put_records();
    hone_train_result whole, result;
    hone_train_options o = run_options(in_folder("whole"), "cuda");
    set(&o, "compute=bf16");
    ck_ok(hone_train(&whole, &o, false, &silent));
    hone_train_options_free(&o);
    o = run_options(in_folder("parts"), "cuda");
    set(&o, "compute=bf16");
    stop_flag = 0;
    stop_after = 2;
    ck_fails(hone_train(&result, &o, false, &stopping), HONE_ERR_INTERRUPTED, "--resume");
    stop_flag = 0;
    stop_after = -1;
    ck_ok(hone_train(&result, &o, true, &stopping));
    check_same_file(in_folder("whole"), in_folder("parts"), "adapter/adapter_model.safetensors");
    set(&o, "attention=exact");
    ck_fails(hone_train(&result, &o, true, &silent), HONE_ERR_USAGE, "changed since");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* Of two kinds, one of which fails when it is measured. */
START_TEST(attention_of_a_library_that_fails_is_not_taken) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    set(&o, "model=" HONE_TEST_FIXTURES "/models/llama3-rope");
    set(&o, "compute=bf16");
    for (int fails = 0; fails < 2; fails++) {
        hone_run *run;
        ck_ok(hone_run_new(&run, &o, &silent));
        run->resolved.out = NULL;
        run->small = 0;
        fake_cudnn_state()->to_return_of_run = fails ? CUDNN_STATUS_EXECUTION_FAILED : 0;
        ck_assert(setenv("XDG_CACHE_HOME", in_folder(fails ? "a" : "b"), 1) == 0);
        ck_ok(hone_run_open(run, false));
        ck_assert(run->attention == HONE_ATTENTION_OWN ||
                  (!fails && run->attention == HONE_ATTENTION_CUDNN));
        hone_run_free(run);
    }
    fake_cudnn_state()->to_return_of_run = 0;
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(run_with_attention_that_is_not_there_is_refused) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    hone_train_result result;
    set(&o, "attention=cudnn");
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_USAGE,
             "attention = cudnn: cuDNN's attention takes heads of a multiple of 8 elements; leave "
             "it out, or use --attention own");
    set(&o, "device=cpu");
    set(&o, "attention=own");
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_USAGE,
             "attention = own is a GPU's, and this run computes on the processor");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* --- What is kept in the machine's memory --- */

static const char *const offloads[] = {"offload=optimizer", "offload=activations", "offload=all"};
enum { OFFLOADS = sizeof offloads / sizeof *offloads };

/* Of 48 tokens, so that a step takes more than the answers after it. */
static hone_train_options offload_options(const char *out, const char *offload) {
    hone_train_options o = run_options(out, "cuda");
    set(&o, "seq_len=48");
    set(&o, "recompute=none");
    set(&o, "activations=f32");
    set(&o, "early_stop=0");
    set(&o, "eval_fraction=0");
    set(&o, offload);
    return o;
}

static hone_train_result run_offloaded(const char *out, const char *offload) {
    hone_train_result result;
    hone_train_options o = offload_options(out, offload);
    ck_ok(hone_train(&result, &o, false, &silent));
    hone_train_options_free(&o);
    return result;
}

START_TEST(run_offloaded_takes_less_of_the_device_and_has_the_same_bits) {
    put_records();
    hone_train_result plain = run_offloaded(in_folder("plain"), "offload=none");
    ck_assert_int_eq(fake_cudart_used().late_copies, 0);
    fake_cudart_settings.early = _i == 1;
    hone_train_result away = run_offloaded(in_folder("away"), offloads[_i]);
    ck_assert_int_gt(fake_cudart_used().late_copies, 0);
    ck_assert(away.last_loss == plain.last_loss);
    check_same_file(in_folder("plain"), in_folder("away"), "adapter/adapter_model.safetensors");
    ck_assert_int_eq(plain.peak_bytes, plain.planned_bytes);
    ck_assert_int_eq(away.peak_bytes, away.planned_bytes);
    ck_assert_int_lt(away.peak_bytes, plain.peak_bytes);
    check_text(in_folder("away"), "run.yaml", "offload: ");
    remove_folder();
}
END_TEST

START_TEST(run_in_int8_is_planned_without_the_weights_that_it_replaces) {
    put_records();
    hone_train_result results[2];
    for (int int8 = 0; int8 < 2; int8++) {
        hone_train_options o = offload_options(in_folder(int8 ? "int8" : "f32"), "offload=none");
        set(&o, int8 ? "compute=int8" : "compute=f32");
        ck_ok(hone_train(&results[int8], &o, false, &silent));
        ck_assert_int_eq(results[int8].peak_bytes, results[int8].planned_bytes);
        hone_train_options_free(&o);
    }
    ck_assert_int_lt(results[1].planned_bytes, results[0].planned_bytes);
    remove_folder();
}
END_TEST

/* Where moments and activations are kept decides no bit: a run goes on with another choice. */
START_TEST(run_is_resumed_with_what_is_offloaded_changed) {
    put_records();
    (void)run_offloaded(in_folder("whole"), "offload=none");
    hone_train_options parts = offload_options(in_folder("parts"), "offload=all");
    hone_train_result result;
    stop_flag = 0;
    stop_after = 1;
    ck_fails(hone_train(&result, &parts, false, &stopping), HONE_ERR_INTERRUPTED, "step 1");
    stop_flag = 0;
    stop_after = 2;
    set(&parts, "offload=none");
    ck_fails(hone_train(&result, &parts, true, &stopping), HONE_ERR_INTERRUPTED, "step 2");
    stop_flag = 0;
    set(&parts, "offload=optimizer");
    ck_ok(hone_train(&result, &parts, true, &silent));
    check_same_file(in_folder("whole"), in_folder("parts"), "adapter/adapter_model.safetensors");
    hone_train_options_free(&parts);
    remove_folder();
}
END_TEST

static hone_plan_report plan_within(const char *offload, int64_t bytes) {
    hone_plan_report report;
    hone_train_options o = offload_options(in_folder("none"), offload);
    o.memory = bytes;
    ck_ok(hone_plan_report_make(&report, &o, &silent));
    hone_train_options_free(&o);
    return report;
}

START_TEST(plan_offloads_what_does_not_fit_and_no_more) {
    put_records();
    hone_plan_report plain = plan_within("offload=auto", 1 << 30);
    ck_assert_int_eq(plain.plan.offload, HONE_OFFLOAD_NONE);
    ck_assert_int_eq(plain.plan.memory.host, 0);
    hone_plan_report away = plan_within("offload=auto", plain.plan.memory.total - 1);
    ck_assert_int_eq(away.plan.offload, HONE_OFFLOAD_OPTIMIZER);
    ck_assert_int_gt(away.plan.memory.host, 0);
    ck_assert_int_lt(away.plan.memory.total, plain.plan.memory.total);
    hone_plan_report more = plan_within("offload=auto", away.plan.memory.total - 1);
    ck_assert_int_eq(more.plan.offload, HONE_OFFLOAD_ACTIVATIONS);
    ck_assert_int_lt(more.plan.memory.total, away.plan.memory.total);
    hone_plan_report all = plan_within("offload=auto", more.plan.memory.total - 1);
    ck_assert_int_eq(all.plan.offload, HONE_OFFLOAD_ALL);
    ck_assert_int_eq(all.plan.memory.host, away.plan.memory.host + more.plan.memory.host);
    hone_train_options o = offload_options(in_folder("run"), "offload=none");
    hone_train_result result;
    o.memory = plain.plan.memory.total - 1;
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_MEMORY, "--offload auto");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(offload_that_cannot_be_is_refused) {
    put_records();
    hone_train_options o = offload_options(in_folder("run"), "offload=optimizer");
    hone_train_result result;
    fake_cudart_settings.no_host = true;
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_MEMORY, "the GPU's copies");
    set(&o, "device=cpu");
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_USAGE, "leave it out");
    set(&o, "offload=auto");
    ck_ok(hone_train(&result, &o, false, &silent));
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* --- Faults --- */

/* In the middle of a run: with pinned memory and copies under way. */
static const struct {
    fake_cudart then; /* launches are counted from the first step's end on */
    hone_status status;
    const char *message;
} faults[] = {
    {{.broken_after = 40, .error = 214}, HONE_ERR_UNSUPPORTED, "the GPU's hardware had a fault"},
    {{.broken_after = 40, .error = 46}, HONE_ERR_UNSUPPORTED, "does not answer any more"},
    {{.broken_after = 40, .error = 702}, HONE_ERR_UNSUPPORTED, "the GPU also drives a screen"},
    {{.broken_after = 40}, HONE_ERR_UNSUPPORTED, "a fault of hone or of the driver"},
    {{.refused_after = 40}, HONE_ERR_MEMORY, "the GPU has no room for what a computation takes"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

static fake_cudart settings_then;

static void set_fault(void *context, const hone_step_metrics *m, int64_t steps, double left) {
    (void)context, (void)steps, (void)left;
    if (m->step == 1) fake_cudart_settings = settings_then;
}

START_TEST(run_that_loses_the_device_keeps_its_checkpoint_and_is_resumed) {
    put_records();
    (void)run_offloaded(in_folder("whole"), "offload=none");
    hone_train_options o = offload_options(in_folder("run"), "offload=all");
    hone_train_result result;
    settings_then = faults[_i].then;
    ck_fails(hone_train(&result, &o, false, &(hone_train_observer){.step = set_fault}),
             faults[_i].status, faults[_i].message);
    ck_assert_msg(strstr(hone_fail_message(),
                         "after step 1 of 3; the checkpoint of step 1 is kept, "
                         "go on with: hone train --resume --out "),
                  "%s", hone_fail_message());
    ck_assert_int_le(fake_cudart_used().lost_calls, 1); /* that which found it out */
    fake_cudart_reset();                                /* another process finds it whole */
    ck_assert_int_eq(fake_cudart_used().pieces, 0);
    ck_ok(hone_train(&result, &o, true, &silent));
    ck_assert_int_eq(result.resumed_from, 1);
    check_same_file(in_folder("whole"), in_folder("run"), "adapter/adapter_model.safetensors");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

static void set_early_fault(void *context, const hone_plan_report *plan) {
    (void)context, (void)plan;
    fake_cudart_settings.broken_after = 20;
}

/* In the evaluation that comes first. */
START_TEST(run_that_loses_the_device_before_a_checkpoint_is_started_again) {
    put_records();
    hone_train_options o = offload_options(in_folder("run"), "offload=none");
    hone_train_result result;
    set(&o, "eval_fraction=0.2");
    ck_fails(hone_train(&result, &o, false, &(hone_train_observer){.plan = set_early_fault}),
             HONE_ERR_UNSUPPORTED, "after step 0 of 3, before a checkpoint was due");
    fake_cudart_reset();
    ck_ok(hone_train(&result, &o, true, &silent));
    ck_assert_int_eq(result.steps, 3);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(run_resumed_on_another_device_is_refused) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    hone_train_result result;
    stop_flag = 0;
    stop_after = 1;
    ck_fails(hone_train(&result, &o, false, &stopping), HONE_ERR_INTERRUPTED, "step 1");
    set(&o, "device=cpu");
    ck_fails(hone_train(&result, &o, true, &silent), HONE_ERR_USAGE, "changed since");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(run_in_fp8_on_an_older_device_is_refused) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    hone_train_result result;
    set(&o, "compute=fp8");
    fake_cudart_settings.capability = 86;
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_UNSUPPORTED,
             "this GPU takes no products in fp8");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

START_TEST(run_without_room_on_the_device_says_what_it_needs) {
    put_records();
    hone_train_options o = run_options(in_folder("run"), "cuda");
    hone_train_result result;
    fake_cudart_settings.memory = 100 << 10; /* less than the weights */
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_MEMORY, "the GPU has no room for");
    fake_cudart_settings.memory = 450 << 10; /* they, but no step */
    ck_fails(hone_train(&result, &o, false, &silent), HONE_ERR_MEMORY, "the run needs");
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* Of loops over likes: fewer with the sanitizers, which make emulated kernels several times as slow. */
#ifdef __SANITIZE_ADDRESS__
enum { PART = 2 };
#else
enum { PART = 1 };
#endif

int main(void) {
    Suite *suite = suite_create("cuda_runs");
    TCase *runs = tcase_create("runs");
    tcase_add_checked_fixture(runs, start, stop);
    tcase_set_timeout(runs, 120);
    tcase_add_test(runs, run_on_device_has_the_losses_of_the_cpu_and_resumes_to_the_same_bits);
    tcase_add_loop_test(runs, run_of_every_kind_has_the_losses_of_the_cpu, 0, KINDS / PART);
    tcase_add_test(runs, run_whose_loss_is_no_number_is_refused_before_it_changes_anything);
    tcase_add_test(runs, adapter_of_a_run_is_evaluated_on_the_device);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test(runs, run_on_device_is_profiled);
#endif
    tcase_add_test(runs, run_resumed_takes_the_attention_that_it_began_with);
    tcase_add_test(runs, attention_of_a_library_that_fails_is_not_taken);
    tcase_add_test(runs, run_with_attention_that_is_not_there_is_refused);
    tcase_add_loop_test(runs, run_offloaded_takes_less_of_the_device_and_has_the_same_bits, 0,
                        OFFLOADS / PART);
    tcase_add_test(runs, run_in_int8_is_planned_without_the_weights_that_it_replaces);
    tcase_add_test(runs, run_is_resumed_with_what_is_offloaded_changed);
    tcase_add_test(runs, plan_offloads_what_does_not_fit_and_no_more);
    tcase_add_test(runs, offload_that_cannot_be_is_refused);
    tcase_add_loop_test(runs, run_that_loses_the_device_keeps_its_checkpoint_and_is_resumed, 0,
                        FAULTS / PART);
    tcase_add_test(runs, run_that_loses_the_device_before_a_checkpoint_is_started_again);
    tcase_add_test(runs, run_resumed_on_another_device_is_refused);
    tcase_add_test(runs, run_in_fp8_on_an_older_device_is_refused);
    tcase_add_test(runs, run_without_room_on_the_device_says_what_it_needs);
    suite_add_tcase(suite, runs);
    return hone_test_run(suite);
}
