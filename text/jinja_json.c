#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/utf8.h"

/* Lines inside a container begin deeper than it by one indent. */
typedef struct writer {
    hone_jbuilder *out;
    hone_jvm *vm;
    const hone_jdumps *how;
    int level;
} writer;

static hone_status put(writer *w, const char *text) {
    return hone_j_puts(w->out, w->vm, text);
}

static hone_status put_value(writer *w, hone_jvalue value);

/* --- strings --------------------------------------------------------------------------------------------------- */

/* How a character is escaped; false when it stands as it is. */
static bool escape(char out[16], int32_t code, bool ensure_ascii) {
    static const char plain[] = "\"\\\n\r\t\b\f", letter[] = "\"\\nrtbf";
    const char *found = code > 0 && code < 0x80 ? strchr(plain, (char)code) : NULL;
    if (found) {
        snprintf(out, 16, "\\%c", letter[found - plain]);
    } else if (code < 0x20 || (ensure_ascii && code >= 0x7f && code < 0x10000)) {
        snprintf(out, 16, "\\u%04x", (unsigned)code);
    } else if (ensure_ascii && code >= 0x10000) {
        unsigned rest = (unsigned)code - 0x10000;
        snprintf(out, 16, "\\u%04x\\u%04x", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
    } else {
        return false;
    }
    return true;
}

static hone_status put_text(writer *w, const hone_jstr *string) {
    size_t kept = 0;
    HONE_TRY(put(w, "\""));
    for (size_t at = 0; at < string->length;) {
        int32_t code;
        char text[16];
        size_t bytes = hone_utf8_next(&code, string->data + at, string->length - at);
        if (escape(text, code, w->how->ensure_ascii)) {
            HONE_TRY(hone_j_put_part(w->out, w->vm, string, kept, at));
            HONE_TRY(hone_j_put_for(w->out, w->vm, string, at, text, strlen(text)));
            kept = at + bytes;
        }
        at += bytes;
    }
    HONE_TRY(hone_j_put_part(w->out, w->vm, string, kept, string->length));
    return put(w, "\"");
}

/* --- containers ------------------------------------------------------------------------------------------------ */

static hone_status put_line(writer *w, int level) {
    if (!w->how->indent) return HONE_OK;
    HONE_TRY(put(w, "\n"));
    return hone_j_put_times(w->out, w->vm, w->how->indent, level);
}

static hone_status put_item_separator(writer *w) {
    if (w->how->item_separator) return hone_j_put_str(w->out, w->vm, w->how->item_separator);
    return put(w, w->how->indent ? "," : ", ");
}

static hone_status put_list(writer *w, const hone_jlist *list) {
    HONE_TRY(put(w, "["));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) HONE_TRY(put_item_separator(w));
        HONE_TRY(put_line(w, w->level + 1));
        w->level++;
        HONE_TRY(put_value(w, list->items[i]));
        w->level--;
    }
    if (list->count > 0) HONE_TRY(put_line(w, w->level));
    return put(w, "]");
}

static hone_status put_key(writer *w, hone_jvalue key) {
    if (key.kind == HONE_J_STRING) return put_text(w, key.as.string);
    if (key.kind != HONE_J_NONE && !hone_j_is_number(key))
        return hone_j_fail(w->vm, "tojson: a %s cannot be the key of an object", hone_j_type(key));
    HONE_TRY(put(w, "\""));
    HONE_TRY(put_value(w, key));
    return put(w, "\"");
}

static hone_status put_pairs(writer *w, const hone_jvalue *keys, const hone_jvalue *values,
                             size_t count) {
    HONE_TRY(put(w, "{"));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) HONE_TRY(put_item_separator(w));
        HONE_TRY(put_line(w, w->level + 1));
        HONE_TRY(put_key(w, keys[i]));
        HONE_TRY(w->how->key_separator ? hone_j_put_str(w->out, w->vm, w->how->key_separator)
                                       : put(w, ": "));
        w->level++;
        HONE_TRY(put_value(w, values[i]));
        w->level--;
    }
    if (count > 0) HONE_TRY(put_line(w, w->level));
    return put(w, "}");
}

static hone_status put_dict(writer *w, const hone_jdict *dict) {
    if (!w->how->sort_keys) return put_pairs(w, dict->keys, dict->values, dict->count);
    hone_jlist *keys, *values;
    HONE_TRY(hone_j_list_new(&keys, w->vm, dict->count));
    HONE_TRY(hone_j_list_new(&values, w->vm, dict->count));
    for (size_t i = 0; i < dict->count; i++) {
        keys->items[i] = dict->keys[i];
        values->items[i] = dict->values[i];
    }
    HONE_TRY(hone_j_sort(values->items, keys->items, dict->count, false, w->vm));
    return put_pairs(w, keys->items, values->items, dict->count);
}

static hone_status put_number(writer *w, double value) {
    if (isnan(value)) return put(w, "NaN");
    if (isinf(value)) return put(w, value > 0 ? "Infinity" : "-Infinity");
    return hone_j_put_value(w->out, w->vm, hone_j_float(value));
}

static hone_status put_any(writer *w, hone_jvalue value) {
    switch (value.kind) {
    case HONE_J_NONE:
        return put(w, "null");
    case HONE_J_BOOL:
        return put(w, value.as.boolean ? "true" : "false");
    case HONE_J_INT:
        return hone_j_put_value(w->out, w->vm, value);
    case HONE_J_FLOAT:
        return put_number(w, value.as.real);
    case HONE_J_STRING:
        return put_text(w, value.as.string);
    case HONE_J_LIST:
    case HONE_J_TUPLE:
        return put_list(w, value.as.list);
    case HONE_J_DICT:
        return put_dict(w, value.as.dict);
    case HONE_J_UNDEFINED:
        return hone_j_fail_undefined(w->vm, value);
    default:
        return hone_j_fail(w->vm, "tojson: a %s cannot be written as JSON", hone_j_type(value));
    }
}

static hone_status put_value(writer *w, hone_jvalue value) {
    HONE_TRY(hone_j_enter(w->vm));
    hone_status status = put_any(w, value);
    hone_j_leave(w->vm);
    return status;
}

/* What was written from one message's field alone is that field's as a whole. */
static void widen(hone_jbuilder *out, size_t first_run, size_t begin) {
    if (out->run_count <= first_run) return;
    hone_jinja_run *runs = out->runs + first_run;
    size_t count = out->run_count - first_run;
    for (size_t i = 1; i < count; i++) {
        if (runs[i].message != runs[0].message || runs[i].field != runs[0].field) return;
    }
    runs[0].begin = begin;
    runs[0].end = out->length;
    out->run_count = first_run + 1;
}

hone_status hone_j_put_json(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value,
                            const hone_jdumps *how) {
    writer w = {.out = out, .vm = vm, .how = how};
    size_t first_run = out->run_count, begin = out->length;
    HONE_TRY(put_value(&w, value));
    if (!out->generation) widen(out, first_run, begin);
    return HONE_OK;
}
