#include "text/steps.h"

#include "base/alloc.h"
#include "text/utf8.h"

hone_step *hone_steps_add(hone_steps *steps) {
    if (hone_grow(&steps->items, &steps->capacity, steps->count + 1, sizeof *steps->items)) {
        return NULL;
    }
    hone_step *step = &steps->items[steps->count++];
    *step = (hone_step){0};
    return step;
}

void hone_steps_free(hone_steps *steps) {
    for (size_t i = 0; i < steps->count; i++) {
        hone_regex_free(steps->items[i].regex);
        hone_free(steps->items[i].text);
        hone_charsmap_free(steps->items[i].charsmap);
        hone_trie_free(&steps->items[i].protected);
    }
    hone_free(steps->items);
    *steps = (hone_steps){0};
}

hone_status hone_steps_run(const hone_steps *steps, hone_work *work, hone_matcher *matcher) {
    for (size_t i = 0; i < steps->count; i++) {
        HONE_TRY(steps->items[i].run(&steps->items[i], work, matcher));
    }
    return HONE_OK;
}

hone_status hone_steps_rewrite(const hone_step *step, hone_work *work, hone_matcher *matcher,
                               hone_rewrite rewrite) {
    hone_work_rewrite(work);
    for (size_t i = 0; i < work->pieces.count; i++) {
        hone_piece piece = work->pieces.items[i];
        size_t begin = hone_work_written(work);
        if (piece.id >= 0) {
            HONE_TRY(hone_work_copy(work, piece.begin, piece.end));
        } else {
            HONE_TRY(rewrite(step, work, matcher, piece.begin, piece.end));
        }
        HONE_TRY(hone_pieces_add(&work->spare, begin, hone_work_written(work), piece.id));
    }
    hone_work_rewritten(work);
    return HONE_OK;
}

hone_status hone_matches_next(size_t *begin, size_t *end, hone_matches *matches,
                              const hone_regex *regex, hone_matcher *matcher) {
    while (matches->at <= matches->length) {
        HONE_TRY(hone_regex_find(begin, end, regex, matcher, matches->text, matches->length,
                                 matches->at));
        if (*begin == SIZE_MAX) {
            matches->at = matches->length + 1;
            return HONE_OK;
        }
        bool repeated = *begin == *end && *end == matches->last_end;
        matches->at = *end;
        if (*begin == *end) { /* an empty match: go on behind the next character */
            bool more = *end < matches->length;
            matches->at += more ? hone_utf8_length(matches->text[*end]) : 1;
        }
        if (repeated) continue;
        matches->last_end = *end;
        return HONE_OK;
    }
    *begin = *end = SIZE_MAX;
    return HONE_OK;
}
