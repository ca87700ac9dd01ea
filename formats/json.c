#include "formats/json.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

static const size_t FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;

/* --- Reading --- */

static hone_status explain(const char *name, size_t length, const json_error_t *error) {
    if (json_error_code(error) == json_error_out_of_memory) {
        return hone_fail(HONE_ERR_MEMORY, "%s: out of memory while reading %zu bytes of JSON", name,
                         length);
    }
    bool ended = json_error_code(error) == json_error_premature_end_of_input;
    return hone_fail(HONE_ERR_FORMAT, "%s: line %d, column %d: not JSON: %s; %s", name, error->line,
                     error->column, error->text,
                     ended ? "the file is cut short, get it again" : "correct that place");
}

/* One past the last character of the number at `at`; *whole when it is digits only. */
static size_t skip_number(const char *text, size_t length, size_t at, bool *whole) {
    *whole = true;
    for (; at < length; at++) {
        char c = text[at];
        if (c == '.' || c == 'e' || c == 'E' || c == '+') {
            *whole = false;
        } else if (c != '-' && !isdigit((unsigned char)c)) {
            break;
        }
    }
    return at;
}

static size_t skip_string(const char *text, size_t length, size_t at) {
    for (at++; at < length && text[at] != '"'; at++) {
        if (text[at] == '\\') at++;
    }
    return at < length ? at + 1 : length;
}

/* The text with ".0" behind every integer of 19 digits or more: Jansson then takes them for reals. */
static hone_status widen_integers(hone_buf *out, const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        size_t begin = at;
        bool whole = false;
        if (text[at] == '"') {
            at = skip_string(text, length, at);
        } else if (text[at] == '-' || isdigit((unsigned char)text[at])) {
            at = skip_number(text, length, at, &whole);
        } else {
            at++;
        }
        HONE_TRY(hone_buf_append(out, text + begin, at - begin));
        if (whole && at - begin >= 19) HONE_TRY(hone_buf_append(out, ".0", 2));
    }
    return HONE_OK;
}

/* A second try for texts with an integer beyond 64 bits. The places in messages are those of the text as given, but
 * for what follows such an integer on its line. */
static json_t *parse_wide(const char *text, size_t length, json_error_t *error,
                          hone_status *status) {
    hone_buf wide = {0};
    json_t *value = NULL;
    *status = widen_integers(&wide, text, length);
    if (*status == HONE_OK) value = json_loadb(wide.data, wide.length, FLAGS, error);
    hone_buf_free(&wide);
    return value;
}

hone_status hone_json_parse(json_t **out, const char *text, size_t length, const char *name) {
    json_error_t error;
    hone_status status = HONE_OK;
    *out = NULL;
    if (length == 0) {
        return hone_fail(HONE_ERR_FORMAT, "%s: line 1: empty where JSON is wanted; get it again",
                         name);
    }
    json_t *value = json_loadb(text, length, FLAGS, &error);
    if (!value && json_error_code(&error) == json_error_numeric_overflow) {
        value = parse_wide(text, length, &error, &status);
    }
    HONE_TRY(status);
    if (!value) return explain(name, length, &error);
    *out = value;
    return HONE_OK;
}

hone_status hone_json_load(json_t **out, const char *path) {
    *out = NULL;
    hone_map map;
    HONE_TRY(hone_map_open(&map, path));
    hone_status status = hone_json_parse(out, (const char *)map.data, map.length, path);
    hone_map_close(&map);
    return status;
}

/* --- Members --- */

const char *hone_json_kind(const json_t *value) {
    if (json_is_boolean(value)) return "true or false";
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "real";
    default:
        return "null";
    }
}

/* The member, or NULL when it is absent or null. */
static const json_t *member(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static hone_status require(const json_t *object, const char *key, const char *file) {
    if (!json_is_object(object)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: an object with \"%s\" is wanted, not %s", file, key,
                         hone_json_kind(object));
    }
    if (member(object, key)) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: \"%s\" is missing; the file is incomplete, add it", file,
                     key);
}

static hone_status mistyped(const json_t *value, const char *key, const char *wanted,
                            const char *file) {
    return hone_fail(HONE_ERR_FORMAT, "%s: \"%s\" is %s where %s is wanted; correct it", file, key,
                     hone_json_kind(value), wanted);
}

/* A whole real within 2^53 is as good as an integer. */
static bool as_int(int64_t *out, const json_t *value) {
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    double real = json_is_real(value) ? json_real_value(value) : 0.5;
    if (!(real >= -0x1p53 && real <= 0x1p53) || (double)(int64_t)real < real ||
        (double)(int64_t)real > real) {
        return false;
    }
    *out = (int64_t)real;
    return true;
}

hone_status hone_json_opt_string(const char **out, const json_t *object, const char *key,
                                 const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    if (!json_is_string(value)) return mistyped(value, key, "a string", file);
    *out = json_string_value(value);
    return HONE_OK;
}

hone_status hone_json_opt_int(int64_t *out, const json_t *object, const char *key, int64_t min,
                              int64_t max, const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    int64_t number;
    if (!as_int(&number, value)) return mistyped(value, key, "an integer", file);
    if (number < min || number > max) {
        return hone_fail(HONE_ERR_FORMAT, "%s: \"%s\" is %lld, outside %lld to %lld; correct it",
                         file, key, (long long)number, (long long)min, (long long)max);
    }
    *out = number;
    return HONE_OK;
}

hone_status hone_json_opt_number(double *out, const json_t *object, const char *key,
                                 const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    if (!json_is_number(value)) return mistyped(value, key, "a number", file);
    *out = json_number_value(value);
    return HONE_OK;
}

hone_status hone_json_opt_bool(bool *out, const json_t *object, const char *key, const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    if (!json_is_boolean(value)) return mistyped(value, key, "true or false", file);
    *out = json_is_true(value);
    return HONE_OK;
}

hone_status hone_json_opt_array(const json_t **out, const json_t *object, const char *key,
                                const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    if (!json_is_array(value)) return mistyped(value, key, "an array", file);
    *out = value;
    return HONE_OK;
}

hone_status hone_json_opt_object(const json_t **out, const json_t *object, const char *key,
                                 const char *file) {
    const json_t *value = member(object, key);
    if (!value) return HONE_OK;
    if (!json_is_object(value)) return mistyped(value, key, "an object", file);
    *out = value;
    return HONE_OK;
}

hone_status hone_json_get_string(const char **out, const json_t *object, const char *key,
                                 const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_string(out, object, key, file);
}

hone_status hone_json_get_int(int64_t *out, const json_t *object, const char *key, int64_t min,
                              int64_t max, const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_int(out, object, key, min, max, file);
}

hone_status hone_json_get_number(double *out, const json_t *object, const char *key,
                                 const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_number(out, object, key, file);
}

hone_status hone_json_get_bool(bool *out, const json_t *object, const char *key, const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_bool(out, object, key, file);
}

hone_status hone_json_get_array(const json_t **out, const json_t *object, const char *key,
                                const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_array(out, object, key, file);
}

hone_status hone_json_get_object(const json_t **out, const json_t *object, const char *key,
                                 const char *file) {
    HONE_TRY(require(object, key, file));
    return hone_json_opt_object(out, object, key, file);
}
