#include "train/trainer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/philox.h"
#include "train/compute.h"
#include "train/schedule.h"

void hone_run_say(const hone_run *run, const char *format, ...) {
    if (!run->observer->message) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    run->observer->message(run->observer->context, text);
}

char *hone_run_path(const hone_run *run, const char *name) {
    return hone_path_join(run->options->out, name);
}

/* --- Steps --- */

static hone_status draw_dropout_key(hone_run *run, int64_t step) {
    hone_philox draw =
        hone_philox_draw((uint64_t)run->options->seed, (uint32_t)step,
                         (uint32_t)((uint64_t)step >> 32), 0, 0x64726f70u /* "drop" */);
    uint64_t key = (uint64_t)draw.word[1] << 32 | draw.word[0];
    return hone_device_copy_in(&run->session.device, run->dropout_key.base, &key, sizeof key);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Puts the next rows together, unless that was done already. */
static hone_status fill(hone_run *run, hone_cursor *cursor, int64_t rows) {
    const hone_cursor *from = &run->ahead.from;
    bool ready =
        run->ahead.rows == rows && from->epoch == cursor->epoch && from->bin == cursor->bin;
    run->ahead.rows = 0;
    if (!ready) return hone_loader_fill(&run->host, run->loader, cursor, rows);
    *cursor = run->ahead.to;
    return HONE_OK;
}

/* What the next step, whose rows begin at the cursor, begins with, while the device still works on this one. */
static hone_status fill_ahead(hone_run *run, hone_cursor cursor, int64_t step) {
    const hone_train_options *o = run->options;
    if (step == run->steps) return HONE_OK;
    double start = hone_seconds();
    int64_t own = o->batch_size * o->accumulation, rows = smaller(own, run->plan.micro_batch);
    hone_loader_skip(run->loader, &cursor, run->rank.rank * own);
    run->ahead.from = run->ahead.to = cursor;
    HONE_TRY(hone_loader_fill(&run->host, run->loader, &run->ahead.to, rows));
    run->ahead.rows = rows;
    hone_profile_span(run->profile, "batch", start, 0);
    return HONE_OK;
}

/* Queues it: what comes of it shows when the step's loss is read. With the last of a step gradients go to other GPUs, in
 * between: that is not recorded. */
static hone_status run_micro_batch(hone_run *run, hone_cursor *cursor, int64_t rows, bool last) {
    bool sums = last && run->group.size > 1;
    double start = hone_seconds();
    HONE_TRY(fill(run, cursor, rows));
    HONE_TRY(hone_device_batch_load(&run->batch, &run->host));
    hone_profile_span(run->profile, "batch", start, 0);
    if (sums) hone_exchange_begin(&run->exchange);
    return hone_passes_run(sums ? NULL : &run->passes, run->tape, &run->forward, &run->batch.loss);
}

static hone_status refuse_numbers(const hone_run *run, int64_t step, double loss) {
    return hone_fail(
        HONE_ERR_NUMERIC,
        "step %lld: the loss or its gradient is no finite number (loss %g); %s%s; try a lower "
        "learning rate (--lr %g), a longer warm-up (--set warmup=...) or stronger clipping "
        "(--set clip=0.3)",
        (long long)step, loss,
        run->has_checkpoint ? "the last good checkpoint is kept in " : "no checkpoint was due yet",
        run->has_checkpoint ? run->options->out : "", run->options->lr / 4);
}

static double rate_of(const hone_run *run, int64_t step) {
    const hone_train_options *o = run->options;
    hone_schedule schedule = {
        .kind = (hone_schedule_kind)o->schedule,
        .lr = o->lr,
        .warmup = hone_schedule_warmup(o->warmup, run->steps),
        .steps = run->steps,
        .min_lr_ratio = o->min_lr_ratio,
    };
    return hone_schedule_lr(&schedule, step - 1);
}

static hone_status zero_gradients(hone_run *run) {
    double start = hone_seconds();
    HONE_TRY(hone_optimizer_zero_grad(&run->optimizer));
    double elements = (double)run->params->elements;
    hone_profile_span(run->profile, "zero gradients", start, elements * sizeof(hone_real));
    return HONE_OK;
}

/* The norm reads the gradients; AdamW reads them with values and moments, and writes the last two. Nobody waits for AdamW,
 * unless its time is wanted: it falls to the next step. */
static hone_status update(double *grad_norm, hone_run *run, int64_t step, double lr) {
    double start = hone_seconds();
    HONE_TRY(hone_optimizer_step(grad_norm, &run->optimizer, step, lr));
    if (run->profile) HONE_TRY(hone_device_wait(&run->session.device));
    double elements = 8 * (double)run->params->elements;
    hone_profile_span(run->profile, "optimizer", start, elements * sizeof(hone_real));
    return HONE_OK;
}

static int stop_signal(const hone_run *run) {
    return run->observer->stop ? *run->observer->stop : 0;
}

/* The loss of all processes; and all of them stop after the same step. */
static hone_status exchange(double *loss, hone_run *run) {
    double start = hone_seconds(), values[] = {*loss, stop_signal(run) != 0};
    HONE_TRY(hone_exchange_end(&run->exchange));
    HONE_TRY(hone_group_sum_doubles(&run->group, values, 2));
    *loss = values[0];
    run->stopping = values[1] > 0;
    if (run->group.size > 1) hone_profile_span(run->profile, "sum over GPUs", start, 0);
    return HONE_OK;
}

/* One optimiser step, the `step`-th from 1. */
static hone_status run_step(hone_step_metrics *m, hone_run *run, int64_t step) {
    const hone_train_options *o = run->options;
    double start = hone_seconds(), loss;
    hone_profile_step_begin(run->profile, step, start);
    hone_cursor cursor = {run->state.epoch, run->state.bin}, next = cursor;
    hone_loader_counts counts;
    int64_t rows = o->batch_size * o->accumulation, most = run->plan.micro_batch;
    HONE_TRY(hone_loader_count(&counts, run->loader, cursor, hone_run_rows(run)));
    hone_loader_skip(run->loader, &next, hone_run_rows(run));
    hone_loader_skip(run->loader, &cursor, run->rank.rank * rows);
    HONE_TRY(draw_dropout_key(run, step));
    hone_profile_span(run->profile, "batch", start, 0);
    HONE_TRY(zero_gradients(run));
    HONE_TRY(hone_device_batch_begin(&run->batch, 1 / (double)counts.supervised));
    for (; rows > 0; rows -= most)
        HONE_TRY(run_micro_batch(run, &cursor, smaller(rows, most), rows <= most));
    HONE_TRY(fill_ahead(run, next, step));
    HONE_TRY(hone_device_batch_loss(&loss, &run->batch));
    HONE_TRY(exchange(&loss, run));
    *m = (hone_step_metrics){
        .step = step,
        .loss = loss / (double)counts.supervised,
        .lr = rate_of(run, step),
        .tokens = counts.tokens,
        .supervised_tokens = counts.supervised,
    };
    if (!isfinite(m->loss)) return refuse_numbers(run, step, m->loss);
    hone_status status = update(&m->grad_norm, run, step, m->lr);
    if (status == HONE_ERR_NUMERIC) return refuse_numbers(run, step, m->loss);
    HONE_TRY(status);
    run->state.step = step;
    run->state.epoch = next.epoch;
    run->state.bin = next.bin;
    run->state.tokens += counts.tokens;
    run->state.supervised_tokens += counts.supervised;
    double end = hone_seconds();
    hone_profile_step_end(run->profile, end);
    m->seconds = end - start;
    m->tokens_per_second = (double)counts.tokens / m->seconds;
    m->peak_bytes = hone_device_used(&run->session.device).peak;
    return HONE_OK;
}

static hone_status keep_best(hone_run *run) {
    if (!run->best.base) return HONE_OK;
    run->session.device.kernels->copy(run->best.base, run->params->values.base,
                                      run->params->elements);
    return HONE_OK;
}

/* Evaluates, notes the best, and says so. */
static hone_status run_eval(hone_run *run) {
    hone_evaluation e;
    HONE_TRY(hone_evaluate(&e, run->evaluator));
    hone_eval_metrics m = {run->state.step, e.loss, e.tokens, e.seconds};
    if (run->metrics) HONE_TRY(hone_metrics_eval(run->metrics, &m));
    if (run->observer->eval) run->observer->eval(run->observer->context, &m);
    hone_checkpoint_state *state = &run->state;
    if (state->step == 0) run->result.eval_loss_before = e.loss;
    run->result.eval_loss = e.loss;
    run->result.has_eval = true;
    if (state->has_best && e.loss >= state->best_eval_loss) {
        state->evals_since_best++;
        return HONE_OK;
    }
    state->has_best = true;
    state->best_eval_loss = e.loss;
    state->best_step = state->step;
    state->evals_since_best = 0;
    return keep_best(run);
}

static bool every(int64_t step, int64_t period) {
    return period > 0 && step % period == 0;
}

static bool wants_checkpoint(const hone_run *run) {
    const hone_train_options *o = run->options;
    double minutes = (hone_seconds() - run->saved_at) / 60;
    return every(run->state.step, o->checkpoint_every) ||
           (o->checkpoint_minutes > 0 && minutes >= o->checkpoint_minutes);
}

/* One of several processes goes by what they agreed on in the last step. */
static bool is_stopping(const hone_run *run) {
    return run->group.size > 1 ? run->stopping : stop_signal(run) != 0;
}

static hone_status stop_for_signal(hone_run *run) {
    HONE_TRY(hone_group_leave(&run->group)); /* nobody waits while the first saves */
    HONE_TRY(hone_run_save(run));
    return hone_fail(HONE_ERR_INTERRUPTED,
                     "stopped after step %lld of %lld, saved; go on with: "
                     "hone train --resume --out %s",
                     (long long)run->state.step, (long long)run->steps, run->options->out);
}

static bool is_done(const hone_run *run) {
    const hone_checkpoint_state *s = &run->state;
    return s->step >= run->steps ||
           (run->options->early_stop > 0 && s->evals_since_best >= run->options->early_stop);
}

/* What follows a step: its line, an evaluation, a checkpoint. Evaluations come first, so that a checkpoint stands for
 * every line up to its step. */
static hone_status after_step(hone_run *run, const hone_step_metrics *m) {
    double start = hone_seconds();
    if (run->metrics) HONE_TRY(hone_metrics_step(run->metrics, m));
    run->result.seconds += m->seconds;
    run->result.last_loss = m->loss;
    if (m->step == 1) run->result.first_loss = m->loss;
    double left = (double)(run->steps - m->step) * m->seconds;
    if (run->observer->step) run->observer->step(run->observer->context, m, run->steps, left);
    hone_profile_span(run->profile, "metrics", start, 0);
    bool last = m->step == run->steps;
    if (run->evaluator && (last || every(m->step, run->options->eval_every))) {
        start = hone_seconds();
        HONE_TRY(run_eval(run));
        hone_profile_span(run->profile, "evaluation", start, 0);
    }
    if (is_done(run) || !wants_checkpoint(run)) return HONE_OK;
    start = hone_seconds();
    HONE_TRY(hone_run_save(run));
    hone_profile_span(run->profile, "checkpoint", start, 0);
    return HONE_OK;
}

static hone_status run_steps(hone_run *run) {
    run->saved_at = hone_seconds();
    int64_t tokens = 0;
    while (!is_done(run)) {
        if (is_stopping(run)) return stop_for_signal(run);
        hone_step_metrics m;
        HONE_TRY(run_step(&m, run, run->state.step + 1));
        tokens += m.tokens;
        HONE_TRY(after_step(run, &m));
    }
    if (run->result.seconds > 0) {
        run->result.tokens_per_second = (double)tokens / run->result.seconds;
    }
    run->result.stopped_early = run->state.step < run->steps;
    return HONE_OK;
}

static void say_outliers(hone_run *run) {
    char text[96];
    run->result.int8_outliers = hone_model_int8_outliers(run->session.model);
    if (run->result.int8_outliers < 0) return;
    hone_int8_outliers_text(text, run->result.int8_outliers);
    hone_run_say(run, "int8: %s", text);
}

/* What steps alone need: files are written and answers shown in the memory that it leaves. */
static void release_engine(hone_run *run) {
    hone_passes_free(&run->passes);
    hone_tape_free(run->tape);
    hone_evaluator_free(run->evaluator);
    run->tape = NULL;
    run->evaluator = NULL;
    hone_buffer_free(&run->arena);
    hone_device_batch_free(&run->batch);
    hone_optimizer_free(&run->optimizer);
    hone_buffer_free(&run->best);
}

/* With early stopping the best parameters seen are the result. */
static hone_status finish(hone_run *run) {
    HONE_TRY(hone_group_leave(&run->group));
    if (!hone_run_leads(run)) return HONE_OK;
    say_outliers(run);
    if (!run->state.finished) {
        run->state.finished = true;
        HONE_TRY(hone_run_save(run));
    }
    if (run->best.base && run->state.has_best) {
        run->session.device.kernels->copy(run->params->values.base, run->best.base,
                                          run->params->elements);
        run->result.eval_loss = run->state.best_eval_loss;
    }
    release_engine(run);
    return hone_run_write_files(run);
}

/* Losses of steps before a resume, and their speed, for the result and the report. */
static hone_status recall(hone_run *run) {
    hone_metrics_history history = {0};
    double seconds = 0, tokens = 0;
    HONE_TRY(hone_metrics_read(&history, run->options->out));
    for (size_t i = 0; i < history.step_count; i++) {
        if (history.steps[i].step == 1) run->result.first_loss = history.steps[i].loss;
        run->result.last_loss = history.steps[i].loss;
        seconds += history.steps[i].seconds;
        tokens += (double)history.steps[i].tokens;
    }
    run->result.tokens_per_second = seconds > 0 ? tokens / seconds : 0;
    for (size_t i = 0; i < history.eval_count; i++) {
        if (history.evals[i].step == 0) run->result.eval_loss_before = history.evals[i].eval_loss;
        run->result.eval_loss = history.evals[i].eval_loss;
        run->result.has_eval = true;
    }
    hone_metrics_history_free(&history);
    return HONE_OK;
}

static hone_status start_profile(hone_run *run) {
    if (!run->observer->profile) return HONE_OK;
    HONE_TRY(hone_profile_new(&run->profile));
    run->passes.on = false; /* what is replayed cannot be watched */
    hone_tape_observe(run->tape, hone_profile_observer(run->profile));
    return HONE_OK;
}

/* Where a device failed, or memory: what is saved, and how to go on. */
static hone_status tell_where(const hone_run *run, hone_status status) {
    const char *out = run->options->out;
    long long step = (long long)run->state.step;
    if (status != HONE_ERR_UNSUPPORTED && status != HONE_ERR_MEMORY) return status;
    if (!hone_run_leads(run)) { /* what is saved the first process knows */
        return hone_fail_context(
            status, "after step %lld of %lld; go on with: hone train --resume --out %s", step,
            (long long)run->steps, out);
    }
    if (!run->has_checkpoint) {
        return hone_fail_context(
            status,
            "after step %lld of %lld, before a checkpoint was due; start again "
            "with: hone train --resume --out %s",
            step, (long long)run->steps, out);
    }
    return hone_fail_context(status,
                             "after step %lld of %lld; the checkpoint of step %lld is kept, go on "
                             "with: hone train --resume --out %s",
                             step, (long long)run->steps, (long long)run->saved_step, out);
}

/* Once everything is open. */
static hone_status run_started(hone_run *run) {
    if (run->evaluator && run->result.resumed_from < 0) HONE_TRY(run_eval(run));
    HONE_TRY(run_steps(run));
    return finish(run);
}

/* run.yaml and the metrics, up to where the run goes on from. */
static hone_status open_files(hone_run *run) {
    if (!hone_run_leads(run)) return HONE_OK;
    if (run->result.resumed_from < 0) HONE_TRY(hone_run_write_plan(run));
    HONE_TRY(hone_metrics_resume(run->options->out, run->result.resumed_from));
    if (run->result.resumed_from >= 0) HONE_TRY(recall(run));
    return hone_metrics_open(&run->metrics, run->options->out);
}

static hone_status prepare(hone_run *run, bool resume) {
    HONE_TRY(hone_run_tell_plan(run));
    HONE_TRY(hone_run_commit(run));
    HONE_TRY(start_profile(run));
    HONE_TRY(hone_run_state_prepare(run));
    if (resume) HONE_TRY(hone_run_restore(run));
    return open_files(run);
}

static hone_status run_all(hone_run *run, bool resume) {
    HONE_TRY(hone_run_open(run, resume));
    HONE_TRY(hone_group_agree(&run->group, prepare(run, resume)));
    run->exchange = hone_exchange_of(&run->group, run->params, run->tape);
    run->started = true;
    return tell_where(run, run_started(run));
}

hone_status hone_run_new(hone_run **out, const hone_train_options *options,
                         const hone_train_observer *observer) {
    hone_run *run = hone_alloc(1, sizeof *run);
    if (!run) return HONE_ERR_MEMORY;
    run->resolved = *options;
    run->options = &run->resolved;
    run->observer = observer;
    run->rank = observer->rank ? *observer->rank : hone_rank_alone();
    run->result.resumed_from = -1;
    run->result.int8_outliers = -1;
    run->small = HONE_COMPUTE_LEAST;
    run->auto_seconds = HONE_COMPUTE_SECONDS;
    *out = run;
    return HONE_OK;
}

void hone_run_free(hone_run *run) {
    if (!run) return;
    hone_group_abandon(&run->group); /* first: others are not waited for */
    hone_metrics_free(run->metrics);
    release_engine(run);
    hone_batch_free(&run->host);
    hone_buffer_free(&run->dropout_key);
    hone_loader_free(run->loader);
    hone_checkpoint_state_free(&run->state);
    hone_checkpoint_state_free(&run->found);
    hone_free(run->found_path);
    for (size_t i = 0; run->saved_names && i < run->saved_count; i++)
        hone_free(run->saved_names[i]);
    hone_free(run->saved_names);
    hone_free(run->saved);
    hone_free(run->saved_scales);
    for (size_t i = 0; i < HONE_RUN_GROUPS; i++) hone_free(run->groups[i].copy);
    hone_buf_free(&run->file);
    hone_session_close(&run->session);
    hone_free(run);
}

/* In what the run leaves of the memory that it may take. */
static hone_status measure_limits(hone_limits *out, const hone_device *device, hone_compute compute,
                                  int64_t limit) {
    int64_t available, all;
    hone_alloc_trim();
    HONE_TRY(hone_device_look(&available, &all, device));
    if (hone_device_is_host(device)) available = limit - hone_resident_now().all;
    return hone_limits_measure(out, device, compute, available < limit ? available : limit);
}

/* After the run is closed. */
static hone_status tell_profile(const hone_profile *profile, hone_device_kind kind, int gpu,
                                hone_compute compute, int64_t limit,
                                const hone_train_observer *observer) {
    hone_limits limits;
    hone_device device;
    HONE_TRY(hone_device_open(&device, kind, gpu));
    hone_status measured = measure_limits(&limits, &device, compute, limit);
    hone_device_close(&device);
    HONE_TRY(measured);
    hone_buf table = {0};
    hone_status status = hone_profile_table(&table, profile, &limits);
    if (status == HONE_OK) observer->profile(observer->context, table.data);
    hone_buf_free(&table);
    return status;
}

hone_status hone_train(hone_train_result *out, const hone_train_options *options, bool resume,
                       const hone_train_observer *observer) {
    hone_run *run;
    HONE_TRY(hone_run_new(&run, options, observer));
    hone_status status = run_all(run, resume);
    run->result.steps = run->state.step;
    run->result.planned_steps = run->steps;
    run->result.planned_bytes = run->plan.memory.total;
    run->result.tokens = run->state.tokens;
    if (run->session.device.memory)
        run->result.peak_bytes = hone_device_used(&run->session.device).peak;
    *out = run->result;
    hone_device_kind kind = run->session.device.kind;
    int gpu = run->rank.gpu;
    hone_profile *profile = run->profile;
    hone_compute compute = run->compute;
    int64_t limit = run->limit;
    bool unused = run->made_folder && !run->started;
    hone_run_free(run);
    if (status == HONE_OK && profile)
        status = tell_profile(profile, kind, gpu, compute, limit, observer);
    hone_profile_free(profile);
    if (unused) hone_dir_remove(options->out);
    return status;
}
