/*
 * The whole normalisation of a SentencePiece model in one step, as sentencepiece does it and as llama.cpp does it for
 * Unigram models. Both take the longest replacement, leave protected texts alone, and squeeze spaces.
 */
#include <string.h>

#include "text/steps.h"
#include "text/utf8.h"

/* What the next bytes of the text become. */
typedef struct part {
    const char *text;
    size_t length;
    size_t used; /* bytes of the input */
} part;

static part next_part(const hone_step *step, const hone_work *work, size_t at, size_t end) {
    const char *text = work->data + at;
    size_t used = hone_trie_longest(&step->protected, text, end - at);
    if (used > 0) return (part){text, used, used};
    part found = {0};
    if (step->charsmap) {
        found.used =
            hone_charsmap_find(&found.text, &found.length, step->charsmap, text, end - at, true);
    }
    if (found.used > 0) return found;
    size_t bytes = hone_utf8_length(text[0]);
    return (part){text, bytes, bytes};
}

static hone_status put_space(const hone_step *step, hone_work *work, hone_span origin) {
    return hone_work_put(work, step->text, step->text_length, origin);
}

static hone_status put_part(const hone_step *step, hone_work *work, part p, hone_span origin) {
    for (size_t done = 0; done < p.length;) {
        const char *space = memchr(p.text + done, ' ', p.length - done);
        size_t at = space ? (size_t)(space - p.text) : p.length;
        HONE_TRY(hone_work_put(work, p.text + done, at - done, origin));
        if (space) HONE_TRY(put_space(step, work, origin));
        done = at + 1;
    }
    return HONE_OK;
}

/* Takes back spaces at the end of what was written since `start`. */
static void drop_spaces(const hone_step *step, hone_work *work, size_t start) {
    hone_buf *text = &work->sides[work->side].text;
    size_t length = step->text_length;
    while (text->length >= start + length &&
           memcmp(text->data + text->length - length, step->text, length) == 0) {
        text->length -= length;
    }
}

static hone_status put_sentencepiece(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                     size_t begin, size_t end) {
    (void)matcher;
    size_t start = hone_work_written(work);
    while (step->left && begin < end) {
        part p = next_part(step, work, begin, end);
        if (p.length != 1 || p.text[0] != ' ') break;
        begin += p.used;
    }
    if (begin == end) return HONE_OK;
    hone_span front = hone_work_origin(work, begin, begin);
    if (step->prefix == HONE_PREFIX_ALWAYS) HONE_TRY(put_space(step, work, front));
    bool after_space = step->left;
    while (begin < end) {
        part p = next_part(step, work, begin, end);
        hone_span origin = hone_work_origin(work, begin, begin + p.used);
        begin += p.used;
        while (after_space && p.length > 0 && p.text[0] == ' ') {
            p.text++;
            p.length--;
        }
        if (p.length > 0) after_space = step->left && p.text[p.length - 1] == ' ';
        HONE_TRY(put_part(step, work, p, origin));
    }
    if (step->left) drop_spaces(step, work, start);
    return HONE_OK;
}

hone_status hone_normalize_sentencepiece(const hone_step *step, hone_work *work,
                                         hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_sentencepiece);
}

/* --- llama.cpp --- */

typedef struct spaces {
    bool prepended, inside; /* whether a space stands in front; whether the last byte was none */
} spaces;

static hone_status put_gguf_part(const hone_step *step, hone_work *work, part p, hone_span origin,
                                 spaces *s) {
    bool prefix = step->prefix == HONE_PREFIX_ALWAYS, merge = step->left;
    for (size_t i = 0; i < p.length; i++) {
        if (p.text[i] == ' ') {
            s->inside = false;
            if (!merge) HONE_TRY(put_space(step, work, origin));
            continue;
        }
        if (!s->inside && ((prefix && !s->prepended) || merge)) {
            HONE_TRY(put_space(step, work, (hone_span){origin.begin, origin.begin}));
            s->prepended = true;
        }
        s->inside = true;
        HONE_TRY(hone_work_put(work, p.text + i, 1, origin));
    }
    return HONE_OK;
}

static hone_status put_unigram_gguf(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                    size_t begin, size_t end) {
    (void)matcher;
    spaces s = {0};
    while (begin < end) {
        part p = next_part(step, work, begin, end);
        hone_span origin = hone_work_origin(work, begin, begin + p.used);
        HONE_TRY(put_gguf_part(step, work, p, origin, &s));
        begin += p.used;
    }
    return HONE_OK;
}

hone_status hone_normalize_unigram_gguf(const hone_step *step, hone_work *work,
                                        hone_matcher *matcher) {
    return hone_steps_rewrite(step, work, matcher, put_unigram_gguf);
}
