/*
 * Tokenizers from GGUF metadata: tokenizer.ggml.model "gpt2" (byte-level BPE) and "llama" (SentencePiece's BPE), read
 * as llama.cpp reads them, so that ids in training are those of the runtime.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/sha256.h"
#include "text/byte_level.h"
#include "text/pretokenize_names.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

#define KEY(name) "tokenizer.ggml." name

typedef struct loader {
    hone_tokenizer *tokenizer;
    const hone_gguf *gguf;
    const char *path;
    int32_t next_symbol; /* the id of the next symbol that is no token */
} loader;

/* --- Vocabulary --- */

static hone_status get_types(const hone_gguf_value **out, const loader *l, uint64_t count) {
    *out = NULL;
    if (!hone_gguf_find(l->gguf, KEY("token_type"))) return HONE_OK;
    HONE_TRY(hone_gguf_get_array(out, l->gguf, KEY("token_type"), HONE_GGUF_I32));
    if ((*out)->count == count) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: " KEY("token_type") ": %llu types for %llu tokens; the "
                                              "file is corrupt",
                     l->path, (unsigned long long)(*out)->count, (unsigned long long)count);
}

static hone_token_kind kind_of(const hone_gguf_value *types, uint64_t index) {
    int32_t type = types ? hone_gguf_array_i32(types, index) : HONE_TOKEN_NORMAL;
    bool known = type >= HONE_TOKEN_NORMAL && type <= HONE_TOKEN_BYTE;
    return known ? (hone_token_kind)type : HONE_TOKEN_NORMAL;
}

/* In a model's file every token has its row of the embedding; runtimes refuse it otherwise. */
static hone_status check_embedding(const loader *l, uint64_t count) {
    const hone_gguf_tensor *table = hone_gguf_tensor_find(l->gguf, "token_embd.weight");
    if (!table || (uint64_t)table->rows == count) return HONE_OK;
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: " KEY("tokens") " holds %llu tokens but tensor token_embd.weight has %lld "
                             "rows; vocabulary and weights do not belong together, convert the "
                             "model again",
        l->path, (unsigned long long)count, (long long)table->rows);
}

static hone_status load_tokens(loader *l) {
    const hone_gguf_value *tokens;
    const hone_gguf_value *types;
    HONE_TRY(hone_gguf_get_array(&tokens, l->gguf, KEY("tokens"), HONE_GGUF_STRING));
    HONE_TRY(get_types(&types, l, tokens->count));
    if (tokens->count == 0 || tokens->count > INT32_MAX / 4) {
        return hone_fail(HONE_ERR_FORMAT, "%s: " KEY("tokens") " holds %llu tokens", l->path,
                         (unsigned long long)tokens->count);
    }
    HONE_TRY(check_embedding(l, tokens->count));
    hone_vocab *vocab = &l->tokenizer->vocab;
    hone_gguf_string text;
    uint64_t index = 0;
    for (hone_gguf_strings it = hone_gguf_strings_of(tokens); hone_gguf_next(&text, &it); index++) {
        char empty[32];
        if (text.length == 0) {
            int length = snprintf(empty, sizeof empty, "[EMPTY_%llu]", (unsigned long long)index);
            text = (hone_gguf_string){empty, (size_t)length};
        }
        if (text.length > UINT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: " KEY("tokens") "[%llu] is longer than 4 GB",
                             l->path, (unsigned long long)index);
        }
        HONE_TRY(
            hone_vocab_put(vocab, (int32_t)index, text.data, text.length, kind_of(types, index)));
    }
    l->tokenizer->size = l->next_symbol = (int32_t)index;
    return HONE_OK;
}

/* The id of a text: a token, or a symbol that is only a step to one. */
static hone_status intern(int32_t *id, loader *l, const char *text, size_t length) {
    *id = hone_vocab_find(&l->tokenizer->vocab, text, length);
    if (*id >= 0) return HONE_OK;
    if (l->next_symbol == INT32_MAX) {
        return hone_fail(HONE_ERR_FORMAT, "%s: the tokenizer has too many symbols", l->path);
    }
    *id = l->next_symbol++;
    return hone_vocab_put(&l->tokenizer->vocab, *id, text, length, HONE_TOKEN_NORMAL);
}

