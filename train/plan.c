#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/size.h"
#include "train/run.h"

/* Bytes that the program needs for itself: code, libraries, HDF5's caches. */
enum { PROGRAM_BYTES = 64 << 20 };

typedef struct memory_plan {
    int64_t model;      /* frozen weights, mapped */
    int64_t parameters; /* values, gradients, moments, a copy for checkpoints */
    int64_t step;       /* activations, gradients of activations, workspaces */
    int64_t evaluation;
    int64_t total;
} memory_plan;

static int64_t weight_bytes(const hone_model *model) {
    /* those that are trained are counted with the parameters */
    return model->params.count ? 0 : hone_model_weight_bytes(model);
}

/* Plans a step of `batch` rows of `seq_len` tokens on `tape`, without taking its memory. */
static hone_status plan_step(int64_t *bytes, hone_run *run, hone_tape *tape, int64_t batch,
                             int64_t seq_len, hone_recompute recompute) {
    hone_device_batch shapes = run->batch;
    shapes.capacity = batch * seq_len;
    shapes.longest = seq_len;
    hone_device_batch_fill_up(&shapes);
    hone_forward forward = run->forward;
    forward.tokens = &shapes.tokens;
    forward.recompute = recompute;
    hone_tape_plan(tape, true);
    HONE_TRY(hone_transformer_loss(tape, &forward, &shapes.loss));
    HONE_TRY(hone_tape_backward(tape));
    HONE_TRY(hone_tape_plan_done(tape));
    *bytes = (int64_t)(hone_tape_bytes(tape) + hone_device_batch_bytes(shapes.capacity));
    return HONE_OK;
}

static hone_status plan_memory(memory_plan *out, hone_run *run, hone_tape *tape, int64_t batch,
                               int64_t seq_len, hone_recompute recompute) {
    int64_t copies = run->best.base ? 9 : 7; /* values, gradients, two moments, and what is saved */
    *out = (memory_plan){
        .model = weight_bytes(run->session.model),
        .parameters = copies * run->params->elements * (int64_t)sizeof(hone_real),
        .evaluation = run->evaluator ? (int64_t)hone_evaluator_bytes(run->evaluator) : 0,
    };
    HONE_TRY(plan_step(&out->step, run, tape, batch, seq_len, recompute));
    out->total = PROGRAM_BYTES + out->model + out->parameters + out->step + out->evaluation;
    return HONE_OK;
}

/* Tries smaller steps until one fits, and says which. */
static hone_status refuse_with_remedy(hone_run *run, const memory_plan *plan, int64_t limit) {
    const hone_train_options *o = run->options;
    hone_tape *tape;
    HONE_TRY(hone_tape_new(&tape, &run->session.device));
    int64_t batch = o->batch_size, seq_len = o->seq_len;
    hone_recompute recompute = (hone_recompute)(o->recompute % HONE_RECOMPUTES); bool fits = false;
    hone_status status = HONE_OK;
    while (status == HONE_OK && !fits && seq_len >= 16) {
        if (batch > 1) {
            batch /= 2;
        } else if (!recompute) {
            recompute = HONE_RECOMPUTE_FULL;
        } else {
            seq_len /= 2;
        }
        memory_plan smaller;
        status = plan_memory(&smaller, run, tape, batch, seq_len, recompute);
        fits = status == HONE_OK && smaller.total <= limit;
    }
    hone_tape_free(tape);
    HONE_TRY(status);
    char remedy[160] = "even the smallest step does not fit: choose a smaller or quantised model";
    if (fits) {
        snprintf(remedy, sizeof remedy,
                 "this would fit: --batch-size %lld --seq-len %lld --set recompute=%s",
                 (long long)batch, (long long)seq_len, recompute ? "full" : "none");
    }
    return hone_fail(
        HONE_ERR_MEMORY,
        "the run needs %s (model %s, parameters and optimiser %s, step %s, evaluation %s) but %s "
        "may be taken; %s",
        hone_size(plan->total).text, hone_size(plan->model).text, hone_size(plan->parameters).text,
        hone_size(plan->step).text, hone_size(plan->evaluation).text, hone_size(limit).text,
        remedy);
}

