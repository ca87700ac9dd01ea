/*
 * Plans: whatever memory there is, the choice fits it, is as fast as any, and more memory never makes it slower; runs go
 * on with the plan that they began with.
 */
#include "autograd/layout.h"
#include "tests/model_support.h"
#include "tests/train_support.h"
#include "train/checkpoint.h"
#include "train/plan.h"

/* A model with an adapter, and what may be chosen for it. */
typedef struct planned {
    hone_model *model;
    hone_adapter *adapter;
    hone_tape *tape;
    hone_plan_scope scope;
} planned;

static void open_planned(planned *p) {
    make_test_folder();
    p->model = open_model(test_fixture("models/grouped-tied"));
    ck_ok(hone_adapter_new(&p->adapter, p->model, HONE_TARGET_ALL, 4, 8, 1));
    ck_ok(hone_model_rope(p->model, 64));
    ck_ok(hone_tape_new(&p->tape, &test_device));
    p->scope = (hone_plan_scope){.forward = {.model = p->model, .adapter = p->adapter},
                                 .seq_len = 64,
                                 .batch = 6,
                                 .rows = 12,
                                 .recompute = HONE_RECOMPUTE_AUTO,
                                 .activations = HONE_ACTIVATIONS_AUTO,
                                 .limit = INT64_MAX,
                                 .fixed = {.program = 1 << 20, .evaluation = 1 << 16}};
}

static void close_planned(planned *p) {
    hone_tape_free(p->tape);
    hone_adapter_free(p->adapter);
    hone_model_close(p->model);
    remove_test_folder();
}

static hone_plan choose(planned *p, int64_t limit) {
    hone_plan plan;
    p->scope.limit = limit;
    ck_ok(hone_plan_choose(&plan, p->tape, &p->scope));
    ck_assert_int_ge(plan.micro_batch, 1);
    ck_assert_int_le(plan.micro_batch, p->scope.batch);
    ck_assert_int_ge(plan.passes * plan.micro_batch, p->scope.rows);
    ck_assert_int_lt((plan.passes - 1) * plan.micro_batch, p->scope.rows);
    return plan;
}

START_TEST(choose_without_limit_keeps_all_and_splits_nothing) {
    planned p;
    open_planned(&p);
    hone_plan plan = choose(&p, INT64_MAX);
    ck_assert_int_eq(plan.recompute, HONE_RECOMPUTE_NONE);
    ck_assert(!plan.bf16);
    ck_assert_int_eq(plan.micro_batch, 6);
    ck_assert_int_eq(plan.passes, 2);
    close_planned(&p);
}
END_TEST

/* Down from what is needed at most, always to a byte less than the last plan needs: every plan that there is. */
START_TEST(choose_less_memory_is_never_faster_and_always_fits) {
    planned p;
    open_planned(&p);
    hone_plan last = choose(&p, INT64_MAX);
    int found = 1;
    for (;; found++) {
        ck_assert_int_eq(choose(&p, last.memory.total).memory.total, last.memory.total);
        hone_plan plan = choose(&p, last.memory.total - 1);
        if (plan.memory.total >= last.memory.total) break;
        ck_assert(plan.cost >= last.cost);
        last = plan;
    }
    ck_assert_int_ge(found, 6);
    /* The last one is the smallest of all. */
    ck_assert_int_eq(last.recompute, HONE_RECOMPUTE_FULL);
    ck_assert_int_eq(last.micro_batch, 1);
    ck_assert_int_eq(choose(&p, 1).memory.total, last.memory.total);
    close_planned(&p);
}
END_TEST

START_TEST(choose_named_recomputation_is_kept) {
    planned p;
    open_planned(&p);
    p.scope.recompute = _i;
    ck_assert_int_eq(choose(&p, INT64_MAX).recompute, _i);
    ck_assert_int_eq(choose(&p, 1).recompute, _i);
    close_planned(&p);
}
END_TEST

