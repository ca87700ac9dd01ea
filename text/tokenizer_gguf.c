/*
 * Tokenizers from GGUF metadata: tokenizer.ggml.model "gpt2" (byte-level BPE) and "llama" (SentencePiece's BPE), read
 * as llama.cpp reads them, so that ids in training are those of the runtime.
 */
#include <ctype.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/sha256.h"
#include "text/byte_level.h"
#include "text/pretokenize_names.h"
#include "text/score_pairs.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

#define KEY(name) "tokenizer.ggml." name
#define MARKER    "\xe2\x96\x81"

typedef struct loader {
    hone_tokenizer *tokenizer;
    const hone_gguf *gguf;
    const char *path;
    bool adds_bos, adds_eos; /* unless the file says otherwise */
    bool insists;            /* on bos, whatever the file says */
} loader;

/* A tokenizer.ggml.model, with the ids that it takes when the file says none. */
typedef struct model_row {
    const char *name;
    hone_status (*load)(loader *l);
    int32_t bos, eos, unknown;
} model_row;

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
    l->tokenizer->size = (int32_t)index;
    return HONE_OK;
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
    HONE_TRY(hone_tokenizer_intern(&left, l->tokenizer, merge.data, left_length));
    HONE_TRY(hone_tokenizer_intern(&right, l->tokenizer, right_text, right_length));
    HONE_TRY(hone_tokenizer_intern(&both, l->tokenizer, joined->data, joined->length));
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
        HONE_TRY(hone_tokenizer_intern(&id, l->tokenizer, spelling, length));
    }
    return HONE_OK;
}

/* Spaces become U+2581 before anything else. */
static hone_status mark_spaces(hone_steps *steps) {
    hone_step *step = hone_steps_add(steps);
    if (!step) return HONE_ERR_MEMORY;
    step->run = hone_normalize_replace;
    step->text = hone_strdup(MARKER);
    step->text_length = strlen(MARKER);
    return step->text ? hone_regex_literal(&step->regex, " ", 1) : HONE_ERR_MEMORY;
}

/* U+2581 to spaces, then byte tokens to bytes. */
static hone_status add_marker_decoder(hone_decoder *decoder) {
    hone_decode_step *spaces = hone_decoder_add(decoder, hone_decode_metaspace);
    if (!spaces) return HONE_ERR_MEMORY;
    spaces->text = hone_strdup(MARKER);
    spaces->text_length = strlen(MARKER);
    if (!spaces->text) return HONE_ERR_MEMORY;
    return hone_decoder_add(decoder, hone_decode_byte_fallback) ? HONE_OK : HONE_ERR_MEMORY;
}

/* BPE over characters as they are (Gemma 4). */
static hone_status load_plain(loader *l, const hone_pretokenizer *pretokenizer) {
    hone_tokenizer *tokenizer = l->tokenizer;
    tokenizer->bpe.whole_newlines = pretokenizer->newlines;
    if (pretokenizer->marks_space) HONE_TRY(mark_spaces(&tokenizer->normalizers));
    HONE_TRY(add_marker_decoder(&tokenizer->decoder));
    return load_merges(l);
}

/* What tokenizer.ggml.pre says; files from before it have none. */
static hone_status find_pretokenizer(const hone_pretokenizer **out, const loader *l) {
    hone_gguf_string model, name = {"default", 7};
    HONE_TRY(hone_gguf_get_string(&model, l->gguf, KEY("model")));
    HONE_TRY(hone_gguf_opt_string(&name, l->gguf, KEY("pre")));
    if (name.length == 0) name = (hone_gguf_string){"default", 7};
    if (hone_gguf_string_is(model, "gemma4")) name = (hone_gguf_string){"gemma4", 6};
    return hone_pretokenizer_find(out, name.data, name.length, l->path);
}

static hone_status load_byte_level(loader *l) {
    hone_tokenizer *tokenizer = l->tokenizer;
    const hone_pretokenizer *pretokenizer;
    HONE_TRY(find_pretokenizer(&pretokenizer, l));
    HONE_TRY(hone_pretokenizer_steps(&tokenizer->pretokenizers, pretokenizer));
    tokenizer->bpe.fallback_last = true;
    tokenizer->bpe.ignore_merges = pretokenizer->ignore_merges;
    l->adds_bos = pretokenizer->adds_bos;
    l->insists = pretokenizer->insists;
    if (pretokenizer->plain) return load_plain(l, pretokenizer);
    tokenizer->bpe.bytes = true;
    if (!hone_decoder_add(&tokenizer->decoder, hone_decode_byte_level)) return HONE_ERR_MEMORY;
    HONE_TRY(load_merges(l));
    return intern_bytes(l);
}