/* --- Byte-level BPE --- */

static hone_status add_merge(loader *l, hone_gguf_string merge, uint32_t rank, hone_buf *joined) {
    const char *space = merge.length > 1 ? memchr(merge.data + 1, ' ', merge.length - 1) : NULL;
    if (!space) {
        return hone_fail(HONE_ERR_FORMAT, "%s: " KEY("merges") "[%u] is no pair of tokens", l->path,
                         rank);
    }
    size_t left_length = (size_t)(space - merge.data);
    const char *right_text = space + 1;
    size_t right_length = merge.length - left_length - 1;
    int32_t left, right, both;
    hone_buf_clear(joined);
    HONE_TRY(hone_buf_append(joined, merge.data, left_length));
    HONE_TRY(hone_buf_append(joined, right_text, right_length));
    HONE_TRY(intern(&left, l, merge.data, left_length));
    HONE_TRY(intern(&right, l, right_text, right_length));
    HONE_TRY(intern(&both, l, joined->data, joined->length));
    return hone_bpe_add(&l->tokenizer->bpe, left, right, rank, both, false);
}

static hone_status load_merges(loader *l) {
    const hone_gguf_value *merges;
    HONE_TRY(hone_gguf_get_array(&merges, l->gguf, KEY("merges"), HONE_GGUF_STRING));
    if (merges->count >= INT32_MAX / 4) {
        return hone_fail(HONE_ERR_FORMAT, "%s: " KEY("merges") " holds %llu pairs", l->path,
                         (unsigned long long)merges->count);
    }
    HONE_TRY(hone_bpe_reserve(&l->tokenizer->bpe, (size_t)merges->count));
    hone_buf joined = {0};
    hone_status status = HONE_OK;
    hone_gguf_string merge;
    uint32_t rank = 0;
    for (hone_gguf_strings it = hone_gguf_strings_of(merges);
         status == HONE_OK && hone_gguf_next(&merge, &it); rank++) {
        status = add_merge(l, merge, rank, &joined);
    }
    hone_buf_free(&joined);
    return status;
}

/* Every byte has a symbol, token or not: a missing one still keeps its neighbours apart. */
static hone_status intern_bytes(loader *l) {
    for (int byte = 0; byte < 256; byte++) {
        char spelling[4];
        int32_t id;
        size_t length = hone_byte_level_put(spelling, (unsigned char)byte);
        HONE_TRY(intern(&id, l, spelling, length));
    }
    return HONE_OK;
}

static hone_status load_byte_level(loader *l, bool *adds_bos) {
    hone_tokenizer *tokenizer = l->tokenizer;
    hone_gguf_string name;
    const hone_pretokenizer *pretokenizer;
    HONE_TRY(hone_gguf_get_string(&name, l->gguf, KEY("pre")));
    HONE_TRY(hone_pretokenizer_find(&pretokenizer, name.data, name.length, l->path));
    HONE_TRY(hone_pretokenizer_steps(&tokenizer->pretokenizers, pretokenizer));
    tokenizer->bpe.bytes = true;
    tokenizer->bpe.ignore_merges = pretokenizer->ignore_merges;
    if (!hone_decoder_add(&tokenizer->decoder, hone_decode_byte_level)) return HONE_ERR_MEMORY;
    *adds_bos = pretokenizer->adds_bos;
    HONE_TRY(load_merges(l));
    return intern_bytes(l);
}

/* --- SentencePiece BPE --- */

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
static hone_status intern_characters(loader *l) {
    for (int32_t id = 0; id < l->tokenizer->size; id++) {
        const hone_token *token = hone_vocab_at(&l->tokenizer->vocab, id);
        size_t length = token->length;
        size_t offset = token->offset;
        for (size_t at = 0; at < length;) {
            char character[4];
            int32_t code, symbol;
            const char *text = l->tokenizer->vocab.pool.data + offset + at;
            size_t bytes = hone_utf8_next(&code, text, length - at);
            at += bytes;
            if (code < 0) continue;
            memcpy(character, text, bytes); /* the pool may move */
            HONE_TRY(intern(&symbol, l, character, bytes));
        }
    }
    return HONE_OK;
}

