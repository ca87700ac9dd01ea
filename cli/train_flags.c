#include "cli/train_flags.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "cli/help.h"

enum {
    MAX_FLAGS = 64,
    OWN_FLAGS = 5,
    PLAN_FLAGS = 3 /* the first of them, which `hone plan` has as well */
};

/* Everything that the command line said. */
typedef struct spoken {
    hone_flag_list
        settings; /* name, value, name, value … of --rank 8, and "set", assignment of --set */
    const char *config;
    bool plan; /* for a run that is not made */
} spoken;

static hone_flag_type type_of(const hone_train_option *option) {
    return option->type == HONE_OPTION_BOOL ? HONE_FLAG_SET_TRUE : HONE_FLAG_SETTING;
}

/* The table's rows that are flags; `defaults` get the texts of their defaults. */
static hone_status make_flags(hone_flag *flags, size_t *count, hone_buf *defaults,
                              hone_flag_list *settings, const hone_train_options *options) {
    size_t rows;
    const hone_train_option *list = hone_train_option_list(&rows);
    size_t n = *count;
    for (size_t i = 0; i < rows && n < MAX_FLAGS; i++) {
        if (!list[i].flag) continue;
        HONE_TRY(hone_train_option_format(&defaults[n], options, &list[i]));
        flags[n] = (hone_flag){.name = list[i].flag,
                               .type = type_of(&list[i]),
                               .target = settings,
                               .unit = list[i].unit,
                               .words = list[i].words,
                               .text = list[i].text,
                               .shown = defaults[n].data};
        n++;
    }
    *count = n;
    return HONE_OK;
}

/* "text (one, two) [default]" */
static hone_status describe_key(hone_buf *out, const hone_train_option *option,
                                const hone_train_options *options) {
    HONE_TRY(hone_buf_puts(out, option->text));
    for (int i = 0; option->words && option->words[i]; i++)
        HONE_TRY(hone_buf_printf(out, "%s%s", i ? ", " : " (", option->words[i]));
    HONE_TRY(hone_buf_puts(out, option->words ? ") [" : " ["));
    HONE_TRY(hone_train_option_format(out, options, option));
    return hone_buf_puts(out, "]");
}

/* The keys that are no flags, after the options. */
static hone_status print_other_keys(const hone_train_options *options) {
    size_t rows;
    const hone_train_option *list = hone_train_option_list(&rows);
    puts("\nkeys of config files and of --set, besides those of the options (batch_size for "
         "--batch-size):");
    for (size_t i = 0; i < rows; i++) {
        if (list[i].flag) continue;
        hone_buf text = {0};
        hone_status status = describe_key(&text, &list[i], options);
        if (status == HONE_OK) hone_help_row(list[i].key, text.data);
        hone_buf_free(&text);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static hone_status apply_setting(hone_train_options *options, const char *name, const char *value) {
    if (strcmp(name, "set") == 0) return hone_train_options_assign(options, value, "--set");
    char where[80];
    snprintf(where, sizeof where, "--%s", name);
    return hone_train_options_set(options, hone_train_option_find_flag(name)->key, value, where);
}

static hone_status apply_settings(hone_train_options *options, const hone_flag_list *settings) {
    for (size_t i = 0; i + 1 < settings->count; i += 2)
        HONE_TRY(apply_setting(options, settings->items[i], settings->items[i + 1]));
    return HONE_OK;
}

/* Goes on with what the run was started with; the settings of this call come on top. */
static hone_status load_run(hone_train_options *options, const hone_flag_list *settings) {
    HONE_TRY(apply_settings(options, settings)); /* for `out` */
    if (!options->out) return HONE_OK;
    char *path = hone_path_join(options->out, "run.yaml");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    if (hone_path_exists(path)) status = hone_config_load(options, path);
    hone_free(path);
    return status;
}

static hone_status resolve(hone_train_flags *out, const spoken *words) {
    if (words->config) {
        HONE_TRY(hone_config_load(&out->options, words->config));
    } else if (out->resume) {
        HONE_TRY(load_run(&out->options, &words->settings));
    }
    HONE_TRY(apply_settings(&out->options, &words->settings));
    return words->plan ? hone_train_options_check_plan(&out->options)
                       : hone_train_options_check(&out->options);
}

static hone_status parse(hone_train_flags *out, spoken *words, hone_buf *defaults,
                         const hone_command *command, int argc, char **argv) {
    hone_flag flags[MAX_FLAGS] = {
        {.name = "config",
         .type = HONE_FLAG_TEXT,
         .target = &words->config,
         .unit = "FILE.yaml",
         .text = "read settings from a file; options given here count more"},
        {.name = "set",
         .type = HONE_FLAG_SETTING,
         .target = &words->settings,
         .unit = "KEY=VALUE",
         .text = "set any key, also those without an option of their own (below)"},
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &out->json,
         .text = "end with one JSON object on standard output"},
        {.name = "profile",
         .type = HONE_FLAG_SWITCH,
         .target = &out->profile,
         .text = "time every operation: a table at the end, and profile.json in --out"},
        {.name = "resume",
         .type = HONE_FLAG_SWITCH,
         .target = &out->resume,
         .text = "go on from the newest checkpoint of --out"},
    };
    size_t count = words->plan ? PLAN_FLAGS : OWN_FLAGS;
    HONE_TRY(make_flags(flags, &count, defaults, &words->settings, &out->options));
    hone_arguments arguments = {0};
    HONE_TRY(hone_flags_parse(&arguments, command, flags, count, argc, argv));
    out->help = arguments.help;
    if (arguments.version) return HONE_OK;
    if (out->help) return print_other_keys(&out->options);
    return resolve(out, words);
}

static hone_status parse_for(hone_train_flags *out, bool plan, const hone_command *command,
                             int argc, char **argv) {
    *out = (hone_train_flags){0};
    HONE_TRY(hone_train_options_default(&out->options));
    spoken words = {.plan = plan};
    hone_buf defaults[MAX_FLAGS] = {0};
    hone_status status = parse(out, &words, defaults, command, argc, argv);
    for (size_t i = 0; i < MAX_FLAGS; i++) hone_buf_free(&defaults[i]);
    hone_flag_list_free(&words.settings);
    return status;
}

hone_status hone_train_flags_parse(hone_train_flags *out, const hone_command *command, int argc,
                                   char **argv) {
    return parse_for(out, false, command, argc, argv);
}

hone_status hone_train_flags_parse_plan(hone_train_flags *out, const hone_command *command,
                                        int argc, char **argv) {
    return parse_for(out, true, command, argc, argv);
}

void hone_train_flags_free(hone_train_flags *flags) {
    hone_train_options_free(&flags->options);
}
