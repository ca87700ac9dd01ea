#include <stdio.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/plan_print.h"
#include "cli/train_flags.h"

static void show_message(void *context, const char *text) {
    (void)context;
    hone_say("%s", text);
}

static json_t *memory_json(const hone_plan_report *r) {
    const hone_memory *m = &r->plan.memory;
    json_t *step = json_object();
    for (size_t i = 0; i < r->item_count; i++)
        json_object_set_new(step, r->items[i].name, json_integer(r->items[i].bytes));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "total",
                     (json_int_t)m->total, "weights", (json_int_t)m->weights, "trained",
                     (json_int_t)m->trained, "step", (json_int_t)m->step, "evaluation",
                     (json_int_t)m->evaluation, "batches", (json_int_t)m->batches, "libraries",
                     (json_int_t)m->libraries, "answers", (json_int_t)m->answers, "program",
                     (json_int_t)m->program, "offloaded", (json_int_t)m->host, "step_items", step);
}

static hone_status print_json(const hone_plan_report *r) {
    return hone_print_json(json_pack(
        "{s:I, s:I, s:i, s:I, s:f, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, "
        "s:I, s:o}",
        "steps", (json_int_t)r->steps, "rows_per_step", (json_int_t)r->rows_per_step, "gpus",
        r->gpus, "seq_len", (json_int_t)r->seq_len, "tokens_per_step", r->tokens_per_step,
        "micro_batch", (json_int_t)r->plan.micro_batch, "passes", (json_int_t)r->plan.passes,
        "recompute", hone_recompute_words[r->plan.recompute], "activations",
        hone_activation_names[r->plan.bf16], "offload", hone_offload_names[r->plan.offload],
        "compute", hone_compute_names[r->compute], "compute_reason", r->why, "attention",
        hone_attention_names[1 + r->attention], "kernels", r->kernels, "threads", r->threads,
        "seconds", r->seconds_per_step * (double)r->steps, "tokens_per_second",
        r->tokens_per_step / r->seconds_per_step, "limit_bytes", (json_int_t)r->limit, "memory",
        memory_json(r)));
}

static hone_status print_plain(const hone_plan_report *report) {
    hone_buf text = {0};
    hone_status status = hone_plan_text(&text, report);
    if (status == HONE_OK) printf("%s", text.data);
    hone_buf_free(&text);
    return status;
}

static hone_status plan(const hone_train_flags *flags) {
    hone_train_observer observer = {.message = show_message};
    hone_plan_report report;
    HONE_TRY(hone_plan_report_make(&report, &flags->options, &observer));
    return flags->json ? print_json(&report) : print_plain(&report);
}

static hone_status run(int argc, char **argv) {
    hone_train_flags flags;
    hone_status status = hone_train_flags_parse_plan(&flags, &hone_command_plan, argc, argv);
    if (status == HONE_OK && !flags.help) status = plan(&flags);
    hone_train_flags_free(&flags);
    return status;
}

const hone_command hone_command_plan = {
    .name = "plan",
    .usage = "--model PATH --data PATH [options of train]",
    .summary = "what a run would take, in memory and time, before anything runs",
    .run = run,
};
