#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "text/steps.h"
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

static hone_status replace(const hone_step *step, hone_work *work, hone_matcher *matcher,
                           size_t begin, size_t end) {
    hone_matches matches = {work->data + begin, end - begin, 0, SIZE_MAX};
    size_t done = 0;
    for (;;) {
        size_t from, to;
        HONE_TRY(hone_matches_next(&from, &to, &matches, step->regex, matcher));
        if (from == SIZE_MAX) return hone_work_copy(work, begin + done, end);
        HONE_TRY(hone_work_copy(work, begin + done, begin + from));
        HONE_TRY(hone_work_put(work, step->text, step->text_length,
                               hone_work_origin(work, begin + from, begin + to)));
        done = to;
    }
}

hone_status hone_normalize_replace(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    size_t from, to;
    HONE_TRY(hone_regex_find(&from, &to, step->regex, matcher, work->data, work->length, 0));
    if (from == SIZE_MAX) return HONE_OK;
    return hone_steps_rewrite(step, work, matcher, replace);
}

/* --- Unicode normal forms --- */

/* Characters of combining class 0 that compose with what stands before them. */
static bool joins_backwards(int32_t code) {
    static const int32_t joining[] = {
        0x09be,  0x09d7,  0x0b3e,  0x0b56,  0x0b57,  0x0bbe,  0x0bd7,  0x0cc2,
        0x0cd5,  0x0cd6,  0x0d3e,  0x0d57,  0x0dcf,  0x0ddf,  0x102e,  0x1b35,
        0x11127, 0x1133e, 0x11357, 0x114b0, 0x114ba, 0x114bd, 0x115af, 0x11930,
    };
    if ((code >= 0x1161 && code <= 0x1175) || (code >= 0x11a8 && code <= 0x11c2)) return true;
    for (size_t i = 0; i < sizeof joining / sizeof *joining; i++) {
        if (joining[i] == code) return true;
    }
    return false;
}

/* Whether a text may be cut before `code`, so that both sides can be normalised alone. */
static bool starts_afresh(int32_t code, unsigned int form) {
    if (code < 0x300) return true;
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
    at += hone_utf8_length(work->data[at]);
    while (at < end) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, work->data + at, end - at);
        if (starts_afresh(code, step->form)) return at;
        at += bytes;
    }
    return end;
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
