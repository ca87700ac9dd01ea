/*
 * SentencePiece's model files: one message of protocol buffers (sentencepiece_model.proto), of which these fields matter.
 *
 *     1 pieces {1 text, 2 score, 3 kind} | 2 trainer {3 model, 24 space at the end, 35 byte fallback}
 *     3 normalizer {2 table of replacements, 3 dummy prefix, 4 remove extra spaces, 5 escape spaces}
 */
#ifndef HONE_TEXT_SENTENCEPIECE_H
#define HONE_TEXT_SENTENCEPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "text/vocab.h"

typedef struct hone_sentencepiece_token {
    const char *text; /* borrowed */
    size_t length;
    float score;
    hone_token_kind kind; /* the numbers are GGUF's, which took them from here */
} hone_sentencepiece_token;

typedef struct hone_sentencepiece {
    hone_sentencepiece_token *tokens; /* [count], owned; by id */
    size_t count, capacity;
    bool bpe; /* else Unigram */
    bool byte_fallback;
    bool dummy_prefix, remove_extra_spaces, escape_spaces;
    const unsigned char *charsmap; /* borrowed; NULL: none */
    size_t charsmap_length;
} hone_sentencepiece;

/* Reads a file's bytes, of which *out borrows. HONE_ERR_FORMAT names the byte; models of words or characters, with
 * spaces at the end of words, or BPE with unused pieces are HONE_ERR_UNSUPPORTED. `file` stands in messages. */
HONE_MUST_USE hone_status hone_sentencepiece_read(hone_sentencepiece *out, const void *bytes,
                                                  size_t length, const char *file);
void hone_sentencepiece_free(hone_sentencepiece *model);

#endif
