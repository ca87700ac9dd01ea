#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/adapter_gguf.h"
#include "model/adapter_peft.h"
#include "model/merge.h"
#include "train/preview.h"
#include "train/report.h"
#include "train/run.h"

enum { SHOWN_SAMPLES = 6, SHOWN_ROWS = 64 };

static hone_status write_peft(const hone_run *run, const hone_adapter_info *info) {
    char *path = hone_run_path(run, "adapter");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = hone_adapter_write_peft(run->session.adapter, path, info);
    hone_free(path);
    return status;
}

static hone_status write_gguf(const hone_run *run, const hone_adapter_info *info) {
    char *path = hone_run_path(run, "adapter.gguf");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = hone_adapter_write_gguf(run->session.adapter, path, info);
    hone_free(path);
    return status;
}

/* For runtimes that read one: the base by its full path, the adapter beside this file. */
static hone_status write_modelfile(const hone_run *run) {
    char full[PATH_MAX];
    const char *base = realpath(run->options->model, full) ? full : run->options->model;
    hone_buf text = {0};
    HONE_TRY(hone_buf_printf(&text, "FROM %s\nADAPTER ./adapter.gguf\n", base));
    char *path = hone_run_path(run, "Modelfile");
    hone_status status = path ? hone_file_put(path, text.data, text.length) : HONE_ERR_MEMORY;
    hone_free(path);
    hone_buf_free(&text);
    return status;
}

static hone_status write_adapter(hone_run *run) {
    hone_adapter_info info;
    HONE_TRY(hone_session_info(&info, &run->session));
    HONE_TRY(write_peft(run, &info));
    if (run->no_gguf) return HONE_OK;
    HONE_TRY(write_gguf(run, &info));
    return write_modelfile(run);
}

static hone_export_options whole_model(const hone_run *run) {
    return (hone_export_options){.file_type = hone_file_type_of(HONE_F32),
                                 .tokenizer_path = run->options->model};
}

hone_status hone_run_check_files(hone_run *run) {
    const hone_adapter *adapter = run->session.adapter;
    hone_export_options how = whole_model(run);
    hone_status status = adapter ? hone_adapter_check_gguf(adapter)
                                 : hone_model_check_gguf(run->session.model, &how);
    if (status == HONE_ERR_MEMORY) return status;
    run->no_gguf = status != HONE_OK;
    if (run->no_gguf) {
        hone_run_say(run, "there will be no %s.gguf: %s", adapter ? "adapter" : "model",
                     hone_fail_message());
    }
    return HONE_OK;
}

/* Every parameter was trained: a whole model, in f32 as it was trained, for Hugging Face and for llama.cpp. */
static hone_status write_model(const hone_run *run) {
    hone_export_options how = whole_model(run);
    char *folder = hone_run_path(run, "model"), *gguf = hone_run_path(run, "model.gguf");
    hone_status status = folder && gguf ? HONE_OK : HONE_ERR_MEMORY;
    const hone_model *model = run->session.model;
    if (status == HONE_OK) status = hone_model_export_safetensors(model, NULL, folder, &how);
    if (status == HONE_OK && !run->no_gguf) {
        status = hone_model_export_gguf(model, NULL, gguf, &how);
    }
    hone_free(folder);
    hone_free(gguf);
    return status;
}

static hone_status write_profile(const hone_run *run) {
    if (!run->profile) return HONE_OK;
    hone_buf text = {0};
    char *path = hone_run_path(run, "profile.json");
    hone_status status = path ? hone_profile_trace(&text, run->profile) : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_file_put(path, text.data, text.length);
    hone_free(path);
    hone_buf_free(&text);
    return status;
}

/* --- The report --- */

/* Rows of a table under construction, with room for their values. */
typedef struct rows {
    hone_report_row row[SHOWN_ROWS];
    char value[SHOWN_ROWS][128];
    size_t count;
} rows;

static void add_row(rows *r, const char *name, const char *format, ...) HONE_PRINTF(3, 4);

static void add_row(rows *r, const char *name, const char *format, ...) {
    if (r->count == SHOWN_ROWS) return;
    va_list args;
    va_start(args, format);
    vsnprintf(r->value[r->count], sizeof r->value[0], format, args);
    va_end(args);
    r->row[r->count] = (hone_report_row){name, r->value[r->count]};
    r->count++;
}

static void summary_rows(rows *out, const hone_run *run) {
    const hone_train_result *result = &run->result;
    add_row(out, "Steps", "%lld of %lld", (long long)run->state.step, (long long)run->steps);
    add_row(out, "Training loss", "%.4f at first, %.4f at last", result->first_loss,
            result->last_loss);
    if (result->has_eval) {
        add_row(out, "Held-out loss", "%.4f before, %.4f after", result->eval_loss_before,
                result->eval_loss);
    }
    add_row(out, "Tokens trained on", "%lld (%lld supervised)", (long long)run->state.tokens,
            (long long)run->state.supervised_tokens);
    add_row(out, "Speed", "%.0f tokens per second", result->tokens_per_second);
    if (result->int8_outliers >= 0) {
        char text[96];
        hone_int8_outliers_text(text, result->int8_outliers);
        add_row(out, "int8", "%s", text);
    }
}

