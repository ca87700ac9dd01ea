/*
 * tokenizer.json to GGUF's keys, as llama.cpp's converter sets them.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "text/pretokenize_names.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_export.h"
#include "text/tokenizer_gguf_scores.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

#define KEY(name) "tokenizer.ggml." name

enum { PAD_TEXT = 24 };

typedef struct exporter {
    hone_gguf_writer *writer;
    const char *folder;
    char *path;   /* of the file that says most */
    json_t *root; /* of tokenizer.json; NULL for a SentencePiece model */
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

/* Llama 3's contractions have two spellings; the table of names has the second, and no characters beyond ASCII. It also
 * says more exactly than a tokenizer.json what llama.cpp makes of some classes. */
static const char *const spellings[][2] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"},
    {"&&\\S]", "]"},
    {"\\x{3001}-\\x{3002}", "\\x{3000}-\\x{3002}"},
    {"\\s+\\z", "\\s+$"},
    {"\r", "\\r"},
    {"\n", "\\n"},
};

static hone_status canonical(hone_buf *out, const char *regex) {
    while (*regex) {
        size_t used = 0;
        for (size_t i = 0; i < sizeof spellings / sizeof *spellings && !used; i++) {
            size_t length = strlen(spellings[i][0]);
            if (strncmp(regex, spellings[i][0], length) != 0) continue;
            HONE_TRY(hone_buf_puts(out, spellings[i][1]));
            used = length;
        }
        if (!used) {
            int32_t code;
            used = hone_utf8_next(&code, regex, strlen(regex));
            HONE_TRY(code < 0x80 ? hone_buf_append(out, regex, 1)
                                 : hone_buf_printf(out, "\\x{%x}", (unsigned int)code));
        }
        regex += used;
    }
    return HONE_OK;
}

/* What the models' own files say where llama.cpp has only something near it: its own converter takes these names, too. */
#define TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED(contraction)                                                                         \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*"                                  \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" contraction                                                   \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                                 \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" contraction
#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
static const char *const near[][3] = {
    {"tekken", CASED("") "|\\p{N}" TAIL, NULL},
    {"gpt-4o", CASED(FOLDED) "|\\p{N}{1,3}" TAIL, NULL},
    {"tiny_aya", "\\d{1,3}(?=(?:\\d{3})*\\b)", CASED(FOLDED) "|\\p{N}{1,3}" TAIL},
};

static hone_status add_cut(splits *out, const char *regex) {
    return canonical(&out->regexes[out->count++], regex);
}

static hone_status take_split(splits *out, const exporter *e, const json_t *part) {
    const char *regex = NULL;
    if (is_type(part, "Split")) {
        regex = json_string_value(json_object_get(json_object_get(part, "pattern"), "Regex"));
        bool plain = text_is(part, "behavior", "Isolated") && !flag(part, "invert", false);
        if (!regex || !plain) return refuse(e, "pre_tokenizer", "this Split");
    } else if (is_type(part, "Digits")) {
        /* whole numbers are already apart behind GPT-2's expression (Falcon) */
        if (!flag(part, "individual_digits", false)) return HONE_OK;
        regex = "\\p{N}";
    } else if (is_type(part, "Punctuation") && text_is(part, "behavior", "Contiguous")) {
        regex = "[\\p{P}\\$\\+<=>\\^~\\|`]+";
    } else if (is_type(part, "ByteLevel")) {
        if (flag(part, "add_prefix_space", true)) {
            return refuse(e, "pre_tokenizer", "ByteLevel with add_prefix_space");
        }
        if (flag(part, "use_regex", true)) regex = hone_gpt2_regex;
    } else {
        return refuse(e, "pre_tokenizer", type_of(part));
    }
    return regex ? add_cut(out, regex) : HONE_OK;
}

static bool same_text(const splits *a, const splits *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->regexes[i].data, b->regexes[i].data) != 0) return false;
    }
    return true;
}

static void free_splits(splits *s) {
    for (size_t i = 0; i < s->count; i++) hone_buf_free(&s->regexes[i]);
    s->count = 0;
}

static hone_status same_splits(bool *same, const splits *a, const hone_pretokenizer *b) {
    splits known = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; b->cuts[i].regex && status == HONE_OK; i++) {
        status = add_cut(&known, b->cuts[i].regex);
    }
    *same = status == HONE_OK && same_text(a, &known);
    free_splits(&known);
    return status;
}

static hone_status find_near(const char **out, const splits *found) {
    for (size_t i = 0; i < sizeof near / sizeof *near && !*out; i++) {
        splits known = {0};
        hone_status status = add_cut(&known, near[i][1]);
        if (status == HONE_OK && near[i][2]) status = add_cut(&known, near[i][2]);
        if (status == HONE_OK && same_text(found, &known)) *out = near[i][0];
        free_splits(&known);
        HONE_TRY(status);
    }
    return HONE_OK;
}

