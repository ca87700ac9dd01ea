#include <string.h>
#include <utf8proc.h>

#include "text/steps.h"
#include "text/unicode_library.h"
#include "text/unicode_recent.h"
#include "text/utf8.h"

/* --- Splits --- */

/* Stretches of one piece as they are found, matches and the text between, and the pieces that come of them. */
typedef struct splitter {
    hone_pieces *out;
    hone_split split;
    size_t first; /* pieces in `out` before this piece */
    bool after;   /* the last stretch was a match */
    bool held;    /* a match waits for what follows it (MERGED_WITH_NEXT) */
    size_t held_begin, held_end;
} splitter;

static bool extend_last(splitter *s, size_t end) {
    if (s->out->count == s->first) return false;
    s->out->items[s->out->count - 1].end = end;
    return true;
}

/* Matches may be empty; what another stretch is merged with may be such a one. */
static hone_status add_any(splitter *s, size_t begin, size_t end) {
    if (begin < end) return hone_pieces_add(s->out, begin, end, -1);
    if (s->out->count == s->out->capacity) HONE_TRY(hone_pieces_grow(s->out));
    s->out->items[s->out->count++] = (hone_piece){begin, end, -1};
    return HONE_OK;
}

static void drop_empty(splitter *s) {
    size_t kept = s->first;
    for (size_t i = s->first; i < s->out->count; i++) {
        hone_piece piece = s->out->items[i];
        if (piece.begin < piece.end) s->out->items[kept++] = piece;
    }
    s->out->count = kept;
}

static hone_status flush_held(splitter *s) {
    if (!s->held) return HONE_OK;
    s->held = false;
    return add_any(s, s->held_begin, s->held_end);
}

static hone_status merge_with_next(splitter *s, size_t begin, size_t end, bool match) {
    if (match) {
        HONE_TRY(flush_held(s));
        s->held = true;
        s->held_begin = begin;
        s->held_end = end;
        return HONE_OK;
    }
    if (s->held) begin = s->held_begin;
    s->held = false;
    return add_any(s, begin, end);
}

static hone_status add_stretch(splitter *s, size_t begin, size_t end, bool match) {
    bool after = s->after;
    s->after = match;
    switch (s->split) {
    case HONE_SPLIT_REMOVED:
        if (match) return HONE_OK;
        break;
    case HONE_SPLIT_MERGED_WITH_NEXT:
        return merge_with_next(s, begin, end, match);
    case HONE_SPLIT_MERGED_WITH_PREVIOUS:
        if (match && !after && extend_last(s, end)) return HONE_OK;
        break;
    case HONE_SPLIT_CONTIGUOUS:
        if (match == after && extend_last(s, end)) return HONE_OK;
        break;
    default:
        break;
    }
    return add_any(s, begin, end);
}

/* `view` is the work text as regular expressions see it. */
static hone_status split_piece(const hone_step *step, hone_split split, hone_work *work,
                               const char *view, hone_matcher *matcher, hone_piece piece) {
    splitter s = {.out = &work->spare, .split = split, .first = work->spare.count};
    hone_matches matches = {view + piece.begin, piece.end - piece.begin, 0, SIZE_MAX};
    size_t done = piece.begin;
    for (;;) {
        size_t begin, end;
        HONE_TRY(hone_matches_next(&begin, &end, &matches, step->regex, matcher));
        if (begin == SIZE_MAX) break;
        begin += piece.begin;
        end += piece.begin;
        if (begin > done) HONE_TRY(add_stretch(&s, done, begin, step->invert));
        HONE_TRY(add_stretch(&s, begin, end, !step->invert));
        done = end;
    }
    if (done < piece.end) HONE_TRY(add_stretch(&s, done, piece.end, step->invert));
    HONE_TRY(flush_held(&s));
    drop_empty(&s);
    return HONE_OK;
}

static hone_status split_pieces(const hone_step *step, hone_split split, hone_work *work,
                                hone_matcher *matcher) {
    const char *view = work->data;
    if (!step->as_is) {
        HONE_TRY(hone_unicode_view(&view, &work->view, work->data, work->length));
    }
    work->spare.count = 0;
    for (size_t i = 0; i < work->pieces.count; i++) {
        hone_piece piece = work->pieces.items[i];
        if (piece.id >= 0) {
            HONE_TRY(hone_pieces_add(&work->spare, piece.begin, piece.end, piece.id));
        } else {
            HONE_TRY(split_piece(step, split, work, view, matcher, piece));
        }
    }
    hone_work_take_spare(work);
    return HONE_OK;
}

hone_status hone_pretokenize_split(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    return split_pieces(step, step->split, work, matcher);
}

/* --- Byte level --- */

static hone_status put_space_in_front(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                      size_t begin, size_t end) {
    (void)step;
    (void)matcher;
    if (work->data[begin] != ' ') {
        HONE_TRY(hone_work_put(work, " ", 1, hone_work_origin(work, begin, begin)));
    }
    return hone_work_copy(work, begin, end);
}

hone_status hone_pretokenize_byte_level(const hone_step *step, hone_work *work,
                                        hone_matcher *matcher) {
    if (step->prefix == HONE_PREFIX_ALWAYS) {
        HONE_TRY(hone_steps_rewrite(step, work, matcher, put_space_in_front));
    }
    if (step->regex) HONE_TRY(split_pieces(step, HONE_SPLIT_ISOLATED, work, matcher));
    if (!step->spells_bytes) return HONE_OK;
    return hone_normalize_byte_level(step, work, matcher);
}

