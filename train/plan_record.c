/*
 * The plan in writing: in run.yaml for people, and in every checkpoint for --resume, which goes on with it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/size.h"
#include "train/run.h"

static const char *const recompute_names[HONE_RECOMPUTES] = {"none", "selective", "attention",
                                                             "full"};

/* The options without paths: what lies there is compared by its hash, and folders may be moved. And without memory and GPUs:
 * the plan that came of them is compared. Graphs change no bit, nor does it where moments and activations are kept. */
static hone_status format_settings(char **out, const hone_train_options *o) {
    hone_train_options settings = *o;
    settings.model = settings.data = settings.out = settings.adapter = settings.from_scratch = NULL;
    settings.memory = settings.gpus = 0;
    settings.graphs = 1;
    settings.offload = HONE_OFFLOAD_NONE;
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

/* What checkpoints compare, besides the options and the model: what decides the bits. */
hone_status hone_run_describe(hone_run *run) {
    const hone_train_options *o = run->options;
    hone_size_text memory = hone_size(run->plan.memory.total);
    char threads[24], steps[24], rows[24], micro_batch[24], ranks[24];
    snprintf(threads, sizeof threads, "%d", hone_threads());
    snprintf(steps, sizeof steps, "%lld", (long long)run->steps);
    snprintf(rows, sizeof rows, "%lld", (long long)hone_run_rows(run));
    snprintf(ranks, sizeof ranks, "%d", run->rank.size);
    snprintf(micro_batch, sizeof micro_batch, "%lld", (long long)run->plan.micro_batch);
    const hone_plan_entry entries[] = {
        {"compute", hone_compute_names[run->compute]},
        {"attention", hone_attention_names[1 + run->attention]},
        {"kernels", run->session.device.kernels->name},
        {"threads", threads},
        {"recompute", recompute_names[run->plan.recompute]},
        {"activations", hone_activation_names[run->plan.bf16]},
        {"micro_batch", micro_batch},
        {"template", hone_chat_template_id(run->session.chat)},
        {"steps", steps},
        {"rows_per_step", rows},
        {"processes", ranks},
        {"offload", hone_offload_names[run->plan.offload]},
        {"memory", memory.text},
    };
    size_t count = sizeof entries / sizeof *entries;
    hone_buf text = {0};
    for (size_t i = 0; i + 2 < count; i++) { /* the last two are for reading only */
        HONE_TRY(hone_buf_printf(&text, "%s: %s\n", entries[i].name, entries[i].value));
    }
    run->state.plan = text.data;
    HONE_TRY(format_settings(&run->state.config, o));
    run->state.seed = o->seed;
    snprintf(run->state.data_hash, HONE_SHA256_TEXT, "%s", hone_samples_key(run->session.samples));
    snprintf(run->state.tokenizer_hash, HONE_SHA256_TEXT, "%s",
             hone_tokenizer_hash(run->session.tokenizer));
    return format_run_file(&run->file, o, entries, count);
}

/* The value of "\n<name>: <value>\n", of a name of `length` bytes; NULL when there is none. */
static const char *recorded_of(const char *text, const char *name, size_t length) {
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) == 0 && strncmp(line + length, ": ", 2) == 0)
            return line + length + 2;
    }
    return NULL;
}

static const char *recorded(const char *plan, const char *name) {
    return recorded_of(plan, name, strlen(name));
}

/* Which of the words a plan has recorded under a name; -1 for none of them. */
static int recorded_word(const char *plan, const char *name, const char *const *words, int count) {
    const char *word = recorded(plan, name);
    size_t length = word ? strcspn(word, "\n") : 0;
    for (int i = 0; i < count; i++) {
        if (word && length == strlen(words[i]) && strncmp(word, words[i], length) == 0) return i;
    }
    return -1;
}

/* What a run decided before there was a name for it cannot be known. */
static hone_status refuse_earlier(const hone_run *run, const char *name, size_t length) {
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: says nothing of \"%.*s\", because the run was begun by an earlier version "
        "of hone; resume it with that version, or start a new run",
        run->found_path, (int)length, name);
}

/* That `then` has every name that `now` has. */
static hone_status check_names(const hone_run *run, const char *now, const char *then) {
    for (const char *line = now; *line; line += strcspn(line, "\n") + 1) {
        size_t length = strcspn(line, ":");
        if (!recorded_of(then, line, length)) return refuse_earlier(run, line, length);
    }
    return HONE_OK;
}

