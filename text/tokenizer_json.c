/*
 * tokenizer.json: its model and added tokens. Its components are in tokenizer_components.c.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "formats/json.h"
#include "text/tokenizer_parts.h"

enum {
    ID_SLACK = 1 << 20
}; /* ids may leave gaps, but not at will: arrays are sized by the highest */

static hone_status check_id(const hone_tokenizer *tokenizer, int64_t id, size_t tokens,
                            const char *where, const char *text) {
    if (id >= 0 && (uint64_t)id < 4 * (uint64_t)tokens + ID_SLACK) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: %s: '%.100s' has the id %lld, out of range for %zu "
                     "tokens; the file is corrupt",
                     tokenizer->path, where, text, (long long)id, tokens);
}

static hone_status put_token(hone_tokenizer *tokenizer, int32_t id, const char *text, size_t length,
                             hone_token_kind kind) {
    HONE_TRY(hone_vocab_put(&tokenizer->vocab, id, text, length, kind));
    if (id >= tokenizer->size) tokenizer->size = id + 1;
    return HONE_OK;
}

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
        HONE_TRY(check_id(tokenizer, json_integer_value(id), count, "model.vocab", text));
        int32_t number = (int32_t)json_integer_value(id);
        const hone_token *other = hone_vocab_at(&tokenizer->vocab, number);
        if (other) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: model.vocab: '%.100s' and '%.100s' have the "
                             "same id %d",
                             tokenizer->path, hone_vocab_text(&tokenizer->vocab, other), text,
                             number);
        }
        HONE_TRY(put_token(tokenizer, number, text, length, HONE_TOKEN_NORMAL));
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
    HONE_TRY(hone_buf_append(joined, merge->right, merge->right_length));
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

static hone_status load_merges(hone_tokenizer *tokenizer, const json_t *model) {
    const json_t *merges;
    HONE_TRY(hone_json_get_array(&merges, model, "merges", tokenizer->path));
    size_t count = json_array_size(merges);
    HONE_TRY(hone_bpe_reserve(&tokenizer->bpe, count));
    hone_buf joined = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        halves merge;
        if (read_merge(&merge, json_array_get(merges, i))) {
            status = add_merge(tokenizer, &merge, i, &joined);
        } else {
            status = hone_fail(HONE_ERR_FORMAT, "%s: model.merges[%zu] is no pair of tokens",
                               tokenizer->path, i);
        }
    }
    hone_buf_free(&joined);
    return status;
}

/* --- Model --- */

/* Options that change the result and are not built. */
static hone_status refuse_options(const hone_tokenizer *tokenizer, const json_t *model) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const char *affix = NULL;
        HONE_TRY(hone_json_opt_string(&affix, model, affixes[i], tokenizer->path));
        if (affix && *affix) {
            return hone_fail(HONE_ERR_UNSUPPORTED, "%s: model.%s '%.100s' is not supported",
                             tokenizer->path, affixes[i], affix);
        }
    }
    double dropout = 0;
    HONE_TRY(hone_json_opt_number(&dropout, model, "dropout", tokenizer->path));
    if (dropout == 0) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: model.dropout %g is not supported: token ids would "
                     "be random; set it to null",
                     tokenizer->path, dropout);
}

static hone_status load_unknown(hone_tokenizer *tokenizer, const json_t *model) {
    const char *unknown = NULL;
    HONE_TRY(hone_json_opt_string(&unknown, model, "unk_token", tokenizer->path));
    if (!unknown || !*unknown) return HONE_OK;
    tokenizer->bpe.unknown = hone_vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    if (tokenizer->bpe.unknown >= 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: model.unk_token '%.100s' is not in the vocabulary",
                     tokenizer->path, unknown);
}

static hone_status load_model(hone_tokenizer *tokenizer, const json_t *root) {
    const json_t *model;
    const char *file = tokenizer->path;
    const char *type = "BPE"; /* older files leave it out */
    hone_bpe *bpe = &tokenizer->bpe;
    HONE_TRY(hone_json_get_object(&model, root, "model", file));
    HONE_TRY(hone_json_opt_string(&type, model, "type", file));
    if (strcmp(type, "BPE") != 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: model: the type '%.100s' is not known; known "
                         "is BPE",
                         file, type);
    }
    HONE_TRY(refuse_options(tokenizer, model));
    HONE_TRY(hone_json_opt_bool(&bpe->byte_fallback, model, "byte_fallback", file));
    HONE_TRY(hone_json_opt_bool(&bpe->fuse_unknown, model, "fuse_unk", file));
    HONE_TRY(hone_json_opt_bool(&bpe->ignore_merges, model, "ignore_merges", file));
    HONE_TRY(load_vocab(tokenizer, model));
    HONE_TRY(load_unknown(tokenizer, model));
    return load_merges(tokenizer, model);
}

/* --- Added tokens --- */

