/*
 * GGUF's tokenizer keys to tokenizer.json and tokenizer_config.json, as the tokenizers library reads them.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "text/pretokenize_names.h"
#include "text/tokenizer_export.h"
#include "text/tokenizer_gguf_scores.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

#define KEY(name) "tokenizer.ggml." name
#define MARKER    "\xe2\x96\x81"

typedef struct source {
    const hone_gguf *gguf;
    const char *path;
    hone_tokenizer *tokenizer;
    size_t count;
    bool sentencepiece;
    const hone_pretokenizer *pretokenizer; /* of byte-level BPE */
} source;

static hone_status no_memory(void) {
    return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make a tokenizer.json");
}

/* Takes over `value`. */
static hone_status put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0 ? HONE_OK : no_memory();
}

/* --- The vocabulary --- */

/* JSON keys and strings must be UTF-8, and a text can have one id only. */
static hone_status check_token(const source *s, int32_t id) {
    const hone_vocab *vocab = &s->tokenizer->vocab;
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    if (hone_utf8_valid(text, token->length) < token->length || memchr(text, '\0', token->length)) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: " KEY("tokens") "[%d] is not UTF-8: tokenizer.json cannot hold it",
                         s->path, id);
    }
    int32_t other = hone_vocab_find(vocab, text, token->length);
    if (other == id) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: " KEY("tokens") "[%d] and [%d] are the same text: tokenizer.json cannot "
                                          "hold both",
                     s->path, id, other);
}

static hone_status vocabulary(json_t **out, const source *s) {
    json_t *object = json_object();
    hone_status status = object ? HONE_OK : no_memory();
    for (int32_t id = 0; status == HONE_OK && id < (int32_t)s->count; id++) {
        status = check_token(s, id);
        if (status != HONE_OK) break;
        const hone_token *token = hone_vocab_at(&s->tokenizer->vocab, id);
        char *text = hone_strndup(hone_vocab_text(&s->tokenizer->vocab, token), token->length);
        status = text ? put(object, text, json_integer(id)) : HONE_ERR_MEMORY;
        hone_free(text);
    }
    *out = object;
    return status;
}

static bool is_added(const hone_token *token) {
    return token->kind == HONE_TOKEN_CONTROL || token->kind == HONE_TOKEN_UNKNOWN ||
           token->kind == HONE_TOKEN_USER;
}

static hone_status added_tokens(json_t **out, const source *s) {
    *out = json_array();
    if (!*out) return no_memory();
    for (int32_t id = 0; id < (int32_t)s->count; id++) {
        const hone_token *token = hone_vocab_at(&s->tokenizer->vocab, id);
        if (!is_added(token)) continue;
        json_t *entry = json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                                  hone_vocab_text(&s->tokenizer->vocab, token),
                                  (size_t)token->length, "single_word", 0, "lstrip", 0, "rstrip", 0,
                                  "normalized", 0, "special", token->kind != HONE_TOKEN_USER);
        if (json_array_append_new(*out, entry) != 0) return no_memory();
    }
    return HONE_OK;
}

/* --- Merges --- */

/* tokenizers refuses merges of what is no token; llama.cpp knows them as steps on the way. */
static bool is_token(const source *s, const char *text, size_t length) {
    int32_t id = hone_vocab_find(&s->tokenizer->vocab, text, length);
    return id >= 0 && id < (int32_t)s->count;
}

static hone_status append_merge(json_t *merges, const source *s, hone_gguf_string text) {
    const char *space = text.length > 1 ? memchr(text.data + 1, ' ', text.length - 1) : NULL;
    size_t left = (size_t)(space - text.data), right = text.length - left - 1;
    if (!space || !is_token(s, text.data, left) || !is_token(s, space + 1, right)) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: " KEY("merges") "[%zu] is not made of two tokens: tokenizer.json "
                                              "cannot hold it",
                         s->path, json_array_size(merges));
    }
    json_t *pair = json_pack("[s%, s%]", text.data, left, space + 1, right);
    return json_array_append_new(merges, pair) == 0 ? HONE_OK : no_memory();
}

static hone_status listed_merges(json_t **out, const source *s) {
    const hone_gguf_value *lines;
    HONE_TRY(hone_gguf_get_array(&lines, s->gguf, KEY("merges"), HONE_GGUF_STRING));
    *out = json_array();
    if (!*out) return no_memory();
    hone_gguf_string text;
    for (hone_gguf_strings it = hone_gguf_strings_of(lines); hone_gguf_next(&text, &it);) {
        HONE_TRY(append_merge(*out, s, text));
    }
    return HONE_OK;
}

