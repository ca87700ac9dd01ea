#include "train/plan.h"

#include <stdio.h>

#include "base/machine.h"
#include "base/size.h"
#include "train/compute.h"
#include "train/preview.h"

enum { PASS_TOKENS = 32, SHORTEST = 16 };

/* Arithmetic of a step by hone_recompute, as counted for small Llama models: backward takes 1.5 times what forward does,
 * and "full" computes all products of forward again but one in four. */
static const double work[HONE_RECOMPUTES] = {1, 1.02, 1.10, 1.30};

/* What rounding activations to bf16, and back, adds to a step. */
static const double rounding = 1.04;

/* --- The choice --- */

double hone_plan_cost(hone_recompute recompute, bool bf16, int64_t tokens) {
    return work[recompute] * (bf16 ? rounding : 1) * (1 + PASS_TOKENS / (double)tokens);
}

static int64_t passes_of(int64_t rows, int64_t micro_batch) {
    return (rows + micro_batch - 1) / micro_batch;
}

/* `s` names what is offloaded. */
static hone_status try(hone_plan *out, hone_tape *tape, const hone_plan_scope *s,
                       hone_recompute recompute, bool bf16, int64_t micro_batch) {
    *out = (hone_plan){.recompute = recompute,
                       .bf16 = bf16,
                       .micro_batch = micro_batch,
                       .passes = passes_of(s->rows, micro_batch),
                       .offload = (hone_offload)s->offload,
                       .cost = hone_plan_cost(recompute, bf16, micro_batch * s->seq_len)};
    hone_memory fixed = s->fixed;
    bool away = out->offload & HONE_OFFLOAD_OPTIMIZER;
    int64_t moments = hone_optimizer_bytes(s->elements, away);
    fixed.trained += moments;
    fixed.passing += moments;
    if (away) fixed.host += hone_optimizer_moments(s->elements);
    hone_forward forward = s->forward;
    forward.recompute = recompute;
    forward.bf16_activations = bf16;
    forward.offload = out->offload & HONE_OFFLOAD_ACTIVATIONS;
    return hone_memory_plan(&out->memory, tape, &fixed, &forward, micro_batch, s->seq_len,
                            s->limit);
}

/* The largest passes that fit with this recomputation and rounding, unless the plan so far is cheaper. Passes of a step are of about
 * equal size: fewer rows in the same number of passes take less memory. */
static hone_status try_level(hone_plan *best, bool *fits, hone_tape *tape, const hone_plan_scope *s,
                             hone_recompute recompute, bool bf16) {
    for (int64_t most = s->batch; most > 0;) {
        int64_t micro_batch = passes_of(s->rows, passes_of(s->rows, most));
        double cost = hone_plan_cost(recompute, bf16, micro_batch * s->seq_len);
        if (*fits && cost >= best->cost) return HONE_OK;
        hone_plan plan;
        HONE_TRY(try(&plan, tape, s, recompute, bf16, micro_batch));
        bool good = plan.memory.total <= s->limit;
        if (good || (!*fits && (best->passes == 0 || plan.memory.total < best->memory.total)))
            *best = plan;
        if (good) {
            *fits = true;
            return HONE_OK;
        }
        most = micro_batch - 1;
    }
    return HONE_OK;
}

static hone_status choose_kept(hone_plan *out, hone_tape *tape, const hone_plan_scope *scope) {
    const hone_plan *made = scope->made;
    if (made) return try(out, tape, scope, made->recompute, made->bf16, made->micro_batch);
    *out = (hone_plan){0};
    bool fits = false;
    for (int i = 0; i < 2 * HONE_RECOMPUTES; i++) {
        int level = i / 2, kept = i % 2;
        if (scope->recompute != HONE_RECOMPUTE_AUTO && scope->recompute != level) continue;
        if (scope->activations != HONE_ACTIVATIONS_AUTO && scope->activations != kept) continue;
        bool bf16 = kept == HONE_ACTIVATIONS_BF16;
        HONE_TRY(try_level(out, &fits, tape, scope, (hone_recompute)level, bf16));
    }
    return HONE_OK;
}

/* Of the ways of offloading that the scope allows, the first that fits, else that which takes least. */
hone_status hone_plan_choose(hone_plan *out, hone_tape *tape, const hone_plan_scope *scope) {
    hone_plan_scope one = *scope;
    for (one.offload = 0; one.offload < HONE_OFFLOADS; one.offload++) {
        if (scope->offload != HONE_OFFLOAD_AUTO && scope->offload != one.offload) continue;
        hone_plan plan;
        HONE_TRY(choose_kept(&plan, tape, &one));
        bool first = one.offload == 0 || scope->offload != HONE_OFFLOAD_AUTO;
        if (first || plan.memory.total < out->memory.total) *out = plan;
        if (plan.memory.total <= scope->limit) break;
    }
    return HONE_OK;
}

/* --- For a run --- */

