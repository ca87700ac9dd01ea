#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/jinja_call.h"
#include "text/unicode_recent.h"
#include "text/utf8.h"

/* --- numbers --------------------------------------------------------------------------------------------------- */

/* The fewest digits that read back as the same number, as "d.ddde[+-]xx". */
static void shortest(char out[40], double value) {
    for (int digits = 0; digits < 17; digits++) {
        snprintf(out, 40, "%.*e", digits, value);
        double back = strtod(out, NULL);
        if (back >= value && back <= value) return;
    }
}

void hone_j_float_text(char out[32], double value) {
    if (isnan(value) || isinf(value)) {
        snprintf(out, 32, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    char text[40];
    shortest(text, value);
    char *exponent_at = strchr(text, 'e');
    int exponent = atoi(exponent_at + 1);
    int precision = exponent_at - text > 2 + (text[0] == '-')
                        ? (int)(exponent_at - text) - 2 - (text[0] == '-')
                        : 0;
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, 32, "%.*s%s%02d", (int)(exponent_at - text), text, exponent < 0 ? "e-" : "e+",
                 abs(exponent));
    } else {
        int decimals = precision - exponent;
        snprintf(out, 32, "%.*f", decimals > 1 ? decimals : 1, value);
    }
}

static hone_status put_int(hone_jbuilder *out, hone_jvm *vm, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return hone_j_puts(out, vm, text);
}

static hone_status put_float(hone_jbuilder *out, hone_jvm *vm, double value) {
    char text[32];
    hone_j_float_text(text, value);
    return hone_j_puts(out, vm, text);
}

/* --- strings --------------------------------------------------------------------------------------------------- */

/* Whether Python's repr shows a character as it is. */
static bool is_printable(int32_t code) {
    switch (utf8proc_category(hone_unicode_like(code))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return code == ' ';
    default:
        return true;
    }
}

static void escaped(char out[16], int32_t code, char quote) {
    const char *plain = code == '\n' ? "\\n" : code == '\r' ? "\\r" : code == '\t' ? "\\t" : NULL;
    if (plain) {
        snprintf(out, 16, "%s", plain);
    } else if (code == '\\' || code == quote) {
        snprintf(out, 16, "\\%c", (char)code);
    } else if (code < 0x100) {
        snprintf(out, 16, "\\x%02x", (unsigned)code);
    } else {
        snprintf(out, 16, code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
    }
}

static hone_status put_quoted(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *string) {
    bool single = memchr(string->data, '\'', string->length) != NULL;
    char quote = single && !memchr(string->data, '"', string->length) ? '"' : '\'';
    if (string->safe) HONE_TRY(hone_j_puts(out, vm, "Markup("));
    HONE_TRY(hone_j_put(out, vm, &quote, 1));
    for (size_t at = 0; at < string->length;) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, string->data + at, string->length - at);
        if (code != '\\' && code != quote && is_printable(code)) {
            HONE_TRY(hone_j_put_part(out, vm, string, at, at + bytes));
        } else {
            char text[16];
            escaped(text, code, quote);
            HONE_TRY(hone_j_put_for(out, vm, string, at, text, strlen(text)));
        }
        at += bytes;
    }
    HONE_TRY(hone_j_put(out, vm, &quote, 1));
    return string->safe ? hone_j_puts(out, vm, ")") : HONE_OK;
}

/* --- containers ------------------------------------------------------------------------------------------------ */

static hone_status put_items(hone_jbuilder *out, hone_jvm *vm, const hone_jlist *list,
                             const char *open, const char *close) {
    HONE_TRY(hone_j_puts(out, vm, open));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) HONE_TRY(hone_j_puts(out, vm, ", "));
        HONE_TRY(hone_j_put_repr(out, vm, list->items[i]));
    }
    return hone_j_puts(out, vm, close);
}

static hone_status put_dict(hone_jbuilder *out, hone_jvm *vm, const hone_jdict *dict) {
    HONE_TRY(hone_j_puts(out, vm, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) HONE_TRY(hone_j_puts(out, vm, ", "));
        HONE_TRY(hone_j_put_repr(out, vm, dict->keys[i]));
        HONE_TRY(hone_j_puts(out, vm, ": "));
        HONE_TRY(hone_j_put_repr(out, vm, dict->values[i]));
    }
    return hone_j_puts(out, vm, "}");
}