static hone_status scored_merges(json_t **out, const source *s) {
    const hone_gguf_value *array;
    HONE_TRY(hone_gguf_get_array(&array, s->gguf, KEY("scores"), HONE_GGUF_F32));
    float *scores = hone_alloc(s->count, sizeof *scores);
    if (!scores) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < s->count; i++) scores[i] = hone_gguf_array_f32(array, i);
    hone_status status =
        hone_merges_of_scores(out, &s->tokenizer->vocab, s->count, scores, s->path);
    hone_free(scores);
    return status;
}

static hone_status model(json_t **out, const source *s) {
    json_t *vocab = NULL, *merges = NULL, *unknown = json_null();
    hone_status status = vocabulary(&vocab, s);
    if (status == HONE_OK) {
        status = s->sentencepiece ? scored_merges(&merges, s) : listed_merges(&merges, s);
    }
    int32_t id = s->tokenizer->bpe.unknown;
    if (status == HONE_OK && s->sentencepiece && id >= 0) {
        const hone_token *token = hone_vocab_at(&s->tokenizer->vocab, id);
        unknown = json_stringn(hone_vocab_text(&s->tokenizer->vocab, token), token->length);
    }
    if (status != HONE_OK) {
        json_decref(vocab);
        json_decref(merges);
        return status;
    }
    *out = json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", unknown, "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", (int)s->sentencepiece, "byte_fallback", (int)s->sentencepiece,
                     "ignore_merges", s->pretokenizer && s->pretokenizer->ignore_merges, "vocab",
                     vocab, "merges", merges);
    return *out ? HONE_OK : no_memory();
}

/* --- Normaliser, pre-tokenizer, decoder --- */

static hone_status sentencepiece_parts(json_t *root, bool prefix) {
    json_t *spaces = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ",
                               "content", MARKER);
    json_t *normalizer =
        prefix ? json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type",
                           "Prepend", "prepend", MARKER, spaces)
               : spaces;
    json_t *decoder = json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]}", "type", "Sequence",
                                "decoders", "type", "Replace", "pattern", "String", MARKER,
                                "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (prefix) {
        json_array_append_new(json_object_get(decoder, "decoders"),
                              json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                        "start", 1, "stop", 0));
    }
    HONE_TRY(put(root, "normalizer", normalizer));
    HONE_TRY(put(root, "pre_tokenizer", json_null()));
    return put(root, "decoder", decoder);
}

static json_t *byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0);
}

static hone_status byte_level_parts(json_t *root, const hone_pretokenizer *pretokenizer) {
    json_t *list = json_array();
    for (const hone_cut *cut = pretokenizer->cuts; cut->regex; cut++) {
        const char *behavior =
            cut->split == HONE_SPLIT_ISOLATED ? "Isolated" : "MergedWithPrevious";
        json_array_append_new(list,
                              json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern",
                                        "Regex", cut->regex, "behavior", behavior, "invert", 0));
    }
    json_array_append_new(list, byte_level());
    HONE_TRY(put(root, "normalizer", json_null()));
    HONE_TRY(put(root, "pre_tokenizer",
                 json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list)));
    return put(root, "decoder", byte_level());
}

/* --- What is put around a text --- */

static json_t *text_of(const source *s, int32_t id) {
    if (id < 0) return json_null();
    const hone_token *token = hone_vocab_at(&s->tokenizer->vocab, id);
    return json_stringn(hone_vocab_text(&s->tokenizer->vocab, token), token->length);
}

static json_t *special_piece(const source *s, int32_t id) {
    return json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(s, id), "type_id", 0);
}

static json_t *template_of(const source *s, bool bos, bool eos, const char *const *sequences) {
    json_t *list = json_array();
    for (; *sequences; sequences++) {
        if (bos) json_array_append_new(list, special_piece(s, s->tokenizer->bos));
        json_array_append_new(
            list, json_pack("{s:{s:s, s:i}}", "Sequence", "id", *sequences, "type_id", 0));
        if (eos) json_array_append_new(list, special_piece(s, s->tokenizer->eos));
    }
    return list;
}

static void add_special(json_t *object, const source *s, int32_t id) {
    json_t *text = text_of(s, id);
    const char *key = json_string_value(text);
    if (key) {
        json_object_set_new(
            object, key,
            json_pack("{s:s, s:[i], s:[s]}", "id", key, "ids", (int)id, "tokens", key));
    }
    json_decref(text);
}

static hone_status post_processor(json_t *root, const source *s) {
    static const char *const one[] = {"A", NULL}, *const two[] = {"A", "B", NULL};
    bool bos = hone_tokenizer_adds_bos(s->tokenizer), eos = hone_tokenizer_adds_eos(s->tokenizer);
    if (!bos && !eos) return put(root, "post_processor", json_null());
    json_t *special = json_object();
    if (bos) add_special(special, s, s->tokenizer->bos);
    if (eos) add_special(special, s, s->tokenizer->eos);
    return put(root, "post_processor",
               json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                         template_of(s, bos, eos, one), "pair", template_of(s, bos, eos, two),
                         "special_tokens", special));
}

