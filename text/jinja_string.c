#include "text/jinja_string.h"

#include <string.h>

#include "text/utf8.h"

/* --- splitting ------------------------------------------------------------------------------------------------- */

static hone_status add_part(hone_jlist *list, hone_jvm *vm, const hone_jstr *text, size_t begin,
                            size_t end) {
    hone_jvalue part;
    HONE_TRY(hone_j_part(&part, vm, text, begin, end));
    return hone_j_list_add(list, vm, part);
}

static size_t skip_space(const hone_jstr *text, size_t at, bool space) {
    while (at < text->length) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, text->data + at, text->length - at);
        if (hone_j_is_space(code) != space) break;
        at += bytes;
    }
    return at;
}

static size_t skip_space_back(const hone_jstr *text, size_t at, bool space) {
    while (at > 0) {
        size_t begin = at - 1;
        while (begin > 0 && ((unsigned char)text->data[begin] & 0xc0) == 0x80) begin--;
        int32_t code;
        hone_utf8_next(&code, text->data + begin, at - begin);
        if (hone_j_is_space(code) != space) break;
        at = begin;
    }
    return at;
}

static hone_status split_words(hone_jlist *list, hone_jvm *vm, const hone_jstr *text,
                               int64_t most) {
    size_t at = skip_space(text, 0, true);
    for (; at < text->length; most--) {
        size_t end = skip_space(text, at, false);
        if (most == 0) end = text->length;
        HONE_TRY(add_part(list, vm, text, at, end));
        if (most == 0) break;
        at = skip_space(text, end, true);
    }
    return HONE_OK;
}

static hone_status split_words_back(hone_jlist *list, hone_jvm *vm, const hone_jstr *text,
                                    int64_t most) {
    size_t at = skip_space_back(text, text->length, true);
    for (; at > 0; most--) {
        size_t begin = skip_space_back(text, at, false);
        if (most == 0) begin = 0;
        HONE_TRY(add_part(list, vm, text, begin, at));
        if (most == 0) break;
        at = skip_space_back(text, begin, true);
    }
    return HONE_OK;
}

static hone_status split_at(hone_jlist *list, hone_jvm *vm, const hone_jstr *text,
                            const hone_jstr *separator, int64_t most) {
    size_t begin = 0;
    for (; most != 0; most--) {
        int64_t at = hone_j_find(text, separator, begin);
        if (at < 0) break;
        HONE_TRY(add_part(list, vm, text, begin, (size_t)at));
        begin = (size_t)at + separator->length;
    }
    return add_part(list, vm, text, begin, text->length);
}

static hone_status split_at_back(hone_jlist *list, hone_jvm *vm, const hone_jstr *text,
                                 const hone_jstr *separator, int64_t most) {
    size_t end = text->length;
    for (; most != 0; most--) {
        int64_t at = hone_j_find_last(text, separator, end);
        if (at < 0) break;
        HONE_TRY(add_part(list, vm, text, (size_t)at + separator->length, end));
        end = (size_t)at;
    }
    return add_part(list, vm, text, 0, end);
}

static void turn_around(hone_jlist *list) {
    for (size_t i = 0; i + 1 < list->count - i; i++) {
        hone_jvalue last = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = list->items[i];
        list->items[i] = last;
    }
}

hone_status hone_j_split(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                         const hone_jstr *separator, int64_t most, bool from_right) {
    hone_jlist *list;
    HONE_TRY(hone_j_charge(vm, text->length));
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    *out = hone_j_list(HONE_J_LIST, list);
    if (separator && separator->length == 0) return hone_j_fail(vm, "the separator is empty");
    if (!from_right)
        return separator ? split_at(list, vm, text, separator, most)
                         : split_words(list, vm, text, most);
    HONE_TRY(separator ? split_at_back(list, vm, text, separator, most)
                       : split_words_back(list, vm, text, most));
    turn_around(list);
    return HONE_OK;
}

