#define PCRE2_CODE_UNIT_WIDTH 8

#include "model/adapter_patterns.h"

#include <pcre2.h>
#include <string.h>

#include "base/alloc.h"

typedef struct pattern {
    const char *text; /* as in the file; borrowed */
    pcre2_code *code; /* owned */
    double value;
} pattern;

struct hone_patterns {
    const char *key, *file;
    pattern *items; /* owned */
    size_t count;
    pcre2_match_data *match; /* owned */
};

void hone_patterns_free(hone_patterns *patterns) {
    if (!patterns) return;
    for (size_t i = 0; i < patterns->count; i++) pcre2_code_free(patterns->items[i].code);
    pcre2_match_data_free(patterns->match);
    hone_free(patterns->items);
    hone_free(patterns);
}

static hone_status compile(pattern *out, const hone_patterns *owner) {
    hone_buf text = {0};
    HONE_TRY(hone_buf_printf(&text, "(.*\\.)?(%s)$", out->text));
    int error;
    size_t at;
    out->code = pcre2_compile((PCRE2_SPTR)text.data, text.length, PCRE2_UTF | PCRE2_ANCHORED,
                              &error, &at, NULL);
    hone_buf_free(&text);
    if (out->code) return HONE_OK;
    char why[160];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    return hone_fail(HONE_ERR_FORMAT, "%s: key %s: \"%s\" is no regular expression: %s",
                     owner->file, owner->key, out->text, why);
}

static hone_status add(hone_patterns *patterns, const char *text, const json_t *value) {
    if (!json_is_number(value)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: key %s: \"%s\" must have a number, not a %s",
                         patterns->file, patterns->key, text, hone_json_kind(value));
    }
    pattern *item = &patterns->items[patterns->count++];
    item->text = text;
    item->value = json_number_value(value);
    return compile(item, patterns);
}

static hone_status fill(hone_patterns *patterns, const json_t *object) {
    patterns->items = hone_alloc(json_object_size(object), sizeof *patterns->items);
    if (!patterns->items) return HONE_ERR_MEMORY;
    patterns->match = pcre2_match_data_create(1, NULL);
    if (!patterns->match) return hone_fail(HONE_ERR_MEMORY, "out of memory");
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, text, value) {
        HONE_TRY(add(patterns, text, value));
    }
    return HONE_OK;
}

hone_status hone_patterns_new(hone_patterns **out, const json_t *config, const char *key,
                              const char *file) {
    const json_t *object = NULL;
    HONE_TRY(hone_json_opt_object(&object, config, key, file));
    hone_patterns *patterns = hone_alloc(1, sizeof *patterns);
    if (!patterns) return HONE_ERR_MEMORY;
    patterns->key = key;
    patterns->file = file;
    hone_status status = object ? fill(patterns, object) : HONE_OK;
    if (status != HONE_OK) {
        hone_patterns_free(patterns);
        return status;
    }
    *out = patterns;
    return HONE_OK;
}

hone_status hone_patterns_find(double *out, const hone_patterns *patterns, const char *module) {
    for (size_t i = 0; i < patterns->count; i++) {
        const pattern *item = &patterns->items[i];
        int found = pcre2_match(item->code, (PCRE2_SPTR)module, strlen(module), 0, 0,
                                patterns->match, NULL);
        if (found >= 0) {
            *out = item->value;
            return HONE_OK;
        }
        if (found != PCRE2_ERROR_NOMATCH) {
            return hone_fail(HONE_ERR_FORMAT, "%s: key %s: \"%s\" cannot be matched with %s",
                             patterns->file, patterns->key, item->text, module);
        }
    }
    return HONE_OK;
}
