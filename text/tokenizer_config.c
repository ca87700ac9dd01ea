/*
 * What a Hugging Face folder says about its tokenizer outside tokenizer.json: bos, eos and further added tokens
 * (tokenizer_config.json), further ends of generation (config.json, generation_config.json). Whether bos and eos are put
 * around a text is the post-processor's: transformers 5 ignores add_bos_token and add_eos_token beside a tokenizer.json.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "formats/json.h"
#include "text/tokenizer_parts.h"

/* Reads a file of the folder; *out stays NULL when there is none. */
static hone_status read_file(json_t **out, char **path, const char *folder, const char *name) {
    *out = NULL;
    *path = hone_path_join(folder, name);
    if (!*path) return HONE_ERR_MEMORY;
    if (!hone_path_exists(*path)) return HONE_OK;
    HONE_TRY(hone_json_load(out, *path));
    if (json_is_object(*out)) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: %s where an object belongs", *path,
                     hone_json_kind(*out));
}

/* Tokens that only the config knows. */
static hone_status add_tokens(hone_tokenizer *tokenizer, const json_t *config, const char *path) {
    const json_t *added = NULL;
    HONE_TRY(hone_json_opt_object(&added, config, "added_tokens_decoder", path));
    const char *key;
    json_t *token;
    json_object_foreach((json_t *)(uintptr_t)added, key, token) {
        char *end;
        long long id = strtoll(key, &end, 10);
        if (*end || end == key || id < 0 || id >= INT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: added_tokens_decoder: '%.40s' is no token id",
                             path, key);
        }
        const hone_token *known = hone_vocab_at(&tokenizer->vocab, (int32_t)id);
        if (known && known->kind != HONE_TOKEN_NORMAL) continue;
        HONE_TRY(hone_tokenizer_add_json(tokenizer, token, id, path));
    }
    return HONE_OK;
}

/* "bos_token": "<s>", or {"content": "<s>", ...}, or null. */
static hone_status named_token(int32_t *out, const hone_tokenizer *tokenizer, const json_t *config,
                               const char *key, const char *path) {
    const json_t *value = json_object_get(config, key);
    if (!value) return HONE_OK;
    *out = -1;
    if (json_is_null(value)) return HONE_OK;
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: '%s' must be a token", path, key);
    }
    const char *text = json_string_value(content);
    *out = hone_tokenizer_find(tokenizer, text);
    if (*out >= 0 || !*text) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: '%s': there is no token '%.100s' in the vocabulary",
                     path, key, text);
}

static hone_status name_token(hone_tokenizer *tokenizer, const char *name, const json_t *token) {
    const json_t *text = json_is_object(token) ? json_object_get(token, "content") : token;
    if (!json_is_string(text) || json_object_get(tokenizer->named, name)) return HONE_OK;
    if (!tokenizer->named) tokenizer->named = json_object();
    int failed = json_object_set(tokenizer->named, name, (json_t *)(uintptr_t)text);
    return failed ? HONE_ERR_MEMORY : HONE_OK;
}

/* Special tokens by name: every ..._token, and those of a model's own, whatever they are called. */
static hone_status name_tokens(hone_tokenizer *tokenizer, const json_t *config) {
    static const char *const own[] = {"model_specific_special_tokens", "extra_special_tokens"};
    const char *key;
    json_t *value;
    for (int i = 0; i < 2; i++) {
        json_object_foreach(json_object_get(config, own[i]), key, value) {
            HONE_TRY(name_token(tokenizer, key, value));
        }
    }
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        size_t length = strlen(key);
        if (length > 6 && strcmp(key + length - 6, "_token") == 0)
            HONE_TRY(name_token(tokenizer, key, value));
    }
    return HONE_OK;
}