/* --- SentencePiece --- */

/* scores[count], to be freed. */
static hone_status get_scores(float **out, const loader *l) {
    const hone_gguf_value *array;
    size_t count = (size_t)l->tokenizer->size;
    HONE_TRY(hone_gguf_get_array(&array, l->gguf, KEY("scores"), HONE_GGUF_F32));
    if (array->count != count) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: " KEY("scores") ": %llu scores for %zu tokens; the "
                                              "file is corrupt",
                         l->path, (unsigned long long)array->count, count);
    }
    *out = hone_alloc(count, sizeof **out);
    if (!*out) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) (*out)[i] = hone_gguf_array_f32(array, i);
    return HONE_OK;
}

static hone_status load_scores(loader *l) {
    float *scores;
    HONE_TRY(get_scores(&scores, l));
    hone_status status = hone_tokenizer_score_pairs(l->tokenizer, scores, KEY("scores"));
    hone_free(scores);
    return status;
}

static hone_status put_marker_in_front(hone_steps *steps) {
    hone_step *step = hone_steps_add(steps);
    if (!step) return HONE_ERR_MEMORY;
    step->run = hone_normalize_prepend;
    step->text = hone_strdup(MARKER);
    step->text_length = strlen(MARKER);
    return step->text ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status load_sentencepiece(loader *l) {
    hone_tokenizer *tokenizer = l->tokenizer;
    bool prefix = true;
    HONE_TRY(hone_gguf_opt_bool(&prefix, l->gguf, KEY("add_space_prefix")));
    if (prefix) HONE_TRY(put_marker_in_front(&tokenizer->normalizers));
    HONE_TRY(mark_spaces(&tokenizer->normalizers));
    HONE_TRY(add_marker_decoder(&tokenizer->decoder));
    tokenizer->decoder.strip = prefix ? 1 : 0;
    tokenizer->bpe.fallback_last = true;
    l->adds_bos = true;
    return load_scores(l);
}

/* --- Unigram --- */

static hone_status get_charsmap(hone_charsmap **out, const loader *l) {
    const hone_gguf_value *value = hone_gguf_find(l->gguf, KEY("precompiled_charsmap"));
    if (!value) return HONE_OK;
    if (value->kind != HONE_GGUF_ARRAY ||
        (value->element != HONE_GGUF_U8 && value->element != HONE_GGUF_I8)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: " KEY("precompiled_charsmap") " is no array of bytes", l->path);
    }
    return hone_charsmap_new(out, value->data, value->count, l->path, KEY("precompiled_charsmap"));
}

/* Spaces and replacements as llama.cpp's Unigram tokenizer has them. */
static hone_status add_unigram_normalizer(loader *l) {
    hone_step *step = hone_steps_add(&l->tokenizer->normalizers);
    if (!step) return HONE_ERR_MEMORY;
    step->run = hone_normalize_unigram_gguf;
    step->text = hone_strdup(MARKER);
    step->text_length = strlen(MARKER);
    if (!step->text) return HONE_ERR_MEMORY;
    bool prefix = false;
    HONE_TRY(hone_gguf_opt_bool(&prefix, l->gguf, KEY("add_space_prefix")));
    HONE_TRY(hone_gguf_opt_bool(&step->left, l->gguf, KEY("remove_extra_whitespaces")));
    step->prefix = prefix ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    l->tokenizer->decoder.strip = prefix ? 1 : 0;
    for (int32_t id = 0; id < l->tokenizer->size; id++) {
        const hone_token *token = hone_vocab_at(&l->tokenizer->vocab, id);
        if (token->kind != HONE_TOKEN_USER) continue;
        const char *text = hone_vocab_text(&l->tokenizer->vocab, token);
        HONE_TRY(hone_trie_put(&step->protected, text, token->length, id));
    }
    return get_charsmap(&step->charsmap, l);
}

/* Scores are floats, sums doubles; user-defined tokens score 0. */
static hone_status load_unigram(loader *l) {
    static const float penalty = 10.0f;
    hone_unigram *unigram = &l->tokenizer->unigram;
    float *scores, least = FLT_MAX;
    l->tokenizer->model = HONE_MODEL_UNIGRAM;
    l->adds_eos = true;
    HONE_TRY(add_unigram_normalizer(l));
    HONE_TRY(add_marker_decoder(&l->tokenizer->decoder));
    unigram->count = (size_t)l->tokenizer->size;
    unigram->scores = hone_alloc(unigram->count, sizeof *unigram->scores);
    if (!unigram->scores) return HONE_ERR_MEMORY;
    HONE_TRY(get_scores(&scores, l));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < unigram->count && status == HONE_OK; i++) {
        const hone_token *token = hone_vocab_at(&l->tokenizer->vocab, (int32_t)i);
        if (token->kind == HONE_TOKEN_NORMAL && scores[i] < least) least = scores[i];
        bool takes_part = token->kind == HONE_TOKEN_NORMAL || token->kind == HONE_TOKEN_USER ||
                          token->kind == HONE_TOKEN_UNUSED;
        if (!takes_part) continue;
        unigram->scores[i] = token->kind == HONE_TOKEN_USER ? 0 : (double)scores[i];
        const char *text = hone_vocab_text(&l->tokenizer->vocab, token);
        status = hone_trie_put(&unigram->trie, text, token->length, (int32_t)i);
    }
    unigram->unknown_score = (double)(least - penalty);
    hone_free(scores);
    return status;
}