/* The options without paths: what lies there is compared by its hash, and folders may be moved. */
static hone_status format_settings(char **out, const hone_train_options *o) {
    hone_train_options settings = *o;
    settings.model = settings.data = settings.out = settings.adapter = settings.from_scratch = NULL;
    hone_buf text = {0};
    HONE_TRY(hone_config_format(&text, &settings, NULL, 0));
    *out = text.data;
    return HONE_OK;
}

/* run.yaml: options with whole paths, so that the run can be resumed from anywhere, and the plan. */
static hone_status format_run_file(hone_buf *out, const hone_train_options *o,
                                   const hone_plan_entry *entries, size_t count) {
    hone_train_options whole = *o;
    bool named =
        !whole.template || strcmp(whole.template, "auto") == 0 || hone_chat_source(whole.template);
    char *template = named ? NULL : whole.template;
    char **const paths[] = {&whole.model, &whole.data, &whole.adapter, &whole.from_scratch,
                            &template};
    enum { PATHS = sizeof paths / sizeof *paths };
    char resolved[PATHS][PATH_MAX];
    for (int i = 0; i < PATHS; i++) {
        if (*paths[i] && realpath(*paths[i], resolved[i])) *paths[i] = resolved[i];
    }
    if (template) whole.template = template;
    return hone_config_format(out, &whole, entries, count);
}

/* What checkpoints compare, besides the options: what decides the bits. */
static hone_status describe(hone_run *run, const memory_plan *plan) {
    const hone_train_options *o = run->options;
    hone_size_text memory = hone_size(plan->total);
    char threads[24], steps[24], rows[24];
    snprintf(threads, sizeof threads, "%d", hone_threads());
    snprintf(steps, sizeof steps, "%lld", (long long)run->steps);
    snprintf(rows, sizeof rows, "%lld", (long long)(o->batch_size * o->accumulation));
    const hone_plan_entry entries[] = {
        {"compute", "f32"},
        {"kernels", run->session.device.kernels->name},
        {"threads", threads},
        {"recompute", o->recompute == HONE_RECOMPUTE_FULL ? "full" : "none"},
        {"template", hone_chat_template_id(run->session.chat)},
        {"steps", steps},
        {"rows_per_step", rows},
        {"memory", memory.text},
    };
    size_t count = sizeof entries / sizeof *entries;
    hone_buf text = {0};
    for (size_t i = 0; i + 1 < count; i++) { /* memory is for reading only */
        HONE_TRY(hone_buf_printf(&text, "%s: %s\n", entries[i].name, entries[i].value));
    }
    run->state.plan = text.data;
    HONE_TRY(format_settings(&run->state.config, o));
    run->state.seed = o->seed;
    memcpy(run->state.model_hash, run->session.model_hash, HONE_SHA256_TEXT);
    snprintf(run->state.data_hash, HONE_SHA256_TEXT, "%s", hone_samples_key(run->session.samples));
    snprintf(run->state.tokenizer_hash, HONE_SHA256_TEXT, "%s",
             hone_tokenizer_hash(run->session.tokenizer));
    return format_run_file(&run->file, o, entries, count);
}

hone_status hone_run_write_plan(const hone_run *run) {
    char *path = hone_run_path(run, "run.yaml");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = hone_file_put(path, run->file.data, run->file.length);
    hone_free(path);
    return status;
}

hone_status hone_run_plan(hone_run *run) {
    const hone_train_options *o = run->options;
    memory_plan plan;
    hone_recompute recompute = (hone_recompute)(o->recompute % HONE_RECOMPUTES);
    HONE_TRY(plan_memory(&plan, run, run->tape, o->batch_size, o->seq_len, recompute));
    hone_machine machine;
    HONE_TRY(hone_machine_look(&machine));
    int64_t limit = o->memory > 0 ? o->memory : machine.available - machine.available / 20;
    if (limit > 0 && plan.total > limit) return refuse_with_remedy(run, &plan, limit);
    HONE_TRY(describe(run, &plan));
    hone_run_say(run, "plan: %lld steps of %lld x %lld tokens, %s kernels, %d threads, about %s",
                 (long long)run->steps, (long long)(o->batch_size * o->accumulation),
                 (long long)o->seq_len, run->session.device.kernels->name, hone_threads(),
                 hone_size(plan.total).text);
    return hone_tape_reserve(run->tape);
}
