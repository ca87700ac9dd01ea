#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/plan_print.h"
#include "cli/self_check.h"
#include "cli/signals.h"
#include "cli/train_flags.h"
#include "train/ranks.h"
#include "train/trainer.h"

/* What the progress line and the messages need to remember. */
typedef struct progress {
    int64_t log_every;
    double speed; /* tokens per second, smoothed */
    hone_self_check check;
} progress;

static void show_message(void *context, const char *text) {
    (void)context;
    hone_say("%s", text);
}

static void format_time(char out[24], double seconds) {
    long long s = (long long)seconds;
    if (s < 3600) {
        snprintf(out, 24, "%lld:%02lld", s / 60, s % 60);
    } else {
        snprintf(out, 24, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    }
}

static void show_step(void *context, const hone_step_metrics *m, int64_t steps, double left) {
    progress *p = context;
    p->speed = p->speed > 0 ? 0.9 * p->speed + 0.1 * m->tokens_per_second : m->tokens_per_second;
    char eta[24];
    format_time(eta, left * m->tokens_per_second / p->speed);
    const char *format = "step %lld/%lld  loss %.4f  %.0f tokens/s  %s  %s left";
    hone_progress(format, (long long)m->step, (long long)steps, m->loss, p->speed,
                  hone_size(m->peak_bytes).text, eta);
    if (hone_progress_shown() || (m->step % p->log_every != 0 && m->step != steps)) return;
    hone_say(format, (long long)m->step, (long long)steps, m->loss, p->speed,
             hone_size(m->peak_bytes).text, eta);
}

static void show_eval(void *context, const hone_eval_metrics *m) {
    (void)context;
    hone_say("step %lld: loss on held-out records %.4f", (long long)m->step, m->eval_loss);
}

static void check_files(void *context, const hone_train_options *options, const char *model_hash) {
    progress *p = context;
    hone_self_check_begin(&p->check, options, model_hash);
}

static void await_check(void *context, hone_report_table *rows) {
    progress *p = context;
    *rows = hone_self_check_rows(&p->check);
}

/* Line by line: a message has its limits. */
static void show_lines(void *context, const char *text) {
    (void)context;
    for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1)
        hone_say("%.*s", (int)(end - at), at);
}

static void show_plan(void *context, const hone_plan_report *plan) {
    hone_buf text = {0};
    if (hone_plan_text(&text, plan) == HONE_OK) show_lines(context, text.data);
    hone_buf_free(&text);
}

static json_t *losses(const hone_train_result *r) {
    json_t *object = json_pack("{s:f, s:f}", "first", r->first_loss, "last", r->last_loss);
    if (object && r->has_eval) {
        json_object_set_new(object, "eval_before", json_real(r->eval_loss_before));
        json_object_set_new(object, "eval", json_real(r->eval_loss));
    }
    return object;
}

/* Those of the run folder's files that are there. */
static json_t *files(const char *out) {
    static const char *const names[] = {"run.yaml",     "metrics.jsonl", "adapter",
                                        "adapter.gguf", "Modelfile",     "model",
                                        "model.gguf",   "report.html",   "profile.json"};
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(names); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", out, names[i]);
        if (hone_path_exists(path)) json_array_append_new(list, json_string(path));
    }
    return list;
}

static json_t *verified(const hone_self_check *check) {
    return check->result ? json_incref(check->result) : json_null();
}

static json_t *result_object(const char *out, const hone_train_result *r,
                             const hone_self_check *check) {
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:o, s:f, s:I, s:f, s:I, s:I, s:b, s:o, s:o}", "run",
        hone_json_text(out, strlen(out)), "steps", (json_int_t)r->steps, "planned_steps",
        (json_int_t)r->planned_steps, "losses", losses(r), "seconds", r->seconds, "tokens",
        (json_int_t)r->tokens, "tokens_per_second", r->tokens_per_second, "peak_bytes",
        (json_int_t)r->peak_bytes, "planned_bytes", (json_int_t)r->planned_bytes, "stopped_early",
        (int)r->stopped_early, "files", files(out), "verified", verified(check));
    if (object && r->int8_outliers >= 0)
        json_object_set_new(object, "int8_outliers", json_real(r->int8_outliers));
    return object;
}

static void say_result(const char *out, const hone_train_result *r, const hone_self_check *check,
                       bool agrees) {
    if (r->stopped_early) hone_say("stopped early: the held-out loss did not fall any more");
    hone_say("done: %lld steps, loss %.4f to %.4f, %.0f tokens/s, at most %s of memory",
             (long long)r->steps, r->first_loss, r->last_loss, r->tokens_per_second,
             hone_size(r->peak_bytes).text);
    if (agrees) {
        hone_say("what was exported agrees with what was trained, in %zu comparisons",
                 check->count);
    }
    hone_say("results in %s; %s/report.html shows them", out, out);
}

