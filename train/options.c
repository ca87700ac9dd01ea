#include "train/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "text/chat.h"
#include "text/utf8.h"

/* Sensible for a few hundred to a few thousand records of a small business on a small model. */
static const hone_train_options defaults = {
    .template = "auto",
    .steps = 0,
    .epochs = 0,
    .method = 0,
    .full = false,
    .rank = 16,
    .alpha = 32,
    .dropout = 0,
    .targets = HONE_TARGET_ALL,
    .optimizer = 0,
    .lr = 2e-4,
    .schedule = HONE_SCHEDULE_COSINE,
    .warmup = -1,
    .min_lr_ratio = 0,
    .weight_decay = 0.01,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .epsilon = 1e-8,
    .clip = 1,
    .batch_size = 4,
    .accumulation = 1,
    .seq_len = 512,
    .seed = 42,
    .device = HONE_DEVICE_AUTO,
    .compute = HONE_COMPUTE_AUTO,
    .gpus = 0,
    .threads = 0,
    .memory = 0,
    .recompute = HONE_RECOMPUTE_AUTO,
    .activations = HONE_ACTIVATIONS_AUTO,
    .graphs = 1,
    .train_on = HONE_TRAIN_ON_ASSISTANT,
    .too_long = HONE_OVERLONG_REFUSE,
    .eval_fraction = 0.1,
    .eval_every = 50,
    .early_stop = 0,
    .checkpoint_every = 200,
    .checkpoint_minutes = 10,
    .checkpoint_keep = 3,
    .log_every = 10,
};

static void *field(hone_train_options *options, const hone_train_option *option) {
    return (char *)options + option->offset;
}

static const void *field_of(const hone_train_options *options, const hone_train_option *option) {
    return (const char *)options + option->offset;
}

hone_status hone_train_options_copy(hone_train_options *out, const hone_train_options *from) {
    *out = *from;
    size_t count;
    const hone_train_option *list = hone_train_option_list(&count);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count; i++) {
        if (list[i].type != HONE_OPTION_TEXT) continue;
        char **text = field(out, &list[i]);
        char *copy = NULL;
        if (*text && status == HONE_OK && !(copy = hone_strdup(*text))) status = HONE_ERR_MEMORY;
        *text = copy;
    }
    if (status != HONE_OK) hone_train_options_free(out);
    return status;
}

hone_status hone_train_options_default(hone_train_options *out) {
    return hone_train_options_copy(out, &defaults);
}

void hone_train_options_free(hone_train_options *options) {
    size_t count;
    const hone_train_option *list = hone_train_option_list(&count);
    for (size_t i = 0; i < count; i++) {
        if (list[i].type != HONE_OPTION_TEXT) continue;
        char **text = field(options, &list[i]);
        hone_free(*text);
        *text = NULL;
    }
}

static hone_status refuse(const char *where, const hone_train_option *option, const char *value,
                          const char *wanted) {
    return hone_fail(HONE_ERR_USAGE, "%s: %s = \"%s\": %s", where, option->key, value, wanted);
}

/* A number's range as words: "from 1 to 4096", "above 0, to 10". */
static hone_status refuse_range(const char *where, const hone_train_option *option,
                                const char *value) {
    return hone_fail(HONE_ERR_USAGE, "%s: %s = \"%s\": must be %s %.16g and %s %.16g", where,
                     option->key, value, option->above ? "above" : "at least", option->minimum,
                     option->below ? "below" : "at most", option->maximum);
}

static bool in_range(double number, const hone_train_option *option) {
    bool low = option->above ? number > option->minimum : number >= option->minimum;
    bool high = option->below ? number < option->maximum : number <= option->maximum;
    return low && high; /* false for NaN */
}

static hone_status set_int(int64_t *out, const hone_train_option *option, const char *value,
                           const char *where) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end != 0 || isspace((unsigned char)*value))
        return refuse(where, option, value, "must be a whole number");
    if (errno != 0 || !in_range((double)number, option)) return refuse_range(where, option, value);
    *out = number;
    return HONE_OK;
}

static hone_status set_real(double *out, const hone_train_option *option, const char *value,
                            const char *where) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != 0 || isspace((unsigned char)*value))
        return refuse(where, option, value, "must be a number");
    if (!in_range(number, option)) return refuse_range(where, option, value);
    *out = number;
    return HONE_OK;
}

