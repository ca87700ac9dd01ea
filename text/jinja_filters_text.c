#include <string.h>

#include "text/jinja_string.h"
#include "text/utf8.h"

/* Filters of jinja2 whose value is taken as a text. */

static hone_status as_text(hone_jstr **out, hone_jvm *vm, const hone_jcall *call) {
    return hone_j_to_string(out, vm, call->self);
}

static hone_status change_case(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, hone_jcase to) {
    hone_jstr *text;
    HONE_TRY(as_text(&text, vm, call));
    return hone_j_change_case(out, vm, text, to);
}

static hone_status lower(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return change_case(out, vm, call, HONE_J_LOWER);
}

static hone_status upper(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return change_case(out, vm, call, HONE_J_UPPER);
}

static hone_status capitalize(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return change_case(out, vm, call, HONE_J_CAPITALIZE);
}

/* What stands between words for `title`. */
static bool parts_words(int32_t code) {
    return code == '-' || code == '(' || code == '{' || code == '[' || code == '<' ||
           hone_j_is_space(code);
}

static hone_status title(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    hone_jbuilder builder = {0};
    HONE_TRY(as_text(&text, vm, call));
    for (size_t at = 0; at < text->length;) {
        int32_t code;
        size_t end = at;
        size_t bytes = hone_utf8_next(&code, text->data + end, text->length - end);
        bool parts = parts_words(code), same = true;
        while (same) {
            end += bytes;
            if (end >= text->length) break;
            bytes = hone_utf8_next(&code, text->data + end, text->length - end);
            same = parts_words(code) == parts;
        }
        size_t first = at + hone_utf8_length(text->data[at]);
        HONE_TRY(hone_j_put_case(&builder, vm, text, at, first, HONE_J_UPPER));
        HONE_TRY(hone_j_put_case(&builder, vm, text, first, end, HONE_J_LOWER));
        at = end;
    }
    return hone_j_built(out, vm, &builder);
}

static hone_status string(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    HONE_TRY(as_text(&text, vm, call));
    *out = hone_j_string(text);
    return HONE_OK;
}

static hone_status safe(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    HONE_TRY(string(out, vm, call));
    return hone_j_with_safe(out, vm, *out, true);
}

static hone_status escape(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return hone_j_escape(out, vm, call->self);
}

static hone_status forceescape(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    HONE_TRY(string(out, vm, call));
    HONE_TRY(hone_j_with_safe(out, vm, *out, false));
    return hone_j_escape(out, vm, *out);
}

static hone_status trim(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text, *chars = NULL;
    size_t begin, end;
    HONE_TRY(as_text(&text, vm, call));
    if (call->slot[0].kind != HONE_J_NONE) HONE_TRY(hone_j_slot_string(&chars, vm, call, 0));
    hone_j_strip(&begin, &end, text, chars, true, true);
    return hone_j_part(out, vm, text, begin, end);
}

static hone_status replace(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text, *old, *by;
    int64_t most = -1;
    HONE_TRY(as_text(&text, vm, call));
    HONE_TRY(hone_j_to_string(&old, vm, call->slot[0]));
    HONE_TRY(hone_j_to_string(&by, vm, call->slot[1]));
    if (call->slot[2].kind != HONE_J_NONE) HONE_TRY(hone_j_slot_int(&most, vm, call, 2));
    return hone_j_replace(out, vm, text, old, by, most);
}

static hone_status center(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    const hone_jstr space = {.data = " ", .length = 1};
    hone_jstr *text;
    int64_t width = 80;
    HONE_TRY(as_text(&text, vm, call));
    HONE_TRY(hone_j_slot_int(&width, vm, call, 0));
    return hone_j_fill(out, vm, text, width, &space, 1);
}

/* A filter that takes nothing but a text. */
static hone_status must_be_text(hone_jstr **out, hone_jvm *vm, const hone_jcall *call) {
    if (call->self.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, call->self);
    if (call->self.kind != HONE_J_STRING)
        return hone_j_fail(vm, "%s takes a text, not a %s", call->name, hone_j_type(call->self));
    *out = call->self.as.string;
    return HONE_OK;
}

/* The text that lines are indented by. */
static hone_status indention(hone_jstr **out, hone_jvm *vm, hone_jcall *call) {
    const hone_jstr space = {.data = " ", .length = 1};
    int64_t width = 4;
    if (call->slot[0].kind == HONE_J_STRING) return hone_j_slot_string(out, vm, call, 0);
    HONE_TRY(hone_j_slot_int(&width, vm, call, 0));
    hone_jbuilder builder = {0};
    hone_jvalue spaces;
    HONE_TRY(hone_j_put_times(&builder, vm, &space, width));
    HONE_TRY(hone_j_built(&spaces, vm, &builder));
    *out = spaces.as.string;
    return HONE_OK;
}

