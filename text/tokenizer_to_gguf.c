/*
 * tokenizer.json to GGUF's keys, as llama.cpp's converter sets them.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "text/pretokenize_names.h"
#include "text/tokenizer_export.h"
#include "text/tokenizer_gguf_scores.h"
#include "text/tokenizer_parts.h"

#define KEY(name) "tokenizer.ggml." name

enum { PAD_TEXT = 24 };

typedef struct exporter {
    hone_gguf_writer *writer;
    const char *folder;
    char *path; /* of tokenizer.json */
    json_t *root;
    const json_t *model;
    hone_tokenizer *tokenizer;
    size_t count; /* tokens to write */
    bool sentencepiece;
} exporter;

static hone_status refuse(const exporter *e, const char *where, const char *what) {
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: %s: %s cannot be expressed in GGUF; export to safetensors instead",
                     e->path, where, what);
}

/* --- Normalisers and pre-tokenizers, as one flat list --- */

enum { MOST_PARTS = 8 };

typedef struct parts {
    const json_t *items[MOST_PARTS];
    size_t count;
} parts;

static const char *type_of(const json_t *part) {
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
}

static bool is_type(const json_t *part, const char *type) {
    return strcmp(type_of(part), type) == 0;
}

static hone_status flatten(parts *out, const exporter *e, const json_t *part, const char *where,
                           int depth) {
    if (!part || json_is_null(part)) return HONE_OK;
    if (!is_type(part, "Sequence")) {
        if (out->count == MOST_PARTS) return refuse(e, where, "a list of so many components");
        out->items[out->count++] = part;
        return HONE_OK;
    }
    const json_t *list = json_object_get(part, "normalizers");
    if (!list) list = json_object_get(part, "pretokenizers");
    for (size_t i = 0; depth < 8 && i < json_array_size(list); i++) {
        HONE_TRY(flatten(out, e, json_array_get(list, i), where, depth + 1));
    }
    return HONE_OK;
}

static hone_status get_parts(parts *out, const exporter *e, const char *where) {
    *out = (parts){0};
    return flatten(out, e, json_object_get(e->root, where), where, 0);
}

static bool text_is(const json_t *object, const char *key, const char *wanted) {
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, wanted) == 0;
}

static bool flag(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* --- Byte-level BPE: which pre-tokenizer --- */

typedef struct splits {
    hone_buf regexes[MOST_PARTS + 1];
    size_t count;
} splits;

/* The two spellings of Llama 3's contractions; the table of names has the second. */
static hone_status canonical(hone_buf *out, const char *regex) {
    static const char folded[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    static const char spelled[] = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
    if (strncmp(regex, folded, strlen(folded)) != 0) return hone_buf_puts(out, regex);
    HONE_TRY(hone_buf_puts(out, spelled));
    return hone_buf_puts(out, regex + strlen(folded));
}

static hone_status take_split(splits *out, const exporter *e, const json_t *part) {
    const char *regex = NULL;
    if (is_type(part, "Split")) {
        regex = json_string_value(json_object_get(json_object_get(part, "pattern"), "Regex"));
        bool plain = text_is(part, "behavior", "Isolated") && !flag(part, "invert", false);
        if (!regex || !plain) return refuse(e, "pre_tokenizer", "this Split");
    } else if (is_type(part, "Digits") && flag(part, "individual_digits", false)) {
        regex = "\\p{N}";
    } else if (is_type(part, "ByteLevel")) {
        if (flag(part, "add_prefix_space", true)) {
            return refuse(e, "pre_tokenizer", "ByteLevel with add_prefix_space");
        }
        if (flag(part, "use_regex", true)) regex = hone_gpt2_regex;
    } else {
        return refuse(e, "pre_tokenizer", type_of(part));
    }
    return regex ? canonical(&out->regexes[out->count++], regex) : HONE_OK;
}

static bool same_splits(const splits *a, const hone_pretokenizer *b) {
    size_t count = 0;
    while (count < 4 && b->regexes[count]) count++;
    if (a->count != count) return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(a->regexes[i].data, b->regexes[i]) != 0) return false;
    }
    return true;
}