static hone_status set_size(int64_t *out, const hone_train_option *option, const char *value,
                            const char *where) {
    static const char wanted[] = "must be a size such as 512M or 6G (K, M, G, T: powers of 1024)";
    char *end;
    double number = strtod(value, &end);
    if (end == value || !isdigit((unsigned char)*value))
        return refuse(where, option, value, wanted);
    static const char suffixes[] = "KMGT";
    const char *suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
    if (suffix) {
        number = ldexp(number, 10 * (int)(suffix - suffixes + 1));
        end++;
        if (*end == 'i') end++; /* GiB */
        if (*end == 'B' || *end == 'b') end++;
    }
    if (*end != 0) return refuse(where, option, value, wanted);
    if (!in_range(number, option)) return refuse_range(where, option, value);
    *out = (int64_t)number;
    return HONE_OK;
}

static hone_status set_bool(bool *out, const hone_train_option *option, const char *value,
                            const char *where) {
    bool yes = strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0)
        return refuse(where, option, value, "must be true or false");
    *out = yes;
    return HONE_OK;
}

/* The number of the word that `value` begins with up to `length`; -1 when there is none. */
static int word_number(const char *const *words, const char *value, size_t length) {
    for (int i = 0; words[i]; i++) {
        if (strlen(words[i]) == length && memcmp(words[i], value, length) == 0) return i;
    }
    return -1;
}

static hone_status refuse_word(const char *where, const hone_train_option *option,
                               const char *value) {
    hone_buf list = {0};
    hone_status status = HONE_OK;
    for (int i = 0; option->words[i] && status == HONE_OK; i++) {
        status = hone_buf_printf(&list, "%s%s", i ? ", " : "", option->words[i]);
    }
    if (status == HONE_OK) {
        const char *kind = option->type == HONE_OPTION_WORDS ? "must be a list of" : "must be";
        status = hone_fail(HONE_ERR_USAGE, "%s: %s = \"%s\": %s %s%s", where, option->key, value,
                           kind, option->words[1] ? "one of " : "", list.data);
    }
    hone_buf_free(&list);
    return status;
}

static hone_status set_choice(int *out, const hone_train_option *option, const char *value,
                              const char *where) {
    int number = word_number(option->words, value, strlen(value));
    if (number < 0) return refuse_word(where, option, value);
    *out = number;
    return HONE_OK;
}

static uint32_t every_word(const hone_train_option *option) {
    uint32_t bits = 0;
    for (int i = 0; option->words[i]; i++) bits |= 1u << i;
    return bits;
}

static hone_status set_words(uint32_t *out, const hone_train_option *option, const char *value,
                             const char *where) {
    uint32_t bits = 0;
    for (const char *at = value;; at++) {
        at += strspn(at, " ");
        size_t length = strcspn(at, ",");
        size_t trimmed = length;
        while (trimmed > 0 && at[trimmed - 1] == ' ') trimmed--;
        int number = word_number(option->words, at, trimmed);
        if (number >= 0) {
            bits |= 1u << number;
        } else if (trimmed == 3 && memcmp(at, "all", 3) == 0) {
            bits |= every_word(option);
        } else {
            return refuse_word(where, option, value);
        }
        at += length;
        if (*at == 0) break;
    }
    *out = bits;
    return HONE_OK;
}

static hone_status set_text(char **out, const hone_train_option *option, const char *value,
                            const char *where) {
    size_t length = strlen(value);
    if (hone_utf8_valid(value, length) != length)
        return refuse(where, option, value, "is not UTF-8; rename the file");
    char *copy = length > 0 ? hone_strdup(value) : NULL;
    if (length > 0 && !copy) return HONE_ERR_MEMORY;
    hone_free(*out);
    *out = copy;
    return HONE_OK;
}

static hone_status unknown_key(const char *key, const char *where) {
    const char *nearest = hone_train_option_nearest(key);
    if (nearest)
        return hone_fail(HONE_ERR_USAGE, "%s: unknown key \"%s\"; did you mean \"%s\"?", where, key,
                         nearest);
    return hone_fail(HONE_ERR_USAGE, "%s: unknown key \"%s\"; `hone train --help` lists them",
                     where, key);
}

hone_status hone_train_options_set(hone_train_options *options, const char *key, const char *value,
                                   const char *where) {
    const hone_train_option *option = hone_train_option_find(key);
    if (!option) return unknown_key(key, where);
    void *at = field(options, option);
    switch (option->type) {
    case HONE_OPTION_TEXT:
        return set_text(at, option, value, where);
    case HONE_OPTION_INT:
        return set_int(at, option, value, where);
    case HONE_OPTION_REAL:
        return set_real(at, option, value, where);
    case HONE_OPTION_SIZE:
        return set_size(at, option, value, where);
    case HONE_OPTION_BOOL:
        return set_bool(at, option, value, where);
    case HONE_OPTION_CHOICE:
        return set_choice(at, option, value, where);
    case HONE_OPTION_WORDS:
        return set_words(at, option, value, where);
    }
    return HONE_OK;
}