static hone_status indent(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text, *by;
    hone_jlist *lines;
    hone_jbuilder builder = {0};
    HONE_TRY(must_be_text(&text, vm, call));
    HONE_TRY(indention(&by, vm, call));
    bool first = hone_j_slot_truth(call, 1, false), blank = hone_j_slot_truth(call, 2, false);
    HONE_TRY(hone_j_put_str(&builder, vm, text));
    HONE_TRY(hone_j_puts(&builder, vm, "\n"));
    hone_jvalue ended;
    HONE_TRY(hone_j_built(&ended, vm, &builder));
    HONE_TRY(hone_j_splitlines(&lines, vm, ended.as.string, false));
    for (size_t i = 0; i < lines->count; i++) {
        const hone_jstr *line = lines->items[i].as.string;
        if (i > 0) HONE_TRY(hone_j_puts(&builder, vm, "\n"));
        bool deeper = i == 0 ? first : blank || line->length > 0;
        if (deeper) HONE_TRY(hone_j_put_str(&builder, vm, by));
        HONE_TRY(hone_j_put_str(&builder, vm, line));
    }
    HONE_TRY(hone_j_built(out, vm, &builder));
    return hone_j_with_safe(out, vm, *out, text->safe);
}

static hone_status truncate_text(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    static hone_jstr dots = {.data = "...", .length = 3, .characters = 3};
    hone_jstr *text, *end = &dots;
    int64_t length = 255, leeway = 5;
    HONE_TRY(hone_j_slot_int(&length, vm, call, 0));
    HONE_TRY(hone_j_slot_string(&end, vm, call, 2));
    if (call->slot[3].kind != HONE_J_NONE) HONE_TRY(hone_j_slot_int(&leeway, vm, call, 3));
    if (length < hone_j_characters(end) || leeway < 0)
        return hone_j_fail(vm, "truncate: no room for what marks the cut");
    *out = call->self;
    if (call->self.kind == HONE_J_UNDEFINED) return HONE_OK;
    HONE_TRY(must_be_text(&text, vm, call));
    if (hone_j_characters(text) - leeway <= length) return HONE_OK;
    hone_jvalue kept;
    HONE_TRY(hone_j_part(&kept, vm, text, 0, hone_j_place(text, length - hone_j_characters(end))));
    const hone_jstr space = {.data = " ", .length = 1};
    int64_t last = hone_j_find_last(kept.as.string, &space, kept.as.string->length);
    if (!hone_j_slot_truth(call, 1, false) && last >= 0)
        HONE_TRY(hone_j_part(&kept, vm, kept.as.string, 0, (size_t)last));
    return hone_j_binary(out, vm, HONE_J_ADD, kept, hone_j_string(end));
}

static hone_status wordcount(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    int64_t count = 0;
    bool inside = false;
    HONE_TRY(as_text(&text, vm, call));
    for (size_t at = 0; at < text->length;) {
        int32_t code;
        at += hone_utf8_next(&code, text->data + at, text->length - at);
        bool word = hone_utf8_is_word(code) && code != 0x200c && code != 0x200d;
        count += word && !inside;
        inside = word;
    }
    *out = hone_j_int(count);
    return HONE_OK;
}

/* --- tags and addresses ---------------------------------------------------------------------------------------- */

/* Without tags and comments; false when there was none. */
static hone_status drop_tags(bool *any, hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text) {
    const hone_jstr open = {.data = "<", .length = 1}, comment = {.data = "<!--", .length = 4};
    size_t at = 0;
    *any = false;
    for (;;) {
        int64_t start = hone_j_find(text, &open, at);
        if (start < 0) break;
        bool is_comment = hone_j_find(text, &comment, (size_t)start) == start;
        const hone_jstr close = {.data = is_comment ? "-->" : ">", .length = is_comment ? 3 : 1};
        int64_t end = hone_j_find(text, &close, (size_t)start + (is_comment ? 4 : 0));
        if (end < 0) break;
        HONE_TRY(hone_j_put_part(out, vm, text, at, (size_t)start));
        at = (size_t)end + close.length;
        *any = true;
    }
    return hone_j_put_part(out, vm, text, at, text->length);
}

static hone_status striptags(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    bool any;
    hone_jbuilder builder = {0};
    HONE_TRY(as_text(&text, vm, call));
    if (memchr(text->data, '&', text->length))
        return hone_j_unsupported(vm, "striptags of a text with '&' is not supported");
    HONE_TRY(drop_tags(&any, &builder, vm, text));
    HONE_TRY(hone_j_built(out, vm, &builder));
    HONE_TRY(hone_j_split(out, vm, out->as.string, NULL, -1, false));
    const hone_jstr space = {.data = " ", .length = 1};
    return hone_j_join(out, vm, &space, out->as.list, false);
}

static hone_status put_quoted(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value, bool query) {
    static const char digits[] = "0123456789ABCDEF";
    hone_jstr *text;
    HONE_TRY(hone_j_to_string(&text, vm, value));
    for (size_t i = 0; i < text->length; i++) {
        unsigned char c = (unsigned char)text->data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c && strchr("_.-~", c)) || (c == '/' && !query);
        char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (query && c == ' ') {
            HONE_TRY(hone_j_put_for(out, vm, text, i, "+", 1));
        } else if (plain) {
            HONE_TRY(hone_j_put_part(out, vm, text, i, i + 1));
        } else {
            HONE_TRY(hone_j_put_for(out, vm, text, i, coded, 3));
        }
    }
    return HONE_OK;
}

