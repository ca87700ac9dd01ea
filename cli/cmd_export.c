#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/open_adapter.h"
#include "cli/output.h"
#include "model/adapter_gguf.h"
#include "model/adapter_mlx.h"
#include "model/adapter_peft.h"
#include "model/merge.h"
#include "train/merge_change.h"
#include "train/options.h"
#include "train/session.h"

enum { FORMAT_PEFT, FORMAT_GGUF_ADAPTER, FORMAT_MLX, FORMAT_GGUF, FORMAT_SAFETENSORS };
enum { TYPE_WORDS = HONE_FILE_TYPES + 2 }; /* and the end */

typedef struct settings {
    const char *model, *adapter, *out, *data, *chat;
    int format; /* FORMAT_… */
    int type;   /* 0: as the base has it; else one above its place in hone_file_types */
    int64_t threads;
    bool json;
} settings;

static const char *const formats[] = {"peft", "gguf-adapter", "mlx", "gguf", "safetensors", NULL};

/* NULL: as the base has it. */
static const hone_file_type *file_type(const settings *s) {
    return s->type > 0 ? &hone_file_types[s->type - 1] : NULL;
}

static const char *type_name(const settings *s) {
    return s->type > 0 ? file_type(s)->name : "base";
}

static bool is_adapter(int format) {
    return format == FORMAT_PEFT || format == FORMAT_GGUF_ADAPTER || format == FORMAT_MLX;
}

static hone_status require(const char *value, const char *flag) {
    if (value) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "--%s is missing", flag);
}

/* All that can be known to be wrong before anything is read. */
static hone_status check(const settings *s) {
    HONE_TRY(require(s->model, "model"));
    HONE_TRY(require(s->out, "out"));
    if (is_adapter(s->format) && !s->adapter) {
        return hone_fail(HONE_ERR_USAGE, "--format %s needs --adapter", formats[s->format]);
    }
    if (is_adapter(s->format) && s->type > 1) {
        return hone_fail(HONE_ERR_USAGE,
                         "--type %s: adapters are written as f32; --type is for whole models",
                         type_name(s));
    }
    if (s->format == FORMAT_SAFETENSORS && s->type > 0 &&
        hone_dtype_is_quantised(file_type(s)->type)) {
        return hone_fail(HONE_ERR_USAGE,
                         "--type %s is for --format gguf; safetensors take f32, f16 or bf16",
                         type_name(s));
    }
    if (!hone_path_exists(s->out)) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "%s exists; remove it or give another --out", s->out);
}

static hone_status write_adapter(hone_session *session, const settings *s) {
    hone_adapter_info info;
    HONE_TRY(hone_session_info(&info, session));
    if (s->format == FORMAT_PEFT) return hone_adapter_write_peft(session->adapter, s->out, &info);
    if (s->format == FORMAT_MLX) return hone_adapter_write_mlx(session->adapter, s->out, &info);
    return hone_adapter_write_gguf(session->adapter, s->out, &info);
}

static hone_status write_model(const hone_session *session, const settings *s) {
    hone_export_options options = {.file_type = file_type(s)};
    if (s->format == FORMAT_GGUF) {
        return hone_model_export_gguf(session->model, session->adapter, s->out, &options);
    }
    return hone_model_export_safetensors(session->model, session->adapter, s->out, &options);
}

/* --- The change in perplexity --- */

/* Bins of a run's own records that are enough to see it, in seconds. */
enum { ENOUGH_BINS = 8 };

/* The records of a run, as it saw them: a copy in its folder where it had to import them. */
static hone_status open_run_records(hone_session *session, const char *run,
                                    const hone_train_options *o) {
    char *copy = hone_path_join(run, "data.h5");
    if (!copy) return HONE_ERR_MEMORY;
    hone_samples_options how = {
        .seq_len = o->seq_len,
        .overlong = (hone_overlong)o->too_long,
        .train_on = (hone_train_on)o->train_on,
        .eval_fraction = o->eval_fraction,
    };
    const char *data = hone_path_exists(copy) ? copy : o->data;
    hone_status status = hone_session_open_data(session, data, NULL, &how);
    hone_free(copy);
    return status;
}

/* Opens what the merged model is to be measured on, if there is anything. */
static hone_status open_records(hone_session *session, const settings *s,
                                const hone_train_options *run, bool is_run) {
    static const char unmeasured[] = "the change in perplexity by merging is not measured: ";
    if (is_adapter(s->format)) return HONE_OK;
    if (s->data) {
        hone_samples_options how = {.train_on = (hone_train_on)run->train_on};
        return hone_session_open_data(session, s->data, NULL, &how);
    }
    if (!s->adapter) return HONE_OK;
    if (!is_run) {
        hone_warn("%s--data gives it records", unmeasured);
    } else if (open_run_records(session, s->adapter, run) != HONE_OK) {
        hone_warn("%s%s; --data gives it other records", unmeasured, hone_fail_message());
    }
    return HONE_OK;
}

/* In nat per token, as hone verify's limit of Q8_0. A change that is small beside the steps of a coarse type
 * rounds to nothing. */
#define COSTLY 0.02