/* The name that stands for these splits. Names differ in what they say of merges, too. */
static hone_status find_name(const char **out, const exporter *e, const splits *found) {
    bool ignore = flag(e->model, "ignore_merges", false);
    const hone_pretokenizer *known;
    for (size_t i = 0; (known = hone_pretokenizer_at(i)); i++) {
        bool same;
        if (known->plain || known->ignore_merges != ignore) continue;
        HONE_TRY(same_splits(&same, found, known));
        if (!same) continue;
        *out = known->names[0];
        return HONE_OK;
    }
    const char *name = NULL;
    HONE_TRY(find_near(&name, found));
    if (name) HONE_TRY(hone_pretokenizer_find(&known, name, strlen(name), e->path));
    if (name && known->ignore_merges == ignore) {
        *out = name;
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
    free_splits(&regexes);
    HONE_TRY(status);
    return hone_gguf_set_string(e->writer, KEY("pre"), name, strlen(name));
}

/* What the format cannot say of any model. */
static hone_status check_bpe(const exporter *e) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const char *affix = json_string_value(json_object_get(e->model, affixes[i]));
        if (affix && *affix) return refuse(e, "model", affixes[i]);
    }
    return HONE_OK;
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

static int32_t type_of_token(const exporter *e, int32_t id, const hone_token *token,
                             const char *text) {
    if (!e->root) return token->kind; /* as the SentencePiece model has it */
    if (e->tokenizer->model == HONE_MODEL_UNIGRAM) {
        return id == e->tokenizer->unigram.unknown ? HONE_TOKEN_UNKNOWN : token->kind;
    }
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
            types[id] = type_of_token(e, (int32_t)id, token, texts[id].data);
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

static int32_t unknown_id(const exporter *e) {
    if (!e->root) return e->tokenizer->unigram.unknown; /* set for BPE, too */
    if (e->tokenizer->model == HONE_MODEL_UNIGRAM) return e->tokenizer->unigram.unknown;
    const char *unknown = json_string_value(json_object_get(e->model, "unk_token"));
    return unknown ? hone_tokenizer_find(e->tokenizer, unknown) : -1;
}

static hone_status set_special(const exporter *e) {
    const hone_tokenizer *tokenizer = e->tokenizer;
    int32_t padding;
    HONE_TRY(set_id(e, KEY("bos_token_id"), tokenizer->bos));
    HONE_TRY(set_id(e, KEY("eos_token_id"), tokenizer->eos));
    HONE_TRY(set_id(e, KEY("unknown_token_id"), unknown_id(e)));
    HONE_TRY(named_id(&padding, e, "pad_token"));
    HONE_TRY(set_id(e, KEY("padding_token_id"), padding));
    bool bos = hone_tokenizer_adds_bos(tokenizer), eos = hone_tokenizer_adds_eos(tokenizer);
    HONE_TRY(hone_gguf_set_bool(e->writer, KEY("add_bos_token"), bos));
    return hone_gguf_set_bool(e->writer, KEY("add_eos_token"), eos);
}

static hone_status set_kind(const exporter *e, const char *kind) {
    HONE_TRY(hone_gguf_set_string(e->writer, KEY("model"), kind, strlen(kind)));
    return strcmp(kind, "gpt2") == 0 ? HONE_OK
                                     : hone_gguf_set_string(e->writer, KEY("pre"), "default", 7);
}

/* --- Unigram, and SentencePiece models as they are --- */

/* Scores of all tokens; ids beyond the model's own score 0. */
static hone_status set_float_scores(const exporter *e, const double *doubles,
                                    const hone_sentencepiece *model, size_t count) {
    float *scores = hone_alloc(e->count, sizeof *scores);
    if (!scores) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count && i < e->count; i++) {
        scores[i] = model ? model->tokens[i].score : (float)doubles[i];
    }
    hone_status status =
        hone_gguf_set_array(e->writer, KEY("scores"), HONE_GGUF_F32, scores, e->count);
    hone_free(scores);
    return status;
}

static hone_status set_spaces(const exporter *e, bool prefix, bool squeeze) {
    HONE_TRY(hone_gguf_set_bool(e->writer, KEY("add_space_prefix"), prefix));
    return hone_gguf_set_bool(e->writer, KEY("remove_extra_whitespaces"), squeeze);
}

/* T5's: [Precompiled, squeezed spaces], [WhitespaceSplit,] Metaspace. */
static hone_status unigram_spaces(const exporter *e, bool *squeeze) {
    parts found;
    bool marks = false;
    *squeeze = false;
    HONE_TRY(get_parts(&found, e, "normalizer"));
    for (size_t i = 0; i < found.count; i++) {
        bool squeezes = is_type(found.items[i], "Replace") &&
                        text_is(json_object_get(found.items[i], "pattern"), "Regex", " {2,}");
        if (squeezes) *squeeze = true;
        if (squeezes || is_type(found.items[i], "Precompiled") ||
            is_type(found.items[i], "Strip")) {
            continue;
        }
        return refuse(e, "normalizer", type_of(found.items[i]));
    }
    HONE_TRY(get_parts(&found, e, "pre_tokenizer"));
    for (size_t i = 0; i < found.count; i++) {
        const json_t *part = found.items[i];
        if (is_type(part, "WhitespaceSplit")) {
            *squeeze = true;
            continue;
        }
        marks = is_type(part, "Metaspace") && is_marker(part, "replacement") &&
                !text_is(part, "prepend_scheme", "never");
        if (!marks) return refuse(e, "pre_tokenizer", type_of(part));
    }
    return marks ? HONE_OK : refuse(e, "pre_tokenizer", "Unigram without Metaspace");
}

