/*
 * Unigram model: of all ways to write a text as tokens the one with the best sum of scores (Viterbi). What no token
 * covers is unknown, with a score 10 below the worst. Among equal sums the way found first, left to right and shorter
 * tokens first, stays.
 *
 * Source: Kudo, "Subword Regularization", ACL 2018; the rounding as in the libraries: sums in double (tokenizers,
 * llama.cpp) or in float (sentencepiece).
 */
#ifndef HONE_TEXT_UNIGRAM_H
#define HONE_TEXT_UNIGRAM_H

#include <stdbool.h>

#include "text/bpe.h"
#include "text/trie.h"

typedef struct hone_unigram {
    const hone_vocab *vocab; /* borrowed */
    double *scores;          /* [count], owned */
    size_t count;
    hone_trie trie;       /* tokens that may be found, by id */
    double unknown_score; /* of one character */
    int32_t unknown;      /* -1: such a text is an error */
    bool single;          /* sums are floats */
    bool byte_fallback;   /* an unknown becomes the tokens of its bytes */
    int32_t byte_token[256];
} hone_unigram;

/* The best way to reach a place in the text. */
typedef struct hone_unigram_node {
    double score;
    int32_t id;
    uint32_t begin; /* UINT32_MAX: not reached */
} hone_unigram_node;

typedef struct hone_unigram_scratch {
    hone_unigram_node *nodes; /* owned */
    size_t capacity;
} hone_unigram_scratch;

void hone_unigram_free(hone_unigram *unigram);

/* After vocabulary and flags are set: the table of bytes. */
void hone_unigram_finish(hone_unigram *unigram);

/* Gives back the memory of a long piece. */
void hone_unigram_trim(hone_unigram_scratch *scratch);

/* Appends the tokens of text[begin..end), valid UTF-8, to out->tokens. */
HONE_MUST_USE hone_status hone_unigram_encode(const hone_unigram *unigram,
                                              hone_unigram_scratch *scratch, hone_bpe_scratch *out,
                                              const char *text, size_t begin, size_t end);

#endif
