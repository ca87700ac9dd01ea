/*
 * The model of a tokenizer.json: BPE, Unigram, WordPiece, WordLevel.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "formats/json.h"
#include "text/byte_level.h"
#include "text/tokenizer_parts.h"

/* --- Vocabulary --- */

static hone_status load_vocab(hone_tokenizer *tokenizer, const json_t *model) {
    const json_t *vocab;
    HONE_TRY(hone_json_get_object(&vocab, model, "vocab", tokenizer->path));
    size_t count = json_object_size(vocab);
    for (void *it = json_object_iter((json_t *)(uintptr_t)vocab); it;
         it = json_object_iter_next((json_t *)(uintptr_t)vocab, it)) {
        const char *text = json_object_iter_key(it);
        size_t length = json_object_iter_key_len(it);
        const json_t *id = json_object_iter_value(it);
        if (!json_is_integer(id)) {
            return hone_fail(HONE_ERR_FORMAT, "%s: model.vocab: the id of '%.100s' is %s",
                             tokenizer->path, text, hone_json_kind(id));
        }
        HONE_TRY(
            hone_tokenizer_check_id(tokenizer, json_integer_value(id), count, "model.vocab", text));
        int32_t number = (int32_t)json_integer_value(id);
        const hone_token *other = hone_vocab_at(&tokenizer->vocab, number);
        if (other) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: model.vocab: '%.100s' and '%.100s' have the "
                             "same id %d",
                             tokenizer->path, hone_vocab_text(&tokenizer->vocab, other), text,
                             number);
        }
        HONE_TRY(hone_tokenizer_put(tokenizer, number, text, length, HONE_TOKEN_NORMAL));
    }
    return HONE_OK;
}

/* --- Merges --- */

typedef struct halves {
    const char *left, *right;
    size_t left_length, right_length;
} halves;

/* "left right", or ["left", "right"]. */
static bool read_merge(halves *out, const json_t *merge) {
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        size_t length = json_string_length(merge);
        const char *space = length > 1 ? memchr(text + 1, ' ', length - 1) : NULL;
        if (!space) return false;
        size_t left = (size_t)(space - text);
        *out = (halves){text, space + 1, left, length - left - 1};
        return true;
    }
    const json_t *left = json_array_get(merge, 0);
    const json_t *right = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right)) {
        return false;
    }
    *out = (halves){json_string_value(left), json_string_value(right), json_string_length(left),
                    json_string_length(right)};
    return true;
}

static hone_status add_merge(hone_tokenizer *tokenizer, const halves *merge, size_t index,
                             hone_buf *joined) {
    const hone_vocab *vocab = &tokenizer->vocab;
    hone_buf_clear(joined);
    HONE_TRY(hone_buf_append(joined, merge->left, merge->left_length));
    size_t prefix = tokenizer->bpe.prefix ? strlen(tokenizer->bpe.prefix) : 0;
    if (prefix > merge->right_length) prefix = merge->right_length;
    HONE_TRY(hone_buf_append(joined, merge->right + prefix, merge->right_length - prefix));
    int32_t left = hone_vocab_find(vocab, merge->left, merge->left_length);
    int32_t right = hone_vocab_find(vocab, merge->right, merge->right_length);
    int32_t both = hone_vocab_find(vocab, joined->data, joined->length);
    if (left < 0 || right < 0 || both < 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: model.merges[%zu]: a part of '%.100s' is not in the "
                         "vocabulary; the file is corrupt",
                         tokenizer->path, index, joined->data);
    }
    return hone_bpe_add(&tokenizer->bpe, left, right, (uint32_t)index, both, true);
}

/* The head of a merges.txt, which old files have among their merges. */
static bool is_version(const json_t *merge) {
    const char *text = json_string_value(merge);
    return text && strncmp(text, "#version", 8) == 0;
}

static hone_status load_merges(hone_tokenizer *tokenizer, const json_t *model) {
    const json_t *merges;
    HONE_TRY(hone_json_get_array(&merges, model, "merges", tokenizer->path));
    size_t count = json_array_size(merges);
    HONE_TRY(hone_bpe_reserve(&tokenizer->bpe, count));
    hone_buf joined = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        halves merge;
        const json_t *item = json_array_get(merges, i);
        if (is_version(item)) continue;
        if (read_merge(&merge, item)) {
            status = add_merge(tokenizer, &merge, i, &joined);
        } else {
            status = hone_fail(HONE_ERR_FORMAT, "%s: model.merges[%zu] is no pair of tokens",
                               tokenizer->path, i);
        }
    }
    hone_buf_free(&joined);
    return status;
}