/* What may be taken when nothing was promised: what there is, and what of it the run has already. */
static hone_status find_limit(int64_t *out, const hone_run *run) {
    const hone_device *device = &run->session.device;
    if (!hone_device_is_host(device)) {
        int64_t available, all;
        HONE_TRY(hone_device_look(&available, &all, device));
        *out = hone_device_used(device).now + available - all / 20;
        return HONE_OK;
    }
    hone_machine machine;
    HONE_TRY(hone_machine_look(&machine));
    hone_resident own = hone_resident_now();
    *out = own.all - own.mapped + machine.available - machine.available / 20;
    return HONE_OK;
}

/* Bytes of what an evaluation is loaded into now. */
static int64_t evaluation_batches(const hone_run *run) {
    int64_t sides = hone_device_is_host(&run->session.device) ? 2 : 1;
    return run->evaluator ? sides * (int64_t)hone_evaluator_batch_bytes(run->evaluator) : 0;
}

/* What the options leave open is chosen from all there is. Evaluation counts with the least that it can do with, but the most
 * that it may load at once: it grows into the arena of the step that is chosen. */
static hone_status scope_of(hone_plan_scope *out, hone_run *run) {
    const hone_train_options *o = run->options;
    hone_evaluator *e = run->evaluator;
    if (e) HONE_TRY(hone_evaluator_fit(e, SIZE_MAX));
    int64_t batches = evaluation_batches(run);
    if (e) HONE_TRY(hone_evaluator_fit(e, 0));
    int64_t held = 2 * run->params->elements * (int64_t)sizeof(hone_real); /* values, gradients */
    int64_t counted = held + evaluation_batches(run);
    int64_t best = o->early_stop > 0 ? held / 2 : 0;
    int64_t answers;
    HONE_TRY(hone_preview_bytes(&answers, &run->session, HONE_RUN_SHOWN_TOKENS));
    *out = (hone_plan_scope){
        .forward = run->forward,
        .seq_len = o->seq_len,
        .batch = o->batch_size,
        .rows = o->batch_size * o->accumulation,
        .recompute = o->recompute,
        .activations = o->activations,
        .offload = o->offload,
        .elements = run->params->elements,
        .limit = o->memory,
        .fixed = {.program = hone_memory_program(run->session.model, run->params, counted),
                  .weights = hone_memory_weights(run->session.model),
                  .trained = held + best,
                  .passing = best,
                  .evaluation = e ? (int64_t)hone_evaluator_arena_bytes(e) : 0,
                  .batches = batches,
                  .answers = answers},
    };
    if (!hone_device_is_host(&run->session.device))
        out->fixed.opening = hone_device_used(&run->session.device).peak;
    return o->memory > 0 ? HONE_OK : find_limit(&out->limit, run);
}

/* Whether the memory of the machine is still to be tried. */
static bool offload(hone_plan_scope *other, const hone_run *run) {
    if (hone_device_is_host(&run->session.device) || other->offload == HONE_OFFLOAD_AUTO)
        return false;
    other->offload = HONE_OFFLOAD_AUTO;
    return true;
}

/* "…, as this would fit: …", or what else can be done. */
static hone_status find_remedy(char *out, size_t size, hone_run *run,
                               const hone_plan_scope *scope) {
    hone_plan_scope other = *scope;
    other.recompute = HONE_RECOMPUTE_AUTO;
    other.activations = HONE_ACTIVATIONS_AUTO;
    bool open =
        scope->recompute == HONE_RECOMPUTE_AUTO && scope->activations == HONE_ACTIVATIONS_AUTO;
    char named[80];
    snprintf(named, sizeof named, "%s%s",
             open ? "" : " --set recompute=auto --set activations=auto",
             offload(&other, run) ? " --offload auto" : "");
    for (; other.seq_len >= SHORTEST; other.seq_len /= 2) {
        if (other.seq_len == scope->seq_len && !*named) continue;
        hone_plan plan;
        HONE_TRY(hone_plan_choose(&plan, run->tape, &other));
        if (plan.memory.total > other.limit) continue;
        char length[40] = "";
        if (other.seq_len != scope->seq_len)
            snprintf(length, sizeof length, " --seq-len %lld", (long long)other.seq_len);
        snprintf(out, size, "this would fit:%s%s", length, named);
        return HONE_OK;
    }
    snprintf(out, size, "even the smallest step does not fit: choose a smaller or quantised model");
    return HONE_OK;
}

static hone_status refuse(hone_run *run, const hone_plan_scope *scope) {
    hone_memory m = run->plan.memory;
    char remedy[160];
    if (run->found.plan) {
        snprintf(remedy, sizeof remedy,
                 "a smaller plan than the checkpoint's would give other bits: free some memory, or "
                 "start a new run");
    } else {
        HONE_TRY(find_remedy(remedy, sizeof remedy, run, scope));
    }
    return hone_fail(HONE_ERR_MEMORY,
                     "the run needs %s (model %s, parameters and optimiser %s, step %s, evaluation "
                     "%s, program %s) but %s may be taken; %s",
                     hone_size(m.total).text, hone_size(m.weights).text, hone_size(m.trained).text,
                     hone_size(m.step).text, hone_size(m.evaluation).text,
                     hone_size(m.program + m.batches + m.libraries).text,
                     hone_size(scope->limit).text, remedy);
}

