#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/train_flags.h"
#include "train/plan.h"

/* What the arena of a step holds when it is fullest, by name. */
enum { MOST_ITEMS = 32 };

typedef struct items {
    hone_plan_report report;
    const char *name[MOST_ITEMS];
    int64_t bytes[MOST_ITEMS];
    size_t count;
} items;

static void show_message(void *context, const char *text) {
    (void)context;
    hone_say("%s", text);
}

static void add_item(void *context, const char *name, size_t bytes) {
    items *all = context;
    if (all->count == MOST_ITEMS) return;
    all->name[all->count] = name;
    all->bytes[all->count++] = (int64_t)bytes;
}

static const char *const recomputed[HONE_RECOMPUTES] = {"none", "selective", "attention", "full"};

static void print_row(const char *name, int64_t bytes) {
    if (bytes > 0) printf("  %-38s %10s\n", name, hone_size(bytes).text);
}

static void print_memory(const items *all) {
    const hone_memory *m = &all->report.plan.memory;
    printf("memory\n");
    print_row("weights, mapped", m->weights);
    print_row("trained parameters and optimiser", m->trained);
    print_row("a step", m->step);
    for (size_t i = 0; i < all->count; i++)
        if (all->bytes[i] >= 1 << 18)
            printf("    %-36s %10s\n", all->name[i], hone_size(all->bytes[i]).text);
    printf("  %-38s %10s in the step's memory\n", "an evaluation", hone_size(m->evaluation).text);
    print_row("batches", m->batches);
    printf("  %-38s %10s after the steps, in place of theirs\n", "answers for the report",
           hone_size(m->answers).text);
    print_row("oneDNN, HDF5 and threads", m->libraries);
    print_row("program", m->program);
    print_row("together", m->total);
    print_row("may be taken", all->report.limit);
}

static double seconds_of(const hone_plan_report *r) {
    return r->seconds_per_step * (double)r->steps;
}

static void print_plain(const items *all) {
    const hone_plan_report *r = &all->report;
    double minutes = seconds_of(r) / 60;
    printf("steps        %lld, of %lld rows of %lld tokens; about %.0f tokens a step\n",
           (long long)r->steps, (long long)r->rows_per_step, (long long)r->seq_len,
           r->tokens_per_step);
    printf("at once      %lld rows, %lld passes a step\n", (long long)r->plan.micro_batch,
           (long long)r->plan.passes);
    printf("recompute    %s\n", recomputed[r->plan.recompute]);
    printf("activations  %s\n", hone_activation_names[r->plan.bf16]);
    printf("compute      %s\n", hone_compute_names[r->compute]);
    printf("time         about %.*f minutes, %.0f tokens/s\n", minutes < 10, minutes,
           r->tokens_per_step / r->seconds_per_step);
    print_memory(all);
}

static json_t *memory_json(const items *all) {
    const hone_memory *m = &all->report.plan.memory;
    json_t *step = json_object();
    for (size_t i = 0; i < all->count; i++)
        json_object_set_new(step, all->name[i], json_integer(all->bytes[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "total",
                     (json_int_t)m->total, "weights", (json_int_t)m->weights, "trained",
                     (json_int_t)m->trained, "step", (json_int_t)m->step, "evaluation",
                     (json_int_t)m->evaluation, "batches", (json_int_t)m->batches, "libraries",
                     (json_int_t)m->libraries, "answers", (json_int_t)m->answers, "program",
                     (json_int_t)m->program, "step_items", step);
}

static hone_status print_json(const items *all) {
    const hone_plan_report *r = &all->report;
    return hone_print_json(json_pack(
        "{s:I, s:I, s:I, s:f, s:I, s:I, s:s, s:s, s:s, s:f, s:f, s:I, s:o}", "steps",
        (json_int_t)r->steps, "rows_per_step", (json_int_t)r->rows_per_step, "seq_len",
        (json_int_t)r->seq_len, "tokens_per_step", r->tokens_per_step, "micro_batch",
        (json_int_t)r->plan.micro_batch, "passes", (json_int_t)r->plan.passes, "recompute",
        recomputed[r->plan.recompute], "activations", hone_activation_names[r->plan.bf16],
        "compute", hone_compute_names[r->compute], "seconds", seconds_of(r), "tokens_per_second",
        r->tokens_per_step / r->seconds_per_step, "limit_bytes", (json_int_t)r->limit, "memory",
        memory_json(all)));
}

static hone_status plan(const hone_train_flags *flags) {
    hone_train_observer observer = {.message = show_message};
    items all = {0};
    HONE_TRY(hone_plan_report_make(&all.report, &flags->options, &observer, add_item, &all));
    if (flags->json) return print_json(&all);
    print_plain(&all);
    return HONE_OK;
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
