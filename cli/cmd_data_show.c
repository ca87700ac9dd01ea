#include <stdio.h>
#include <string.h>

#include "cli/flags.h"
#include "cli/output.h"
#include "cli/token_print.h"
#include "data/samples.h"
#include "model/chat_choice.h"
#include "train/options.h"

typedef struct show_options {
    const char *model, *template, *variables;
    int train_on;
    double eval_fraction;
    int64_t record; /* -1: all */
    bool json;
} show_options;

/* A sample and what is needed to print it. */
typedef struct shown {
    const hone_datafile *data;
    const hone_tokenizer *tokenizer;
    const hone_samples *samples;
    hone_sample sample;
    int64_t index;
    hone_buf text;
} shown;

static json_t *array_json(const shown *show, bool mask) {
    json_t *array = json_array();
    for (int32_t i = 0; i < show->sample.info.length; i++)
        json_array_append_new(array,
                              json_integer(mask ? show->sample.mask[i] : show->sample.ids[i]));
    return array;
}

static hone_status print_json(shown *show) {
    const hone_sample_info *info = &show->sample.info;
    const char *source = hone_datafile_source(show->data, info->source)->name;
    hone_buf_clear(&show->text);
    HONE_TRY(hone_samples_text(&show->text, show->samples, &show->sample));
    return hone_print_json(json_pack(
        "{s:I, s:I, s:o, s:s, s:o, s:o, s:o}", "record", (json_int_t)info->record, "sample",
        (json_int_t)show->index, "source", hone_json_text(source, strlen(source)), "split",
        info->is_eval ? "eval" : "train", "ids", array_json(show, false), "mask",
        array_json(show, true), "text", hone_json_text(show->text.data, show->text.length)));
}

static hone_status print_plain(shown *show) {
    const hone_sample_info *info = &show->sample.info;
    printf("--- record %lld, sample %lld, ", (long long)info->record, (long long)show->index);
    const char *source = hone_datafile_source(show->data, info->source)->name;
    hone_print_text(source, strlen(source));
    printf(", %s: %d tokens, %d of them learned\n", info->is_eval ? "held out" : "trained on",
           (int)info->length, (int)info->supervised);
    HONE_TRY(hone_print_tokens(show->tokenizer, show->sample.ids, show->sample.mask,
                               (size_t)info->length));
    putchar('\n');
    return HONE_OK;
}

static hone_status show_samples(shown *show, const show_options *options) {
    int64_t count = hone_samples_count(show->samples);
    bool found = false;
    for (show->index = 0; show->index < count; show->index++) {
        hone_sample_info info;
        HONE_TRY(hone_samples_info(&info, show->samples, show->index));
        if (options->record >= 0 && info.record != options->record) continue;
        found = true;
        HONE_TRY(hone_samples_read(&show->sample, show->samples, show->index));
        HONE_TRY(options->json ? print_json(show) : print_plain(show));
    }
    if (found || options->record < 0) return HONE_OK;
    if (options->record < hone_datafile_count(show->data))
        return hone_fail(HONE_ERR_DATA, "record %lld has nothing to learn in it",
                         (long long)options->record);
    return hone_fail(HONE_ERR_USAGE, "--record %lld: the file has records 0 to %lld",
                     (long long)options->record, (long long)hone_datafile_count(show->data) - 1);
}

static hone_status show_with(hone_datafile *data, const hone_tokenizer *tokenizer,
                             const hone_chat_template *chat, const show_options *options) {
    const hone_samples_options how = {.train_on = (hone_train_on)options->train_on,
                                      .eval_fraction = options->eval_fraction};
    hone_samples *samples;
    HONE_TRY(hone_samples_open(&samples, data, tokenizer, chat, &how));
    if (!options->json)
        hone_say("template %s; learned tokens are %s", hone_chat_template_name(chat),
                 hone_colours(stdout) ? "green" : "in ⟦ ⟧");
    shown show = {.data = data, .tokenizer = tokenizer, .samples = samples};
    hone_status status = show_samples(&show, options);
    hone_sample_free(&show.sample);
    hone_buf_free(&show.text);
    hone_samples_free(samples);
    return status;
}

static hone_status show_file(hone_datafile *data, const hone_tokenizer *tokenizer,
                             const show_options *options) {
    hone_chat_template *chat;
    HONE_TRY(hone_chat_choose(&chat, options->template, options->model, tokenizer));
    hone_status status = hone_chat_template_set(chat, options->variables);
    if (status == HONE_OK) status = show_with(data, tokenizer, chat, options);
    hone_chat_template_free(chat);
    return status;
}

static hone_status parse(show_options *out, hone_arguments *arguments, int argc, char **argv) {
    static const char *const train_on[] = {"assistant", "all", NULL};
    const hone_flag flags[] = {
        {.name = "model",
         .type = HONE_FLAG_TEXT,
         .target = &out->model,
         .unit = "PATH",
         .text = "the model whose tokenizer and chat template are used"},
        {.name = "record",
         .type = HONE_FLAG_INT,
         .target = &out->record,
         .unit = "N",
         .maximum = 1e15,
         .text = "this record only, counted from 0"},
        {.name = "template",
         .type = HONE_FLAG_TEXT,
         .target = &out->template,
         .unit = "NAME",
         .text = "chat template; auto: the model's own; or the path of a .jinja file",
         .shown = "auto"},
        {.name = "template-vars",
         .type = HONE_FLAG_TEXT,
         .target = &out->variables,
         .unit = "JSON",
         .text = "variables of the template, as in {\"enable_thinking\": false}"},
        {.name = "train-on",
         .type = HONE_FLAG_CHOICE,
         .target = &out->train_on,
         .words = train_on,
         .text = "which tokens are learned",
         .shown = "assistant"},
        {.name = "eval-fraction",
         .type = HONE_FLAG_REAL,
         .target = &out->eval_fraction,
         .unit = "PART",
         .maximum = 1,
         .text = "part of the records that is held out",
         .shown = "0.1"},
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &out->json,
         .text = "one JSON object a line: record, sample, source, split, ids, mask, text"},
    };
    HONE_TRY(
        hone_flags_parse(arguments, &hone_command_data_show, flags, HONE_COUNT(flags), argc, argv));
    if (arguments->help || out->model) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "--model is needed: its tokenizer decides the tokens");
}

static hone_status run(int argc, char **argv) {
    hone_train_options defaults;
    HONE_TRY(hone_train_options_default(&defaults));
    show_options options = {
        .template = "auto", .record = -1, .eval_fraction = defaults.eval_fraction};
    hone_train_options_free(&defaults);
    hone_arguments arguments = {.minimum = 1, .maximum = 1};
    HONE_TRY(parse(&options, &arguments, argc, argv));
    if (arguments.help) return HONE_OK;
    hone_datafile *data;
    HONE_TRY(hone_datafile_open(&data, arguments.operands[0]));
    hone_tokenizer *tokenizer;
    hone_status status = hone_open_tokenizer(&tokenizer, options.model);
    if (status == HONE_OK) {
        status = show_file(data, tokenizer, &options);
        hone_tokenizer_free(tokenizer);
    }
    hone_datafile_free(data);
    return status;
}

const hone_command hone_command_data_show = {
    .name = "data show",
    .usage = "FILE.h5 --model PATH [options]",
    .summary = "each record as it will be trained on, token by token, the learned ones in colour",
    .run = run,
};