/* What --json ends with: the result, if it came to one, and what failed. Takes the reference. */
static hone_status print_object(json_t *object, const hone_train_flags *flags, hone_status status) {
    const char *out = flags->options.out ? flags->options.out : "", *message = hone_fail_message();
    if (!object) object = json_pack("{s:o}", "run", hone_json_text(out, strlen(out)));
    if (status != HONE_OK) {
        json_object_set_new(object, "error", hone_json_text(message, strlen(message)));
        json_object_set_new(object, "status", json_integer(hone_exit_status(status)));
    }
    hone_status printed = hone_print_json(object);
    return status == HONE_OK ? printed : status;
}

/* Options that are wrong may keep the others from being read. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) return true;
    }
    return false;
}

static hone_status train(json_t **object, const hone_train_flags *flags, const hone_rank *rank) {
    progress p = {.log_every = flags->options.log_every};
    hone_train_observer observer = {
        .rank = rank,
        .context = &p,
        .message = show_message,
        .plan = show_plan,
        .step = show_step,
        .eval = show_eval,
        .verify = check_files,
        .verified = await_check,
        .profile = flags->profile ? show_lines : NULL,
        .stop = hone_signals_catch(),
    };
    hone_train_result result;
    hone_status status = hone_train(&result, &flags->options, flags->resume, &observer);
    if (status == HONE_OK) {
        status = hone_self_check_status(&p.check, &flags->options);
        if (flags->json) {
            *object = result_object(flags->options.out, &result, &p.check);
        } else {
            say_result(flags->options.out, &result, &p.check, status == HONE_OK);
        }
    }
    hone_self_check_free(&p.check);
    return status;
}

/* --- Several processes --- */

/* All but the first are silent, and leave files alone. */
static hone_status train_beside(const hone_train_flags *flags, const hone_rank *rank) {
    hone_train_observer observer = {.rank = rank, .stop = hone_signals_catch()};
    hone_train_result result;
    hone_output_quiet();
    return hone_train(&result, &flags->options, flags->resume, &observer);
}

/* As a child of `hone train --gpus`, which tells of failures itself. */
_Noreturn static void train_as_child(const hone_train_flags *flags, const hone_rank *rank) {
    json_t *object = NULL;
    hone_status status = rank->rank == 0 ? train(&object, flags, rank) : train_beside(flags, rank);
    if (status == HONE_OK && object) status = hone_print_json(object);
    if (status == HONE_OK) status = hone_output_finish();
    if (status != HONE_OK) hone_rank_report(rank, status);
    (void)!hone_output_finish();
    _exit(hone_exit_status(status));
}

static void show_line(void *context, int rank, const char *line) {
    (void)context;
    hone_error("GPU %d: %s", rank, line);
}

/* In processes of its own, one for each GPU; *told when the result was printed. */
static hone_status train_in_children(bool *told, const hone_train_flags *flags) {
    hone_ranks *ranks;
    hone_rank rank;
    hone_status status =
        hone_ranks_fork(&ranks, &rank, (int)flags->options.gpus, flags->options.out);
    if (status == HONE_OK && !ranks) train_as_child(flags, &rank);
    HONE_TRY(status);
    hone_output_quiet(); /* the first child speaks, also of signals */
    status = hone_ranks_wait(ranks, hone_signals_catch(), show_line, NULL);
    *told = status == HONE_OK;
    hone_ranks_free(ranks);
    return status;
}

/* In this process: alone, or as one of those that a launcher started. */
static hone_status train_here(bool *told, json_t **object, const hone_train_flags *flags) {
    hone_rank rank;
    HONE_TRY(hone_rank_find(&rank, &flags->options));
    if (flags->options.gpus > 1) return train_in_children(told, flags);
    if (rank.size == 1) return train(object, flags, NULL);
    *told = rank.rank > 0;
    hone_status status = *told ? train_beside(flags, &rank) : train(object, flags, &rank);
    if (status == HONE_OK || status == HONE_ERR_INTERRUPTED) return status;
    return hone_fail_context(status, "process %d of %d", rank.rank, rank.size);
}

static hone_status run(int argc, char **argv) {
    bool json = wants_json(argc, argv), told = false;
    json_t *object = NULL;
    hone_train_flags flags;
    hone_status status = hone_train_flags_parse(&flags, &hone_command_train, argc, argv);
    if (status == HONE_OK && !flags.help) status = train_here(&told, &object, &flags);
    if (json && !flags.help && !told) status = print_object(object, &flags, status);
    hone_train_flags_free(&flags);
    return status;
}

const hone_command hone_command_train = {
    .name = "train",
    .usage = "--model PATH --data PATH --out DIR [options]",
    .summary = "fine-tune a model on your records",
    .run = run,
};
