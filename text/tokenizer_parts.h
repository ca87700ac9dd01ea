/*
 * What a tokenizer is made of; for the files of this module only.
 *
 *     text ── added tokens cut out ── normalisers ── normalised added tokens ── pre-tokenizers ── model ── ids
 */
#ifndef HONE_TEXT_TOKENIZER_PARTS_H
#define HONE_TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/steps.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/words.h"

typedef struct hone_ids {
    int32_t *items; /* owned */
    size_t count, capacity;
} hone_ids;

typedef enum hone_model { HONE_MODEL_BPE, HONE_MODEL_UNIGRAM, HONE_MODEL_WORDS } hone_model;

typedef struct hone_encode_scratch hone_encode_scratch;
enum { HONE_SPARE_SCRATCHES = 16 };

struct hone_tokenizer {
    char *path; /* of its file, for messages */
    hone_vocab vocab;
    hone_model model;
    hone_bpe bpe; /* of these three the one that `model` names */
    hone_unigram unigram;
    hone_words words;
    hone_steps normalizers, pretokenizers;
    hone_added raw, normalized; /* added tokens by where they are looked for */
    hone_ids prefix, suffix;    /* what add_special puts around a text */
    hone_decoder decoder;
    int32_t size; /* highest id + 1; vocab ids from here on are no tokens */
    int32_t bos, eos;
    hone_ids ends;
    struct json_t *named; /* owned, NULL or an object: what hone_tokenizer_named gives */
    char hash[65];
    /* What past calls worked with, for the next ones: remembered pieces are worth keeping. NULL: empty or in use. */
    _Atomic(hone_encode_scratch *) spare[HONE_SPARE_SCRATCHES];
};

HONE_MUST_USE hone_status hone_ids_add(hone_ids *ids, int32_t id);
bool hone_ids_hold(const hone_ids *ids, int32_t id);

void hone_encode_scratch_free(hone_encode_scratch *scratch); /* takes NULL */

/* An empty tokenizer for the file at `path`. */
HONE_MUST_USE hone_status hone_tokenizer_new(hone_tokenizer **out, const char *path);

/* Once vocabulary, pairs and flags are there: tables, sorted added tokens, ends of generation. */
HONE_MUST_USE hone_status hone_tokenizer_finish(hone_tokenizer *tokenizer);

/* Sets the texts that added tokens with `normalized` are looked for by. */
HONE_MUST_USE hone_status hone_tokenizer_add(hone_tokenizer *tokenizer,
                                             const hone_added_token *token, const char *text,
                                             size_t length);

/* Whether generation ends at a token of this text, whatever its file says. */
bool hone_tokenizer_is_end_text(const char *text, size_t length);

struct json_t;

/* All that a tokenizer.json says, into an empty tokenizer. */
HONE_MUST_USE hone_status hone_tokenizer_fill(hone_tokenizer *tokenizer, const struct json_t *root);

/* The tokenizer.json of a folder, or what it would be where there are vocab.json and merges.txt; *path is the file that
 * messages name and *hash that of what was read. *root stays NULL where the folder has a SentencePiece model. To be
 * freed. */
HONE_MUST_USE hone_status hone_tokenizer_folder_root(struct json_t **root, char **path,
                                                     char hash[65], const char *folder);

/* A token of a model, by id. */
HONE_MUST_USE hone_status hone_tokenizer_put(hone_tokenizer *tokenizer, int32_t id,
                                             const char *text, size_t length, hone_token_kind kind);

/* HONE_ERR_FORMAT for an id that is out of range beside `tokens` tokens. */
HONE_MUST_USE hone_status hone_tokenizer_check_id(const hone_tokenizer *tokenizer, int64_t id,
                                                  size_t tokens, const char *where,
                                                  const char *text);

/* The model of a tokenizer.json (tokenizer_models.c). */
HONE_MUST_USE hone_status hone_tokenizer_load_model(hone_tokenizer *tokenizer,
                                                    const struct json_t *root);

/* Normalisers, pre-tokenizers, post-processor and decoder of a tokenizer.json (components.c). */
HONE_MUST_USE hone_status hone_tokenizer_components(hone_tokenizer *tokenizer,
                                                    const struct json_t *root);

/* One entry of added_tokens or added_tokens_decoder of `file`. A text that the vocabulary has keeps its id there. */
HONE_MUST_USE hone_status hone_tokenizer_add_json(hone_tokenizer *tokenizer,
                                                  const struct json_t *json, int64_t id,
                                                  const char *file);

/* tokenizer_config.json, config.json and generation_config.json of a folder (tokenizer_config.c). */
HONE_MUST_USE hone_status hone_tokenizer_configure(hone_tokenizer *tokenizer, const char *folder);

#endif
