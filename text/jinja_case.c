#include <string.h>
#include <utf8proc.h>

#include "text/jinja_string.h"
#include "text/unicode_recent.h"
#include "text/utf8.h"

/* Characters that become several ones: the upper case of some, and the lower case of one. */
static const struct {
    int32_t code;
    const char *upper, *title;
} several[] = {
    {0xdf, "SS", "Ss"},
    {0x149, "\xca\xbcN", "\xca\xbcN"},
    {0x1f0, "J\xcc\x8c", "J\xcc\x8c"},
    {0xfb00, "FF", "Ff"},
    {0xfb01, "FI", "Fi"},
    {0xfb02, "FL", "Fl"},
    {0xfb03, "FFI", "Ffi"},
    {0xfb04, "FFL", "Ffl"},
    {0xfb05, "ST", "St"},
    {0xfb06, "ST", "St"},
};

enum { DOTTED_I = 0x130, SIGMA = 0x3a3, LAST_SIGMA = 0x3c2 };

static utf8proc_category_t category(int32_t code) {
    return utf8proc_category(hone_unicode_like(code));
}

static bool is_lower(int32_t code) {
    return category(code) == UTF8PROC_CATEGORY_LL || code == 0xaa || code == 0xba;
}

static bool is_upper(int32_t code) {
    return category(code) == UTF8PROC_CATEGORY_LU;
}

static bool is_cased(int32_t code) {
    return is_lower(code) || is_upper(code) || category(code) == UTF8PROC_CATEGORY_LT;
}

static size_t put_several(char out[8], const char *text) {
    size_t length = 0;
    for (; text[length]; length++) out[length] = text[length];
    return length;
}

static size_t to_upper(char out[8], int32_t code, bool title) {
    for (size_t i = 0; code >= 0xdf && i < sizeof several / sizeof *several; i++) {
        if (several[i].code == code)
            return put_several(out, title ? several[i].title : several[i].upper);
    }
    return hone_utf8_put(out, title ? utf8proc_totitle(code) : utf8proc_toupper(code));
}

/* Whether the sigma at begin <= i < end of the text is the last letter of a word. */
static bool ends_word(const hone_jstr *text, size_t begin, size_t end) {
    int32_t before = 0, after = 0;
    size_t at = begin;
    while (at > 0 && ((unsigned char)text->data[--at] & 0xc0) == 0x80) continue;
    if (begin > 0) hone_utf8_next(&before, text->data + at, begin - at);
    if (end < text->length) hone_utf8_next(&after, text->data + end, text->length - end);
    return begin > 0 && is_cased(before) && !(end < text->length && is_cased(after));
}

static size_t to_lower(char out[8], int32_t code, const hone_jstr *text, size_t begin, size_t end) {
    if (code == DOTTED_I) return put_several(out, "i\xcc\x87");
    if (code == SIGMA && ends_word(text, begin, end)) return hone_utf8_put(out, LAST_SIGMA);
    return hone_utf8_put(out, utf8proc_tolower(code));
}

static size_t change(char out[8], int32_t code, const hone_jstr *text, size_t begin, size_t end,
                     hone_jcase to, bool first) {
    if (to == HONE_J_SWAP) to = is_upper(code) ? HONE_J_LOWER : HONE_J_UPPER;
    if (to == HONE_J_UPPER) return to_upper(out, code, false);
    bool title = (to == HONE_J_TITLE || to == HONE_J_CAPITALIZE) && first;
    if (title) return to_upper(out, code, true);
    if (to == HONE_J_FOLD && code == 0xdf) return put_several(out, "ss");
    return to_lower(out, code, text, begin, end);
}

hone_status hone_j_put_case(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text, size_t begin,
                            size_t end, hone_jcase to) {
    bool first = true;
    for (size_t at = begin; at < end;) {
        int32_t code;
        char changed[8];
        size_t bytes = hone_utf8_next(&code, text->data + at, end - at);
        size_t length = change(changed, code, text, at, at + bytes, to, first);
        HONE_TRY(hone_j_put_for(out, vm, text, at, changed, length));
        first = to == HONE_J_TITLE && !is_cased(code);
        at += bytes;
    }
    return HONE_OK;
}

hone_status hone_j_change_case(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                               hone_jcase to) {
    hone_jbuilder builder = {0};
    HONE_TRY(hone_j_put_case(&builder, vm, text, 0, text->length, to));
    HONE_TRY(hone_j_built(out, vm, &builder));
    out->as.string->safe = text->safe;
    return HONE_OK;
}

bool hone_j_is_case(const hone_jstr *text, hone_jcase which) {
    bool cased = false;
    for (size_t at = 0; at < text->length;) {
        int32_t code;
        at += hone_utf8_next(&code, text->data + at, text->length - at);
        bool right = which == HONE_J_LOWER ? is_lower(code) : is_upper(code);
        if (is_cased(code) && !right) return false;
        cased |= right;
    }
    return cased;
}

bool hone_j_all(const hone_jstr *text, bool (*is)(int32_t code)) {
    for (size_t at = 0; at < text->length;) {
        int32_t code;
        at += hone_utf8_next(&code, text->data + at, text->length - at);
        if (!is(code)) return false;
    }
    return text->length > 0;
}

hone_status hone_j_ignore_case(hone_jvalue *out, hone_jvm *vm, hone_jvalue value) {
    *out = value;
    return value.kind == HONE_J_STRING ? hone_j_change_case(out, vm, value.as.string, HONE_J_LOWER)
                                       : HONE_OK;
}
