#include "cli/flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/distance.h"
#include "cli/help.h"
#include "cli/output.h"

typedef struct parser {
    const hone_command *command;
    const hone_flag *flags;
    size_t count;
    hone_arguments *out;
} parser;

void hone_flag_list_free(hone_flag_list *list) {
    hone_free(list->items);
    *list = (hone_flag_list){0};
}

static hone_status list_add(hone_flag_list *list, const char *text) {
    HONE_TRY(hone_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items));
    list->items[list->count++] = text;
    return HONE_OK;
}

static hone_status wrong_value(const hone_flag *flag, const char *value, const char *wanted) {
    return hone_fail(HONE_ERR_USAGE, "--%s \"%s\": %s", flag->name, value, wanted);
}

static hone_status wrong_range(const hone_flag *flag, const char *value) {
    return hone_fail(HONE_ERR_USAGE, "--%s \"%s\": must be at least %.16g and at most %.16g",
                     flag->name, value, flag->minimum, flag->maximum);
}

static hone_status set_int(const hone_flag *flag, const char *value) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end != 0) return wrong_value(flag, value, "must be a whole number");
    if (errno != 0 || (double)number < flag->minimum || (double)number > flag->maximum)
        return wrong_range(flag, value);
    *(int64_t *)flag->target = number;
    return HONE_OK;
}

static hone_status set_real(const hone_flag *flag, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != 0) return wrong_value(flag, value, "must be a number");
    if (!(number >= flag->minimum && number <= flag->maximum)) return wrong_range(flag, value);
    *(double *)flag->target = number;
    return HONE_OK;
}

static hone_status set_choice(const hone_flag *flag, const char *value) {
    char wanted[256] = "must be one of ";
    for (int i = 0; flag->words[i]; i++) {
        if (strcmp(flag->words[i], value) == 0) {
            *(int *)flag->target = i;
            return HONE_OK;
        }
        size_t length = strlen(wanted);
        snprintf(wanted + length, sizeof wanted - length, "%s%s", i ? ", " : "", flag->words[i]);
    }
    return wrong_value(flag, value, wanted);
}

static hone_status add_setting(const hone_flag *flag, const char *value) {
    HONE_TRY(list_add(flag->target, flag->name));
    return list_add(flag->target, value);
}

static hone_status set_flag(const hone_flag *flag, const char *value) {
    switch (flag->type) {
    case HONE_FLAG_SWITCH:
        *(bool *)flag->target = true;
        return HONE_OK;
    case HONE_FLAG_TEXT:
        *(const char **)flag->target = value;
        return HONE_OK;
    case HONE_FLAG_INT:
        return set_int(flag, value);
    case HONE_FLAG_REAL:
        return set_real(flag, value);
    case HONE_FLAG_CHOICE:
        return set_choice(flag, value);
    case HONE_FLAG_LIST:
        return list_add(flag->target, value);
    case HONE_FLAG_SETTING:
    case HONE_FLAG_SET_TRUE:
        return add_setting(flag, value);
    }
    return HONE_OK;
}

static hone_status unknown_option(const parser *in, const char *name) {
    static const char *const common[] = {"help", "quiet", "version"};
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < in->count + HONE_COUNT(common); i++) {
        const char *known = i < in->count ? in->flags[i].name : common[i - in->count];
        size_t distance = hone_edit_distance(name, known);
        if (distance >= least) continue;
        least = distance;
        nearest = known;
    }
    if (nearest && hone_edit_is_near(name, least))
        return hone_fail(HONE_ERR_USAGE, "unknown option --%s; did you mean --%s?", name, nearest);
    return hone_fail(HONE_ERR_USAGE, "unknown option --%s; `hone %s --help` lists them", name,
                     in->command->name);
}

static const hone_flag *find_flag(const parser *in, const char *name) {
    for (size_t i = 0; i < in->count; i++) {
        if (strcmp(in->flags[i].name, name) == 0) return &in->flags[i];
    }
    return NULL;
}

static bool takes_value(const hone_flag *flag) {
    return flag->type != HONE_FLAG_SWITCH && flag->type != HONE_FLAG_SET_TRUE;
}

/* -h, -q, -V and their long forms. False when it is none of them. */
static bool common_option(const parser *in, const char *argument) {
    if (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0) {
        if (!in->out->help) hone_help_print(in->command, in->flags, in->count);
        in->out->help = true;
    } else if (strcmp(argument, "-V") == 0 || strcmp(argument, "--version") == 0) {
        if (in->out->help) return true;
        puts("hone " HONE_VERSION);
        in->out->help = in->out->version = true;
    } else if (strcmp(argument, "-q") == 0 || strcmp(argument, "--quiet") == 0) {
        hone_output_quiet();
    } else {
        return false;
    }
    return true;
}

/* argv[*at] begins with "--". Moves *at to the last argument that was used. */
static hone_status read_option(const parser *in, int *at, int argc, char **argv) {
    const char *text = argv[*at] + 2;
    const char *equals = strchr(text, '=');
    char name[64];
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    if (length >= sizeof name) return unknown_option(in, text);
    memcpy(name, text, length);
    name[length] = 0;
    const hone_flag *flag = find_flag(in, name);
    if (!flag) return unknown_option(in, name);
    if (!takes_value(flag)) {
        if (equals) return hone_fail(HONE_ERR_USAGE, "--%s takes no value", name);
        return set_flag(flag, "true");
    }
    if (equals) return set_flag(flag, equals + 1);
    if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0)
        return hone_fail(HONE_ERR_USAGE, "--%s needs a value: --%s %s", name, name,
                         flag->unit ? flag->unit : "VALUE");
    *at += 1;
    return set_flag(flag, argv[*at]);
}

static hone_status check_operands(const parser *in) {
    const hone_arguments *out = in->out;
    if (out->help) return HONE_OK;
    bool many = out->maximum >= 0 && out->count > out->maximum;
    if (many)
        return hone_fail(HONE_ERR_USAGE, "\"%s\" has no place here; usage: hone %s %s",
                         out->operands[out->maximum], in->command->name, in->command->usage);
    if (out->count >= out->minimum) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "something is missing; usage: hone %s %s", in->command->name,
                     in->command->usage);
}

hone_status hone_flags_parse(hone_arguments *out, const hone_command *command,
                             const hone_flag *flags, size_t count, int argc, char **argv) {
    parser in = {command, flags, count, out};
    out->operands = argv + 1;
    out->count = 0;
    out->help = false;
    bool ended = false;
    for (int at = 1; at < argc; at++) {
        char *argument = argv[at];
        if (ended || argument[0] != '-' || argument[1] == 0) {
            out->operands[out->count++] = argument;
        } else if (strcmp(argument, "--") == 0) {
            ended = true;
        } else if (common_option(&in, argument)) {
            continue;
        } else if (argument[1] == '-') {
            HONE_TRY(read_option(&in, &at, argc, argv));
        } else {
            return hone_fail(HONE_ERR_USAGE, "unknown option %s; `hone %s --help` lists them",
                             argument, command->name);
        }
    }
    return check_operands(&in);
}
