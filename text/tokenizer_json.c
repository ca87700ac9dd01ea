/*
 * tokenizer.json: its added tokens, and the file as a whole. Its model is in tokenizer_models.c, its other parts in
 * components.c.
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

hone_status hone_tokenizer_check_id(const hone_tokenizer *tokenizer, int64_t id, size_t tokens,
                                    const char *where, const char *text) {
    if (id >= 0 && (uint64_t)id < 4 * (uint64_t)tokens + ID_SLACK) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: %s: '%.100s' has the id %lld, out of range for %zu "
                     "tokens; the file is corrupt",
                     tokenizer->path, where, text, (long long)id, tokens);
}

hone_status hone_tokenizer_put(hone_tokenizer *tokenizer, int32_t id, const char *text,
                               size_t length, hone_token_kind kind) {
    HONE_TRY(hone_vocab_put(&tokenizer->vocab, id, text, length, kind));
    if (id >= tokenizer->size) tokenizer->size = id + 1;
    return HONE_OK;
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
        HONE_TRY(
            hone_tokenizer_check_id(tokenizer, id, (size_t)tokenizer->size, "added_tokens", text));
        const hone_token *other = hone_vocab_at(&tokenizer->vocab, (int32_t)id);
        if (other) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: added_tokens: '%.100s' has the id %lld of "
                             "'%.100s'; the file is corrupt",
                             file, text, (long long)id, hone_vocab_text(&tokenizer->vocab, other));
        }
        token.id = (int32_t)id;
        HONE_TRY(hone_tokenizer_put(tokenizer, token.id, text, length, HONE_TOKEN_NORMAL));
        tokenizer->vocab.tokens[token.id].outside = true;
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

hone_status hone_tokenizer_fill(hone_tokenizer *tokenizer, const json_t *root) {
    if (!json_is_object(root)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s where an object belongs; this is no "
                         "tokenizer.json",
                         tokenizer->path, hone_json_kind(root));
    }
    HONE_TRY(hone_tokenizer_load_model(tokenizer, root));
    HONE_TRY(hone_tokenizer_components(tokenizer, root));
    HONE_TRY(load_added(tokenizer, root));
    HONE_TRY(check_around(tokenizer, &tokenizer->prefix));
    HONE_TRY(check_around(tokenizer, &tokenizer->suffix));
    guess_ends(tokenizer);
    return HONE_OK;
}

hone_status hone_tokenizer_load_bytes(hone_tokenizer **out, const char *bytes, size_t length,
                                      const char *name) {
    hone_tokenizer *tokenizer;
    json_t *root = NULL;
    HONE_TRY(hone_tokenizer_new(&tokenizer, name));
    hone_status status = hone_json_parse(&root, bytes, length, name);
    if (status == HONE_OK) {
        hone_sha256_bytes(tokenizer->hash, bytes, length);
        status = hone_tokenizer_fill(tokenizer, root);
    }
    if (status == HONE_OK) status = hone_tokenizer_finish(tokenizer);
    json_decref(root);
    if (status != HONE_OK) {
        hone_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return HONE_OK;
}

hone_status hone_tokenizer_load_json(hone_tokenizer **out, const char *path) {
    hone_map map = {0};
    HONE_TRY(hone_map_open(&map, path));
    hone_status status = hone_tokenizer_load_bytes(out, (const char *)map.data, map.length, path);
    hone_map_close(&map);
    return status;
}
