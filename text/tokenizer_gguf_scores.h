/*
 * Between the merges of a tokenizer.json and SentencePiece's scores: of two ways to write the same order.
 */
#ifndef HONE_TEXT_TOKENIZER_GGUF_SCORES_H
#define HONE_TEXT_TOKENIZER_GGUF_SCORES_H

#include <string.h>

#include "formats/json.h"
#include "text/vocab.h"

/* Whether a token of a vocabulary with byte fallback is a byte: "<0x0A>". */
static inline bool hone_spells_byte(const char *text, size_t length) {
    return length == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>';
}

/* scores[id], id < count: 0 for what is no normal token, or a byte; else falling in the order in which the merges make the tokens,
 * then by id. HONE_ERR_UNSUPPORTED when the merges are not those that scores would give: all splits of a token into two
 * tokens, token after token. */
HONE_MUST_USE hone_status hone_scores_of_merges(float *scores, const hone_vocab *vocab,
                                                size_t count, const json_t *merges,
                                                const char *file);

/* The merges that scores[count] stand for; a new reference. HONE_ERR_UNSUPPORTED for tokens whose order the scores leave
 * open (runs of U+2581 alone may share a score). */
HONE_MUST_USE hone_status hone_merges_of_scores(json_t **out, const hone_vocab *vocab, size_t count,
                                                const float *scores, const char *file);

/* The two tokens of a merge, [left, right] or "left right"; false when it is neither. */
typedef struct hone_merge_text {
    const char *left, *right;
    size_t left_length, right_length;
} hone_merge_text;
bool hone_merge_read(hone_merge_text *out, const json_t *merge);

#endif