/* "range(0, 3)": what it was made with stands after its items. */
static hone_status put_range(hone_jbuilder *out, hone_jvm *vm, const hone_jlist *list) {
    const hone_jvalue *made = list->items + list->count;
    HONE_TRY(hone_j_puts(out, vm, "range("));
    HONE_TRY(put_int(out, vm, made[0].as.integer));
    HONE_TRY(hone_j_puts(out, vm, ", "));
    HONE_TRY(put_int(out, vm, made[1].as.integer));
    if (made[2].as.integer != 1) {
        HONE_TRY(hone_j_puts(out, vm, ", "));
        HONE_TRY(put_int(out, vm, made[2].as.integer));
    }
    return hone_j_puts(out, vm, ")");
}

static hone_status put_view(hone_jbuilder *out, hone_jvm *vm, const hone_jlist *list) {
    HONE_TRY(hone_j_puts(out, vm, list->what));
    HONE_TRY(hone_j_puts(out, vm, "("));
    HONE_TRY(put_items(out, vm, list, "[", "]"));
    return hone_j_puts(out, vm, ")");
}

static hone_status put_namespace(hone_jbuilder *out, hone_jvm *vm, const hone_jdict *dict) {
    HONE_TRY(hone_j_puts(out, vm, "<Namespace "));
    HONE_TRY(put_dict(out, vm, dict));
    return hone_j_puts(out, vm, ">");
}

static hone_status put_macro(hone_jbuilder *out, hone_jvm *vm, const hone_jmacro *macro) {
    if (!macro->node->text) return hone_j_puts(out, vm, "<Macro anonymous>");
    HONE_TRY(hone_j_puts(out, vm, "<Macro '"));
    HONE_TRY(hone_j_put_str(out, vm, macro->node->text));
    return hone_j_puts(out, vm, "'>");
}

static hone_status put_loop(hone_jbuilder *out, hone_jvm *vm, hone_jloop *loop) {
    HONE_TRY(hone_j_loop_fill(loop, vm, SIZE_MAX));
    char text[64];
    snprintf(text, sizeof text, "<LoopContext %lld/%zu>", (long long)loop->index + 1,
             loop->items->count);
    return hone_j_puts(out, vm, text);
}

static hone_status put_container(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value) {
    switch (value.kind) {
    case HONE_J_LIST:
        return put_items(out, vm, value.as.list, "[", "]");
    case HONE_J_TUPLE:
        return put_items(out, vm, value.as.list, "(", value.as.list->count == 1 ? ",)" : ")");
    case HONE_J_RANGE:
        return put_range(out, vm, value.as.list);
    case HONE_J_VIEW:
        return put_view(out, vm, value.as.list);
    case HONE_J_DICT:
        if (vm->spelled_part_of == 0) vm->spelled_part_of = value.as.dict->part_of;
        return put_dict(out, vm, value.as.dict);
    case HONE_J_NAMESPACE:
        return put_namespace(out, vm, value.as.dict);
    case HONE_J_MACRO:
        return put_macro(out, vm, value.as.macro);
    case HONE_J_LOOP:
        return put_loop(out, vm, value.as.loop);
    default:
        HONE_TRY(hone_j_puts(out, vm, "<"));
        HONE_TRY(hone_j_puts(out, vm, hone_j_type(value)));
        return hone_j_puts(out, vm, " object>");
    }
}

hone_status hone_j_put_repr(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value) {
    if (value.kind == HONE_J_STRING) return put_quoted(out, vm, value.as.string);
    if (value.kind == HONE_J_UNDEFINED) return hone_j_puts(out, vm, "Undefined");
    return hone_j_put_value(out, vm, value);
}

hone_status hone_j_put_value(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value) {
    switch (value.kind) {
    case HONE_J_MISSING:
    case HONE_J_UNDEFINED:
        return HONE_OK;
    case HONE_J_NONE:
        return hone_j_puts(out, vm, "None");
    case HONE_J_BOOL:
        return hone_j_puts(out, vm, value.as.boolean ? "True" : "False");
    case HONE_J_INT:
        return put_int(out, vm, value.as.integer);
    case HONE_J_FLOAT:
        return put_float(out, vm, value.as.real);
    case HONE_J_STRING:
        return hone_j_put_str(out, vm, value.as.string);
    default:
        break;
    }
    HONE_TRY(hone_j_enter(vm));
    hone_status status = put_container(out, vm, value);
    hone_j_leave(vm);
    return status;
}

hone_status hone_j_to_string(hone_jstr **out, hone_jvm *vm, hone_jvalue value) {
    if (value.kind == HONE_J_STRING) {
        *out = value.as.string;
        return HONE_OK;
    }
    hone_jbuilder builder = {0};
    hone_jvalue string;
    HONE_TRY(hone_j_put_value(&builder, vm, value));
    HONE_TRY(hone_j_built(&string, vm, &builder));
    *out = string.as.string;
    return HONE_OK;
}
