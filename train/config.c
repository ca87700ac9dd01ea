#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/file.h"
#include "text/utf8.h"
#include "train/options.h"

enum { MAX_KEYS = 128, WHERE = 1100 };

static const char plan_key[] = "plan";

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the present one; deleted before the next */
    bool has_event;
    const char *name;
    hone_train_options *options;
    bool seen[MAX_KEYS]; /* rows of the table */
    bool seen_plan;
} reader;

static hone_status fail_at(const reader *in, size_t line, const char *what) {
    return hone_fail(HONE_ERR_USAGE, "%s:%zu: %s", in->name, line + 1, what);
}

static hone_status next(reader *in) {
    if (in->has_event) yaml_event_delete(&in->event);
    in->has_event = yaml_parser_parse(&in->parser, &in->event) != 0;
    if (in->has_event) return HONE_OK;
    const char *problem = in->parser.problem ? in->parser.problem : "unreadable";
    bool reading = in->parser.error == YAML_READER_ERROR;
    if (reading)
        return hone_fail(HONE_ERR_USAGE, "%s: byte %zu: not YAML: %s", in->name,
                         in->parser.problem_offset, problem);
    return hone_fail(HONE_ERR_USAGE, "%s:%zu: not YAML: %s", in->name,
                     in->parser.problem_mark.line + 1, problem);
}

static size_t line_of(const reader *in) {
    return in->event.start_mark.line;
}

/* Steps over the value that begins at the present event. */
static hone_status skip_value(reader *in) {
    int depth = 0;
    for (;;) {
        yaml_event_type_t type = in->event.type;
        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) depth++;
        if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) depth--;
        if (depth == 0) return HONE_OK;
        HONE_TRY(next(in));
    }
}

static bool is_plain(const yaml_event_t *event) {
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_event_t *event) {
    const char *value = (const char *)event->data.scalar.value;
    return is_plain(event) &&
           (*value == 0 || strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
}

/* The text of the present scalar, without zero bytes inside. */
static hone_status scalar(const char **out, const reader *in, size_t line) {
    *out = (const char *)in->event.data.scalar.value;
    if (strlen(*out) == in->event.data.scalar.length) return HONE_OK;
    return fail_at(in, line, "a zero byte inside a value");
}

static hone_status set_scalar(reader *in, const hone_train_option *option, size_t line) {
    const char *value;
    HONE_TRY(scalar(&value, in, line));
    char where[WHERE];
    snprintf(where, sizeof where, "%s:%zu", in->name, line + 1);
    if (is_null(&in->event)) {
        if (option->type == HONE_OPTION_TEXT)
            return hone_train_options_set(in->options, option->key, "", where);
        return hone_fail(HONE_ERR_USAGE, "%s: %s has no value", where, option->key);
    }
    bool textual = option->type == HONE_OPTION_TEXT || option->type == HONE_OPTION_CHOICE ||
                   option->type == HONE_OPTION_WORDS;
    if (!textual && !is_plain(&in->event))
        return hone_fail(HONE_ERR_USAGE, "%s: %s = \"%s\": a quoted text where a %s is needed",
                         where, option->key, value,
                         option->type == HONE_OPTION_BOOL ? "true or false" : "number");
    return hone_train_options_set(in->options, option->key, value, where);
}

/* The present event opens a list: its scalars, joined by commas, are the value. */
static hone_status set_list(reader *in, const hone_train_option *option, size_t line) {
    hone_buf words = {0};
    hone_status status = next(in);
    while (status == HONE_OK && in->event.type == YAML_SCALAR_EVENT) {
        const char *word;
        status = scalar(&word, in, line_of(in));
        if (status == HONE_OK)
            status = hone_buf_printf(&words, "%s%s", words.length ? "," : "", word);
        if (status == HONE_OK) status = next(in);
    }
    if (status == HONE_OK && in->event.type != YAML_SEQUENCE_END_EVENT)
        status = fail_at(in, line_of(in), "a list may hold plain words only");
    if (status == HONE_OK) {
        char where[WHERE];
        snprintf(where, sizeof where, "%s:%zu", in->name, line + 1);
        status =
            hone_train_options_set(in->options, option->key, words.data ? words.data : "", where);
    }
    hone_buf_free(&words);
    return status;
}

static hone_status set_value(reader *in, const hone_train_option *option, size_t line) {
    char what[160];
    switch (in->event.type) {
    case YAML_SCALAR_EVENT:
        return set_scalar(in, option, line);
    case YAML_SEQUENCE_START_EVENT:
        if (option->type == HONE_OPTION_WORDS) return set_list(in, option, line);
        snprintf(what, sizeof what, "%s takes one value, not a list", option->key);
        return fail_at(in, line, what);
    case YAML_ALIAS_EVENT:
        return fail_at(in, line, "anchors and aliases are not used here");
    default:
        snprintf(what, sizeof what, "%s takes a value, not a nested mapping", option->key);
        return fail_at(in, line, what);
    }
}

static hone_status repeated(const reader *in, size_t line, const char *key) {
    return hone_fail(HONE_ERR_USAGE, "%s:%zu: the key \"%s\" stands here a second time", in->name,
                     line + 1, key);
}

/* The present event is a key. */
static hone_status read_entry(reader *in) {
    size_t line = line_of(in);
    if (in->event.type != YAML_SCALAR_EVENT) return fail_at(in, line, "a key must be a word");
    const char *key;
    HONE_TRY(scalar(&key, in, line));
    const hone_train_option *option = hone_train_option_find(key);
    if (option) {
        size_t count;
        size_t row = (size_t)(option - hone_train_option_list(&count));
        if (in->seen[row]) return repeated(in, line, option->key);
        in->seen[row] = true;
        HONE_TRY(next(in));
        return set_value(in, option, line);
    }
    if (strcmp(key, plan_key) == 0) {
        if (in->seen_plan) return repeated(in, line, plan_key);
        in->seen_plan = true;
        HONE_TRY(next(in));
        return skip_value(in);
    }
    char where[WHERE]; /* the table's own message for an unknown key */
    snprintf(where, sizeof where, "%s:%zu", in->name, line + 1);
    return hone_train_options_set(in->options, key, "", where);
}

static hone_status read_mapping(reader *in) {
    if (in->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(in, line_of(in), "a config is a list of `key: value` lines");
    HONE_TRY(next(in));
    while (in->event.type != YAML_MAPPING_END_EVENT) {
        HONE_TRY(read_entry(in));
        HONE_TRY(next(in));
    }
    return HONE_OK;
}

static hone_status read_stream(reader *in) {
    HONE_TRY(next(in)); /* stream start */
    HONE_TRY(next(in));
    if (in->event.type == YAML_STREAM_END_EVENT) return HONE_OK; /* an empty file sets nothing */
    HONE_TRY(next(in));
    HONE_TRY(read_mapping(in));
    HONE_TRY(next(in)); /* document end */
    HONE_TRY(next(in));
    if (in->event.type == YAML_STREAM_END_EVENT) return HONE_OK;
    return fail_at(in, line_of(in), "a second document in the file");
}

hone_status hone_config_parse(hone_train_options *options, const char *text, size_t length,
                              const char *name) {
    reader in = {.name = name, .options = options};
    if (!yaml_parser_initialize(&in.parser))
        return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot read %s", name);
    yaml_parser_set_encoding(&in.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)text, length);
    hone_status status = read_stream(&in);
    if (in.has_event) yaml_event_delete(&in.event);
    yaml_parser_delete(&in.parser);
    return status;
}

hone_status hone_config_load(hone_train_options *options, const char *path) {
    hone_buf text = {0};
    hone_status status = hone_file_get(&text, path);
    if (status == HONE_OK) {
        status = hone_config_parse(options, text.data, text.length, path);
    } else if (status == HONE_ERR_IO) {
        status = hone_fail_context(HONE_ERR_USAGE, "config");
    }
    hone_buf_free(&text);
    return status;
}

hone_status hone_config_of_run(hone_train_options *options, bool *found, const char *path) {
    *found = false;
    HONE_TRY(hone_train_options_default(options));
    if (!path) return HONE_OK;
    char *file = hone_path_join(path, "run.yaml");
    hone_status status = file ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK && hone_path_exists(file)) {
        *found = true;
        status = hone_config_load(options, file);
    }
    hone_free(file);
    if (status != HONE_OK) hone_train_options_free(options);
    return status;
}