/* The name that stands for these splits. Names differ in what they say of merges, too. */
static hone_status find_name(const char **out, const exporter *e, const splits *found) {
    static const char *const names[] = {"gpt-2", "llama-bpe", "smaug-bpe",
                                        "qwen2", "smollm",    "falcon"};
    bool ignore = flag(e->model, "ignore_merges", false);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const hone_pretokenizer *known;
        HONE_TRY(hone_pretokenizer_find(&known, names[i], strlen(names[i]), e->path));
        if (known->ignore_merges != ignore || !same_splits(found, known)) continue;
        *out = names[i];
        return HONE_OK;
    }
    return refuse(e, "pre_tokenizer", "this way to split text (or to ignore merges)");
}

static hone_status set_pretokenizer(const exporter *e) {
    parts found;
    splits regexes = {0};
    const char *name = NULL;
    hone_status status = get_parts(&found, e, "pre_tokenizer");
    for (size_t i = 0; status == HONE_OK && i < found.count; i++) {
        status = take_split(&regexes, e, found.items[i]);
    }
    if (status == HONE_OK) status = find_name(&name, e, &regexes);
    for (size_t i = 0; i < MOST_PARTS; i++) hone_buf_free(&regexes.regexes[i]);
    HONE_TRY(status);
    return hone_gguf_set_string(e->writer, KEY("pre"), name, strlen(name));
}

static hone_status check_byte_level(const exporter *e) {
    parts found;
    HONE_TRY(get_parts(&found, e, "normalizer"));
    for (size_t i = 0; i < found.count; i++) {
        if (!is_type(found.items[i], "NFC")) {
            return refuse(e, "normalizer", type_of(found.items[i]));
        }
    }
    HONE_TRY(get_parts(&found, e, "pre_tokenizer"));
    if (found.count > 0 && is_type(found.items[found.count - 1], "ByteLevel")) return HONE_OK;
    return refuse(e, "pre_tokenizer", "a BPE without byte_fallback and without ByteLevel");
}

static hone_status append_merge(hone_buf *out, const exporter *e, const json_t *merge,
                                size_t index) {
    hone_merge_text pair;
    if (!hone_merge_read(&pair, merge) || memchr(pair.left, ' ', pair.left_length) ||
        memchr(pair.right, ' ', pair.right_length)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: model.merges[%zu] is no pair of byte-level tokens",
                         e->path, index);
    }
    HONE_TRY(hone_buf_append(out, pair.left, pair.left_length));
    HONE_TRY(hone_buf_append(out, " ", 1));
    return hone_buf_append(out, pair.right, pair.right_length);
}

/* All merges as texts in one buffer; lines[i] are their lengths first, their places once it no longer moves. */
static hone_status set_merges(const exporter *e) {
    const json_t *merges = json_object_get(e->model, "merges");
    size_t count = json_array_size(merges), at = 0;
    hone_gguf_string *lines = hone_alloc(count, sizeof *lines);
    if (!lines) return HONE_ERR_MEMORY;
    hone_buf all = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; status == HONE_OK && i < count; i++) {
        size_t before = all.length;
        status = append_merge(&all, e, json_array_get(merges, i), i);
        lines[i].length = all.length - before;
    }
    for (size_t i = 0; status == HONE_OK && i < count; at += lines[i++].length) {
        lines[i].data = all.data + at;
    }
    if (status == HONE_OK) status = hone_gguf_set_strings(e->writer, KEY("merges"), lines, count);
    hone_buf_free(&all);
    hone_free(lines);
    return status;
}

/* --- SentencePiece BPE --- */

static bool is_marker(const json_t *object, const char *key) {
    return text_is(object, key, "\xe2\x96\x81");
}

