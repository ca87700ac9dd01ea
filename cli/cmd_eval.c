#include <math.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/open_adapter.h"
#include "cli/output.h"
#include "train/compute.h"
#include "train/evaluate.h"
#include "train/session.h"

typedef struct settings {
    const char *model, *adapter, *data, *chat, *variables;
    int split, train_on, too_long, device, compute;
    double eval_fraction;
    int64_t threads;
    bool json;
} settings;

static const char *const splits[] = {"all", "train", "eval", NULL};
static const char *const train_ons[] = {"assistant", "all", NULL};
static hone_status require(const char *value, const char *flag) {
    if (value) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "--%s is missing", flag);
}

/* `outliers` as of hone_model_int8_outliers. */
static hone_status print_result(const settings *s, const hone_evaluation *e, double outliers) {
    double perplexity = exp(e->loss), speed = (double)e->all_tokens / e->seconds;
    if (s->json) {
        json_t *object = json_pack("{s:f, s:f, s:I, s:s, s:f}", "loss", e->loss, "perplexity",
                                   perplexity, "tokens", (json_int_t)e->tokens, "split",
                                   splits[s->split], "tokens_per_second", speed);
        if (object && outliers >= 0)
            json_object_set_new(object, "int8_outliers", json_real(outliers));
        return hone_print_json(object);
    }
    printf("loss %.9g\nperplexity %.9g\ntokens %lld\nsplit %s\ntokens per second %.0f\n", e->loss,
           perplexity, (long long)e->tokens, splits[s->split], speed);
    if (outliers >= 0) {
        char text[96];
        hone_int8_outliers_text(text, outliers);
        printf("int8 %s\n", text);
    }
    return HONE_OK;
}

/* What is not given is as in the run, when --adapter is a run folder. */
static hone_status complete(settings *s, hone_train_options *of_run) {
    bool found;
    HONE_TRY(hone_config_of_run(of_run, &found, s->adapter));
    if (!s->chat) s->chat = of_run->template;
    if (!s->variables) s->variables = of_run->template_vars;
    if (s->train_on < 0) s->train_on = of_run->train_on;
    if (s->eval_fraction < 0) s->eval_fraction = found ? of_run->eval_fraction : 0.1;
    return HONE_OK;
}

static hone_status evaluate(hone_session *session, const settings *s) {
    HONE_TRY(hone_session_open(session, (hone_device_kind)s->device, 0, s->model, NULL, s->chat,
                               s->threads, 0, false));
    if (s->adapter) HONE_TRY(hone_open_adapter(session, s->adapter));
    HONE_TRY(hone_chat_template_set(session->chat, s->variables));
    hone_samples_options how = {
        .train_on = (hone_train_on)s->train_on,
        .eval_fraction = s->eval_fraction,
    };
    HONE_TRY(hone_session_open_data(session, s->data, NULL, &how));
    HONE_TRY(hone_compute_prepare(session->model, (hone_compute)(s->compute + HONE_COMPUTE_F32),
                                  session->model->arch.layers));
    hone_evaluator *evaluator;
    HONE_TRY(hone_evaluator_new(&evaluator, session->model, session->adapter, session->samples,
                                (hone_split)s->split));
    hone_evaluation e;
    hone_status status = hone_evaluate(&e, evaluator);
    hone_evaluator_free(evaluator);
    HONE_TRY(status);
    return print_result(s, &e, hone_model_int8_outliers(session->model));
}

static hone_status run(int argc, char **argv) {
    settings s = {.train_on = -1, .eval_fraction = -1}; /* not given */
    const hone_flag flags[] = {
        {"model", HONE_FLAG_TEXT, &s.model, .unit = "PATH", .text = "the base model"},
        {"adapter", HONE_FLAG_TEXT, &s.adapter, .unit = "PATH",
         .text = "a run folder, a folder of PEFT or MLX-LM, or an adapter .gguf"},
        {"data", HONE_FLAG_TEXT, &s.data, .unit = "PATH", .text = "the records"},
        {"split", HONE_FLAG_CHOICE, &s.split, .words = splits, .shown = "all",
         .text = "all, train or eval: which part of the records"},
        {"eval-fraction", HONE_FLAG_REAL, &s.eval_fraction, .unit = "PART", .maximum = 1,
         .shown = "the run's, else 0.1", .text = "part of the records that is held out"},
        {"train-on", HONE_FLAG_CHOICE, &s.train_on, .words = train_ons,
         .shown = "the run's, else assistant",
         .text = "which tokens count: the assistant's, or all"},
        {"template", HONE_FLAG_TEXT, &s.chat, .unit = "NAME", .shown = "the run's, else auto",
         .text = "chat template, or the path of a .jinja file"},
        {"template-vars", HONE_FLAG_TEXT, &s.variables, .unit = "JSON",
         .text = "variables of the template, as in {\"enable_thinking\": false}"},
        {"device", HONE_FLAG_CHOICE, &s.device, .words = hone_device_words,
         .unit = hone_device_choices, .shown = "auto", .text = "where the numbers are computed"},
        {"compute", HONE_FLAG_CHOICE, &s.compute, .words = hone_compute_names + HONE_COMPUTE_F32,
         .shown = "f32",
         .text = "f32, tf32, bf16, fp8 or int8: precision of the products with frozen weights"},
        {"threads", HONE_FLAG_INT, &s.threads, .unit = "N", .maximum = 4096,
         .text = "threads; 0: OMP_NUM_THREADS, else every core"},
        {"json", HONE_FLAG_SWITCH, &s.json, .text = "print one JSON object"},
    };
    hone_arguments arguments = {0};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_eval, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    HONE_TRY(require(s.model, "model"));
    HONE_TRY(require(s.data, "data"));
    hone_train_options of_run;
    HONE_TRY(complete(&s, &of_run));
    hone_session session = {0};
    hone_status status = evaluate(&session, &s);
    hone_session_close(&session);
    hone_train_options_free(&of_run);
    return status;
}

const hone_command hone_command_eval = {
    .name = "eval",
    .usage = "--model PATH [--adapter PATH] --data PATH [options]",
    .summary = "measure a model on records: loss and perplexity",
    .run = run,
};
