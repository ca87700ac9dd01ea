/*
 * Byte pair encoding of one piece of text.
 *
 *     start with one symbol per byte or code point; while some neighbours are a pair of the table, join the pair of
 *     the lowest rank, leftmost among equals; the ids of the symbols that remain are the tokens
 *
 * Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016; the variants as in
 * the tokenizers and sentencepiece libraries and llama.cpp.
 */
#ifndef HONE_TEXT_BPE_H
#define HONE_TEXT_BPE_H

#include <stdbool.h>

#include "text/vocab.h"

/* What a pair of neighbours joins to. */
typedef struct hone_bpe_pair {
    int32_t left, right; /* left -1: a free slot */
    uint32_t rank;
    int32_t joined;
} hone_bpe_pair;

typedef struct hone_bpe {
    const hone_vocab
        *vocab; /* borrowed; may hold ids above token_count that are only steps to tokens */
    hone_bpe_pair *pairs; /* open addressing, a power of two, owned */
    size_t pair_slots, pair_count;
    int32_t token_count; /* ids below are tokens, those above only symbols */

    bool bytes; /* symbols are bytes of the text, tokens written in the byte-level alphabet */
    bool ignore_merges;  /* a piece that is a token is that token */
    bool whole_newlines; /* so is a piece of line ends */
    bool byte_fallback;  /* what is no token becomes the tokens of its bytes ... */
    bool
        fallback_last; /* ... after merging (sentencepiece, llama.cpp) rather than before it (tokenizers) */
    bool fuse_unknown; /* neighbouring unknowns are one */
    int32_t unknown;   /* token for what has none, or -1: dropped */

    int32_t byte_symbol
        [256]; /* of a byte as a symbol (of a code point below 128 unless `bytes`), or -1 */
    int32_t byte_token[256]; /* the fallback token of a byte, or -1 */
    char
        *prefix; /* of every symbol but the first (continuing_subword_prefix); owned, may be NULL */
    char *suffix;        /* of the last symbol (end_of_word_suffix); owned, may be NULL */
    bool cuts_at_marker; /* no pair joins a U+2581 to something other before it */
    size_t longest;      /* bytes of the longest token's text */
} hone_bpe;

/* A token and the bytes of the text it came from. */
typedef struct hone_bpe_token {
    int32_t id;
    uint32_t begin, end;
} hone_bpe_token;

/* A symbol on the way; `rank` and `joined` are of the pair with its right neighbour. */
typedef struct hone_bpe_symbol {
    int32_t id; /* -1: no symbol of the vocabulary */
    uint32_t begin, end;
    uint32_t rank;
    int32_t joined;
    uint32_t previous, next;
} hone_bpe_symbol;

enum {
    HONE_BPE_KEY = 32, /* pieces shorter than this many bytes are remembered */
    HONE_BPE_KNOWN = 8192,
};

typedef struct hone_bpe_known {
    char key[HONE_BPE_KEY]; /* the piece, zero-padded; its length in the last byte */
    uint64_t first;         /* its tokens in `tokens` */
    uint32_t count;
    uint32_t begin; /* of the piece when they were made */
} hone_bpe_known;

/* What encoding needs beside the table; tokens gather at the end of `tokens`, those of remembered pieces stay. One
 * scratch serves one tokenizer. */
typedef struct hone_bpe_scratch {
    hone_bpe_token *tokens; /* owned */
    size_t count, capacity;
    hone_bpe_symbol *symbols;
    size_t symbol_capacity;
    uint64_t *heap; /* rank << 32 | position of the left symbol */
    size_t heap_count, heap_capacity;
    hone_bpe_known *known; /* direct-mapped; [HONE_BPE_KNOWN] */
    hone_buf spelling;     /* of a piece in the byte-level alphabet */
} hone_bpe_scratch;

void hone_bpe_free(hone_bpe *bpe);

/* Makes room for `count` pairs in all. */
HONE_MUST_USE hone_status hone_bpe_reserve(hone_bpe *bpe, size_t count);

/* Adds a pair; of a repeated one the `last` or else the first counts. */
HONE_MUST_USE hone_status hone_bpe_add(hone_bpe *bpe, int32_t left, int32_t right, uint32_t rank,
                                       int32_t joined, bool last);

/* After vocabulary, pairs and flags are set: byte tables and cuts_at_marker. */
void hone_bpe_finish(hone_bpe *bpe);

/* Before each text: a zeroed scratch is made ready, one that has grown large forgets its tokens. */
HONE_MUST_USE hone_status hone_bpe_scratch_begin(hone_bpe_scratch *scratch);
void hone_bpe_scratch_free(hone_bpe_scratch *scratch);

/* Appends a token; end fits in 32 bits. */
HONE_MUST_USE hone_status hone_bpe_put(hone_bpe_scratch *scratch, int32_t id, uint32_t begin,
                                       uint32_t end);

/* Appends the tokens of text[begin..end) once more when they are remembered: *known. */
HONE_MUST_USE hone_status hone_bpe_recall(bool *known, hone_bpe_scratch *scratch, const char *text,
                                          size_t begin, size_t end);

/* Remembers a short piece: its tokens are those from `first` on. */
void hone_bpe_remember(hone_bpe_scratch *scratch, const char *text, size_t begin, size_t end,
                       size_t first);

/* Appends the tokens of text[begin..end), valid UTF-8 unless `bytes`, to scratch->tokens. end fits in 32 bits. */
HONE_MUST_USE hone_status hone_bpe_encode(const hone_bpe *bpe, hone_bpe_scratch *scratch,
                                          const char *text, size_t begin, size_t end);

/* --- Shared by bpe.c and bpe_merge.c --- */

/* The pair of two symbols, or NULL. */
const hone_bpe_pair *hone_bpe_find(const hone_bpe *bpe, int32_t left, int32_t right);

/* Joins pairs among `count` symbols until none is left; the symbols that remain stand first in order. */
HONE_MUST_USE hone_status hone_bpe_merge(const hone_bpe *bpe, hone_bpe_scratch *scratch,
                                         size_t *count);

#endif
