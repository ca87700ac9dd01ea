#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "text/steps.h"
#include "text/unicode_recent.h"
#include "text/utf8.h"

static hone_status prepend(const hone_step *step, hone_work *work, hone_matcher *matcher,
                           size_t begin, size_t end) {
    (void)matcher;
    HONE_TRY(
        hone_work_put(work, step->text, step->text_length, hone_work_origin(work, begin, begin)));
    return hone_work_copy(work, begin, end);
}

hone_status hone_normalize_prepend(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, prepend);
}

/* `view` is the work text as regular expressions see it. */
static hone_status replace(const hone_step *step, hone_work *work, hone_matcher *matcher,
                           const char *view, hone_piece piece) {
    hone_matches matches = {view + piece.begin, piece.end - piece.begin, 0, SIZE_MAX};
    size_t done = piece.begin;
    for (;;) {
        size_t from, to;
        HONE_TRY(hone_matches_next(&from, &to, &matches, step->regex, matcher));
        if (from == SIZE_MAX) return hone_work_copy(work, done, piece.end);
        from += piece.begin;
        to += piece.begin;
        HONE_TRY(hone_work_copy(work, done, from));
        HONE_TRY(
            hone_work_put(work, step->text, step->text_length, hone_work_origin(work, from, to)));
        done = to;
    }
}

hone_status hone_normalize_replace(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    const char *view;
    size_t from, to;
    HONE_TRY(hone_unicode_view(&view, &work->view, work->data, work->length));
    HONE_TRY(hone_regex_find(&from, &to, step->regex, matcher, view, work->length, 0));
    if (from == SIZE_MAX) return HONE_OK;
    hone_work_rewrite(work);
    for (size_t i = 0; i < work->pieces.count;
         i++) { /* normalisers run before any token is cut out */
        size_t begin = hone_work_written(work);
        HONE_TRY(replace(step, work, matcher, view, work->pieces.items[i]));
        HONE_TRY(hone_pieces_add(&work->spare, begin, hone_work_written(work), -1));
    }
    hone_work_rewritten(work);
    return HONE_OK;
}

/* --- Unicode normal forms --- */

/* Characters of combining class 0 that compose with what stands before them. */
static bool joins_backwards(int32_t code) {
    static const int32_t joining[] = {
        0x09be,  0x09d7,  0x0b3e,  0x0b56,  0x0b57,  0x0bbe,  0x0bd7,  0x0cc2,
        0x0cd5,  0x0cd6,  0x0d3e,  0x0d57,  0x0dcf,  0x0ddf,  0x102e,  0x1b35,
        0x11127, 0x1133e, 0x11357, 0x114b0, 0x114ba, 0x114bd, 0x115af,
    };
    if ((code >= 0x1161 && code <= 0x1175) || (code >= 0x11a8 && code <= 0x11c2)) return true;
    for (size_t i = 0; i < sizeof joining / sizeof *joining; i++) {
        if (joining[i] == code) return true;
    }
    return false;
}

/* Characters that got their combining class or decomposition after Unicode 9, the version of the tokenizers library:
 * there they stay as they are and are no marks. (Found by comparing it with utf8proc for every character.) */