hone_status hone_run_check_names(const hone_run *run) {
    HONE_TRY(check_names(run, run->state.config, run->found.config));
    return check_names(run, run->state.plan, run->found.plan);
}

/* A name of the plan that was found, whose value is of no use. */
static hone_status refuse_recorded(const hone_run *run, const char *name) {
    if (!recorded(run->found.plan, name)) return refuse_earlier(run, name, strlen(name));
    return hone_fail(HONE_ERR_USAGE,
                     "%s: its plan does not go with these options, so the result would differ; "
                     "resume with what the run began with, or start a new run",
                     run->found_path);
}

hone_status hone_run_check_ranks(const hone_run *run) {
    const char *then = recorded(run->found.plan, "processes");
    if (!then || strtoll(then, NULL, 10) == run->rank.size) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE,
                     "%s: the run was begun by %lld processes, with a GPU each, and would go on by "
                     "%d: its steps would be others; resume it with as many (--gpus), or start a "
                     "new run",
                     run->found_path, strtoll(then, NULL, 10), run->rank.size);
}

/* A number of a text: the same for the same one. */
static double number_of(const char *text) {
    char hash[HONE_SHA256_TEXT];
    hone_sha256_bytes(hash, text, strlen(text));
    hash[12] = 0; /* 48 bits, which a double holds */
    return (double)strtoll(hash, NULL, 16);
}

hone_status hone_run_compare_plans(const hone_run *run) {
    if (run->group.size < 2) return HONE_OK;
    const hone_checkpoint_state *s = &run->state;
    double all[HONE_GROUP_MOST];
    hone_buf text = {0};
    hone_status status = hone_buf_printf(
        &text, "%s %s %s %lld %lld %lld", s->config, s->data_hash, s->tokenizer_hash,
        (long long)run->steps, (long long)run->found.step, (long long)run->params->elements);
    if (status == HONE_OK) status = hone_group_gather(&run->group, all, number_of(text.data));
    hone_buf_free(&text);
    HONE_TRY(status);
    for (int i = 1; i < run->group.size; i++) {
        if (all[i] == all[0]) continue;
        return hone_fail(HONE_ERR_DATA,
                         "process %d of %d sees other records, another tokenizer, other options or "
                         "another checkpoint than the first: give all machines the same files",
                         i, run->group.size);
    }
    return HONE_OK;
}

hone_status hone_run_recorded_plan(hone_plan *out, const hone_run *run) {
    const char *plan = run->found.plan, *rows = recorded(plan, "micro_batch");
    int level = recorded_word(plan, "recompute", recompute_names, HONE_RECOMPUTES);
    int kept = recorded_word(plan, "activations", hone_activation_names, HONE_ACTIVATIONS_AUTO);
    *out = (hone_plan){.recompute = (hone_recompute)level,
                       .bf16 = kept == HONE_ACTIVATIONS_BF16,
                       .micro_batch = rows ? strtoll(rows, NULL, 10) : 0};
    if (level < 0) return refuse_recorded(run, "recompute");
    if (kept < 0) return refuse_recorded(run, "activations");
    if (out->micro_batch < 1 || out->micro_batch > run->options->batch_size)
        return refuse_recorded(run, "micro_batch");
    return HONE_OK;
}

hone_status hone_run_recorded_compute(hone_compute *out, const hone_run *run) {
    int way = recorded_word(run->found.plan, "compute", hone_compute_names, HONE_COMPUTES);
    *out = (hone_compute)way;
    return way > HONE_COMPUTE_AUTO ? HONE_OK : refuse_recorded(run, "compute");
}

hone_status hone_run_recorded_attention(hone_attention_kind *out, const hone_run *run) {
    int word =
        recorded_word(run->found.plan, "attention", hone_attention_names, 1 + HONE_ATTENTIONS);
    *out = (hone_attention_kind)(word - 1);
    return word > 0 ? HONE_OK : refuse_recorded(run, "attention");
}

hone_status hone_run_write_plan(const hone_run *run) {
    char *path = hone_run_path(run, "run.yaml");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = hone_file_put(path, run->file.data, run->file.length);
    hone_free(path);
    return status;
}