/* Each way of recomputing takes less memory than the one before, and no arena is far from the least there can be. */
START_TEST(plan_arena_is_near_the_least_and_shrinks_by_recomputation) {
    planned p;
    open_planned(&p);
    int64_t last = INT64_MAX;
    for (int i = 0; i < HONE_RECOMPUTES; i++) {
        p.scope.recompute = i;
        hone_plan plan = choose(&p, INT64_MAX);
        ck_assert_int_lt(plan.memory.step, last);
        last = plan.memory.step;
        ck_ok(hone_memory_plan(
            &plan.memory, p.tape, &p.scope.fixed,
            &(hone_forward){.model = p.model, .adapter = p.adapter, .recompute = plan.recompute}, 6,
            64, INT64_MAX));
        double ratio = (double)hone_tape_bytes(p.tape) / (double)hone_tape_least_bytes(p.tape);
        ck_assert_msg(ratio < 1.03, "recomputation %d: %.3f of the least", i, ratio);
    }
    close_planned(&p);
}
END_TEST

/* --- Runs --- */

/* What a run of these options would be planned to. */
static hone_plan_report plan_of(const hone_train_options *o) {
    hone_plan_report report;
    ck_ok(hone_plan_report_make(&report, o, &silent));
    return report;
}

#ifndef __SANITIZE_ADDRESS__ /* what a process holds then says nothing of the program */

/* Enough rows at once that memory decides. */
static hone_train_options wide_options(const char *out) {
    hone_train_options o = options_for(out);
    static const char *const wide[] = {"batch_size=64", "accumulation=1", "recompute=auto",
                                       "steps=3"};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) set(&o, wide[i]);
    return o;
}

/* What the newest checkpoint of a run says of its plan. */
static void recorded_plan(hone_buf *out, const hone_train_options *o) {
    char folder_of_checkpoints[512], *path;
    hone_checkpoint_state state;
    snprintf(folder_of_checkpoints, sizeof folder_of_checkpoints, "%s/checkpoints", o->out);
    ck_ok(hone_checkpoint_latest(&path, &state, NULL, folder_of_checkpoints));
    ck_ok(hone_buf_puts(out, state.plan));
    hone_checkpoint_state_free(&state);
    hone_free(path);
}

/* A plan depends on what the process holds already: the first run leaves it with what all later ones find. */
static void warm_up(void) {
    hone_train_options o = wide_options(in_folder("first"));
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &silent));
    hone_train_options_free(&o);
}

START_TEST(run_resumed_with_other_memory_keeps_its_plan_and_bits) {
    make_folder();
    write_records(in_folder("records.jsonl"), 200);
    hone_train_options whole = wide_options(in_folder("whole"));
    hone_train_options parts = wide_options(in_folder("parts"));
    warm_up();
    hone_plan_report free = plan_of(&whole);
    ck_assert_int_eq(free.plan.recompute, HONE_RECOMPUTE_NONE);
    whole.memory = parts.memory = free.plan.memory.total - free.plan.memory.step / 2;
    whole.memory = parts.memory = plan_of(&whole).plan.memory.total + (1 << 20);
    ck_assert_double_gt(plan_of(&whole).plan.cost, free.plan.cost);
    hone_train_result result;
    ck_ok(hone_train(&result, &whole, false, &silent));
    stop_flag = 0;
    stop_after = 2;
    ck_fails(hone_train(&result, &parts, false, &stopping), HONE_ERR_INTERRUPTED, "--resume");
    parts.memory = 1 << 20;
    ck_fails(hone_train(&result, &parts, true, &silent), HONE_ERR_MEMORY, "other bits");
    parts.memory = 0;
    ck_ok(hone_train(&result, &parts, true, &silent));
    ck_assert_int_eq(result.resumed_from, 2);
    hone_buf wanted = {0}, found = {0};
    recorded_plan(&wanted, &whole);
    recorded_plan(&found, &parts);
    ck_assert_str_eq(found.data, wanted.data);
    hone_buf_free(&wanted);
    hone_buf_free(&found);
    check_same_file(whole.out, parts.out, "adapter/adapter_model.safetensors");
    hone_train_options_free(&whole);
    hone_train_options_free(&parts);
    remove_folder();
}
END_TEST

#endif

