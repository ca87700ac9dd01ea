#include "text/score_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

hone_status hone_tokenizer_intern(int32_t *id, hone_tokenizer *tokenizer, const char *text,
                                  size_t length) {
    *id = hone_vocab_find(&tokenizer->vocab, text, length);
    if (*id >= 0) return HONE_OK;
    if (tokenizer->vocab.count >= INT32_MAX) {
        return hone_fail(HONE_ERR_FORMAT, "%s: the tokenizer has too many symbols",
                         tokenizer->path);
    }
    *id = (int32_t)tokenizer->vocab.count;
    return hone_vocab_put(&tokenizer->vocab, *id, text, length, HONE_TOKEN_NORMAL);
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *left, const void *right) {
    const scored *a = left;
    const scored *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Code points of tokens that are no tokens themselves can still be the start of one. */
static hone_status intern_characters(hone_tokenizer *tokenizer) {
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const hone_token *token = hone_vocab_at(&tokenizer->vocab, id);
        size_t length = token->length;
        size_t offset = token->offset;
        for (size_t at = 0; at < length;) {
            char character[4];
            int32_t code, symbol;
            const char *text = tokenizer->vocab.pool.data + offset + at;
            size_t bytes = hone_utf8_next(&code, text, length - at);
            at += bytes;
            if (code < 0) continue;
            memcpy(character, text, bytes); /* the pool may move */
            HONE_TRY(hone_tokenizer_intern(&symbol, tokenizer, character, bytes));
        }
    }
    return HONE_OK;
}

/* All ways to make a token of two symbols. */
static hone_status add_splits(hone_tokenizer *tokenizer, int32_t id, uint32_t rank) {
    const hone_vocab *vocab = &tokenizer->vocab;
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    if (hone_utf8_valid(text, token->length) < token->length) return HONE_OK;
    for (size_t at = hone_utf8_length(text[0]); at < token->length;
         at += hone_utf8_length(text[at])) {
        int32_t left = hone_vocab_find(vocab, text, at);
        int32_t right = left < 0 ? -1 : hone_vocab_find(vocab, text + at, token->length - at);
        if (right < 0) continue;
        HONE_TRY(hone_bpe_add(&tokenizer->bpe, left, right, rank, id, true));
    }
    return HONE_OK;
}

/* Pairs in order of the score of what they make; equal scores share a rank, so that the leftmost wins. */
static hone_status add_scored_pairs(hone_tokenizer *tokenizer, scored *tokens, size_t count) {
    qsort(tokens, count, sizeof *tokens, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && tokens[i].score != tokens[i - 1].score) rank++;
        const hone_token *token = hone_vocab_at(&tokenizer->vocab, tokens[i].id);
        const char *text = hone_vocab_text(&tokenizer->vocab, token);
        /* of tokens with one text the last counts */
        if (hone_vocab_find(&tokenizer->vocab, text, token->length) != tokens[i].id) continue;
        HONE_TRY(add_splits(tokenizer, tokens[i].id, rank));
    }
    return HONE_OK;
}

hone_status hone_tokenizer_score_pairs(hone_tokenizer *tokenizer, const float *scores,
                                       const char *where) {
    size_t count = (size_t)tokenizer->size;
    HONE_TRY(intern_characters(tokenizer));
    scored *tokens = hone_alloc(count, sizeof *tokens);
    if (!tokens) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        tokens[i] = (scored){scores[i], (int32_t)i};
        if (!isnan(scores[i])) continue;
        status = hone_fail(HONE_ERR_FORMAT, "%s: %s[%zu] is NaN; the file is corrupt",
                           tokenizer->path, where, i);
    }
    if (status == HONE_OK) status = add_scored_pairs(tokenizer, tokens, count);
    hone_free(tokens);
    return status;
}

hone_status hone_tokenizer_id_pairs(hone_tokenizer *tokenizer) {
    uint32_t rank = 0;
    const hone_vocab *vocab = &tokenizer->vocab;
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const hone_token *token = hone_vocab_at(vocab, id);
        if (!token) continue;
        const char *text = hone_vocab_text(vocab, token);
        for (size_t at = hone_utf8_length(text[0]); at < token->length;
             at += hone_utf8_length(text[at])) {
            int32_t left = hone_vocab_find(vocab, text, at);
            int32_t right = left < 0 ? -1 : hone_vocab_find(vocab, text + at, token->length - at);
            if (right < 0) continue;
            HONE_TRY(hone_bpe_add(&tokenizer->bpe, left, right, rank++, id, false));
        }
    }
    return HONE_OK;
}