/* --- BPE --- */

static hone_status refuse_dropout(const hone_tokenizer *tokenizer, const json_t *model) {
    double dropout = 0;
    HONE_TRY(hone_json_opt_number(&dropout, model, "dropout", tokenizer->path));
    if (dropout == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: model.dropout %g is not supported: token ids would "
                     "be random; set it to null",
                     tokenizer->path, dropout);
}

static hone_status load_affix(char **out, const hone_tokenizer *tokenizer, const json_t *model,
                              const char *key) {
    const char *affix = NULL;
    HONE_TRY(hone_json_opt_string(&affix, model, key, tokenizer->path));
    if (!affix || !*affix) return HONE_OK;
    *out = hone_strdup(affix);
    return *out ? HONE_OK : HONE_ERR_MEMORY;
}

/* Whether every byte has a token in the byte-level alphabet: then nothing is unknown. */
static bool has_all_bytes(const hone_vocab *vocab) {
    for (int byte = 0; byte < 256; byte++) {
        char spelling[4];
        size_t length = hone_byte_level_put(spelling, (unsigned char)byte);
        if (hone_vocab_find(vocab, spelling, length) < 0) return false;
    }
    return true;
}

/* The id of "unk_token", which may be absent; -1 for none. */
static hone_status load_unknown(int32_t *out, const hone_tokenizer *tokenizer,
                                const json_t *model) {
    const char *unknown = NULL;
    HONE_TRY(hone_json_opt_string(&unknown, model, "unk_token", tokenizer->path));
    if (!unknown || !*unknown) return HONE_OK;
    *out = hone_vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    if (*out >= 0 || has_all_bytes(&tokenizer->vocab)) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: model.unk_token '%.100s' is not in the vocabulary",
                     tokenizer->path, unknown);
}

static hone_status load_bpe(hone_tokenizer *tokenizer, const json_t *model) {
    const char *file = tokenizer->path;
    hone_bpe *bpe = &tokenizer->bpe;
    HONE_TRY(refuse_dropout(tokenizer, model));
    HONE_TRY(load_affix(&bpe->prefix, tokenizer, model, "continuing_subword_prefix"));
    HONE_TRY(load_affix(&bpe->suffix, tokenizer, model, "end_of_word_suffix"));
    HONE_TRY(hone_json_opt_bool(&bpe->byte_fallback, model, "byte_fallback", file));
    HONE_TRY(hone_json_opt_bool(&bpe->fuse_unknown, model, "fuse_unk", file));
    HONE_TRY(hone_json_opt_bool(&bpe->ignore_merges, model, "ignore_merges", file));
    HONE_TRY(load_vocab(tokenizer, model));
    HONE_TRY(load_unknown(&bpe->unknown, tokenizer, model));
    return load_merges(tokenizer, model);
}

/* --- Unigram --- */

/* A score as the tokenizers library reads it: the digits as a whole number, then a power of ten, each of which rounds. The last
 * bit decides between cuts of the same pieces in another order, as in a row of dots. `value` has the digits of the file, or
 * the fewest that read back as it, which is what all programs write. */
static double library_score(double value) {
    char text[40], power[16];
    int digits = 14; /* behind the point; zeros at the end make no difference */
    double back;
    do {
        snprintf(text, sizeof text, "%.*e", digits, fabs(value));
        back = strtod(text, NULL);
    } while ((back < fabs(value) || back > fabs(value)) && ++digits < 17);
    char *end;
    text[1] = text[0]; /* without its point */
    double whole = (double)strtoull(text + 1, &end, 10);
    int exponent = *end == 'e' ? (int)strtol(end + 1, NULL, 10) - digits : 0;
    snprintf(power, sizeof power, "1e%d", abs(exponent));
    double scale = strtod(power, NULL);
    if (isinf(scale)) return value;
    return copysign(exponent < 0 ? whole / scale : whole * scale, value);
}

