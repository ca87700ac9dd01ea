/*
 * Writing JSON. Jansson prints reals with a fixed number of digits; here they get as few as read back exactly.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/json.h"

/* Length of the UTF-8 character at `at`, or 0 when the bytes there are none (Unicode 15, table 3-7). */
static size_t character(const unsigned char *at, size_t left) {
    unsigned char a = at[0];
    size_t length = a < 0x80 ? 1 : a < 0xc2 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : a < 0xf5 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    if ((a == 0xe0 && at[1] < 0xa0) || (a == 0xed && at[1] > 0x9f)) return 0;
    if ((a == 0xf0 && at[1] < 0x90) || (a == 0xf4 && at[1] > 0x8f)) return 0;
    return length;
}

/* A character that cannot stand for itself inside quotes. */
static hone_status append_escaped(hone_buf *out, unsigned char c) {
    static const char short_names[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; short_names[i]; i += 2) {
        if ((unsigned char)short_names[i] != c) continue;
        return hone_buf_printf(out, "\\%c", short_names[i + 1]);
    }
    return hone_buf_printf(out, "\\u%04x", c);
}

hone_status hone_json_append_string(hone_buf *out, const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    HONE_TRY(hone_buf_append(out, "\"", 1));
    size_t plain = 0; /* where the run of characters that stand for themselves began */
    for (size_t i = 0; i < length;) {
        unsigned char c = bytes[i];
        size_t step = character(bytes + i, length - i);
        if (step > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += step;
            continue;
        }
        HONE_TRY(hone_buf_append(out, text + plain, i - plain));
        HONE_TRY(step > 0 ? append_escaped(out, c) : hone_buf_puts(out, "\xef\xbf\xbd"));
        plain = ++i;
    }
    HONE_TRY(hone_buf_append(out, text + plain, length - plain));
    return hone_buf_append(out, "\"", 1);
}

/* The fewest digits that read back as the same double: the text with an exponent, "1.5e-03", and its parts. */
static int shortest(char *text, size_t size, int *exponent, double value) {
    int digits = 0;
    double back;
    do {
        snprintf(text, size, "%.*e", digits, value);
        back = strtod(text, NULL);
    } while (memcmp(&back, &value, sizeof value) != 0 && ++digits < 17);
    *exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    return digits + 1;
}

hone_status hone_json_append_number(hone_buf *out, double value) {
    if (!isfinite(value)) return hone_buf_puts(out, "null");
    char text[40];
    int exponent;
    int digits = shortest(text, sizeof text, &exponent, value);
    if (exponent < -5 || exponent > 15) return hone_buf_puts(out, text);
    int decimals = digits - 1 - exponent;
    return hone_buf_printf(out, "%.*f", decimals > 1 ? decimals : 1, value);
}

static hone_status new_line(hone_buf *out, int indent, int depth) {
    return indent > 0 ? hone_buf_printf(out, "\n%*s", indent * depth, "") : HONE_OK;
}

static hone_status append(hone_buf *out, const json_t *value, int indent, int depth);

/* Before an item: the comma, the line and, when there is one, the key. */
static hone_status append_lead(hone_buf *out, size_t index, const char *key, size_t key_length,
                               int indent, int depth) {
    if (index > 0) HONE_TRY(hone_buf_puts(out, indent > 0 ? "," : ", "));
    HONE_TRY(new_line(out, indent, depth + 1));
    if (!key) return HONE_OK;
    HONE_TRY(hone_json_append_string(out, key, key_length));
    return hone_buf_puts(out, ": ");
}

static hone_status append_object(hone_buf *out, const json_t *value, int indent, int depth) {
    /* Jansson iterates over non-const objects only. */
    json_t *object = (json_t *)(uintptr_t)value;
    size_t index = 0;
    HONE_TRY(hone_buf_puts(out, "{"));
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        HONE_TRY(append_lead(out, index++, json_object_iter_key(at), json_object_iter_key_len(at),
                             indent, depth));
        HONE_TRY(append(out, json_object_iter_value(at), indent, depth + 1));
    }
    if (index > 0) HONE_TRY(new_line(out, indent, depth));
    return hone_buf_puts(out, "}");
}

static hone_status append_array(hone_buf *out, const json_t *value, int indent, int depth) {
    size_t count = json_array_size(value);
    HONE_TRY(hone_buf_puts(out, "["));
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(append_lead(out, i, NULL, 0, indent, depth));
        HONE_TRY(append(out, json_array_get(value, i), indent, depth + 1));
    }
    if (count > 0) HONE_TRY(new_line(out, indent, depth));
    return hone_buf_puts(out, "]");
}

static hone_status append(hone_buf *out, const json_t *value, int indent, int depth) {
    if (depth > JSON_PARSER_MAX_DEPTH) {
        return hone_fail(HONE_ERR_USAGE, "JSON nested deeper than %d", JSON_PARSER_MAX_DEPTH);
    }
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        return append_object(out, value, indent, depth);
    case JSON_ARRAY:
        return append_array(out, value, indent, depth);
    case JSON_STRING:
        return hone_json_append_string(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return hone_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return hone_json_append_number(out, json_real_value(value));
    case JSON_TRUE:
        return hone_buf_puts(out, "true");
    case JSON_FALSE:
        return hone_buf_puts(out, "false");
    default:
        return hone_buf_puts(out, "null");
    }
}

hone_status hone_json_append(hone_buf *out, const json_t *value, int indent) {
    return append(out, value, indent, 0);
}

hone_status hone_json_save(const json_t *value, const char *path) {
    hone_buf text = {0};
    hone_status status = hone_json_append(&text, value, 2);
    if (status == HONE_OK) status = hone_buf_puts(&text, "\n");
    if (status == HONE_OK) status = hone_file_put(path, text.data, text.length);
    hone_buf_free(&text);
    return status;
}