static hone_status measure(json_t **out, hone_session *session, const settings *s) {
    hone_merge_change change;
    *out = NULL;
    if (!session->samples) return HONE_OK;
    HONE_TRY(hone_merge_change_measure(&change, session, s->out, s->data ? 0 : ENOUGH_BINS));
    double before = exp(change.before.loss), after = exp(change.after.loss);
    hone_say("perplexity %.6g with the model%s, %.6g with what was written (%+.3g %%), on %lld "
             "tokens of %s%s",
             before, s->adapter ? " and its adapter" : "", after, 100 * (after / before - 1),
             (long long)change.after.tokens, s->data ? s->data : "the run",
             change.held_out ? ", held out" : "");
    if (s->adapter && change.after.loss - change.before.loss > COSTLY) {
        hone_warn("rounding took part of what was trained away again; --type %s keeps it, and so "
                  "does the adapter beside its base",
                  s->format == FORMAT_GGUF ? "f16" : "f32");
    }
    *out = json_pack("{s:f, s:f, s:I}", "before", before, "after", after, "tokens",
                     (json_int_t)change.after.tokens);
    return *out ? HONE_OK : hone_fail(HONE_ERR_MEMORY, "out of memory");
}

/* --- The command --- */

static hone_status report(const settings *s, json_t *perplexity) {
    const char *type = is_adapter(s->format) ? "f32" : type_name(s);
    if (!s->json) return HONE_OK;
    return hone_print_json(
        json_pack("{s:o, s:s, s:s, s:b, s:O?}", "path", hone_json_text(s->out, strlen(s->out)),
                  "format", formats[s->format], "type", type, "merged",
                  s->adapter && !is_adapter(s->format), "perplexity", perplexity));
}

/* A failure leaves nothing at --out that was not there before. */
static hone_status write_out(hone_session *session, const settings *s) {
    bool was_there = hone_path_exists(s->out);
    HONE_TRY(hone_dir_make_parent(s->out));
    hone_status status =
        is_adapter(s->format) ? write_adapter(session, s) : write_model(session, s);
    if (status != HONE_OK && !was_there) hone_dir_remove(s->out);
    return status;
}

static void warn_of_window(const hone_model *model, const settings *s) {
    int64_t window = hone_arch_gguf_lost_window(&model->arch);
    bool to_gguf = s->format == FORMAT_GGUF || s->format == FORMAT_GGUF_ADAPTER;
    if (!to_gguf || window == 0) return;
    hone_warn("the model's layers see %lld tokens back, which llama.cpp does not do for this "
              "architecture: it says the same of texts of up to %lld tokens only",
              (long long)window, (long long)window);
}

static hone_status export(hone_session *session, const settings *s, const hone_train_options *run,
                          bool is_run) {
    const char *chat = s->chat ? s->chat : run->template;
    HONE_TRY(
        hone_session_open(session, HONE_DEVICE_CPU, 0, s->model, NULL, chat, s->threads, 0, false));
    if (s->adapter) HONE_TRY(hone_open_adapter(session, s->adapter));
    HONE_TRY(open_records(session, s, run, is_run));
    HONE_TRY(write_out(session, s));
    hone_say("wrote %s (%s, %s)", s->out, formats[s->format],
             is_adapter(s->format) ? "f32" : type_name(s));
    warn_of_window(session->model, s);
    json_t *perplexity;
    HONE_TRY(measure(&perplexity, session, s));
    hone_status status = report(s, perplexity);
    json_decref(perplexity);
    return status;
}

static hone_status run(int argc, char **argv) {
    settings s = {.format = FORMAT_GGUF};
    const char *type_words[TYPE_WORDS] = {"base"};
    for (int i = 0; hone_file_types[i].name; i++) type_words[i + 1] = hone_file_types[i].name;
    const hone_flag flags[] = {
        {"model", HONE_FLAG_TEXT, &s.model, .unit = "PATH", .text = "the base model"},
        {"adapter", HONE_FLAG_TEXT, &s.adapter, .unit = "PATH",
         .text = "a run folder, a folder of PEFT or MLX-LM, or an adapter .gguf"},
        {"out", HONE_FLAG_TEXT, &s.out, .unit = "PATH", .text = "file or folder to write"},
        {"format", HONE_FLAG_CHOICE, &s.format, .words = formats, .shown = "gguf",
         .text = "an adapter (peft, gguf-adapter, mlx), or a whole model with the adapter merged "
                 "into it "
                 "(gguf, safetensors)"},
        {"type", HONE_FLAG_CHOICE, &s.type, .words = type_words, .shown = "base",
         .text = "how a whole model's weights are stored; base: as they are"},
        {"data", HONE_FLAG_TEXT, &s.data, .unit = "PATH",
         .text = "records to measure the change in perplexity by merging on; without it the run's "
                 "own, when --adapter is a run folder"},
        {"template", HONE_FLAG_TEXT, &s.chat, .unit = "NAME", .shown = "the run's, else auto",
         .text = "chat template to record in an adapter"},
        {"threads", HONE_FLAG_INT, &s.threads, .unit = "N", .maximum = 4096,
         .text = "threads; 0: OMP_NUM_THREADS, else every core"},
        {"json", HONE_FLAG_SWITCH, &s.json, .text = "print one JSON object"},
    };
    hone_arguments arguments = {0};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_export, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    HONE_TRY(check(&s));
    bool is_run;
    hone_train_options of_run;
    HONE_TRY(hone_config_of_run(&of_run, &is_run, s.adapter));
    hone_session session = {0};
    hone_status status = export(&session, &s, &of_run, is_run);
    hone_session_close(&session);
    hone_train_options_free(&of_run);
    return status;
}

const hone_command hone_command_export = {
    .name = "export",
    .usage = "--model PATH [--adapter PATH] --out PATH [options]",
    .summary = "write an adapter, or a model with it merged in, for other runtimes",
    .run = run,
};
