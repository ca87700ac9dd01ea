#include "text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/tokenizer_parts.h"

hone_status hone_ids_add(hone_ids *ids, int32_t id) {
    HONE_TRY(hone_grow(&ids->items, &ids->capacity, ids->count + 1, sizeof *ids->items));
    ids->items[ids->count++] = id;
    return HONE_OK;
}

bool hone_ids_hold(const hone_ids *ids, int32_t id) {
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->items[i] == id) return true;
    }
    return false;
}

hone_status hone_tokenizer_new(hone_tokenizer **out, const char *path) {
    hone_tokenizer *tokenizer = hone_alloc(1, sizeof *tokenizer);
    if (!tokenizer) return HONE_ERR_MEMORY;
    tokenizer->bos = tokenizer->eos = -1;
    tokenizer->bpe.unknown = tokenizer->unigram.unknown = tokenizer->words.unknown = -1;
    tokenizer->bpe.vocab = tokenizer->unigram.vocab = tokenizer->words.vocab = &tokenizer->vocab;
    tokenizer->path = hone_strdup(path);
    if (!tokenizer->path) {
        hone_tokenizer_free(tokenizer);
        return HONE_ERR_MEMORY;
    }
    *out = tokenizer;
    return HONE_OK;
}

void hone_tokenizer_free(hone_tokenizer *tokenizer) {
    if (!tokenizer) return;
    for (int i = 0; i < HONE_SPARE_SCRATCHES; i++) hone_encode_scratch_free(tokenizer->spare[i]);
    hone_bpe_free(&tokenizer->bpe);
    hone_unigram_free(&tokenizer->unigram);
    hone_words_free(&tokenizer->words);
    hone_vocab_free(&tokenizer->vocab);
    hone_steps_free(&tokenizer->normalizers);
    hone_steps_free(&tokenizer->pretokenizers);
    hone_added_free(&tokenizer->raw);
    hone_added_free(&tokenizer->normalized);
    hone_decoder_free(&tokenizer->decoder);
    hone_free(tokenizer->prefix.items);
    hone_free(tokenizer->suffix.items);
    hone_free(tokenizer->ends.items);
    json_decref(tokenizer->named);
    hone_free(tokenizer->path);
    hone_free(tokenizer);
}

/* The text of an added token as the normalisers leave it. */
static hone_status normalized_pattern(hone_work *work, const hone_tokenizer *tokenizer,
                                      const char *text, size_t length) {
    hone_matcher *matcher;
    HONE_TRY(hone_matcher_new(&matcher));
    hone_status status = hone_work_set(work, text, length, NULL, 0);
    if (status == HONE_OK) status = hone_steps_run(&tokenizer->normalizers, work, matcher);
    hone_matcher_free(matcher);
    return status;
}

hone_status hone_tokenizer_add(hone_tokenizer *tokenizer, const hone_added_token *token,
                               const char *text, size_t length) {
    if (!token->normalized || tokenizer->normalizers.count == 0) {
        hone_added *list = token->normalized ? &tokenizer->normalized : &tokenizer->raw;
        return hone_added_put(list, token, text, length);
    }
    hone_work work = {0};
    hone_status status = normalized_pattern(&work, tokenizer, text, length);
    if (status == HONE_OK) {
        status = hone_added_put(&tokenizer->normalized, token, work.data, work.length);
    }
    hone_work_free(&work);
    return status;
}

/* Texts of tokens at which generation ends in llama.cpp and what is built on it. */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    ("<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
    "[e~[",
};

bool hone_tokenizer_is_end_text(const char *text, size_t length) {
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        if (strlen(end_texts[i]) == length && memcmp(end_texts[i], text, length) == 0) return true;
    }
    return false;
}

static void drop_end(hone_tokenizer *tokenizer, int32_t id) {
    hone_ids *ends = &tokenizer->ends;
    for (size_t i = 0; i < ends->count; i++) {
        if (ends->items[i] == id) ends->items[i--] = ends->items[--ends->count];
    }
}

/* Where <|return|> and <|call|>, or <|calls|> and <|flush|>, end the answer, <|end|> only ends a part of it; and with
 * <|tool_response> </s> is an ordinary token. */