/* Bytes of the line end at `at`, or 0. */
static size_t line_end(const hone_jstr *text, size_t at) {
    int32_t code;
    size_t bytes = hone_utf8_next(&code, text->data + at, text->length - at);
    if (code == '\r' && at + 1 < text->length && text->data[at + 1] == '\n') return 2;
    bool ends = (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
                code == 0x2028 || code == 0x2029;
    return ends ? bytes : 0;
}

hone_status hone_j_splitlines(hone_jlist **out, hone_jvm *vm, const hone_jstr *text,
                              bool keep_ends) {
    size_t begin = 0;
    HONE_TRY(hone_j_charge(vm, text->length));
    HONE_TRY(hone_j_list_new(out, vm, 0));
    for (size_t at = 0; at < text->length;) {
        size_t end = line_end(text, at);
        if (end == 0) {
            at += hone_utf8_length(text->data[at]);
            continue;
        }
        HONE_TRY(add_part(*out, vm, text, begin, keep_ends ? at + end : at));
        begin = at += end;
    }
    return begin < text->length ? add_part(*out, vm, text, begin, text->length) : HONE_OK;
}

/* --- replacing, filling, joining ------------------------------------------------------------------------------- */

/* An empty `old` stands before every character and at the end. */
static hone_status interleave(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text,
                              const hone_jstr *by, int64_t most) {
    size_t at = 0;
    for (; most != 0; most--) {
        HONE_TRY(hone_j_put_str(out, vm, by));
        if (at >= text->length) return HONE_OK;
        size_t end = at + hone_utf8_length(text->data[at]);
        HONE_TRY(hone_j_put_part(out, vm, text, at, end));
        at = end;
    }
    return hone_j_put_part(out, vm, text, at, text->length);
}

hone_status hone_j_replace(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                           const hone_jstr *old, const hone_jstr *by, int64_t most) {
    hone_jbuilder builder = {0};
    size_t begin = 0;
    HONE_TRY(hone_j_charge(vm, text->length));
    if (old->length == 0) {
        HONE_TRY(interleave(&builder, vm, text, by, most));
        return hone_j_built(out, vm, &builder);
    }
    for (; most != 0; most--) {
        int64_t at = hone_j_find(text, old, begin);
        if (at < 0) break;
        HONE_TRY(hone_j_put_part(&builder, vm, text, begin, (size_t)at));
        HONE_TRY(hone_j_put_str(&builder, vm, by));
        begin = (size_t)at + old->length;
    }
    HONE_TRY(hone_j_put_part(&builder, vm, text, begin, text->length));
    return hone_j_built(out, vm, &builder);
}

hone_status hone_j_fill(hone_jvalue *out, hone_jvm *vm, hone_jstr *text, int64_t width,
                        const hone_jstr *with, int left) {
    hone_jbuilder builder = {0};
    int64_t missing = width - hone_j_characters(text);
    if (missing < 0) missing = 0;
    int64_t before = left == 0 ? 0 : left == 2 ? missing : missing / 2 + (missing & width & 1);
    HONE_TRY(hone_j_put_times(&builder, vm, with, before));
    HONE_TRY(hone_j_put_str(&builder, vm, text));
    HONE_TRY(hone_j_put_times(&builder, vm, with, missing - before));
    HONE_TRY(hone_j_built(out, vm, &builder));
    out->as.string->safe = text->safe;
    return HONE_OK;
}

hone_status hone_j_join(hone_jvalue *out, hone_jvm *vm, const hone_jstr *separator,
                        const hone_jlist *items, bool any) {
    hone_jbuilder builder = {0};
    for (size_t i = 0; i < items->count; i++) {
        hone_jvalue item = items->items[i];
        if (!any && item.kind != HONE_J_STRING)
            return hone_j_fail(vm, "join takes texts, not a %s", hone_j_type(item));
        if (i > 0) HONE_TRY(hone_j_put_str(&builder, vm, separator));
        HONE_TRY(hone_j_put_value(&builder, vm, item));
    }
    return hone_j_built(out, vm, &builder);
}