static hone_status set_charsmap(const exporter *e, const void *bytes, size_t length) {
    if (length == 0) return HONE_OK;
    return hone_gguf_set_array(e->writer, KEY("precompiled_charsmap"), HONE_GGUF_U8, bytes, length);
}

static hone_status export_unigram(exporter *e) {
    const hone_unigram *unigram = &e->tokenizer->unigram;
    bool squeeze;
    if (unigram->byte_fallback) return refuse(e, "model", "Unigram with byte_fallback");
    HONE_TRY(unigram_spaces(e, &squeeze));
    HONE_TRY(set_kind(e, "t5"));
    HONE_TRY(set_tokens(e));
    HONE_TRY(set_spaces(e, true, squeeze));
    for (size_t i = 0; i < e->tokenizer->normalizers.count; i++) {
        const hone_charsmap *map = e->tokenizer->normalizers.items[i].charsmap;
        if (!map) continue;
        hone_buf bytes = {0};
        hone_status status = hone_charsmap_write(&bytes, map);
        if (status == HONE_OK) status = set_charsmap(e, bytes.data, bytes.length);
        hone_buf_free(&bytes);
        HONE_TRY(status);
    }
    return set_float_scores(e, unigram->scores, NULL, unigram->count);
}

static hone_status export_model(exporter *e, const hone_sentencepiece *model) {
    if (!model->bpe && model->byte_fallback) {
        return refuse(e, "trainer_spec", "Unigram with byte_fallback");
    }
    HONE_TRY(set_kind(e, model->bpe ? "llama" : "t5"));
    HONE_TRY(set_tokens(e));
    HONE_TRY(set_spaces(e, model->dummy_prefix, model->remove_extra_spaces));
    HONE_TRY(set_charsmap(e, model->charsmap, model->charsmap_length));
    return set_float_scores(e, NULL, model, model->count);
}

static hone_status export_spm(exporter *e) {
    hone_map map = {0};
    hone_sentencepiece model;
    HONE_TRY(hone_map_open(&map, e->path));
    hone_status status = hone_sentencepiece_read(&model, map.data, map.length, e->path);
    if (status == HONE_OK) {
        status = export_model(e, &model);
        hone_sentencepiece_free(&model);
    }
    hone_map_close(&map);
    return status;
}

/* --- All of it --- */

static hone_status check_size(exporter *e, int64_t vocabulary) {
    e->count = (size_t)vocabulary;
    if (e->tokenizer->size <= vocabulary) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: has token %d, but the model has %lld tokens; it belongs to another model",
                     e->path, e->tokenizer->size - 1, (long long)vocabulary);
}

static hone_status export_bpe(exporter *e) {
    e->sentencepiece = flag(e->model, "byte_fallback", false);
    HONE_TRY(check_bpe(e));
    HONE_TRY(set_kind(e, e->sentencepiece ? "llama" : "gpt2"));
    if (!e->sentencepiece) {
        HONE_TRY(check_byte_level(e));
        HONE_TRY(set_pretokenizer(e));
    }
    HONE_TRY(set_tokens(e));
    return e->sentencepiece ? set_scores(e) : set_merges(e);
}

static hone_status export_all(exporter *e, int64_t vocabulary) {
    char hash[65];
    HONE_TRY(hone_tokenizer_folder_root(&e->root, &e->path, hash, e->folder));
    HONE_TRY(hone_tokenizer_load_folder(&e->tokenizer, e->folder));
    HONE_TRY(check_size(e, vocabulary));
    if (!e->root) {
        HONE_TRY(export_spm(e));
        return set_special(e);
    }
    HONE_TRY(hone_json_get_object(&e->model, e->root, "model", e->path));
    if (e->tokenizer->model == HONE_MODEL_WORDS) {
        return refuse(e, "model", json_string_value(json_object_get(e->model, "type")));
    }
    HONE_TRY(e->tokenizer->model == HONE_MODEL_UNIGRAM ? export_unigram(e) : export_bpe(e));
    return set_special(e);
}

hone_status hone_tokenizer_to_gguf(hone_gguf_writer *writer, const char *folder,
                                   int64_t vocabulary) {
    exporter e = {.writer = writer, .folder = folder};
    hone_status status = export_all(&e, vocabulary);
    hone_tokenizer_free(e.tokenizer);
    json_decref(e.root);
    hone_free(e.path);
    return status;
}