static hone_status urlencode(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jbuilder builder = {0};
    hone_jlist *pairs;
    if (call->self.kind == HONE_J_STRING || !hone_j_iterable(call->self)) {
        HONE_TRY(put_quoted(&builder, vm, call->self, false));
        return hone_j_built(out, vm, &builder);
    }
    if (call->self.kind == HONE_J_DICT) {
        HONE_TRY(hone_j_dict_pairs(&pairs, vm, call->self.as.dict));
    } else {
        HONE_TRY(hone_j_items(&pairs, vm, call->self));
    }
    for (size_t i = 0; i < pairs->count; i++) {
        hone_jlist *pair;
        HONE_TRY(hone_j_items(&pair, vm, pairs->items[i]));
        if (pair->count != 2) return hone_j_fail(vm, "urlencode takes pairs");
        if (i > 0) HONE_TRY(hone_j_puts(&builder, vm, "&"));
        HONE_TRY(put_quoted(&builder, vm, pair->items[0], true));
        HONE_TRY(hone_j_puts(&builder, vm, "="));
        HONE_TRY(put_quoted(&builder, vm, pair->items[1], true));
    }
    return hone_j_built(out, vm, &builder);
}

/* --- JSON and formats ------------------------------------------------------------------------------------------ */

static hone_status json_indent(const hone_jstr **out, hone_jvm *vm, hone_jcall *call) {
    hone_jvalue given = call->slot[1];
    if (given.kind == HONE_J_MISSING || given.kind == HONE_J_NONE) return HONE_OK;
    call->slot[0] = given;
    hone_jstr *by;
    HONE_TRY(indention(&by, vm, call));
    *out = by;
    return HONE_OK;
}

static hone_status json_separators(hone_jdumps *how, hone_jvm *vm, const hone_jcall *call) {
    hone_jvalue given = call->slot[2];
    if (given.kind == HONE_J_MISSING || given.kind == HONE_J_NONE) return HONE_OK;
    hone_jlist *pair;
    HONE_TRY(hone_j_items(&pair, vm, given));
    if (pair->count != 2 || pair->items[0].kind != HONE_J_STRING ||
        pair->items[1].kind != HONE_J_STRING)
        return hone_j_fail(vm, "tojson: separators are two texts");
    how->item_separator = pair->items[0].as.string;
    how->key_separator = pair->items[1].as.string;
    return HONE_OK;
}

static hone_status tojson(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jdumps how = {.ensure_ascii = hone_j_slot_truth(call, 0, false),
                       .sort_keys = hone_j_slot_truth(call, 3, false)};
    hone_jbuilder builder = {0};
    HONE_TRY(json_separators(&how, vm, call));
    HONE_TRY(json_indent(&how.indent, vm, call));
    HONE_TRY(hone_j_put_json(&builder, vm, call->self, &how));
    return hone_j_built(out, vm, &builder);
}

static hone_status format(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    HONE_TRY(as_text(&text, vm, call));
    if (call->count > 0 && call->named > 0)
        return hone_j_fail(vm, "format takes arguments by place or by name, not both");
    if (call->named > 0) {
        hone_jdict *dict;
        HONE_TRY(hone_j_dict_new(&dict, vm));
        for (size_t i = 0; i < call->named; i++)
            HONE_TRY(hone_j_dict_set(
                dict, vm, hone_j_string((hone_jstr *)(uintptr_t)call->names[i]), call->values[i]));
        return hone_j_percent(out, vm, text, hone_j_dict(dict));
    }
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, call->count));
    for (size_t i = 0; i < call->count; i++) list->items[list->count++] = call->arguments[i];
    return hone_j_percent(out, vm, text, hone_j_list(HONE_J_TUPLE, list));
}

const hone_jfilter hone_j_text_filters[] = {
    {"lower", "", 0, lower},
    {"upper", "", 0, upper},
    {"capitalize", "", 0, capitalize},
    {"title", "", 0, title},
    {"string", "", 0, string},
    {"safe", "", 0, safe},
    {"e", "", 0, escape},
    {"escape", "", 0, escape},
    {"forceescape", "", 0, forceescape},
    {"trim", "chars", 0, trim},
    {"replace", "old new count", 2, replace},
    {"center", "width", 0, center},
    {"indent", "width first blank", 0, indent},
    {"truncate", "length killwords end leeway", 0, truncate_text},
    {"wordcount", "", 0, wordcount},
    {"striptags", "", 0, striptags},
    {"urlencode", "", 0, urlencode},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson},
    {"format", NULL, 0, format},
    {"filesizeformat", NULL, 0, NULL},
    {"pprint", NULL, 0, NULL},
    {"urlize", NULL, 0, NULL},
    {"wordwrap", NULL, 0, NULL},
    {"xmlattr", NULL, 0, NULL},
    {0},
};
