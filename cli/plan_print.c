#include "cli/plan_print.h"

#include "base/size.h"

enum { LEAST_SHOWN = 1 << 18 }; /* bytes of an item of the step */

const char *const hone_recompute_words[HONE_RECOMPUTES] = {"none", "selective", "attention",
                                                           "full"};

/* `when` is empty for what is there all the time. */
static hone_status add_row(hone_buf *out, const char *name, int64_t bytes, const char *when) {
    if (bytes <= 0) return HONE_OK;
    return hone_buf_printf(out, "  %-38s %10s%s\n", name, hone_size(bytes).text, when);
}

static hone_status add_items(hone_buf *out, const hone_plan_report *r) {
    for (size_t i = 0; i < r->item_count; i++) {
        if (r->items[i].bytes < LEAST_SHOWN) continue;
        HONE_TRY(hone_buf_printf(out, "    %-36s %10s\n", r->items[i].name,
                                 hone_size(r->items[i].bytes).text));
    }
    return HONE_OK;
}

static hone_status add_memory(hone_buf *out, const hone_plan_report *r) {
    const hone_memory *m = &r->plan.memory;
    HONE_TRY(hone_buf_printf(out, "memory\n"));
    HONE_TRY(add_row(out, "weights, mapped", m->weights, ""));
    HONE_TRY(add_row(out, "trained parameters and optimiser", m->trained, ""));
    HONE_TRY(add_row(out, "a step", m->step, ""));
    HONE_TRY(add_items(out, r));
    HONE_TRY(add_row(out, "an evaluation", m->evaluation, " in the step's memory"));
    HONE_TRY(add_row(out, "batches", m->batches, ""));
    HONE_TRY(
        add_row(out, "answers for the report", m->answers, " after the steps, in place of theirs"));
    HONE_TRY(add_row(out, "oneDNN, HDF5 and threads", m->libraries, ""));
    HONE_TRY(add_row(out, "program", m->program, ""));
    HONE_TRY(add_row(out, "together", m->total, ""));
    HONE_TRY(add_row(out, "may be taken", r->limit, ""));
    return add_row(out, "offloaded", m->host, " of the machine's memory, besides");
}

static hone_status add_time(hone_buf *out, const hone_plan_report *r) {
    if (r->seconds_per_step == 0)
        return hone_buf_printf(out, "time         not measured: the first steps tell\n");
    double minutes = r->seconds_per_step * (double)r->steps / 60;
    return hone_buf_printf(out, "time         about %.*f minutes, %.0f tokens/s\n", minutes < 10,
                           minutes, r->tokens_per_step / r->seconds_per_step);
}

hone_status hone_plan_text(hone_buf *out, const hone_plan_report *r) {
    HONE_TRY(hone_buf_printf(
        out, "steps        %lld, of %lld rows of %lld tokens; about %.0f tokens a step\n",
        (long long)r->steps, (long long)r->rows_per_step, (long long)r->seq_len,
        r->tokens_per_step));
    if (r->gpus > 1)
        HONE_TRY(hone_buf_printf(out, "GPUs         %d, a part of each step to each\n", r->gpus));
    HONE_TRY(hone_buf_printf(out, "at once      %lld rows, %lld passes a step\n",
                             (long long)r->plan.micro_batch, (long long)r->plan.passes));
    HONE_TRY(hone_buf_printf(out, "recompute    %s\nactivations  %s\n",
                             hone_recompute_words[r->plan.recompute],
                             hone_activation_names[r->plan.bf16]));
    if (r->plan.offload)
        HONE_TRY(hone_buf_printf(out, "offload      %s\n", hone_offload_names[r->plan.offload]));
    HONE_TRY(hone_buf_printf(out,
                             "compute      %s: %s\nattention    %s\nkernels      %s, %d threads\n",
                             hone_compute_names[r->compute], r->why,
                             hone_attention_names[1 + r->attention], r->kernels, r->threads));
    if (r->no_gpu[0]) HONE_TRY(hone_buf_printf(out, "no GPU       %s\n", r->no_gpu));
    HONE_TRY(add_time(out, r));
    return add_memory(out, r);
}