/* --- Special tokens --- */

static hone_status get_id(int32_t *out, const loader *l, const char *key, int32_t otherwise) {
    int64_t id = otherwise < l->tokenizer->size ? otherwise : -1;
    HONE_TRY(hone_gguf_opt_int(&id, l->gguf, key, 0, l->tokenizer->size - 1));
    *out = (int32_t)id;
    return HONE_OK;
}

static hone_status put_ends_around(loader *l) {
    hone_tokenizer *tokenizer = l->tokenizer;
    HONE_TRY(hone_gguf_opt_bool(&l->adds_bos, l->gguf, KEY("add_bos_token")));
    HONE_TRY(hone_gguf_opt_bool(&l->adds_eos, l->gguf, KEY("add_eos_token")));
    if ((l->adds_bos || l->insists) && tokenizer->bos >= 0) {
        HONE_TRY(hone_ids_add(&tokenizer->prefix, tokenizer->bos));
    }
    if (l->adds_eos && tokenizer->eos >= 0) {
        HONE_TRY(hone_ids_add(&tokenizer->suffix, tokenizer->eos));
    }
    return HONE_OK;
}

/* `row` has the ids where the file says none. */
static hone_status load_ids(loader *l, const model_row *row) {
    hone_tokenizer *tokenizer = l->tokenizer;
    int32_t eot, eom;
    HONE_TRY(get_id(&tokenizer->bos, l, KEY("bos_token_id"), row->bos));
    HONE_TRY(get_id(&tokenizer->eos, l, KEY("eos_token_id"), row->eos));
    HONE_TRY(get_id(&eot, l, KEY("eot_token_id"), -1));
    HONE_TRY(get_id(&eom, l, KEY("eom_token_id"), -1));
    if (eot >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, eot));
    if (eom >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, eom));
    if (row->unknown >= 0) {
        int32_t unknown;
        HONE_TRY(get_id(&unknown, l, KEY("unknown_token_id"), row->unknown));
        tokenizer->bpe.unknown = tokenizer->unigram.unknown = unknown;
    }
    return put_ends_around(l);
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
        KEY("model"),
        KEY("pre"),
        KEY("tokens"),
        KEY("scores"),
        KEY("token_type"),
        KEY("merges"),
        KEY("bos_token_id"),
        KEY("eos_token_id"),
        KEY("unknown_token_id"),
        KEY("add_bos_token"),
        KEY("add_eos_token"),
        KEY("add_space_prefix"),
        "general.name",
        KEY("precompiled_charsmap"),
        KEY("remove_extra_whitespaces"),
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

static const model_row models[] = {
    {"gpt2", load_byte_level, -1, -1, -1},
    {"gemma4", load_byte_level, -1, -1, -1},
    {"llama", load_sentencepiece, 1, 2, 0},
    {"t5", load_unigram, -1, 1, 2},
};

static hone_status find_model(const model_row **out, const loader *l) {
    hone_gguf_string model;
    HONE_TRY(hone_gguf_get_string(&model, l->gguf, KEY("model")));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        *out = &models[i];
        if (hone_gguf_string_is(model, models[i].name)) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: " KEY("model") ": the tokenizer '%.*s' is not "
                                         "known; known are gpt2, gemma4, llama, t5",
                     l->path, (int)(model.length > 100 ? 100 : model.length), model.data);
}

static hone_status load(loader *l) {
    const model_row *row;
    HONE_TRY(find_model(&row, l));
    l->tokenizer->decoder.by_token = true;
    HONE_TRY(load_tokens(l));
    HONE_TRY(row->load(l));
    HONE_TRY(load_ids(l, row));
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
