/*
 * The tokens of a tokenizer by id and by text.
 */
#ifndef HONE_TEXT_VOCAB_H
#define HONE_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

/* GGUF's token types; tokenizer.json's added tokens are control when special and user otherwise. */
typedef enum hone_token_kind {
    HONE_TOKEN_ABSENT = 0, /* an id without a token */
    HONE_TOKEN_NORMAL = 1,
    HONE_TOKEN_UNKNOWN = 2,
    HONE_TOKEN_CONTROL = 3,
    HONE_TOKEN_USER = 4,
    HONE_TOKEN_UNUSED = 5,
    HONE_TOKEN_BYTE = 6,
} hone_token_kind;

typedef struct hone_token {
    size_t offset; /* of its text in the pool */
    uint32_t length;
    uint8_t kind; /* hone_token_kind */
    bool outside; /* not of the model: only added tokens and lookups by name know it */
} hone_token;

typedef struct hone_vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
} hone_vocab_slot;

typedef struct hone_vocab {
    hone_buf pool;
    hone_token *tokens; /* [count], owned; ABSENT where no token has the id */
    size_t count, capacity;
    hone_vocab_slot *slots; /* open addressing, a power of two, owned */
    size_t slot_count, used;
} hone_vocab;

void hone_vocab_free(hone_vocab *vocab);

/* Gives `id` >= 0 a text. A text may be given to several ids: the last one is found. */
HONE_MUST_USE hone_status hone_vocab_put(hone_vocab *vocab, int32_t id, const char *text,
                                         size_t length, hone_token_kind kind);

/* The id of a text, or -1. */
int32_t hone_vocab_find(const hone_vocab *vocab, const char *text, size_t length);

/* The same among the tokens of the model. */
int32_t hone_vocab_find_own(const hone_vocab *vocab, const char *text, size_t length);

/* NULL for an id without a token. */
const hone_token *hone_vocab_at(const hone_vocab *vocab, int32_t id);

/* The text of a token of this vocabulary; valid until the next put. */
const char *hone_vocab_text(const hone_vocab *vocab, const hone_token *token);

/* A fast hash of bytes; the same on every machine of one byte order. */
uint64_t hone_text_hash(const char *text, size_t length);

#endif