/* All ways to make a token of two symbols. */
static hone_status add_splits(loader *l, int32_t id, uint32_t rank) {
    const hone_vocab *vocab = &l->tokenizer->vocab;
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    if (hone_utf8_valid(text, token->length) < token->length) return HONE_OK;
    for (size_t at = hone_utf8_length(text[0]); at < token->length;
         at += hone_utf8_length(text[at])) {
        int32_t left = hone_vocab_find(vocab, text, at);
        int32_t right = left < 0 ? -1 : hone_vocab_find(vocab, text + at, token->length - at);
        if (right < 0) continue;
        HONE_TRY(hone_bpe_add(&l->tokenizer->bpe, left, right, rank, id, true));
    }
    return HONE_OK;
}

/* Pairs in order of the score of what they make; equal scores share a rank, so that the leftmost wins. */
static hone_status add_scored_pairs(loader *l, scored *tokens, size_t count) {
    qsort(tokens, count, sizeof *tokens, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && tokens[i].score != tokens[i - 1].score) rank++;
        const hone_token *token = hone_vocab_at(&l->tokenizer->vocab, tokens[i].id);
        const char *text = hone_vocab_text(&l->tokenizer->vocab, token);
        /* of tokens with one text the last counts */
        if (hone_vocab_find(&l->tokenizer->vocab, text, token->length) != tokens[i].id) continue;
        HONE_TRY(add_splits(l, tokens[i].id, rank));
    }
    return HONE_OK;
}

static hone_status load_scores(loader *l) {
    const hone_gguf_value *scores;
    size_t count = (size_t)l->tokenizer->size;
    HONE_TRY(hone_gguf_get_array(&scores, l->gguf, KEY("scores"), HONE_GGUF_F32));
    if (scores->count != count) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: " KEY("scores") ": %llu scores for %zu tokens; the "
                                              "file is corrupt",
                         l->path, (unsigned long long)scores->count, count);
    }
    scored *tokens = hone_alloc(count, sizeof *tokens);
    if (!tokens) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        tokens[i] = (scored){hone_gguf_array_f32(scores, i), (int32_t)i};
        if (isnan(tokens[i].score)) {
            status = hone_fail(HONE_ERR_FORMAT,
                               "%s: " KEY("scores") "[%zu] is NaN; the file is "
                                                    "corrupt",
                               l->path, i);
        }
    }
    if (status == HONE_OK) status = add_scored_pairs(l, tokens, count);
    hone_free(tokens);
    return status;
}

static hone_status add_step(loader *l, hone_step_run run, const char *pattern) {
    static const char marker[] = "\xe2\x96\x81";
    hone_step *step = hone_steps_add(&l->tokenizer->normalizers);
    if (!step) return HONE_ERR_MEMORY;
    step->run = run;
    step->text = hone_strdup(marker);
    step->text_length = sizeof marker - 1;
    if (!step->text) return HONE_ERR_MEMORY;
    return pattern ? hone_regex_literal(&step->regex, pattern, strlen(pattern)) : HONE_OK;
}

