/*
 * SentencePiece's BPE as a table of pairs: of all neighbours that make a token the one with the best score is joined.
 */
#ifndef HONE_TEXT_SCORE_PAIRS_H
#define HONE_TEXT_SCORE_PAIRS_H

#include "text/tokenizer_parts.h"

/* The id of a text: a token, or a symbol that is only a step to one, made at the end of the vocabulary. */
HONE_MUST_USE hone_status hone_tokenizer_intern(int32_t *id, hone_tokenizer *tokenizer,
                                                const char *text, size_t length);

/* All ways to make a token of two symbols, by scores[tokenizer->size]; equal scores share a rank. Characters of tokens
 * that are no tokens take part as symbols. NaN is HONE_ERR_FORMAT at `where`. */
HONE_MUST_USE hone_status hone_tokenizer_score_pairs(hone_tokenizer *tokenizer, const float *scores,
                                                     const char *where);

/* All ways to make a token of two tokens, in order of ids and then of the length of the left part: the merges that
 * transformers makes for such a vocabulary. */
HONE_MUST_USE hone_status hone_tokenizer_id_pairs(hone_tokenizer *tokenizer);

#endif