static bool is_later(int32_t code) {
    static const int32_t later[][2] = {
        {0x007fd, 0x007fd}, {0x00898, 0x0089f}, {0x008ca, 0x008d3}, {0x009fe, 0x009fe},
        {0x00c3c, 0x00c3c}, {0x00d3b, 0x00d3c}, {0x00eba, 0x00eba}, {0x01715, 0x01715},
        {0x01abf, 0x01ace}, {0x01df6, 0x01dfa}, {0x032ff, 0x032ff}, {0x0a7f2, 0x0a7f4},
        {0x0a82c, 0x0a82c}, {0x0ab69, 0x0ab69}, {0x10781, 0x10785}, {0x10787, 0x107b0},
        {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
        {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
        {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11938, 0x11938}, {0x1193d, 0x1193e},
        {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
        {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
        {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f},
        {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
        {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
    };
    size_t low = 0;
    for (size_t high = sizeof later / sizeof *later; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (code > later[middle][1]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof later / sizeof *later && code >= later[low][0];
}

/* Whether a text may be cut before `code`, so that both sides can be normalised alone. */
static bool starts_afresh(int32_t code, unsigned int form) {
    if (code < 0x300 || is_later(code)) return true;
    utf8proc_int32_t parts[32];
    int boundary;
    utf8proc_ssize_t count =
        utf8proc_decompose_char(code, parts, 32, (utf8proc_option_t)form, &boundary);
    int32_t first = count > 0 && count <= 32 ? parts[0] : code;
    return utf8proc_get_property(first)->combining_class == 0 && !joins_backwards(first);
}

/* No character below is changed by the form or joins what stands before it. */
static int32_t first_affected(unsigned int form) {
    if (form & UTF8PROC_COMPAT) return 0xa0;
    return form & UTF8PROC_COMPOSE ? 0x300 : 0xc0;
}

/* Normalises work text from `begin` to `end`, between two places where it may be cut. */
static hone_status put_form(const hone_step *step, hone_work *work, size_t begin, size_t end) {
    int32_t first;
    hone_utf8_next(&first, work->data + begin, end - begin);
    if (is_later(first)) return hone_work_copy(work, begin, end);
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)work->data + begin;
    utf8proc_ssize_t length = (utf8proc_ssize_t)(end - begin);
    utf8proc_option_t form = (utf8proc_option_t)step->form;
    utf8proc_int32_t few[64];
    utf8proc_int32_t *codes = few;
    utf8proc_ssize_t count = utf8proc_decompose(text, length, codes, 63, form);
    if (count > 63) {
        codes = hone_alloc((size_t)count + 1, sizeof *codes);
        if (!codes) return HONE_ERR_MEMORY;
        count = utf8proc_decompose(text, length, codes, count, form);
    }
    hone_status status = HONE_OK;
    utf8proc_ssize_t bytes = count < 0 ? count : utf8proc_reencode(codes, count, form);
    if (bytes < 0) {
        status = hone_fail(HONE_ERR_DATA, "byte %zu of a text cannot be normalised: %s",
                           hone_work_origin(work, begin, end).begin, utf8proc_errmsg(bytes));
    } else if (bytes == length && memcmp(codes, text, (size_t)bytes) == 0) {
        status = hone_work_copy(work, begin, end);
    } else {
        status = hone_work_put(work, (const char *)codes, (size_t)bytes,
                               hone_work_origin(work, begin, end));
    }
    if (codes != few) hone_free(codes);
    return status;
}

/* The end of the run of characters at `at` that stay as they are. */
static size_t plain_until(const hone_step *step, const hone_work *work, size_t at, size_t end) {
    int32_t affected = first_affected(step->form);
    size_t last = at;
    while (at < end) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, work->data + at, end - at);
        if (code >= affected) return starts_afresh(code, step->form) ? at : last;
        last = at;
        at += bytes;
    }
    return end;
}

/* The next place after `at` where the text may be cut. */
static size_t next_cut(const hone_step *step, const hone_work *work, size_t at, size_t end) {
    int32_t first;
    at += hone_utf8_next(&first, work->data + at, end - at);
    while (at < end && !is_later(first)) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, work->data + at, end - at);
        if (starts_afresh(code, step->form)) return at;
        at += bytes;
    }
    return at;
}

static hone_status put_in_form(const hone_step *step, hone_work *work, hone_matcher *matcher,
                               size_t begin, size_t end) {
    (void)matcher;
    for (size_t at = begin; at < end;) {
        size_t plain = plain_until(step, work, at, end);
        HONE_TRY(hone_work_copy(work, at, plain));
        at = plain < end ? next_cut(step, work, plain, end) : end;
        if (plain < end) HONE_TRY(put_form(step, work, plain, at));
    }
    return HONE_OK;
}

hone_status hone_normalize_form(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    int32_t affected = first_affected(step->form);
    for (size_t at = 0; at < work->length;) {
        int32_t code;
        at += hone_utf8_next(&code, work->data + at, work->length - at);
        if (code >= affected) return hone_steps_rewrite(step, work, matcher, put_in_form);
    }
    return HONE_OK;
}