static hone_status add_scored(hone_tokenizer *tokenizer, const json_t *item, size_t id) {
    hone_unigram *unigram = &tokenizer->unigram;
    const json_t *text = json_array_get(item, 0), *score = json_array_get(item, 1);
    if (json_array_size(item) != 2 || !json_is_string(text) || !json_is_number(score)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: model.vocab[%zu] is no token with its score",
                         tokenizer->path, id);
    }
    const char *data = json_string_value(text);
    size_t length = json_string_length(text);
    unigram->scores[id] = library_score(json_number_value(score));
    HONE_TRY(hone_tokenizer_put(tokenizer, (int32_t)id, data, length, HONE_TOKEN_NORMAL));
    return hone_trie_put(&unigram->trie, data, length, (int32_t)id);
}

/* All tokens take part, control tokens too. */
static hone_status load_unigram(hone_tokenizer *tokenizer, const json_t *model) {
    enum { PENALTY = 10 };
    const json_t *vocab;
    hone_unigram *unigram = &tokenizer->unigram;
    tokenizer->model = HONE_MODEL_UNIGRAM;
    HONE_TRY(hone_json_get_array(&vocab, model, "vocab", tokenizer->path));
    size_t count = json_array_size(vocab);
    if (count > INT32_MAX / 4) {
        return hone_fail(HONE_ERR_FORMAT, "%s: model.vocab holds %zu tokens", tokenizer->path,
                         count);
    }
    unigram->scores = hone_alloc(count, sizeof *unigram->scores);
    if (!unigram->scores) return HONE_ERR_MEMORY;
    unigram->count = count;
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(add_scored(tokenizer, json_array_get(vocab, i), i));
        double score = unigram->scores[i] - PENALTY;
        if (i == 0 || score < unigram->unknown_score) unigram->unknown_score = score;
    }
    int64_t unknown = -1;
    HONE_TRY(hone_json_opt_int(&unknown, model, "unk_id", 0, (int64_t)count - 1, tokenizer->path));
    unigram->unknown = (int32_t)unknown;
    return hone_json_opt_bool(&unigram->byte_fallback, model, "byte_fallback", tokenizer->path);
}

/* --- Words --- */

static hone_status load_words(hone_tokenizer *tokenizer, const json_t *model) {
    hone_words *words = &tokenizer->words;
    const char *unknown;
    tokenizer->model = HONE_MODEL_WORDS;
    HONE_TRY(load_vocab(tokenizer, model));
    HONE_TRY(hone_json_get_string(&unknown, model, "unk_token", tokenizer->path));
    words->unknown = hone_vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const hone_token *token = hone_vocab_at(&tokenizer->vocab, id);
        if (token && token->length > words->longest) words->longest = token->length;
    }
    return HONE_OK;
}

static hone_status load_wordpiece(hone_tokenizer *tokenizer, const json_t *model) {
    hone_words *words = &tokenizer->words;
    const char *prefix;
    int64_t most;
    const char *file = tokenizer->path;
    HONE_TRY(hone_json_get_string(&prefix, model, "continuing_subword_prefix", file));
    HONE_TRY(hone_json_get_int(&most, model, "max_input_chars_per_word", 0, INT32_MAX, file));
    words->prefix = hone_strdup(prefix);
    if (!words->prefix) return HONE_ERR_MEMORY;
    words->prefix_length = strlen(prefix);
    words->most = (size_t)most;
    return load_words(tokenizer, model);
}

static hone_status load_wordlevel(hone_tokenizer *tokenizer, const json_t *model) {
    tokenizer->words.whole = true;
    return load_words(tokenizer, model);
}

/* --- All of them --- */

static const struct {
    const char *type;
    hone_status (*load)(hone_tokenizer *tokenizer, const json_t *model);
} models[] = {
    {"BPE", load_bpe},
    {"Unigram", load_unigram},
    {"WordPiece", load_wordpiece},
    {"WordLevel", load_wordlevel},
};

/* Older files leave the type out. */
static const char *guess_type(const json_t *model) {
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    if (json_object_get(model, "merges")) return "BPE";
    return json_object_get(model, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

hone_status hone_tokenizer_load_model(hone_tokenizer *tokenizer, const json_t *root) {
    const json_t *model;
    HONE_TRY(hone_json_get_object(&model, root, "model", tokenizer->path));
    const char *type = guess_type(model);
    HONE_TRY(hone_json_opt_string(&type, model, "type", tokenizer->path));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].type, type) == 0) return models[i].load(tokenizer, model);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: model: the type '%.100s' is not known; known are BPE, Unigram, "
                     "WordPiece, WordLevel",
                     tokenizer->path, type);
}