/* --- The two files --- */

static hone_status fill_root(json_t *root, const source *s) {
    json_t *added = NULL, *bpe = NULL;
    bool prefix = true;
    HONE_TRY(put(root, "version", json_string("1.0")));
    HONE_TRY(put(root, "truncation", json_null()));
    HONE_TRY(put(root, "padding", json_null()));
    hone_status status = added_tokens(&added, s);
    if (status != HONE_OK) {
        json_decref(added);
        return status;
    }
    HONE_TRY(put(root, "added_tokens", added));
    HONE_TRY(hone_gguf_opt_bool(&prefix, s->gguf, KEY("add_space_prefix")));
    HONE_TRY(s->sentencepiece ? sentencepiece_parts(root, prefix)
                              : byte_level_parts(root, s->pretokenizer));
    HONE_TRY(post_processor(root, s));
    HONE_TRY(model(&bpe, s));
    return put(root, "model", bpe);
}

static json_t *chat_template(const source *s) {
    const hone_gguf_value *value = hone_gguf_find(s->gguf, "tokenizer.chat_template");
    hone_gguf_string text;
    bool is_text = value && value->kind == HONE_GGUF_STRING &&
                   hone_gguf_get_string(&text, s->gguf, "tokenizer.chat_template") == HONE_OK;
    return is_text ? json_stringn(text.data, text.length) : NULL;
}

static hone_status fill_config(json_t *config, const source *s) {
    int64_t padding = -1;
    HONE_TRY(
        hone_gguf_opt_int(&padding, s->gguf, KEY("padding_token_id"), 0, (int64_t)s->count - 1));
    int32_t unknown = s->sentencepiece ? s->tokenizer->bpe.unknown : -1;
    bool bos = hone_tokenizer_adds_bos(s->tokenizer), eos = hone_tokenizer_adds_eos(s->tokenizer);
    HONE_TRY(put(config, "tokenizer_class", json_string("PreTrainedTokenizerFast")));
    HONE_TRY(put(config, "add_bos_token", json_boolean(bos)));
    HONE_TRY(put(config, "add_eos_token", json_boolean(eos)));
    HONE_TRY(put(config, "bos_token", text_of(s, s->tokenizer->bos)));
    HONE_TRY(put(config, "eos_token", text_of(s, s->tokenizer->eos)));
    HONE_TRY(put(config, "unk_token", text_of(s, unknown)));
    HONE_TRY(put(config, "pad_token", text_of(s, (int32_t)padding)));
    HONE_TRY(put(config, "clean_up_tokenization_spaces", json_false()));
    json_t *template = chat_template(s);
    return template ? put(config, "chat_template", template) : HONE_OK;
}

typedef hone_status (*filler)(json_t *object, const source *s);

static hone_status write_object(const source *s, const char *folder, const char *name,
                                filler fill) {
    char *path = hone_path_join(folder, name);
    json_t *object = json_object();
    hone_status status = path && object ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = fill(object, s);
    if (status == HONE_OK) status = hone_json_save(object, path);
    json_decref(object);
    hone_free(path);
    return status;
}

static hone_status describe(source *s) {
    hone_gguf_string kind, pre = {"default", 7};
    HONE_TRY(hone_tokenizer_load_gguf(&s->tokenizer, s->gguf));
    s->count = (size_t)hone_tokenizer_size(s->tokenizer);
    HONE_TRY(hone_gguf_get_string(&kind, s->gguf, KEY("model")));
    s->sentencepiece = hone_gguf_string_is(kind, "llama");
    if (s->sentencepiece) return HONE_OK;
    if (!hone_gguf_string_is(kind, "gpt2")) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: " KEY("model") ": the tokenizer '%.*s' cannot be written as a "
                                             "tokenizer.json yet; export to GGUF instead",
                         s->path, (int)(kind.length > 100 ? 100 : kind.length), kind.data);
    }
    HONE_TRY(hone_gguf_opt_string(&pre, s->gguf, KEY("pre")));
    HONE_TRY(hone_pretokenizer_find(&s->pretokenizer, pre.data, pre.length, s->path));
    if (!s->pretokenizer->plain) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: " KEY("pre") ": '%.*s' cannot be written as a tokenizer.json; export to "
                                       "GGUF instead",
                     s->path, (int)pre.length, pre.data);
}

hone_status hone_tokenizer_to_folder(const hone_gguf *gguf, const char *folder) {
    source s = {.gguf = gguf, .path = hone_gguf_path(gguf)};
    hone_status status = describe(&s);
    if (status == HONE_OK) status = write_object(&s, folder, "tokenizer.json", fill_root);
    if (status == HONE_OK) status = write_object(&s, folder, "tokenizer_config.json", fill_config);
    hone_tokenizer_free(s.tokenizer);
    return status;
}