/* U+2581 to spaces, then byte tokens to bytes. */
static hone_status add_marker_decoder(hone_decoder *decoder) {
    hone_decode_step *spaces = hone_decoder_add(decoder, hone_decode_metaspace);
    if (!spaces) return HONE_ERR_MEMORY;
    spaces->text = hone_strdup("\xe2\x96\x81");
    spaces->text_length = 3;
    if (!spaces->text) return HONE_ERR_MEMORY;
    return hone_decoder_add(decoder, hone_decode_byte_fallback) ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status load_sentencepiece(loader *l, bool *adds_bos) {
    hone_tokenizer *tokenizer = l->tokenizer;
    bool prefix = true;
    HONE_TRY(hone_gguf_opt_bool(&prefix, l->gguf, KEY("add_space_prefix")));
    if (prefix) HONE_TRY(add_step(l, hone_normalize_prepend, NULL));
    HONE_TRY(add_step(l, hone_normalize_replace, " "));
    HONE_TRY(add_marker_decoder(&tokenizer->decoder));
    tokenizer->decoder.strip = prefix ? 1 : 0;
    *adds_bos = true;
    HONE_TRY(intern_characters(l));
    return load_scores(l);
}

/* --- Special tokens --- */

static hone_status get_id(int32_t *out, const loader *l, const char *key, int32_t otherwise) {
    int64_t id = otherwise < l->tokenizer->size ? otherwise : -1;
    HONE_TRY(hone_gguf_opt_int(&id, l->gguf, key, 0, l->tokenizer->size - 1));
    *out = (int32_t)id;
    return HONE_OK;
}

static hone_status load_ids(loader *l, bool sentencepiece, bool adds_bos) {
    hone_tokenizer *tokenizer = l->tokenizer;
    bool adds_eos = false;
    int32_t eot, eom;
    HONE_TRY(get_id(&tokenizer->bos, l, KEY("bos_token_id"), sentencepiece ? 1 : -1));
    HONE_TRY(get_id(&tokenizer->eos, l, KEY("eos_token_id"), sentencepiece ? 2 : -1));
    HONE_TRY(get_id(&eot, l, KEY("eot_token_id"), -1));
    HONE_TRY(get_id(&eom, l, KEY("eom_token_id"), -1));
    if (eot >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, eot));
    if (eom >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, eom));
    if (sentencepiece) {
        HONE_TRY(get_id(&tokenizer->bpe.unknown, l, KEY("unknown_token_id"), 0));
    }
    HONE_TRY(hone_gguf_opt_bool(&adds_bos, l->gguf, KEY("add_bos_token")));
    HONE_TRY(hone_gguf_opt_bool(&adds_eos, l->gguf, KEY("add_eos_token")));
    if (adds_bos && tokenizer->bos >= 0) {
        HONE_TRY(hone_ids_add(&tokenizer->prefix, tokenizer->bos));
    }
    if (adds_eos && tokenizer->eos >= 0) {
        HONE_TRY(hone_ids_add(&tokenizer->suffix, tokenizer->eos));
    }
    return HONE_OK;
}

static void set_kind(hone_tokenizer *tokenizer, const char *text, hone_token_kind kind) {
    int32_t id = hone_tokenizer_find(tokenizer, text);
    if (id >= 0) tokenizer->vocab.tokens[id].kind = (uint8_t)kind;
}

/* llama.cpp overrides the types of tokens that end generation and of the Harmony format's. */
static void correct_kinds(hone_tokenizer *tokenizer) {
    for (int32_t id = 0; id < tokenizer->size; id++) {
        hone_token *token = &tokenizer->vocab.tokens[id];
        const char *text = hone_vocab_text(&tokenizer->vocab, token);
        if (hone_tokenizer_is_end_text(text, token->length)) token->kind = HONE_TOKEN_CONTROL;
    }
    static const char *const shown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
    for (int i = 0; i < 4; i++) set_kind(tokenizer, shown[i], HONE_TOKEN_USER);
    if (hone_tokenizer_find(tokenizer, "<|return|>") >= 0 &&
        hone_tokenizer_find(tokenizer, "<|call|>") >= 0) {
        set_kind(tokenizer, "<|end|>", HONE_TOKEN_USER);
    }
    if (hone_tokenizer_find(tokenizer, "<|tool_response>") >= 0) {
        set_kind(tokenizer, "</s>", HONE_TOKEN_NORMAL);
    }
}