static hone_status space_prefix(bool *prefix, const exporter *e) {
    parts found;
    *prefix = false;
    HONE_TRY(get_parts(&found, e, "normalizer"));
    for (size_t i = 0; i < found.count; i++) {
        const json_t *part = found.items[i];
        bool prepends = is_type(part, "Prepend") && is_marker(part, "prepend");
        bool replaces = is_type(part, "Replace") && is_marker(part, "content") &&
                        text_is(json_object_get(part, "pattern"), "String", " ");
        if (!prepends && !replaces) return refuse(e, "normalizer", type_of(part));
        if (prepends) *prefix = true;
    }
    HONE_TRY(get_parts(&found, e, "pre_tokenizer"));
    for (size_t i = 0; i < found.count; i++) {
        const json_t *part = found.items[i];
        bool marks = is_type(part, "Metaspace") && is_marker(part, "replacement") &&
                     !flag(part, "split", true);
        /* Gemma's: the normaliser has left no spaces to split at */
        bool idle =
            is_type(part, "Split") && text_is(json_object_get(part, "pattern"), "String", " ");
        if (!marks && !idle) return refuse(e, "pre_tokenizer", type_of(part));
        if (marks && !text_is(part, "prepend_scheme", "never")) *prefix = true;
    }
    return HONE_OK;
}

static hone_status set_scores(const exporter *e) {
    bool prefix;
    HONE_TRY(space_prefix(&prefix, e));
    HONE_TRY(hone_gguf_set_bool(e->writer, KEY("add_space_prefix"), prefix));
    float *scores = hone_alloc(e->count, sizeof *scores);
    if (!scores) return HONE_ERR_MEMORY;
    hone_status status = hone_scores_of_merges(scores, &e->tokenizer->vocab, e->count,
                                               json_object_get(e->model, "merges"), e->path);
    if (status == HONE_OK) {
        status = hone_gguf_set_array(e->writer, KEY("scores"), HONE_GGUF_F32, scores, e->count);
    }
    hone_free(scores);
    return status;
}

/* --- Tokens --- */

static int32_t type_of_token(const exporter *e, const hone_token *token, const char *text) {
    const char *unknown = json_string_value(json_object_get(e->model, "unk_token"));
    bool is_unknown =
        unknown && strlen(unknown) == token->length && memcmp(unknown, text, token->length) == 0;
    if (e->sentencepiece && is_unknown) return HONE_TOKEN_UNKNOWN;
    if (e->sentencepiece && hone_spells_byte(text, token->length)) return HONE_TOKEN_BYTE;
    return token->kind;
}

static hone_status set_tokens(const exporter *e) {
    const hone_vocab *vocab = &e->tokenizer->vocab;
    hone_gguf_string *texts = hone_alloc(e->count, sizeof *texts);
    int32_t *types = hone_alloc(e->count, sizeof *types);
    char(*pads)[PAD_TEXT] = hone_alloc(e->count, sizeof *pads);
    hone_status status = texts && types && pads ? HONE_OK : HONE_ERR_MEMORY;
    for (size_t id = 0; status == HONE_OK && id < e->count; id++) {
        const hone_token *token =
            (int32_t)id < e->tokenizer->size ? hone_vocab_at(vocab, (int32_t)id) : NULL;
        if (token) {
            texts[id] = (hone_gguf_string){hone_vocab_text(vocab, token), token->length};
            types[id] = type_of_token(e, token, texts[id].data);
        } else {
            int length = snprintf(pads[id], PAD_TEXT, "[PAD%zu]", id);
            texts[id] = (hone_gguf_string){pads[id], (size_t)length};
            types[id] = HONE_TOKEN_UNUSED;
        }
    }
    if (status == HONE_OK) {
        status = hone_gguf_set_strings(e->writer, KEY("tokens"), texts, e->count);
    }
    if (status == HONE_OK) {
        status = hone_gguf_set_array(e->writer, KEY("token_type"), HONE_GGUF_I32, types, e->count);
    }
    hone_free(texts);
    hone_free(types);
    hone_free(pads);
    return status;
}