hone_status hone_train_options_assign(hone_train_options *options, const char *assignment,
                                      const char *where) {
    const char *equals = strchr(assignment, '=');
    if (!equals)
        return hone_fail(HONE_ERR_USAGE, "%s: \"%s\" is not of the form key=value", where,
                         assignment);
    char *key = hone_strndup(assignment, (size_t)(equals - assignment));
    if (!key) return HONE_ERR_MEMORY;
    hone_status status = hone_train_options_set(options, key, equals + 1, where);
    hone_free(key);
    return status;
}

/* A short decimal that reads back as the same number. */
static hone_status format_real(hone_buf *out, double number) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    return hone_buf_puts(out, text);
}

static hone_status format_size(hone_buf *out, int64_t bytes) {
    int suffix = 0;
    while (bytes != 0 && bytes % 1024 == 0 && suffix < 4) {
        bytes /= 1024;
        suffix++;
    }
    return hone_buf_printf(out, "%lld%.*s", (long long)bytes, suffix > 0, &" KMGT"[suffix]);
}

static hone_status format_words(hone_buf *out, uint32_t bits, const hone_train_option *option) {
    const char *comma = "";
    for (int i = 0; option->words[i]; i++) {
        if (!(bits >> i & 1u)) continue;
        HONE_TRY(hone_buf_printf(out, "%s%s", comma, option->words[i]));
        comma = ", ";
    }
    return HONE_OK;
}

hone_status hone_train_option_format(hone_buf *out, const hone_train_options *options,
                                     const hone_train_option *option) {
    const void *at = field_of(options, option);
    switch (option->type) {
    case HONE_OPTION_TEXT: {
        const char *text = *(char *const *)at;
        return hone_buf_puts(out, text ? text : "");
    }
    case HONE_OPTION_INT:
        return hone_buf_printf(out, "%lld", (long long)*(const int64_t *)at);
    case HONE_OPTION_REAL:
        return format_real(out, *(const double *)at);
    case HONE_OPTION_SIZE:
        return format_size(out, *(const int64_t *)at);
    case HONE_OPTION_BOOL:
        return hone_buf_puts(out, *(const bool *)at ? "true" : "false");
    case HONE_OPTION_CHOICE:
        return hone_buf_puts(out, option->words[*(const int *)at]);
    case HONE_OPTION_WORDS:
        return format_words(out, *(const uint32_t *)at, option);
    }
    return HONE_OK;
}

static hone_status need(const char *value, const char *key, const char *what) {
    if (value) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "--%s is needed: %s", key, what);
}

hone_status hone_train_options_check(hone_train_options *options) {
    HONE_TRY(hone_train_options_check_plan(options));
    return need(options->out, "out", "the folder for the run");
}

hone_status hone_train_options_check_plan(hone_train_options *options) {
    HONE_TRY(need(options->model, "model", "the base model to train"));
    HONE_TRY(need(options->data, "data", "the records to train on"));
    if (options->from_scratch) options->full = true;
    if (options->gpus > 0 && options->device == HONE_DEVICE_CPU)
        return hone_fail(HONE_ERR_USAGE, "gpus and device = cpu exclude each other: leave one out");
    if (options->gpus > 0) options->device = HONE_DEVICE_CUDA;
    if (options->full && options->adapter)
        return hone_fail(HONE_ERR_USAGE, "adapter and %s exclude each other: leave one out",
                         options->from_scratch ? "from_scratch" : "full");
    if (options->full && options->dropout > 0)
        return hone_fail(HONE_ERR_USAGE, "dropout acts on adapters only: set it to 0 when every "
                                         "parameter is trained");
    if (options->full && options->compute > HONE_COMPUTE_F32)
        return hone_fail(HONE_ERR_USAGE,
                         "compute = %s is for frozen weights: leave it out when every parameter is "
                         "trained",
                         hone_compute_names[options->compute]);
    if (options->early_stop > 0 && !(options->eval_fraction > 0))
        return hone_fail(HONE_ERR_USAGE, "early_stop needs records to evaluate on: set "
                                         "eval_fraction above 0");
    const char *template = options->template ? options->template : "auto";
    bool path = strchr(template, '/') || hone_path_ends(template, ".jinja");
    if (strcmp(template, "auto") != 0 && !path && !hone_chat_source(template))
        return hone_fail(HONE_ERR_USAGE,
                         "template = \"%s\": unknown; hone has auto, %s, and takes the path of a "
                         ".jinja file",
                         template, hone_chat_names());
    return HONE_OK;
}
