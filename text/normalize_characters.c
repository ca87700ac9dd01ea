/*
 * Normalisers that look at one character, or at one grapheme, at a time.
 */
#include <utf8proc.h>

#include "text/byte_level.h"
#include "text/steps.h"
#include "text/unicode_library.h"
#include "text/utf8.h"

/* --- Maps --- */

static size_t kept(int32_t out[3], int32_t code) {
    out[0] = code;
    return 1;
}

size_t hone_map_lower(int32_t out[3], int32_t code) {
    return hone_unicode_lower(out, code);
}

size_t hone_map_strip_marks(int32_t out[3], int32_t code) {
    return hone_unicode_row_of(&hone_unicode_marks, code) ? 0 : kept(out, code);
}

size_t hone_map_strip_nonspacing(int32_t out[3], int32_t code) {
    return hone_unicode_row_of(&hone_unicode_nonspacing, code) ? 0 : kept(out, code);
}

size_t hone_map_clean(int32_t out[3], int32_t code) {
    if (hone_unicode_row_of(&hone_unicode_other, code)) return 0;
    return kept(out, hone_utf8_is_space(code) ? ' ' : code);
}

size_t hone_map_chinese(int32_t out[3], int32_t code) {
    /* Google's BERT, with the library's slip of the pen in the range of extension E */
    bool chinese = (code >= 0x4e00 && code <= 0x9fff) || (code >= 0x3400 && code <= 0x4dbf) ||
                   (code >= 0x20000 && code <= 0x2a6df) || (code >= 0x2a700 && code <= 0x2b81f) ||
                   (code >= 0x2b920 && code <= 0x2ceaf) || (code >= 0xf900 && code <= 0xfaff) ||
                   (code >= 0x2f800 && code <= 0x2fa1f);
    if (!chinese) return kept(out, code);
    out[0] = out[2] = ' ';
    out[1] = code;
    return 3;
}

size_t hone_map_nmt(int32_t out[3], int32_t code) {
    bool gone = (code >= 1 && code <= 8) || code == 0xb || (code >= 0xe && code <= 0x1f) ||
                code == 0x7f || code == 0x8f || code == 0x9f;
    if (gone) return 0;
    bool space = code == 9 || code == 0xa || code == 0xc || code == 0xd || code == 0x1680 ||
                 (code >= 0x200b && code <= 0x200f) || code == 0x2028 || code == 0x2029 ||
                 code == 0x2581 || code == 0xfeff || code == 0xfffd;
    return kept(out, space ? ' ' : code);
}

/* --- Steps --- */

static hone_status put_mapped(const hone_step *step, hone_work *work, hone_matcher *matcher,
                              size_t begin, size_t end) {
    (void)matcher;
    size_t done = begin;
    for (size_t at = begin; at < end;) {
        int32_t code, mapped[3];
        size_t bytes = hone_utf8_next(&code, work->data + at, end - at);
        size_t count = step->map(mapped, code);
        at += bytes;
        if (count == 1 && mapped[0] == code) continue;
        HONE_TRY(hone_work_copy(work, done, at - bytes));
        done = at;
        for (size_t i = 0; i < count; i++) {
            char text[4];
            size_t length = hone_utf8_put(text, mapped[i]);
            HONE_TRY(hone_work_put(work, text, length, hone_work_origin(work, at - bytes, at)));
        }
    }
    return hone_work_copy(work, done, end);
}

hone_status hone_normalize_characters(const hone_step *step, hone_work *work,
                                      hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_mapped);
}

static hone_status put_stripped(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                size_t begin, size_t end) {
    (void)matcher;
    int32_t code;
    while (step->left && begin < end) {
        size_t bytes = hone_utf8_next(&code, work->data + begin, end - begin);
        if (!hone_utf8_is_space(code)) break;
        begin += bytes;
    }
    while (step->right && begin < end) {
        size_t at = hone_utf8_before(&code, work->data, end);
        if (!hone_utf8_is_space(code)) break;
        end = at;
    }
    return hone_work_copy(work, begin, end);
}

hone_status hone_normalize_strip(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_stripped);
}

/* The end of the grapheme at `begin`. */
static size_t grapheme_end(const hone_work *work, size_t begin, size_t end) {
    int32_t code, next;
    utf8proc_int32_t state = 0;
    size_t at = begin + hone_utf8_next(&code, work->data + begin, end - begin);
    while (at < end) {
        size_t bytes = hone_utf8_next(&next, work->data + at, end - at);
        if (utf8proc_grapheme_break_stateful(code, next, &state)) break;
        code = next;
        at += bytes;
    }
    return at;
}

/* What a text of the table becomes, from `begin` to `end`; *found: there is an entry. Characters that vanish at the
 * start of a text count to the first one that stays: `from`. */
static hone_status put_looked_up(const hone_step *step, hone_work *work, size_t begin, size_t end,
                                 size_t *from, bool *found) {
    const char *with;
    size_t length;
    *found = hone_charsmap_find(&with, &length, step->charsmap, work->data + begin, end - begin,
                                false) > 0;
    if (!*found) return HONE_OK;
    hone_span origin = hone_work_origin(work, begin, end);
    if (*from < begin) origin.begin = hone_work_origin(work, *from, begin).begin;
    if (length > 0) *from = SIZE_MAX;
    return hone_work_put(work, with, length, origin);
}

static hone_status put_as_it_is(hone_work *work, size_t begin, size_t end, size_t *from) {
    if (*from >= begin) {
        *from = SIZE_MAX;
        return hone_work_copy(work, begin, end);
    }
    hone_span origin = hone_work_origin(work, *from, end);
    *from = SIZE_MAX;
    return hone_work_put(work, work->data + begin, end - begin, origin);
}

/* The library asks for short graphemes as a whole, and then for their characters; the shortest entry that a grapheme
 * starts with replaces all of it. */
static hone_status put_precompiled(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                   size_t begin, size_t end) {
    (void)matcher;
    enum { LONGEST_WHOLE = 5 };
    size_t from = begin; /* SIZE_MAX once something was written */
    while (begin < end) {
        size_t stop = grapheme_end(work, begin, end);
        bool found = false;
        if (stop - begin <= LONGEST_WHOLE) {
            HONE_TRY(put_looked_up(step, work, begin, stop, &from, &found));
        }
        while (!found && begin < stop) {
            bool one;
            size_t next = begin + hone_utf8_length(work->data[begin]);
            HONE_TRY(put_looked_up(step, work, begin, next, &from, &one));
            if (!one) HONE_TRY(put_as_it_is(work, begin, next, &from));
            begin = next;
        }
        begin = stop;
    }
    return HONE_OK;
}

hone_status hone_normalize_precompiled(const hone_step *step, hone_work *work,
                                       hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_precompiled);
}

static hone_status put_spelled(const hone_step *step, hone_work *work, hone_matcher *matcher,
                               size_t begin, size_t end) {
    (void)step;
    (void)matcher;
    for (size_t i = begin; i < end; i++) {
        char character[4];
        size_t bytes = hone_byte_level_put(character, (unsigned char)work->data[i]);
        HONE_TRY(hone_work_put(work, character, bytes, hone_work_origin(work, i, i + 1)));
    }
    return HONE_OK;
}

hone_status hone_normalize_byte_level(const hone_step *step, hone_work *work,
                                      hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_spelled);
}