/* eos_token_id: a number, a list, or null; bos_token_id where nothing else says it. */
static hone_status model_ends(hone_tokenizer *tokenizer, const json_t *config, const char *path) {
    const json_t *eos = json_object_get(config, "eos_token_id");
    size_t count = json_is_array(eos) ? json_array_size(eos) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!id || json_is_null(id)) continue;
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= INT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: eos_token_id: %s is no token id", path,
                             hone_json_kind(id));
        }
        int32_t end = (int32_t)json_integer_value(id);
        if (!hone_vocab_at(&tokenizer->vocab, end)) continue;
        HONE_TRY(hone_ids_add(&tokenizer->ends, end));
        if (tokenizer->eos < 0) tokenizer->eos = end;
    }
    const json_t *bos = json_object_get(config, "bos_token_id");
    if (tokenizer->bos < 0 && json_is_integer(bos) && json_integer_value(bos) >= 0 &&
        json_integer_value(bos) < tokenizer->size) {
        tokenizer->bos = (int32_t)json_integer_value(bos);
    }
    return HONE_OK;
}

/* The hash of the file, and of what the config changed. */
static hone_status rehash(hone_tokenizer *tokenizer, const json_t *config) {
    hone_buf all = {0};
    hone_status status = hone_buf_puts(&all, tokenizer->hash);
    const json_t *added = json_object_get(config, "added_tokens_decoder");
    if (status == HONE_OK && added) status = hone_json_append(&all, added, 0);
    for (int i = 0; i < 2; i++) {
        const hone_ids *ids = i == 0 ? &tokenizer->prefix : &tokenizer->suffix;
        for (size_t k = 0; k < ids->count && status == HONE_OK; k++) {
            status = hone_buf_printf(&all, "%s%d", k ? "," : "|", ids->items[k]);
        }
    }
    if (status == HONE_OK) hone_sha256_bytes(tokenizer->hash, all.data, all.length);
    hone_buf_free(&all);
    return status;
}

/* special_tokens_map.json: bos and eos where the tokenizer's own config says none. */
static hone_status read_special(hone_tokenizer *tokenizer, const json_t *map, const char *path) {
    if (tokenizer->bos < 0)
        HONE_TRY(named_token(&tokenizer->bos, tokenizer, map, "bos_token", path));
    if (tokenizer->eos >= 0) return HONE_OK;
    return named_token(&tokenizer->eos, tokenizer, map, "eos_token", path);
}

/* Whether a text stands anywhere in special_tokens_map.json. */
static bool is_named(const json_t *value, const char *text) {
    if (json_is_string(value)) return strcmp(json_string_value(value), text) == 0;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        if (is_named(member, text)) return true;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (is_named(json_array_get(value, i), text)) return true;
    }
    return false;
}

/* added_tokens.json, {text: id}: what the other files have not named. Special is what `special` names. */
static hone_status read_added(hone_tokenizer *tokenizer, const json_t *added, const json_t *special,
                              const char *path) {
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)added, text, id) {
        int32_t known = hone_vocab_find(&tokenizer->vocab, text, strlen(text));
        if (known >= 0 && tokenizer->vocab.tokens[known].kind != HONE_TOKEN_NORMAL) continue;
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= INT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: '%.100s' has no token id", path, text);
        }
        json_t *token =
            json_pack("{s:s, s:b}", "content", text, "special", is_named(special, text));
        hone_status status =
            token ? hone_tokenizer_add_json(tokenizer, token, json_integer_value(id), path)
                  : HONE_ERR_MEMORY;
        json_decref(token);
        HONE_TRY(status);
    }
    return HONE_OK;
}

/* "x" or {"content": "x", ...}: special, where the vocabulary has it as an ordinary token. */
static hone_status make_special(hone_tokenizer *tokenizer, const json_t *value, const char *path) {
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content)) return HONE_OK;
    int32_t id = hone_tokenizer_find(tokenizer, json_string_value(content));
    if (id < 0 || tokenizer->vocab.tokens[id].kind != HONE_TOKEN_NORMAL) return HONE_OK;
    json_t *token = json_is_object(value) ? json_copy((json_t *)(uintptr_t)value)
                                          : json_pack("{s:O}", "content", content);
    hone_status status = HONE_ERR_MEMORY;
    if (token && json_object_set_new(token, "special", json_true()) == 0)
        status = hone_tokenizer_add_json(tokenizer, token, id, path);
    json_decref(token);
    return status;
}

