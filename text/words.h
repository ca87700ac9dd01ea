/*
 * Models without merges: WordPiece (greedy longest match, left to right; Wu et al., arXiv 1609.08144) and WordLevel
 * (a piece is a token or unknown), as in the tokenizers library.
 */
#ifndef HONE_TEXT_WORDS_H
#define HONE_TEXT_WORDS_H

#include "text/bpe.h"

typedef struct hone_words {
    const hone_vocab *vocab; /* borrowed */
    bool whole;              /* WordLevel */
    int32_t unknown;         /* -1: such a piece is an error */
    char *prefix;            /* of what continues a word; owned */
    size_t prefix_length;
    size_t most;    /* characters; a longer word is unknown */
    size_t longest; /* bytes of the longest token */
} hone_words;

void hone_words_free(hone_words *words);

/* Appends the tokens of text[begin..end), valid UTF-8, to out->tokens. */
HONE_MUST_USE hone_status hone_words_encode(const hone_words *words, hone_bpe_scratch *out,
                                            const char *text, size_t begin, size_t end);

#endif
