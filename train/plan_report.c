/*
 * The plan for a person: what `hone plan` shows, and `hone train` before its first step.
 */
#include <string.h>

#include "base/parallel.h"
#include "train/compute.h"
#include "train/timing.h"

static const double long_measurement = 2, short_measurement = 0.05; /* seconds, at most */

static void add_item(void *context, const char *name, size_t bytes) {
    hone_plan_report *report = context;
    if (report->item_count == HONE_PLAN_ITEMS) return;
    report->items[report->item_count++] = (hone_plan_item){name, (int64_t)bytes};
}

static hone_status measure(hone_plan_report *out, const hone_run *run, double most) {
    const hone_samples_ledger *l = hone_samples_ledger_of(run->session.samples);
    hone_pass_shape pass = {
        .tokens = run->plan.micro_batch * run->options->seq_len,
        .document = (l->tokens + l->samples - 1) / l->samples,
        .supervised = (double)l->supervised / (double)l->tokens,
    };
    double seconds;
    HONE_TRY(hone_time_pass(&seconds, &run->forward, &pass, most));
    out->seconds_per_step = seconds / (double)pass.tokens * out->tokens_per_step / run->rank.size;
    return HONE_OK;
}

/* Without a measurement that would be felt: what `auto` found is taken, and only a small model is run. */
static hone_status estimate(hone_plan_report *out, const hone_run *run) {
    if (run->token_seconds > 0) {
        out->seconds_per_step =
            run->token_seconds * run->plan.cost * out->tokens_per_step / run->rank.size;
        return HONE_OK;
    }
    return hone_run_is_small(run) ? measure(out, run, short_measurement) : HONE_OK;
}

static void fill(hone_plan_report *out, const hone_run *run) {
    const hone_train_options *o = run->options;
    double tokens = (double)hone_loader_tokens(run->loader),
           bins = (double)hone_loader_bins(run->loader);
    *out = (hone_plan_report){.plan = run->plan,
                              .compute = run->compute,
                              .attention = run->attention,
                              .kernels = run->session.device.kernels->name,
                              .threads = hone_threads(),
                              .limit = run->limit,
                              .steps = run->steps,
                              .rows_per_step = hone_run_rows(run),
                              .gpus = run->rank.size,
                              .seq_len = o->seq_len};
    out->tokens_per_step = tokens / bins * (double)out->rows_per_step;
    memcpy(out->why, run->why, sizeof out->why);
    memcpy(out->no_gpu, run->session.device.no_gpu, sizeof out->no_gpu);
    hone_tape_itemise(run->tape, add_item, out);
}

hone_status hone_run_tell_plan(const hone_run *run) {
    if (!run->observer->plan) return HONE_OK;
    hone_plan_report report;
    fill(&report, run);
    HONE_TRY(estimate(&report, run));
    run->observer->plan(run->observer->context, &report);
    return HONE_OK;
}

hone_status hone_plan_report_make(hone_plan_report *out, const hone_train_options *options,
                                  const hone_train_observer *observer) {
    hone_run *run;
    HONE_TRY(hone_run_new(&run, options, observer));
    run->resolved.out = NULL;
    if (options->gpus > 1) run->rank.size = (int)options->gpus;
    hone_status status = hone_run_open(run, false);
    if (status == HONE_OK) {
        fill(out, run);
        status = measure(out, run, long_measurement);
    }
    hone_run_free(run);
    return status;
}
