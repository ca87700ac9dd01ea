/*
 * Tokenizers: text to token ids and back, exactly as the model's own library does it.
 *
 * Kinds: byte-level BPE (GPT-2, Llama 3, Qwen 2, SmolLM), SentencePiece's BPE with byte fallback (Llama 2, Gemma,
 * Phi-3), Unigram (T5), WordPiece and WordLevel, from what a tokenizer.json is composed of, from a SentencePiece model
 * or from GGUF metadata. What a file asks for and this module does not know is refused by name. A tokenizer is read-only after loading: any number of threads may encode with it.
 */
#ifndef HONE_TEXT_TOKENIZER_H
#define HONE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "base/status.h"
#include "formats/gguf.h"

typedef struct hone_tokenizer hone_tokenizer;

/* From a Hugging Face folder: tokenizer.json, else tokenizer.model or spiece.model (SentencePiece), else vocab.json and
 * merges.txt (GPT-2 and Qwen 2, by the tokenizer_class of tokenizer_config.json); and where they are there
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json (bos, eos, added tokens), generation_config.json
 * and config.json (ends of generation). Beside a tokenizer.json it alone says what add_special puts, as in
 * transformers 5. */
HONE_MUST_USE hone_status hone_tokenizer_load_folder(hone_tokenizer **out, const char *folder);

/* From one tokenizer.json, without a tokenizer_config.json. */
HONE_MUST_USE hone_status hone_tokenizer_load_json(hone_tokenizer **out, const char *path);

/* As above, from bytes in memory; `name` stands for the file in messages. */
HONE_MUST_USE hone_status hone_tokenizer_load_bytes(hone_tokenizer **out, const char *bytes,
                                                    size_t length, const char *name);

/* From one SentencePiece model, as sentencepiece reads it; from bytes. */
HONE_MUST_USE hone_status hone_tokenizer_load_spm(hone_tokenizer **out, const void *bytes,
                                                  size_t length, const char *name);

/* From the metadata of a GGUF file; nothing of `gguf` is kept. */
HONE_MUST_USE hone_status hone_tokenizer_load_gguf(hone_tokenizer **out, const hone_gguf *gguf);

void hone_tokenizer_free(hone_tokenizer *tokenizer); /* takes NULL */

/* Bytes begin <= i < end of a text. */
typedef struct hone_span {
    size_t begin, end;
} hone_span;

/* Ids with, for each, the bytes of the input that it stands for (specials that were added stand for none). */
typedef struct hone_encoding {
    int32_t *ids;     /* [count], owned */
    hone_span *spans; /* [count], owned */
    size_t count;
    size_t capacity;
} hone_encoding;

typedef struct hone_encode_options {
    bool add_special;   /* put bos and eos where the model's tokenizer does */
    bool parse_special; /* control tokens written in the text become their ids */
    const hone_span
        *literal; /* text of users: control tokens are not parsed inside. Sorted, apart */
    size_t literal_count;
} hone_encode_options;

/* Appends to *out. `text` is any bytes; invalid UTF-8 is read as Python's errors="replace" does. Spans are over `text`
 * and rise; tokens that share a character which normalisation rewrote each have the whole of it. */
HONE_MUST_USE hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, hone_encoding *out,
                                                const char *text, size_t length,
                                                const hone_encode_options *options);
void hone_encoding_clear(hone_encoding *encoding);
void hone_encoding_free(hone_encoding *encoding);

/* Appends the bytes of a token to *out, as they stand in running text (a token may hold part of a character; control
 * tokens give their text only when `special`). The leading space that a SentencePiece text starts with is kept:
 * hone_tokenizer_decode drops it. */
HONE_MUST_USE hone_status hone_tokenizer_piece(const hone_tokenizer *tokenizer, hone_buf *out,
                                               int32_t id, bool special);

/* Appends the text of a whole run of ids; invalid UTF-8 becomes U+FFFD. */
HONE_MUST_USE hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, hone_buf *out,
                                                const int32_t *ids, size_t count, bool special);

int32_t hone_tokenizer_size(const hone_tokenizer *tokenizer); /* highest id + 1 */
int32_t hone_tokenizer_find(const hone_tokenizer *tokenizer,
                            const char *token);              /* id of a token's own text, or -1 */
int32_t hone_tokenizer_bos(const hone_tokenizer *tokenizer); /* -1: none */
int32_t hone_tokenizer_eos(const hone_tokenizer *tokenizer); /* -1: none */

struct json_t;

/* The texts of the special tokens that a folder's tokenizer_config.json names, an object: {"bos_token": "<s>",
 * "pad_token": ..., "image_token": ...}, as chat templates find them; NULL: none. */
const struct json_t *hone_tokenizer_named(const hone_tokenizer *tokenizer);

bool hone_tokenizer_adds_bos(const hone_tokenizer *tokenizer);
bool hone_tokenizer_adds_eos(const hone_tokenizer *tokenizer);

/* Whether generation ends at this token: eos, eot, and the tokens that other runtimes take for ends of a turn. */
bool hone_tokenizer_ends(const hone_tokenizer *tokenizer, int32_t id);

/* SHA-256 over everything that decides ids; the key of token caches. 64 hexadecimal digits. */
const char *hone_tokenizer_hash(const hone_tokenizer *tokenizer);

/* SHA-256 over the texts of all tokens with their ids: the same for every form of a tokenizer, a folder or a GGUF file,
 * whose hashes are of their files and differ. Padding, which a GGUF file has where there is no token, does not count. */
HONE_MUST_USE hone_status hone_tokenizer_vocabulary_hash(char out[HONE_SHA256_TEXT],
                                                         const hone_tokenizer *tokenizer);

#endif