/* --- Special tokens --- */

static hone_status set_id(const exporter *e, const char *key, int32_t id) {
    return id < 0 ? HONE_OK : hone_gguf_set_u32(e->writer, key, (uint32_t)id);
}

/* The id of a token that tokenizer_config.json names: "x" or {"content": "x"}. */
static hone_status named_id(int32_t *out, const exporter *e, const char *key) {
    char *path = hone_path_join(e->folder, "tokenizer_config.json");
    json_t *config = NULL;
    hone_status status = path ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK && hone_path_exists(path)) status = hone_json_load(&config, path);
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    const char *text = json_string_value(value);
    *out = text ? hone_tokenizer_find(e->tokenizer, text) : -1;
    json_decref(config);
    hone_free(path);
    return status;
}

static hone_status set_special(const exporter *e) {
    const hone_tokenizer *tokenizer = e->tokenizer;
    int32_t padding;
    HONE_TRY(set_id(e, KEY("bos_token_id"), tokenizer->bos));
    HONE_TRY(set_id(e, KEY("eos_token_id"), tokenizer->eos));
    const char *unknown = json_string_value(json_object_get(e->model, "unk_token"));
    if (unknown) {
        HONE_TRY(set_id(e, KEY("unknown_token_id"), hone_tokenizer_find(tokenizer, unknown)));
    }
    HONE_TRY(named_id(&padding, e, "pad_token"));
    HONE_TRY(set_id(e, KEY("padding_token_id"), padding));
    bool bos = hone_tokenizer_adds_bos(tokenizer), eos = hone_tokenizer_adds_eos(tokenizer);
    HONE_TRY(hone_gguf_set_bool(e->writer, KEY("add_bos_token"), bos));
    return hone_gguf_set_bool(e->writer, KEY("add_eos_token"), eos);
}

/* --- All of it --- */

static hone_status check_model(exporter *e, int64_t vocabulary) {
    HONE_TRY(hone_json_get_object(&e->model, e->root, "model", e->path));
    e->sentencepiece = flag(e->model, "byte_fallback", false);
    e->count = (size_t)vocabulary;
    if (e->tokenizer->size <= vocabulary) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: has token %d, but the model has %lld tokens; it belongs to another model",
                     e->path, e->tokenizer->size - 1, (long long)vocabulary);
}

static hone_status export_all(exporter *e, int64_t vocabulary) {
    HONE_TRY(hone_tokenizer_load_folder(&e->tokenizer, e->folder));
    HONE_TRY(hone_json_load(&e->root, e->path));
    HONE_TRY(check_model(e, vocabulary));
    const char *kind = e->sentencepiece ? "llama" : "gpt2";
    HONE_TRY(hone_gguf_set_string(e->writer, KEY("model"), kind, strlen(kind)));
    if (e->sentencepiece) {
        HONE_TRY(hone_gguf_set_string(e->writer, KEY("pre"), "default", 7));
    } else {
        HONE_TRY(check_byte_level(e));
        HONE_TRY(set_pretokenizer(e));
    }
    HONE_TRY(set_tokens(e));
    HONE_TRY(e->sentencepiece ? set_scores(e) : set_merges(e));
    return set_special(e);
}

hone_status hone_tokenizer_to_gguf(hone_gguf_writer *writer, const char *folder,
                                   int64_t vocabulary) {
    exporter e = {.writer = writer, .folder = folder};
    e.path = hone_path_join(folder, "tokenizer.json");
    hone_status status = e.path ? export_all(&e, vocabulary) : HONE_ERR_MEMORY;
    hone_tokenizer_free(e.tokenizer);
    json_decref(e.root);
    hone_free(e.path);
    return status;
}
