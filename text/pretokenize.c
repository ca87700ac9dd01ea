#include <string.h>

#include "text/byte_level.h"
#include "text/steps.h"
#include "text/unicode_recent.h"

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

static hone_status flush_held(splitter *s) {
    if (!s->held) return HONE_OK;
    s->held = false;
    return hone_pieces_add(s->out, s->held_begin, s->held_end, -1);
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
    return hone_pieces_add(s->out, begin, end, -1);
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
    return hone_pieces_add(s->out, begin, end, -1);
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
    return flush_held(&s);
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

hone_status hone_pretokenize_byte_level(const hone_step *step, hone_work *work,
                                        hone_matcher *matcher) {
    if (step->prefix == HONE_PREFIX_ALWAYS) {
        HONE_TRY(hone_steps_rewrite(step, work, matcher, put_space_in_front));
    }
    if (step->regex) HONE_TRY(split_pieces(step, HONE_SPLIT_ISOLATED, work, matcher));
    if (!step->spells_bytes) return HONE_OK;
    return hone_steps_rewrite(step, work, matcher, put_spelled);
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