static void ledger_rows(rows *out, const hone_run *run) {
    const hone_samples_ledger *l = hone_samples_ledger_of(run->session.samples);
    add_row(out, "Records", "%lld", (long long)l->records);
    add_row(out, "Samples", "%lld", (long long)l->samples);
    add_row(out, "Trained on", "%lld", (long long)hone_loader_samples(run->loader));
    add_row(out, "Held out", "%lld", (long long)(l->samples - hone_loader_samples(run->loader)));
    add_row(out, "Tokens", "%lld (%lld supervised)", (long long)l->tokens,
            (long long)l->supervised);
    add_row(out, "Longest record", "%lld tokens", (long long)l->longest);
    add_row(out, "Too long", "%lld: %lld truncated, %lld split, %lld left out",
            (long long)l->overlong, (long long)l->truncated, (long long)l->split,
            (long long)l->dropped);
    add_row(out, "Nothing to learn", "%lld left out", (long long)l->unsupervised);
}

static hone_status setting_rows(rows *out, const hone_run *run) {
    size_t count;
    const hone_train_option *list = hone_train_option_list(&count);
    hone_buf value = {0};
    for (size_t i = 0; i < count; i++) {
        hone_buf_clear(&value);
        HONE_TRY(hone_train_option_format(&value, run->options, &list[i]));
        if (value.length) add_row(out, list[i].key, "%s", value.data);
    }
    hone_buf_free(&value);
    return HONE_OK;
}

/* What a run folder may hold, for the report's list of those that are there. */
static const hone_report_row known_files[] = {
    {"adapter", "the adapter for PEFT and transformers"},
    {"adapter.gguf", "the adapter for llama.cpp and what is built on it"},
    {"model", "the model for transformers"},
    {"model.gguf", "the model for llama.cpp and what is built on it"},
    {"Modelfile", "for runtimes that read one"},
    {"run.yaml", "every setting of this run; a config for the next"},
    {"metrics.jsonl", "the numbers of every step"},
    {"profile.json", "where the time went; chrome://tracing and Perfetto read it"},
    {"checkpoints", "what --resume goes on from"},
};

static hone_status file_rows(rows *out, const hone_run *run) {
    for (size_t i = 0; i < sizeof known_files / sizeof *known_files; i++) {
        char *path = hone_run_path(run, known_files[i].name);
        if (!path) return HONE_ERR_MEMORY;
        if (hone_path_exists(path)) add_row(out, known_files[i].name, "%s", known_files[i].value);
        hone_free(path);
    }
    return HONE_OK;
}

static hone_status write_report(hone_run *run, const hone_metrics_history *history,
                                const hone_preview *preview, const hone_report_table *verified) {
    rows *tables = hone_alloc(4, sizeof *tables);
    if (!tables) return HONE_ERR_MEMORY;
    summary_rows(&tables[0], run);
    ledger_rows(&tables[1], run);
    hone_status status = setting_rows(&tables[2], run);
    if (status == HONE_OK) status = file_rows(&tables[3], run);
    hone_report report = {
        .title = run->options->out,
        .history = history,
        .samples = preview->samples,
        .sample_count = preview->count,
        .summary = {tables[0].row, tables[0].count},
        .ledger = {tables[1].row, tables[1].count},
        .settings = {tables[2].row, tables[2].count},
        .files = {tables[3].row, tables[3].count},
        .verified = *verified,
    };
    char *path = hone_run_path(run, "report.html");
    if (status == HONE_OK) status = path ? hone_report_write(path, &report) : HONE_ERR_MEMORY;
    hone_free(path);
    hone_free(tables);
    return status;
}

/* Files are checked on the processor: while a GPU gives answers, but not beside answers that the processor gives. */
hone_status hone_run_write_files(hone_run *run) {
    HONE_TRY(run->session.adapter ? write_adapter(run) : write_model(run));
    HONE_TRY(write_profile(run));
    const hone_train_observer *observer = run->observer;
    bool beside = !hone_device_is_host(&run->session.device);
    hone_report_table verified = {0};
    if (observer->verify)
        observer->verify(observer->context, run->options, run->session.model_hash);
    if (observer->verify && !beside) observer->verified(observer->context, &verified);
    hone_metrics_history history = {0};
    hone_preview preview = {0};
    hone_status status = hone_metrics_sync(run->metrics);
    if (status == HONE_OK) status = hone_metrics_read(&history, run->options->out);
    if (status == HONE_OK) {
        status = hone_preview_make(&preview, &run->session, SHOWN_SAMPLES, HONE_RUN_SHOWN_TOKENS);
    }
    if (observer->verify && beside) observer->verified(observer->context, &verified);
    if (status == HONE_OK) status = write_report(run, &history, &preview, &verified);
    hone_preview_free(&preview);
    hone_metrics_history_free(&history);
    return status;
}