static void drop_part_ends(hone_tokenizer *tokenizer) {
    bool has_return = hone_tokenizer_find(tokenizer, "<|return|>") >= 0;
    bool has_flush = hone_tokenizer_find(tokenizer, "<|flush|>") >= 0;
    bool has_call = hone_tokenizer_find(tokenizer, "<|call|>") >= 0 ||
                    hone_tokenizer_find(tokenizer, "<|calls|>") >= 0;
    if (has_call && (has_return || has_flush)) {
        drop_end(tokenizer, hone_tokenizer_find(tokenizer, "<|end|>"));
    }
    if (hone_tokenizer_find(tokenizer, "<|tool_response>") >= 0) {
        drop_end(tokenizer, hone_tokenizer_find(tokenizer, "</s>"));
    }
}

static hone_status gather_ends(hone_tokenizer *tokenizer) {
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        int32_t id = hone_tokenizer_find(tokenizer, end_texts[i]);
        if (id >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, id));
    }
    drop_part_ends(tokenizer);
    if (tokenizer->eos >= 0) HONE_TRY(hone_ids_add(&tokenizer->ends, tokenizer->eos));
    return HONE_OK;
}

hone_status hone_tokenizer_finish(hone_tokenizer *tokenizer) {
    tokenizer->bpe.token_count = tokenizer->size;
    if (tokenizer->model == HONE_MODEL_BPE) hone_bpe_finish(&tokenizer->bpe);
    if (tokenizer->model == HONE_MODEL_UNIGRAM) hone_unigram_finish(&tokenizer->unigram);
    hone_added_sort(&tokenizer->raw);
    hone_added_sort(&tokenizer->normalized);
    return gather_ends(tokenizer);
}

int32_t hone_tokenizer_size(const hone_tokenizer *tokenizer) {
    return tokenizer->size;
}

int32_t hone_tokenizer_find(const hone_tokenizer *tokenizer, const char *token) {
    int32_t id = hone_vocab_find(&tokenizer->vocab, token, strlen(token));
    return id < tokenizer->size ? id : -1;
}

const json_t *hone_tokenizer_named(const hone_tokenizer *tokenizer) {
    return tokenizer->named;
}

int32_t hone_tokenizer_bos(const hone_tokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t hone_tokenizer_eos(const hone_tokenizer *tokenizer) {
    return tokenizer->eos;
}

bool hone_tokenizer_adds_bos(const hone_tokenizer *tokenizer) {
    return tokenizer->bos >= 0 && hone_ids_hold(&tokenizer->prefix, tokenizer->bos);
}

bool hone_tokenizer_adds_eos(const hone_tokenizer *tokenizer) {
    return tokenizer->eos >= 0 && hone_ids_hold(&tokenizer->suffix, tokenizer->eos);
}

bool hone_tokenizer_ends(const hone_tokenizer *tokenizer, int32_t id) {
    return hone_ids_hold(&tokenizer->ends, id);
}

const char *hone_tokenizer_hash(const hone_tokenizer *tokenizer) {
    return tokenizer->hash;
}

/* Whether a text is the one that converters give to an id without a token. */
static bool is_padding(const hone_buf *text, int32_t id) {
    char padding[24];
    if (text->data[0] != '[') return false;
    int length = snprintf(padding, sizeof padding, "[PAD%d]", id);
    return text->length == (size_t)length && memcmp(text->data, padding, text->length) == 0;
}

hone_status hone_tokenizer_vocabulary_hash(char out[HONE_SHA256_TEXT],
                                           const hone_tokenizer *tokenizer) {
    hone_buf all = {0}, text = {0};
    hone_status status = HONE_OK;
    for (int32_t id = 0; status == HONE_OK && id < tokenizer->size; id++) {
        hone_buf_clear(&text);
        status = hone_tokenizer_piece(tokenizer, &text, id, true);
        if (status != HONE_OK || text.length == 0 || is_padding(&text, id)) continue;
        status = hone_buf_printf(&all, "%d %zu ", id, text.length);
        if (status == HONE_OK) status = hone_buf_append(&all, text.data, text.length);
    }
    if (status == HONE_OK) hone_sha256_bytes(out, all.data, all.length);
    hone_buf_free(&text);
    hone_buf_free(&all);
    return status;
}