static hone_status choose(hone_run *run, hone_plan_scope *scope) {
    hone_plan found;
    if (run->found.plan) {
        HONE_TRY(hone_run_recorded_plan(&found, run));
        scope->made = &found;
    }
    hone_status status = hone_plan_choose(&run->plan, run->tape, scope);
    scope->made = NULL;
    return status;
}

/* It was planned with the most tokens at once that it may take, and takes as many as the step leaves room for. */
static hone_status fit_evaluation(hone_run *run, int64_t most_batches) {
    hone_memory *m = &run->plan.memory;
    if (!run->evaluator) return HONE_OK;
    if (m->evaluation < m->step) HONE_TRY(hone_evaluator_fit(run->evaluator, (size_t)m->step));
    m->evaluation = (int64_t)hone_evaluator_arena_bytes(run->evaluator);
    m->batches += evaluation_batches(run) - most_batches;
    hone_memory_add_up(m);
    return HONE_OK;
}

/* Of all processes: one plan is for all of them. */
static hone_status take_least_limit(hone_plan_scope *scope, const hone_run *run) {
    double limits[HONE_GROUP_MOST];
    HONE_TRY(hone_group_gather(&run->group, limits, (double)scope->limit));
    for (int i = 0; i < run->group.size; i++) {
        if (limits[i] < (double)scope->limit) scope->limit = (int64_t)limits[i];
    }
    return HONE_OK;
}

static hone_status find_scope(hone_plan_scope *out, hone_run *run) {
    HONE_TRY(scope_of(out, run));
    return take_least_limit(out, run);
}

hone_status hone_run_plan(hone_run *run) {
    hone_plan_scope scope;
    HONE_TRY(find_scope(&scope, run));
    HONE_TRY(choose(run, &scope));
    if (run->plan.memory.total > scope.limit && hone_run_may_compute_in_f32(run)) {
        HONE_TRY(hone_run_compute_in_f32(run));
        HONE_TRY(find_scope(&scope, run));
        HONE_TRY(choose(run, &scope));
    }
    run->limit = scope.limit;
    if (run->plan.memory.total > scope.limit) return refuse(run, &scope);
    /* The tape may have planned others since. */
    hone_plan chosen = run->plan;
    scope.made = &chosen;
    scope.offload = chosen.offload;
    HONE_TRY(hone_plan_choose(&run->plan, run->tape, &scope));
    HONE_TRY(fit_evaluation(run, scope.fixed.batches));
    run->forward.recompute = chosen.recompute;
    run->forward.bf16_activations = chosen.bf16;
    run->forward.offload = chosen.offload & HONE_OFFLOAD_ACTIVATIONS;
    HONE_TRY(hone_run_describe(run));
    return hone_run_compare_plans(run);
}

/* Moments, and the best parameters where they are kept. */
static hone_status take_trained(hone_run *run) {
    const hone_train_options *o = run->options;
    const hone_device *device = &run->session.device;
    bool on_host = run->plan.offload & HONE_OFFLOAD_OPTIMIZER;
    HONE_TRY(hone_optimizer_new(&run->optimizer, run->params, device, on_host));
    run->optimizer.beta1 = o->beta1;
    run->optimizer.beta2 = o->beta2;
    run->optimizer.epsilon = o->epsilon;
    run->optimizer.decay = o->weight_decay;
    run->optimizer.clip = o->clip;
    return o->early_stop > 0 ? hone_buffer_new(&run->best, device, run->params->values.bytes)
                             : HONE_OK;
}

static hone_status take(hone_run *run) {
    const hone_memory *m = &run->plan.memory;
    HONE_TRY(take_trained(run));
    size_t arena = (size_t)(m->step > m->evaluation ? m->step : m->evaluation);
    HONE_TRY(hone_buffer_new(&run->arena, &run->session.device, arena));
    const hone_buffer *const buffers[] = {
        &run->arena,       &run->params->values, &run->params->grads, &run->optimizer.m,
        &run->optimizer.v, &run->best,           &run->batch.memory};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        HONE_TRY(hone_buffer_commit(buffers[i]));
    hone_tape_share(run->tape, &run->arena);
    HONE_TRY(hone_tape_reserve_host(run->tape));
    if (!run->evaluator) return HONE_OK;
    hone_evaluator_share(run->evaluator, &run->arena);
    hone_evaluator_divide(run->evaluator, run->group.size > 1 ? &run->group : NULL);
    return HONE_OK;
}

hone_status hone_run_commit(hone_run *run) {
    if (take(run) == HONE_OK) return HONE_OK;
    return hone_fail_context(HONE_ERR_MEMORY,
                             "the run needs %s, and the system does not give it: free some memory, "
                             "or promise less by --memory",
                             hone_size(run->plan.memory.total).text);
}