/* Characters that YAML does not take as they are, or that would not show. */
static bool needs_escape(int32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029 ||
           point == 0xfeff || point >= 0xfffe;
}

static hone_status put_quoted(hone_buf *out, const char *text) {
    HONE_TRY(hone_buf_puts(out, "\""));
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        int32_t point;
        size_t bytes = hone_utf8_next(&point, text + at, length - at);
        if (point < 0) { /* never in options, which are checked; a plan may quote anything */
            HONE_TRY(hone_buf_puts(out, "\\uFFFD"));
        } else if (needs_escape(point)) {
            HONE_TRY(hone_buf_printf(out, "\\U%08X", (unsigned)point));
        } else {
            if (point == '"' || point == '\\') HONE_TRY(hone_buf_puts(out, "\\"));
            HONE_TRY(hone_buf_append(out, text + at, bytes));
        }
        at += bytes;
    }
    return hone_buf_puts(out, "\"");
}

static hone_status put_option(hone_buf *out, const hone_train_options *options,
                              const hone_train_option *option) {
    HONE_TRY(hone_buf_printf(out, "%s: ", option->key));
    if (option->type == HONE_OPTION_TEXT) {
        hone_buf text = {0};
        hone_status status = hone_train_option_format(&text, options, option);
        if (status == HONE_OK)
            status = text.length ? put_quoted(out, text.data) : hone_buf_puts(out, "null");
        hone_buf_free(&text);
        HONE_TRY(status);
        return hone_buf_puts(out, "\n");
    }
    bool list = option->type == HONE_OPTION_WORDS;
    if (list) HONE_TRY(hone_buf_puts(out, "["));
    HONE_TRY(hone_train_option_format(out, options, option));
    return hone_buf_puts(out, list ? "]\n" : "\n");
}

hone_status hone_config_format(hone_buf *out, const hone_train_options *options,
                               const hone_plan_entry *plan, size_t plan_count) {
    size_t count;
    const hone_train_option *list = hone_train_option_list(&count);
    for (size_t i = 0; i < count; i++) HONE_TRY(put_option(out, options, &list[i]));
    if (plan_count > 0) HONE_TRY(hone_buf_printf(out, "%s:\n", plan_key));
    for (size_t i = 0; i < plan_count; i++) {
        HONE_TRY(hone_buf_puts(out, "  "));
        HONE_TRY(put_quoted(out, plan[i].name));
        HONE_TRY(hone_buf_puts(out, ": "));
        HONE_TRY(put_quoted(out, plan[i].value));
        HONE_TRY(hone_buf_puts(out, "\n"));
    }
    return HONE_OK;
}