/* --- Metaspace --- */

static bool starts_with_text(const hone_step *step, const hone_work *work, size_t begin,
                             size_t end) {
    if (work->data[begin] == ' ') return true; /* about to become it */
    return end - begin >= step->text_length &&
           memcmp(work->data + begin, step->text, step->text_length) == 0;
}

static hone_status put_metaspace(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                 size_t begin, size_t end) {
    (void)matcher;
    hone_span front = hone_work_origin(work, begin, begin);
    bool wanted = step->prefix == HONE_PREFIX_ALWAYS ||
                  (step->prefix == HONE_PREFIX_FIRST && front.begin == 0);
    if (wanted && !starts_with_text(step, work, begin, end)) {
        HONE_TRY(hone_work_put(work, step->text, step->text_length, front));
    }
    for (size_t done = begin; done < end;) {
        const char *space = memchr(work->data + done, ' ', end - done);
        size_t at = space ? (size_t)(space - work->data) : end;
        HONE_TRY(hone_work_copy(work, done, at));
        if (at == end) break;
        HONE_TRY(
            hone_work_put(work, step->text, step->text_length, hone_work_origin(work, at, at + 1)));
        done = at + 1;
    }
    return HONE_OK;
}

hone_status hone_pretokenize_metaspace(const hone_step *step, hone_work *work,
                                       hone_matcher *matcher) {
    HONE_TRY(hone_steps_rewrite(step, work, matcher, put_metaspace));
    if (!step->regex) return HONE_OK;
    return split_pieces(step, HONE_SPLIT_MERGED_WITH_NEXT, work, matcher);
}

/* --- Lengths and scripts --- */

static hone_status cut_to_length(hone_pieces *out, const hone_step *step, const hone_work *work,
                                 hone_piece piece) {
    size_t begin = piece.begin, count = 0;
    for (size_t at = piece.begin; at < piece.end;) {
        at += hone_utf8_length(work->data[at]);
        if (++count < step->count && at < piece.end) continue;
        HONE_TRY(hone_pieces_add(out, begin, at, -1));
        begin = at;
        count = 0;
    }
    return HONE_OK;
}

/* What stands before the first character of a script is dropped, as the library does it. */
static hone_status cut_at_scripts(hone_pieces *out, const hone_step *step, const hone_work *work,
                                  hone_piece piece) {
    (void)step;
    size_t begin = piece.end;
    int32_t last = 0;
    for (size_t at = piece.begin; at < piece.end;) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, work->data + at, piece.end - at);
        int32_t script = hone_unicode_script(code);
        if (script != 0 && script != last) {
            if (last != 0) HONE_TRY(hone_pieces_add(out, begin, at, -1));
            begin = at;
            last = script;
        }
        at += bytes;
    }
    return hone_pieces_add(out, begin, piece.end, -1);
}

static bool is_number(int32_t code, bool ascii) {
    if (code < 0x80 || ascii) return code >= '0' && code <= '9';
    utf8proc_category_t category = utf8proc_category(hone_unicode_like(code));
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

/* The end of the number at `at`, and how many digits it has. */
static size_t number_end(size_t *digits, const hone_work *work, size_t at, size_t end, bool ascii) {
    for (*digits = 0; at < end; (*digits)++) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, work->data + at, end - at);
        if (!is_number(code, ascii)) break;
        at += bytes;
    }
    return at;
}

static hone_status cut_to_thousands(hone_pieces *out, const hone_step *step, const hone_work *work,
                                    hone_piece piece) {
    size_t begin = piece.begin;
    for (size_t at = piece.begin; at < piece.end;) {
        size_t digits, end = number_end(&digits, work, at, piece.end, step->as_is);
        if (digits == 0) at += hone_utf8_length(work->data[at]);
        for (size_t first = at; at < end; digits--) {
            if (digits % 3 == 0 && (at > first || step->as_is)) {
                HONE_TRY(hone_pieces_add(out, begin, at, -1));
                begin = at;
            }
            at += hone_utf8_length(work->data[at]);
            if (at < end || step->as_is) continue;
            HONE_TRY(hone_pieces_add(out, begin, at, -1));
            begin = at;
        }
    }
    return hone_pieces_add(out, begin, piece.end, -1);
}

typedef hone_status (*cutter)(hone_pieces *out, const hone_step *step, const hone_work *work,
                              hone_piece piece);

static hone_status cut_pieces(const hone_step *step, hone_work *work, cutter cut) {
    work->spare.count = 0;
    for (size_t i = 0; i < work->pieces.count; i++) {
        hone_piece piece = work->pieces.items[i];
        HONE_TRY(piece.id >= 0 ? hone_pieces_add(&work->spare, piece.begin, piece.end, piece.id)
                               : cut(&work->spare, step, work, piece));
    }
    hone_work_take_spare(work);
    return HONE_OK;
}

hone_status hone_pretokenize_fixed(const hone_step *step, hone_work *work, hone_matcher *matcher) {
    (void)matcher;
    return cut_pieces(step, work, cut_to_length);
}

hone_status hone_pretokenize_thousands(const hone_step *step, hone_work *work,
                                       hone_matcher *matcher) {
    (void)matcher;
    return cut_pieces(step, work, cut_to_thousands);
}

hone_status hone_pretokenize_scripts(const hone_step *step, hone_work *work,
                                     hone_matcher *matcher) {
    (void)matcher;
    return cut_pieces(step, work, cut_at_scripts);
}
