/*
 * The tokenizer of a Hugging Face folder, by the files that are there.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "formats/json.h"
#include "text/pretokenize_names.h"
#include "text/tokenizer_spm.h"

/* *out: the path of the first of these files that the folder has, or NULL. */
static hone_status find_file(char **out, const char *folder, const char *const *names) {
    *out = NULL;
    for (; *names; names++) {
        char *path = hone_path_join(folder, *names);
        if (!path) return HONE_ERR_MEMORY;
        if (hone_path_exists(path)) {
            *out = path;
            return HONE_OK;
        }
        hone_free(path);
    }
    return HONE_OK;
}

static const char *const json_names[] = {"tokenizer.json", NULL};
static const char *const spm_names[] = {"tokenizer.model", "spiece.model", NULL};
static const char *const vocab_names[] = {"vocab.json", NULL};
static const char *const merges_names[] = {"merges.txt", NULL};
static const char *const config_names[] = {"tokenizer_config.json", NULL};

/* tokenizer_config.json; *config stays NULL without one. */
static hone_status load_config(json_t **config, char **path, const char *folder) {
    *config = NULL;
    HONE_TRY(find_file(path, folder, config_names));
    return *path ? hone_json_load(config, *path) : HONE_OK;
}

/* --- vocab.json and merges.txt --- */

typedef struct class_row {
    const char *name;
    const char *parts; /* of a tokenizer.json; %s: whether a space is put in front */
} class_row;

#define BYTE_LEVEL "\"decoder\": {\"type\": \"ByteLevel\"}"
static const char gpt2_parts[] = "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                                 "\"add_prefix_space\": %s, \"use_regex\": true}, " BYTE_LEVEL "}";
static const char qwen2_parts[] =
    "{\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", "
    "\"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"
    "|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\", \"invert\": "
    "false}, "
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"use_regex\": false}]}, " BYTE_LEVEL "}";

static const class_row classes[] = {
    {"GPT2Tokenizer", gpt2_parts},
    {"GPT2TokenizerFast", gpt2_parts},
    {"Qwen2Tokenizer", qwen2_parts},
    {"Qwen2TokenizerFast", qwen2_parts},
};

static hone_status find_class(const class_row **out, const json_t *config, const char *file,
                              const char *folder) {
    const char *name = NULL;
    HONE_TRY(hone_json_opt_string(&name, config, "tokenizer_class", file));
    for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++) {
        *out = &classes[i];
        if (strcmp(classes[i].name, name) == 0) return HONE_OK;
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: vocab.json and merges.txt without a tokenizer.json need a "
                     "tokenizer_config.json with the tokenizer_class GPT2Tokenizer or "
                     "Qwen2Tokenizer, not '%.100s'; load the folder with transformers and save it "
                     "again, that writes a tokenizer.json",
                     folder, name ? name : "none");
}

static hone_status parse_parts(json_t **root, const class_row *row, const json_t *config,
                               const char *file) {
    bool prefix = false;
    HONE_TRY(hone_json_opt_bool(&prefix, config, "add_prefix_space", file));
    hone_buf text = {0};
    hone_status status = hone_buf_printf(&text, row->parts, prefix ? "true" : "false");
    if (status == HONE_OK) status = hone_json_parse(root, text.data, text.length, file);
    hone_buf_free(&text);
    return status;
}

/* The lines of a merges.txt. */
static hone_status read_merges(json_t **out, char hash[65], const char *path) {
    hone_map map = {0};
    HONE_TRY(hone_map_open(&map, path));
    const char *text = (const char *)map.data;
    hone_sha256_bytes(hash, text, map.length);
    *out = json_array();
    bool good = *out != NULL;
    for (size_t at = 0; at < map.length && good;) {
        const char *newline = memchr(text + at, '\n', map.length - at);
        size_t end = newline ? (size_t)(newline - text) : map.length;
        size_t length = end - at;
        if (length > 0 && text[end - 1] == '\r') length--;
        if (length > 0) good = json_array_append_new(*out, json_stringn(text + at, length)) == 0;
        at = end + 1;
    }
    hone_map_close(&map);
    return good ? HONE_OK
                : hone_fail(HONE_ERR_FORMAT, "%s: a line that is no UTF-8, or no memory", path);
}

static hone_status add_model(json_t *root, char hash[65], const char *vocab_path,
                             const char *merges_path) {
    json_t *vocab = NULL, *merges = NULL;
    hone_map map = {0};
    char merges_hash[65];
    hone_status status = read_merges(&merges, merges_hash, merges_path);
    if (status == HONE_OK) status = hone_map_open(&map, vocab_path);
    if (status == HONE_OK) {
        hone_buf both = {0};
        hone_sha256_bytes(hash, map.data, map.length);
        status = hone_buf_printf(&both, "%s%s", hash, merges_hash);
        if (status == HONE_OK) hone_sha256_bytes(hash, both.data, both.length);
        hone_buf_free(&both);
        if (status == HONE_OK) {
            status = hone_json_parse(&vocab, (const char *)map.data, map.length, vocab_path);
        }
        hone_map_close(&map);
    }
    json_t *model = json_pack("{s:s, s:O, s:O}", "type", "BPE", "vocab", vocab, "merges", merges);
    if (status == HONE_OK && json_object_set_new(root, "model", model) != 0) {
        status = hone_fail(HONE_ERR_MEMORY, "out of memory: cannot hold the tokenizer of %s",
                           vocab_path);
        model = NULL;
    } else if (status != HONE_OK) {
        json_decref(model);
    }
    json_decref(vocab);
    json_decref(merges);
    return status;
}