/* Whether general.name says Phi-3: its special tokens swallow the white space behind them. */
static hone_status is_phi3(bool *out, const loader *l) {
    hone_gguf_string name = {"", 0};
    HONE_TRY(hone_gguf_opt_string(&name, l->gguf, "general.name"));
    *out = false;
    for (size_t i = 0; i + 4 <= name.length && !*out; i++) {
        const char *at = name.data + i;
        bool dash = i + 5 <= name.length && strncasecmp(at, "phi-3", 5) == 0;
        *out = dash || strncasecmp(at, "phi3", 4) == 0;
    }
    return HONE_OK;
}

static bool strips_behind(const char *text) {
    return strcmp(text, "<unk>") != 0 && strcmp(text, "<s>") != 0 &&
           strcmp(text, "<|endoftext|>") != 0;
}

static hone_status add_special_tokens(loader *l) {
    hone_tokenizer *tokenizer = l->tokenizer;
    bool phi3;
    HONE_TRY(is_phi3(&phi3, l));
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const hone_token *item = hone_vocab_at(&tokenizer->vocab, id);
        bool control = item->kind == HONE_TOKEN_CONTROL || item->kind == HONE_TOKEN_UNKNOWN;
        if (!control && item->kind != HONE_TOKEN_USER) continue;
        const char *text = hone_vocab_text(&tokenizer->vocab, item);
        hone_added_token token = {.id = id, .control = control, .ascii = true};
        token.rstrip = phi3 && strips_behind(text);
        HONE_TRY(hone_tokenizer_add(tokenizer, &token, text, item->length));
    }
    return HONE_OK;
}

/* --- All of it --- */

static hone_status hash_metadata(const loader *l) {
    static const char *const keys[] = {
        KEY("model"),         KEY("pre"),           KEY("tokens"),
        KEY("scores"),        KEY("token_type"),    KEY("merges"),
        KEY("bos_token_id"),  KEY("eos_token_id"),  KEY("unknown_token_id"),
        KEY("add_bos_token"), KEY("add_eos_token"), KEY("add_space_prefix"),
        "general.name",
    };
    hone_buf all = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && status == HONE_OK; i++) {
        char hash[HONE_SHA256_TEXT] = "";
        const hone_gguf_value *value = hone_gguf_find(l->gguf, keys[i]);
        if (value) hone_sha256_bytes(hash, value->data, value->bytes);
        status = hone_buf_printf(&all, "%s=%s\n", keys[i], hash);
    }
    if (status == HONE_OK) hone_sha256_bytes(l->tokenizer->hash, all.data, all.length);
    hone_buf_free(&all);
    return status;
}

static hone_status load(loader *l) {
    hone_gguf_string model;
    bool adds_bos;
    HONE_TRY(hone_gguf_get_string(&model, l->gguf, KEY("model")));
    bool sentencepiece = hone_gguf_string_is(model, "llama");
    if (!sentencepiece && !hone_gguf_string_is(model, "gpt2")) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: " KEY("model") ": the tokenizer '%.*s' is not "
                                             "known; known are gpt2, llama",
                         l->path, (int)(model.length > 100 ? 100 : model.length), model.data);
    }
    l->tokenizer->bpe.fallback_last = true;
    l->tokenizer->decoder.by_token = true;
    HONE_TRY(load_tokens(l));
    HONE_TRY(sentencepiece ? load_sentencepiece(l, &adds_bos) : load_byte_level(l, &adds_bos));
    HONE_TRY(load_ids(l, sentencepiece, adds_bos));
    correct_kinds(l->tokenizer);
    HONE_TRY(add_special_tokens(l));
    HONE_TRY(hash_metadata(l));
    return hone_tokenizer_finish(l->tokenizer);
}

hone_status hone_tokenizer_load_gguf(hone_tokenizer **out, const hone_gguf *gguf) {
    loader l = {.gguf = gguf, .path = hone_gguf_path(gguf)};
    HONE_TRY(hone_tokenizer_new(&l.tokenizer, l.path));
    hone_status status = load(&l);
    if (status != HONE_OK) {
        hone_tokenizer_free(l.tokenizer);
        return status;
    }
    *out = l.tokenizer;
    return HONE_OK;
}