START_TEST(run_with_any_recomputation_gives_the_same_bytes) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options plain = options_for(in_folder("plain")),
                       again = options_for(in_folder("again"));
    char text[64] = "recompute=none";
    set(&plain, text);
    static const char *const names[] = {"none", "selective", "attention", "full"};
    snprintf(text, sizeof text, "recompute=%s", names[_i]);
    set(&again, text);
    set(&plain, (char[]){"activations=f32"});
    set(&again, (char[]){"activations=f32"});
    hone_train_result first, second;
    ck_ok(hone_train(&first, &plain, false, &silent));
    ck_ok(hone_train(&second, &again, false, &silent));
    ck_assert(first.last_loss == second.last_loss);
    check_same_file(plain.out, again.out, "adapter/adapter_model.safetensors");
    hone_train_options_free(&plain);
    hone_train_options_free(&again);
    remove_folder();
}
END_TEST

/* Activations in bf16 take less memory; gradients, and with them later losses, differ by little, the first loss not at all. */
START_TEST(run_with_bf16_activations_is_near) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options exact = options_for(in_folder("exact")),
                       rounded = options_for(in_folder("rounded"));
    set(&exact, (char[]){"activations=f32"});
    set(&rounded, (char[]){"activations=bf16"});
    char text[64];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "recompute=%s", _i ? "selective" : "none");
        set(i ? &exact : &rounded, text);
    }
    ck_assert_int_lt(plan_of(&rounded).plan.memory.step, plan_of(&exact).plan.memory.step);
    hone_train_result first, second;
    ck_ok(hone_train(&first, &exact, false, &silent));
    ck_ok(hone_train(&second, &rounded, false, &silent));
    ck_assert(first.last_loss != second.last_loss);
    ck_assert_double_eq_tol(first.last_loss, second.last_loss, 1e-2 * first.last_loss);
    hone_train_options_free(&exact);
    hone_train_options_free(&rounded);
    remove_folder();
}
END_TEST

START_TEST(plan_leaves_nothing_and_says_how_long) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    hone_plan_report report = plan_of(&o);
    ck_assert_int_eq(report.steps, 12);
    ck_assert_int_eq(report.rows_per_step, 4);
    ck_assert(report.seconds_per_step > 0 && report.tokens_per_step > 0);
    ck_assert(report.tokens_per_step <= 4 * 96);
    ck_assert(!hone_path_exists(o.out));
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

/* What was told of a run, and whether before its first step. */
typedef struct told {
    hone_plan_report plan;
    int plans, steps;
} told;

static void keep_plan(void *context, const hone_plan_report *plan) {
    told *t = context;
    ck_assert_int_eq(t->steps, 0);
    t->plan = *plan;
    t->plans++;
}

static void count_step(void *context, const hone_step_metrics *m, int64_t steps, double left) {
    (void)m, (void)steps, (void)left;
    ((told *)context)->steps++;
}

START_TEST(run_tells_its_plan_first_and_how_long) {
    make_folder();
    write_records(in_folder("records.jsonl"), 60);
    hone_train_options o = options_for(in_folder("run"));
    told t = {0};
    const hone_train_observer observer = {.context = &t, .plan = keep_plan, .step = count_step};
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &observer));
    ck_assert_int_eq(t.plans, 1);
    ck_assert_int_eq(t.plan.steps, t.steps);
    ck_assert(t.plan.seconds_per_step > 0); /* a small model is run */
    ck_assert_int_eq(t.plan.plan.memory.total, result.planned_bytes);
    ck_assert_uint_gt(t.plan.item_count, 0);
    hone_train_options_free(&o);
    remove_folder();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_test(values, choose_without_limit_keeps_all_and_splits_nothing);
    tcase_add_test(values, choose_less_memory_is_never_faster_and_always_fits);
    tcase_add_loop_test(values, choose_named_recomputation_is_kept, 0, HONE_RECOMPUTES);
    tcase_add_test(values, plan_arena_is_near_the_least_and_shrinks_by_recomputation);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test(values, run_resumed_with_other_memory_keeps_its_plan_and_bits);
#endif
    tcase_add_loop_test(values, run_with_any_recomputation_gives_the_same_bytes, 1,
                        HONE_RECOMPUTES);
    tcase_add_loop_test(values, run_with_bf16_activations_is_near, 0, 2);
    tcase_add_test(values, plan_leaves_nothing_and_says_how_long);
    tcase_add_test(values, run_tells_its_plan_first_and_how_long);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