/* What both classes take for the end of a text, unless the config names another. */
static hone_status add_default_end(json_t *root, const json_t *config) {
    static const char end[] = "<|endoftext|>";
    const json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const json_t *id = json_object_get(vocab, end);
    if (!json_is_integer(id) || json_object_get(config, "eos_token")) return HONE_OK;
    json_t *added = json_pack("[{s:O, s:s, s:b}]", "id", id, "content", end, "special", 1);
    return json_object_set_new(root, "added_tokens", added) == 0 ? HONE_OK : HONE_ERR_MEMORY;
}

/* `path`: of vocab.json. */
static hone_status root_of_vocab(json_t **root, char hash[65], const char *path,
                                 const char *folder) {
    char *merges_path = NULL, *config_path = NULL;
    json_t *config = NULL;
    const class_row *row;
    hone_status status = find_file(&merges_path, folder, merges_names);
    if (status == HONE_OK && !merges_path) {
        status = hone_fail(HONE_ERR_IO, "%s: a vocab.json without a merges.txt; add it", folder);
    }
    if (status == HONE_OK) status = load_config(&config, &config_path, folder);
    const char *file = config_path ? config_path : folder;
    if (status == HONE_OK) status = find_class(&row, config, file, folder);
    if (status == HONE_OK) status = parse_parts(root, row, config, file);
    if (status == HONE_OK) status = add_model(*root, hash, path, merges_path);
    if (status == HONE_OK) status = add_default_end(*root, config);
    json_decref(config);
    hone_free(config_path);
    hone_free(merges_path);
    return status;
}

static hone_status no_tokenizer(const char *folder) {
    return hone_fail(HONE_ERR_IO,
                     "%s: there is no tokenizer.json, no tokenizer.model or spiece.model, and no "
                     "vocab.json with merges.txt: a Hugging Face folder needs one of them",
                     folder);
}

static hone_status load_json(json_t **root, char hash[65], const char *path) {
    hone_map map = {0};
    HONE_TRY(hone_map_open(&map, path));
    hone_sha256_bytes(hash, map.data, map.length);
    hone_status status = hone_json_parse(root, (const char *)map.data, map.length, path);
    hone_map_close(&map);
    return status;
}

hone_status hone_tokenizer_folder_root(json_t **root, char **path, char hash[65],
                                       const char *folder) {
    *root = NULL;
    HONE_TRY(find_file(path, folder, json_names));
    if (*path) return load_json(root, hash, *path);
    HONE_TRY(find_file(path, folder, spm_names));
    if (*path) return HONE_OK;
    HONE_TRY(find_file(path, folder, vocab_names));
    if (!*path) return no_tokenizer(folder);
    hone_status status = root_of_vocab(root, hash, *path, folder);
    if (status == HONE_OK) return HONE_OK;
    json_decref(*root);
    *root = NULL;
    return status;
}

/* --- All kinds --- */

static hone_status fill_spm(hone_tokenizer *tokenizer, const char *path, const char *folder) {
    hone_map map = {0};
    char *config_path = NULL;
    json_t *config = NULL;
    hone_status status = load_config(&config, &config_path, folder);
    if (status == HONE_OK) status = hone_map_open(&map, path);
    if (status == HONE_OK) {
        hone_sha256_bytes(tokenizer->hash, map.data, map.length);
        status = hone_tokenizer_fill_spm(tokenizer, map.data, map.length, config,
                                         config_path ? config_path : path);
        hone_map_close(&map);
    }
    json_decref(config);
    hone_free(config_path);
    return status;
}

static hone_status finish(hone_tokenizer **out, hone_tokenizer *tokenizer, hone_status status) {
    if (status == HONE_OK) status = hone_tokenizer_finish(tokenizer);
    if (status == HONE_OK) {
        *out = tokenizer;
    } else {
        hone_tokenizer_free(tokenizer);
    }
    return status;
}

hone_status hone_tokenizer_load_spm(hone_tokenizer **out, const void *bytes, size_t length,
                                    const char *name) {
    hone_tokenizer *tokenizer;
    HONE_TRY(hone_tokenizer_new(&tokenizer, name));
    hone_sha256_bytes(tokenizer->hash, bytes, length);
    return finish(out, tokenizer, hone_tokenizer_fill_spm(tokenizer, bytes, length, NULL, name));
}

hone_status hone_tokenizer_load_folder(hone_tokenizer **out, const char *folder) {
    hone_tokenizer *tokenizer = NULL;
    json_t *root = NULL;
    char *path = NULL;
    char hash[65] = "";
    hone_status status = hone_tokenizer_folder_root(&root, &path, hash, folder);
    if (status == HONE_OK) status = hone_tokenizer_new(&tokenizer, path);
    if (status == HONE_OK) {
        memcpy(tokenizer->hash, hash, sizeof hash);
        status = root ? hone_tokenizer_fill(tokenizer, root) : fill_spm(tokenizer, path, folder);
        if (status == HONE_OK) status = hone_tokenizer_configure(tokenizer, folder);
        status = finish(out, tokenizer, status);
    }
    json_decref(root);
    hone_free(path);
    return status;
}