hone_status hone_tokenizer_add_json(hone_tokenizer *tokenizer, const json_t *json, int64_t id,
                                    const char *file) {
    const json_t *content = json_object_get(json, "content");
    if (!json_is_string(content)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: added token %lld lacks its 'content'", file,
                         (long long)id);
    }
    const char *text = json_string_value(content);
    size_t length = json_string_length(content);
    hone_added_token token = {.id = hone_vocab_find(&tokenizer->vocab, text, length)};
    bool special = false;
    HONE_TRY(hone_json_opt_bool(&special, json, "special", file));
    token.control = special;
    token.normalized = !special;
    HONE_TRY(hone_json_opt_bool(&token.normalized, json, "normalized", file));
    HONE_TRY(hone_json_opt_bool(&token.lstrip, json, "lstrip", file));
    HONE_TRY(hone_json_opt_bool(&token.rstrip, json, "rstrip", file));
    HONE_TRY(hone_json_opt_bool(&token.single_word, json, "single_word", file));
    if (token.id < 0) {
        HONE_TRY(check_id(tokenizer, id, (size_t)tokenizer->size, "added_tokens", text));
        const hone_token *other = hone_vocab_at(&tokenizer->vocab, (int32_t)id);
        if (other) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: added_tokens: '%.100s' has the id %lld of "
                             "'%.100s'; the file is corrupt",
                             file, text, (long long)id, hone_vocab_text(&tokenizer->vocab, other));
        }
        token.id = (int32_t)id;
        HONE_TRY(put_token(tokenizer, token.id, text, length, HONE_TOKEN_NORMAL));
    }
    tokenizer->vocab.tokens[token.id].kind = special ? HONE_TOKEN_CONTROL : HONE_TOKEN_USER;
    return hone_tokenizer_add(tokenizer, &token, text, length);
}

static hone_status load_added(hone_tokenizer *tokenizer, const json_t *root) {
    const json_t *added = NULL;
    HONE_TRY(hone_json_opt_array(&added, root, "added_tokens", tokenizer->path));
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        int64_t id;
        HONE_TRY(hone_json_get_int(&id, token, "id", 0, INT32_MAX - 1, tokenizer->path));
        HONE_TRY(hone_tokenizer_add_json(tokenizer, token, id, tokenizer->path));
    }
    return HONE_OK;
}

/* --- The file --- */

static hone_status check_around(const hone_tokenizer *tokenizer, const hone_ids *ids) {
    for (size_t i = 0; i < ids->count; i++) {
        if (hone_vocab_at(&tokenizer->vocab, ids->items[i])) continue;
        return hone_fail(HONE_ERR_FORMAT, "%s: post_processor: there is no token %d",
                         tokenizer->path, ids->items[i]);
    }
    return HONE_OK;
}

/* Without a tokenizer_config.json: the first token put before a text is bos, the last behind it eos. */
static void guess_ends(hone_tokenizer *tokenizer) {
    if (tokenizer->prefix.count) tokenizer->bos = tokenizer->prefix.items[0];
    if (tokenizer->suffix.count) {
        tokenizer->eos = tokenizer->suffix.items[tokenizer->suffix.count - 1];
    }
}

static hone_status load_root(hone_tokenizer *tokenizer, const json_t *root) {
    if (!json_is_object(root)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s where an object belongs; this is no "
                         "tokenizer.json",
                         tokenizer->path, hone_json_kind(root));
    }
    HONE_TRY(load_model(tokenizer, root));
    HONE_TRY(hone_tokenizer_components(tokenizer, root));
    HONE_TRY(load_added(tokenizer, root));
    HONE_TRY(check_around(tokenizer, &tokenizer->prefix));
    HONE_TRY(check_around(tokenizer, &tokenizer->suffix));
    guess_ends(tokenizer);
    return HONE_OK;
}

static hone_status load_bytes(hone_tokenizer **out, const char *bytes, size_t length,
                              const char *path, const char *folder) {
    hone_tokenizer *tokenizer;
    json_t *root = NULL;
    HONE_TRY(hone_tokenizer_new(&tokenizer, path));
    hone_status status = hone_json_parse(&root, bytes, length, path);
    if (status == HONE_OK) {
        hone_sha256_bytes(tokenizer->hash, bytes, length);
        status = load_root(tokenizer, root);
    }
    if (status == HONE_OK && folder) status = hone_tokenizer_configure(tokenizer, folder);
    if (status == HONE_OK) status = hone_tokenizer_finish(tokenizer);
    json_decref(root);
    if (status != HONE_OK) {
        hone_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return HONE_OK;
}

hone_status hone_tokenizer_load_bytes(hone_tokenizer **out, const char *bytes, size_t length,
                                      const char *name) {
    return load_bytes(out, bytes, length, name, NULL);
}

static hone_status load_file(hone_tokenizer **out, const char *path, const char *folder) {
    hone_map map = {0};
    HONE_TRY(hone_map_open(&map, path));
    hone_status status = load_bytes(out, (const char *)map.data, map.length, path, folder);
    hone_map_close(&map);
    return status;
}

hone_status hone_tokenizer_load_json(hone_tokenizer **out, const char *path) {
    return load_file(out, path, NULL);
}

hone_status hone_tokenizer_load_folder(hone_tokenizer **out, const char *folder) {
    char *path = hone_path_join(folder, "tokenizer.json");
    if (!path) return HONE_ERR_MEMORY;
    hone_status status;
    if (hone_path_exists(path)) {
        status = load_file(out, path, folder);
    } else {
        status = hone_fail(HONE_ERR_IO,
                           "%s: there is no such file; hone reads the tokenizer of a "
                           "Hugging Face folder from it",
                           path);
    }
    hone_free(path);
    return status;
}
