#include <string.h>
#include <utf8proc.h>

#include "text/jinja_string.h"
#include "text/utf8.h"

/* --- case and kind --------------------------------------------------------------------------------------------- */

#define CASE_METHOD(name, to)                                                                      \
    static hone_status name(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {                    \
        return hone_j_change_case(out, vm, call->self.as.string, to);                              \
    }
CASE_METHOD(lower, HONE_J_LOWER)
CASE_METHOD(upper, HONE_J_UPPER)
CASE_METHOD(title, HONE_J_TITLE)
CASE_METHOD(capitalize, HONE_J_CAPITALIZE)
CASE_METHOD(swapcase, HONE_J_SWAP)
CASE_METHOD(casefold, HONE_J_FOLD)

static bool is_letter(int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_decimal(int32_t code) {
    return utf8proc_category(code) == UTF8PROC_CATEGORY_ND;
}

/* Superscripts are digits, too. */
static bool is_digit(int32_t code) {
    return is_decimal(code) || code == 0xb2 || code == 0xb3 || code == 0xb9 || code == 0x2070 ||
           (code >= 0x2074 && code <= 0x2079) || (code >= 0x2080 && code <= 0x2089) ||
           (code >= 0x2460 && code <= 0x2468);
}

static bool is_numeric(int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

static bool is_alphanumeric(int32_t code) {
    return is_letter(code) || is_numeric(code);
}

#define KIND_METHOD(name, is)                                                                      \
    static hone_status name(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {                    \
        (void)vm;                                                                                  \
        *out = hone_j_bool(hone_j_all(call->self.as.string, is));                                  \
        return HONE_OK;                                                                            \
    }
KIND_METHOD(all_letters, is_letter)
KIND_METHOD(all_decimals, is_decimal)
KIND_METHOD(all_digits, is_digit)
KIND_METHOD(all_numeric, is_numeric)
KIND_METHOD(all_alphanumeric, is_alphanumeric)
KIND_METHOD(is_space, hone_j_is_space)

static hone_status is_lower(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    *out = hone_j_bool(hone_j_is_case(call->self.as.string, HONE_J_LOWER));
    return HONE_OK;
}

static hone_status is_upper(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    *out = hone_j_bool(hone_j_is_case(call->self.as.string, HONE_J_UPPER));
    return HONE_OK;
}

static hone_status is_ascii(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    hone_jstr *text = call->self.as.string;
    *out = hone_j_bool(hone_j_characters(text) == (int64_t)text->length);
    for (size_t i = 0; i < text->length; i++)
        out->as.boolean &= (unsigned char)text->data[i] < 0x80;
    return HONE_OK;
}

/* --- stripping and cutting ------------------------------------------------------------------------------------- */

/* The first slot as a text; none and a missing one are NULL. */
static hone_status optional_text(hone_jstr **out, hone_jvm *vm, hone_jcall *call, int slot) {
    *out = NULL;
    if (call->slot[slot].kind == HONE_J_NONE) return HONE_OK;
    return hone_j_slot_string(out, vm, call, slot);
}

static hone_status strip_sides(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool left,
                               bool right) {
    hone_jstr *chars;
    size_t begin, end;
    HONE_TRY(optional_text(&chars, vm, call, 0));
    hone_j_strip(&begin, &end, call->self.as.string, chars, left, right);
    return hone_j_part(out, vm, call->self.as.string, begin, end);
}

static hone_status strip(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return strip_sides(out, vm, call, true, true);
}

static hone_status lstrip(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return strip_sides(out, vm, call, true, false);
}

static hone_status rstrip(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return strip_sides(out, vm, call, false, true);
}

static hone_status split_call(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool from_right) {
    hone_jstr *separator;
    int64_t most = -1;
    HONE_TRY(optional_text(&separator, vm, call, 0));
    HONE_TRY(hone_j_slot_int(&most, vm, call, 1));
    return hone_j_split(out, vm, call->self.as.string, separator, most, from_right);
}

static hone_status split(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return split_call(out, vm, call, false);
}

static hone_status rsplit(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return split_call(out, vm, call, true);
}

static hone_status splitlines(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *list;
    HONE_TRY(hone_j_splitlines(&list, vm, call->self.as.string, hone_j_slot_truth(call, 0, false)));
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

/* Before the separator, itself, after it; where it is not found the text and two empty ones, on the side of `last`. */
static hone_status partition_at(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool last) {
    hone_jstr *text = call->self.as.string, *separator = NULL;
    HONE_TRY(hone_j_slot_string(&separator, vm, call, 0));
    if (separator->length == 0) return hone_j_fail(vm, "the separator is empty");
    int64_t found =
        last ? hone_j_find_last(text, separator, text->length) : hone_j_find(text, separator, 0);
    size_t cut = found >= 0 ? (size_t)found : last ? 0 : text->length;
    size_t after = found >= 0 ? cut + separator->length : cut;
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, 3));
    HONE_TRY(hone_j_part(&list->items[0], vm, text, 0, cut));
    HONE_TRY(hone_j_part(&list->items[1], vm, text, cut, after));
    HONE_TRY(hone_j_part(&list->items[2], vm, text, after, text->length));
    list->count = 3;
    *out = hone_j_list(HONE_J_TUPLE, list);
    return HONE_OK;
}

static hone_status partition(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return partition_at(out, vm, call, false);
}

static hone_status rpartition(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return partition_at(out, vm, call, true);
}

static bool begins_with(const hone_jstr *text, const hone_jstr *with) {
    return text->length >= with->length && memcmp(text->data, with->data, with->length) == 0;
}

static bool ends_with(const hone_jstr *text, const hone_jstr *with) {
    return text->length >= with->length &&
           memcmp(text->data + text->length - with->length, with->data, with->length) == 0;
}

static hone_status removeprefix(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text = call->self.as.string, *prefix = NULL;
    HONE_TRY(hone_j_slot_string(&prefix, vm, call, 0));
    return hone_j_part(out, vm, text, begins_with(text, prefix) ? prefix->length : 0, text->length);
}

static hone_status removesuffix(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text = call->self.as.string, *suffix = NULL;
    HONE_TRY(hone_j_slot_string(&suffix, vm, call, 0));
    return hone_j_part(out, vm, text, 0,
                       text->length - (ends_with(text, suffix) ? suffix->length : 0));
}

/* --- finding --------------------------------------------------------------------------------------------------- */

/* The bytes of the text that slots `slot` and the next bound, in characters; false: they bound nothing. */
static hone_status bounds(size_t *begin, size_t *end, bool *sane, hone_jvm *vm, hone_jcall *call,
                          int slot) {
    hone_jstr *text = call->self.as.string;
    int64_t count = hone_j_characters(text), first = 0, last = count;
    if (call->slot[slot].kind != HONE_J_NONE) HONE_TRY(hone_j_slot_int(&first, vm, call, slot));
    if (call->slot[slot + 1].kind != HONE_J_NONE)
        HONE_TRY(hone_j_slot_int(&last, vm, call, slot + 1));
    if (first < 0) first = first + count > 0 ? first + count : 0;
    if (last < 0) last = last + count > 0 ? last + count : 0;
    if (last > count) last = count;
    *sane = first <= last;
    *begin = hone_j_place(text, *sane ? first : 0);
    *end = hone_j_place(text, last);
    return hone_j_charge(vm, text->length);
}

/* The part of the text that the slots bound, as a string. */
static hone_status bounded(hone_jvalue *out, size_t *begin, bool *sane, hone_jvm *vm,
                           hone_jcall *call) {
    size_t end;
    HONE_TRY(bounds(begin, &end, sane, vm, call, 1));
    return hone_j_part(out, vm, call->self.as.string, *begin, end);
}

static hone_status starts_or_ends(hone_jvalue *out, hone_jvm *vm, hone_jcall *call,
                                  bool (*test)(const hone_jstr *text, const hone_jstr *with)) {
    hone_jvalue with = call->slot[0], part;
    size_t begin;
    bool sane;
    HONE_TRY(bounded(&part, &begin, &sane, vm, call));
    hone_jlist one = {.items = &with, .count = 1};
    const hone_jlist *list = with.kind == HONE_J_TUPLE ? with.as.list : &one;
    *out = hone_j_bool(false);
    for (size_t i = 0; i < list->count && !out->as.boolean; i++) {
        if (list->items[i].kind != HONE_J_STRING)
            return hone_j_fail(vm, "%s takes a text or a tuple of them, not a %s", call->name,
                               hone_j_type(list->items[i]));
        out->as.boolean = sane && test(part.as.string, list->items[i].as.string);
    }
    return HONE_OK;
}

static hone_status startswith(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return starts_or_ends(out, vm, call, begins_with);
}

static hone_status endswith(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return starts_or_ends(out, vm, call, ends_with);
}

/* The character at which it is found; -1, or where `must` an error. */
static hone_status find_text(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool last,
                             bool must) {
    hone_jstr *what = NULL;
    hone_jvalue part;
    size_t begin;
    bool sane;
    HONE_TRY(hone_j_slot_string(&what, vm, call, 0));
    HONE_TRY(bounded(&part, &begin, &sane, vm, call));
    hone_jstr *in = part.as.string;
    int64_t at = last ? hone_j_find_last(in, what, in->length) : hone_j_find(in, what, 0);
    if (!sane) at = -1;
    if (at < 0 && must) return hone_j_fail(vm, "%s: the text is not found", call->name);
    *out = hone_j_int(-1);
    if (at < 0) return HONE_OK;
    hone_jvalue before;
    HONE_TRY(hone_j_part(&before, vm, call->self.as.string, 0, begin + (size_t)at));
    *out = hone_j_int(hone_j_characters(before.as.string));
    return HONE_OK;
}

static hone_status find(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return find_text(out, vm, call, false, false);
}

static hone_status rfind(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return find_text(out, vm, call, true, false);
}

static hone_status index_of(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return find_text(out, vm, call, false, true);
}

static hone_status rindex_of(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return find_text(out, vm, call, true, true);
}

static hone_status count_text(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *what = NULL;
    hone_jvalue part;
    size_t begin;
    bool sane;
    HONE_TRY(hone_j_slot_string(&what, vm, call, 0));
    HONE_TRY(bounded(&part, &begin, &sane, vm, call));
    hone_jstr *in = part.as.string;
    int64_t count = 0;
    if (what->length == 0) {
        count = hone_j_characters(in) + 1;
    } else {
        for (int64_t at = 0; (at = hone_j_find(in, what, (size_t)at)) >= 0;
             at += (int64_t)what->length)
            count++;
    }
    *out = hone_j_int(sane ? count : 0);
    return HONE_OK;
}

/* --- making ---------------------------------------------------------------------------------------------------- */

static hone_status join(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *items;
    HONE_TRY(hone_j_items(&items, vm, call->slot[0]));
    const hone_jstr *separator = call->self.as.string;
    if (!separator->safe) return hone_j_join(out, vm, separator, items, false);
    hone_jlist *escaped;
    HONE_TRY(hone_j_list_new(&escaped, vm, items->count));
    for (size_t i = 0; i < items->count; i++)
        HONE_TRY(hone_j_escape(&escaped->items[escaped->count++], vm, items->items[i]));
    HONE_TRY(hone_j_join(out, vm, separator, escaped, false));
    return hone_j_with_safe(out, vm, *out, true);
}

static hone_status replace(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *old = NULL, *by = NULL;
    int64_t most = -1;
    bool safe = call->self.as.string->safe;
    HONE_TRY(hone_j_slot_string(&old, vm, call, 0));
    HONE_TRY(hone_j_slot_string(&by, vm, call, 1));
    HONE_TRY(hone_j_slot_int(&most, vm, call, 2));
    if (safe) {
        hone_jvalue escaped;
        HONE_TRY(hone_j_escape(&escaped, vm, hone_j_string(by)));
        by = escaped.as.string;
    }
    HONE_TRY(hone_j_replace(out, vm, call->self.as.string, old, by, most));
    return hone_j_with_safe(out, vm, *out, safe);
}

static hone_status fill(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, int left) {
    static hone_jstr space = {.data = " ", .length = 1, .characters = 1};
    hone_jstr *with = &space;
    int64_t width = 0;
    HONE_TRY(hone_j_slot_int(&width, vm, call, 0));
    HONE_TRY(hone_j_slot_string(&with, vm, call, 1));
    if (with != &space && hone_j_characters(with) != 1)
        return hone_j_fail(vm, "%s fills with one character", call->name);
    return hone_j_fill(out, vm, call->self.as.string, width, with, left);
}

static hone_status ljust(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return fill(out, vm, call, 0);
}

static hone_status center(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return fill(out, vm, call, 1);
}

static hone_status rjust(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return fill(out, vm, call, 2);
}

static hone_status zfill(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text = call->self.as.string;
    int64_t width = 0, count = hone_j_characters(text);
    HONE_TRY(hone_j_slot_int(&width, vm, call, 0));
    bool sign = text->length > 0 && (text->data[0] == '-' || text->data[0] == '+');
    const hone_jstr zero = {.data = "0", .length = 1};
    hone_jbuilder builder = {0};
    HONE_TRY(hone_j_put_part(&builder, vm, text, 0, sign));
    HONE_TRY(hone_j_put_times(&builder, vm, &zero, width - count));
    HONE_TRY(hone_j_put_part(&builder, vm, text, sign, text->length));
    return hone_j_built(out, vm, &builder);
}

const hone_jmethod hone_j_string_methods[] = {
    {"capitalize", "", 0, capitalize, false},
    {"casefold", "", 0, casefold, false},
    {"center", "width fillchar", 1, center, false},
    {"count", "sub start end", 1, count_text, false},
    {"encode", NULL, 0, NULL, false},
    {"endswith", "suffix start end", 1, endswith, false},
    {"expandtabs", NULL, 0, NULL, false},
    {"find", "sub start end", 1, find, false},
    {"format", NULL, 0, hone_j_str_format, false},
    {"format_map", NULL, 0, NULL, false},
    {"index", "sub start end", 1, index_of, false},
    {"isalnum", "", 0, all_alphanumeric, false},
    {"isalpha", "", 0, all_letters, false},
    {"isascii", "", 0, is_ascii, false},
    {"isdecimal", "", 0, all_decimals, false},
    {"isdigit", "", 0, all_digits, false},
    {"isidentifier", NULL, 0, NULL, false},
    {"islower", "", 0, is_lower, false},
    {"isnumeric", "", 0, all_numeric, false},
    {"isprintable", NULL, 0, NULL, false},
    {"isspace", "", 0, is_space, false},
    {"istitle", NULL, 0, NULL, false},
    {"isupper", "", 0, is_upper, false},
    {"join", "iterable", 1, join, false},
    {"ljust", "width fillchar", 1, ljust, false},
    {"lower", "", 0, lower, false},
    {"lstrip", "chars", 0, lstrip, false},
    {"maketrans", NULL, 0, NULL, false},
    {"partition", "sep", 1, partition, false},
    {"removeprefix", "prefix", 1, removeprefix, false},
    {"removesuffix", "suffix", 1, removesuffix, false},
    {"replace", "old new count", 2, replace, false},
    {"rfind", "sub start end", 1, rfind, false},
    {"rindex", "sub start end", 1, rindex_of, false},
    {"rjust", "width fillchar", 1, rjust, false},
    {"rpartition", "sep", 1, rpartition, false},
    {"rsplit", "sep maxsplit", 0, rsplit, false},
    {"rstrip", "chars", 0, rstrip, false},
    {"split", "sep maxsplit", 0, split, false},
    {"splitlines", "keepends", 0, splitlines, false},
    {"startswith", "prefix start end", 1, startswith, false},
    {"strip", "chars", 0, strip, false},
    {"swapcase", "", 0, swapcase, false},
    {"title", "", 0, title, false},
    {"translate", NULL, 0, NULL, false},
    {"upper", "", 0, upper, false},
    {"zfill", "width", 1, zfill, false},
    {0},
};