/* The tokens that a file names: bos_token, pad_token ..., additional_special_tokens. */
static hone_status make_named_special(hone_tokenizer *tokenizer, const json_t *config,
                                      const char *path) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        size_t length = strlen(key);
        if (length > 6 && strcmp(key + length - 6, "_token") == 0)
            HONE_TRY(make_special(tokenizer, value, path));
        if (strcmp(key, "additional_special_tokens") != 0) continue;
        for (size_t i = 0; i < json_array_size(value); i++)
            HONE_TRY(make_special(tokenizer, json_array_get(value, i), path));
    }
    return HONE_OK;
}

/* Beside a vocab.json the config says whether bos and eos are put around a text. */
static hone_status put_around(hone_tokenizer *tokenizer, const json_t *config, const char *path) {
    bool bos = false, eos = false;
    HONE_TRY(hone_json_opt_bool(&bos, config, "add_bos_token", path));
    HONE_TRY(hone_json_opt_bool(&eos, config, "add_eos_token", path));
    if (bos && tokenizer->bos >= 0) HONE_TRY(hone_ids_add(&tokenizer->prefix, tokenizer->bos));
    if (eos && tokenizer->eos >= 0) HONE_TRY(hone_ids_add(&tokenizer->suffix, tokenizer->eos));
    return HONE_OK;
}

/* Files that transformers reads where there is no tokenizer.json, and what it reads in tokenizer_config.json then. */
static hone_status read_older_files(hone_tokenizer *tokenizer, const char *folder,
                                    const json_t *config, const char *path) {
    json_t *special = NULL, *added = NULL;
    char *special_path = NULL, *added_path = NULL;
    const char *name = strrchr(tokenizer->path, '/');
    hone_status status = read_file(&special, &special_path, folder, "special_tokens_map.json");
    if (status == HONE_OK) status = read_file(&added, &added_path, folder, "added_tokens.json");
    if (status == HONE_OK) status = read_added(tokenizer, added, special, added_path);
    if (status == HONE_OK) status = read_special(tokenizer, special, special_path);
    if (status == HONE_OK) status = make_named_special(tokenizer, config, path);
    if (status == HONE_OK) status = make_named_special(tokenizer, special, special_path);
    if (status == HONE_OK) status = name_tokens(tokenizer, special);
    if (status == HONE_OK && name && strcmp(name, "/vocab.json") == 0)
        status = put_around(tokenizer, config, path);
    if (status == HONE_OK) status = rehash(tokenizer, added);
    json_decref(special);
    json_decref(added);
    hone_free(special_path);
    hone_free(added_path);
    return status;
}

static hone_status read_tokenizer_config(hone_tokenizer *tokenizer, const json_t *config,
                                         const char *path) {
    HONE_TRY(add_tokens(tokenizer, config, path));
    HONE_TRY(named_token(&tokenizer->bos, tokenizer, config, "bos_token", path));
    HONE_TRY(named_token(&tokenizer->eos, tokenizer, config, "eos_token", path));
    HONE_TRY(name_tokens(tokenizer, config));
    return rehash(tokenizer, config);
}

hone_status hone_tokenizer_configure(hone_tokenizer *tokenizer, const char *folder) {
    static const char *const names[] = {"tokenizer_config.json", "generation_config.json",
                                        "config.json"};
    const char *name = strrchr(tokenizer->path, '/');
    bool older = !name || strcmp(name, "/tokenizer.json") != 0;
    for (int i = 0; i < 3; i++) {
        json_t *config = NULL;
        char *path = NULL;
        hone_status status = read_file(&config, &path, folder, names[i]);
        if (status == HONE_OK && config) {
            status = i == 0 ? read_tokenizer_config(tokenizer, config, path)
                            : model_ends(tokenizer, config, path);
        }
        if (status == HONE_OK && i == 0 && older)
            status = read_older_files(tokenizer, folder, config, path);
        json_decref(config);
        hone_free(path);
        HONE_TRY(status);
    }
    return HONE_OK;
}
