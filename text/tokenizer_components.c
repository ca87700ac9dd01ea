/*
 * The parts that a tokenizer.json names: one table per kind of part, a row per component. What is in no table is
 * refused by its name.
 */
#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "formats/json.h"
#include "text/pretokenize_names.h"
#include "text/tokenizer_parts.h"

/* What a row's function works on. */
typedef struct component {
    hone_tokenizer *tokenizer;
    const json_t *json;
    const char *where; /* "pre_tokenizer", for messages */
    hone_steps *steps; /* where normalisers and pre-tokenizers go */
    bool last;         /* no other pre-tokenizer follows */
    unsigned int form; /* of the row */
} component;

typedef struct row {
    const char *type;
    hone_status (*load)(component *part);
    unsigned int form;
} row;

typedef struct component_table {
    const char *where;
    const row *rows;
    size_t count;
    const char *list; /* the member of a Sequence that holds its parts */
} component_table;

static hone_status refuse_type(const component_table *table, const char *file, const char *type) {
    hone_buf known = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < table->count && status == HONE_OK; i++) {
        status = hone_buf_printf(&known, "%s, ", table->rows[i].type);
    }
    if (status == HONE_OK) {
        status = hone_fail(HONE_ERR_UNSUPPORTED,
                           "%s: %s: the component '%.100s' is not known; known are %sSequence",
                           file, table->where, type, known.data ? known.data : "");
    }
    hone_buf_free(&known);
    return status;
}

static hone_status load_one(const component_table *table, component part) {
    const char *file = part.tokenizer->path;
    const char *type;
    part.where = table->where;
    if (!json_is_object(part.json)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: %s where an object with a 'type' belongs", file,
                         table->where, hone_json_kind(part.json));
    }
    HONE_TRY(hone_json_get_string(&type, part.json, "type", file));
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].type, type) != 0) continue;
        part.form = table->rows[i].form;
        return table->rows[i].load(&part);
    }
    return refuse_type(table, file, type);
}

static bool is_sequence(const json_t *json) {
    const char *type = json_string_value(json_object_get(json, "type"));
    return type && strcmp(type, "Sequence") == 0;
}

/* Sequences may hold sequences: what counts is the flat order. */
static hone_status load_all(const component_table *table, component part, int depth) {
    if (!part.json || json_is_null(part.json)) return HONE_OK;
    if (!is_sequence(part.json)) return load_one(table, part);
    const char *file = part.tokenizer->path;
    if (depth > 8) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: sequences nested more than 8 deep", file,
                         table->where);
    }
    const json_t *list;
    HONE_TRY(hone_json_get_array(&list, part.json, table->list, file));
    bool last = part.last;
    for (size_t i = 0; i < json_array_size(list); i++) {
        part.json = json_array_get(list, i);
        part.last = last && i + 1 == json_array_size(list);
        HONE_TRY(load_all(table, part, depth + 1));
    }
    return HONE_OK;
}

/* --- Reading members --- */

typedef struct text {
    const char *data;
    size_t length;
} text;

static hone_status get_text(text *out, const component *part, const char *key) {
    const json_t *value = json_object_get(part->json, key);
    if (!json_is_string(value)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: '%s' must be a string", part->tokenizer->path,
                         part->where, key);
    }
    *out = (text){json_string_value(value), json_string_length(value)};
    return HONE_OK;
}

static hone_status opt_bool(bool *out, const component *part, const char *key) {
    return hone_json_opt_bool(out, part->json, key, part->tokenizer->path);
}

static hone_status refuse(const component *part, const char *key, const char *value) {
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: %s: %s '%.100s' is not supported",
                     part->tokenizer->path, part->where, key, value);
}

/* A "pattern": {"String": s} or {"Regex": s}. */
static hone_status get_pattern(text *out, bool *is_regex, const component *part) {
    const json_t *pattern = json_object_get(part->json, "pattern");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *value = regex ? regex : string;
    if (!json_is_string(value)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s: 'pattern' must be an object with a 'String' or a 'Regex'",
                         part->tokenizer->path, part->where);
    }
    *out = (text){json_string_value(value), json_string_length(value)};
    *is_regex = regex != NULL;
    return HONE_OK;
}

static hone_status named(hone_status status, const component *part) {
    if (status == HONE_OK) return HONE_OK;
    return hone_fail_context(status, "%s: %s", part->tokenizer->path, part->where);
}

static hone_status set_pattern(hone_step *step, const component *part) {
    text pattern;
    bool is_regex;
    HONE_TRY(get_pattern(&pattern, &is_regex, part));
    if (!is_regex) return hone_regex_literal(&step->regex, pattern.data, pattern.length);
    return named(hone_regex_new(&step->regex, pattern.data, pattern.length), part);
}

static hone_status set_text(hone_step *step, text value) {
    step->text = hone_strndup(value.data, value.length);
    step->text_length = value.length;
    return step->text ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status add_step(hone_step **out, component *part, hone_step_run run) {
    *out = hone_steps_add(part->steps);
    if (!*out) return HONE_ERR_MEMORY;
    (*out)->run = run;
    return HONE_OK;
}

/* --- Normalisers --- */

static hone_status load_form(component *part) {
    hone_step *step;
    HONE_TRY(add_step(&step, part, hone_normalize_form));
    step->form = part->form | UTF8PROC_STABLE;
    return HONE_OK;
}

static hone_status load_prepend(component *part) {
    hone_step *step;
    text prefix;
    HONE_TRY(get_text(&prefix, part, "prepend"));
    HONE_TRY(add_step(&step, part, hone_normalize_prepend));
    return set_text(step, prefix);
}

static hone_status load_replace(component *part) {
    hone_step *step;
    text content;
    HONE_TRY(get_text(&content, part, "content"));
    HONE_TRY(add_step(&step, part, hone_normalize_replace));
    HONE_TRY(set_pattern(step, part));
    return set_text(step, content);
}

static const row normalizer_rows[] = {
    {"NFC", load_form, UTF8PROC_COMPOSE},
    {"NFD", load_form, UTF8PROC_DECOMPOSE},
    {"NFKC", load_form, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", load_form, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Prepend", load_prepend, 0},
    {"Replace", load_replace, 0},
};

/* --- Pre-tokenizers --- */

static hone_status get_split(hone_split *out, const component *part) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    text behavior;
    HONE_TRY(get_text(&behavior, part, "behavior"));
    for (int i = 0; i < 5; i++) {
        if (strcmp(names[i], behavior.data) != 0) continue;
        *out = (hone_split)i;
        return HONE_OK;
    }
    return refuse(part, "behavior", behavior.data);
}

static hone_status load_split(component *part) {
    hone_step *step;
    HONE_TRY(add_step(&step, part, hone_pretokenize_split));
    HONE_TRY(set_pattern(step, part));
    HONE_TRY(get_split(&step->split, part));
    return opt_bool(&step->invert, part, "invert");
}

/* ByteLevel in last place leaves the bytes as they are: the model then reads bytes. */
static hone_status load_byte_level(component *part) {
    hone_step *step;
    bool prefix = true;
    bool split = true;
    HONE_TRY(opt_bool(&prefix, part, "add_prefix_space"));
    HONE_TRY(opt_bool(&split, part, "use_regex"));
    HONE_TRY(add_step(&step, part, hone_pretokenize_byte_level));
    step->prefix = prefix ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    step->spells_bytes = !part->last;
    part->tokenizer->bpe.bytes = part->last;
    if (!split) return HONE_OK;
    return hone_regex_new(&step->regex, hone_gpt2_regex, strlen(hone_gpt2_regex));
}

static hone_status add_regex_split(component *part, const char *regex, hone_split split,
                                   bool invert) {
    hone_step *step;
    HONE_TRY(add_step(&step, part, hone_pretokenize_split));
    step->split = split;
    step->invert = invert;
    return hone_regex_new(&step->regex, regex, strlen(regex));
}

/* Numbers as Rust's standard library (Unicode 17) has them. */
static hone_status load_digits(component *part) {
    bool individual = false;
    HONE_TRY(opt_bool(&individual, part, "individual_digits"));
    return add_regex_split(part, "[\\p{N}\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]",
                           individual ? HONE_SPLIT_ISOLATED : HONE_SPLIT_CONTIGUOUS, false);
}

/* Punctuation as the library's own tables (Unicode 8) have it: without what was added since. */
#define LATER_PUNCTUATION                                                                          \
    "\\x{61d}\\x{9fd}\\x{a76}\\x{c77}\\x{c84}\\x{1b4e}-\\x{1b4f}\\x{1b7d}-\\x{1b7f}"               \
    "\\x{2e43}-\\x{2e4f}\\x{2e52}-\\x{2e5d}\\x{10d6e}\\x{10ead}\\x{10f55}-\\x{10f59}"              \
    "\\x{10f86}-\\x{10f89}\\x{113d4}-\\x{113d5}\\x{113d7}-\\x{113d8}\\x{1144b}-\\x{1144f}"         \
    "\\x{1145a}-\\x{1145b}\\x{1145d}\\x{11660}-\\x{1166c}\\x{116b9}\\x{1183b}"                     \
    "\\x{11944}-\\x{11946}\\x{119e2}\\x{11a3f}-\\x{11a46}\\x{11a9a}-\\x{11a9c}"                    \
    "\\x{11a9e}-\\x{11aa2}\\x{11b00}-\\x{11b09}\\x{11be1}\\x{11c41}-\\x{11c45}"                    \
    "\\x{11c70}-\\x{11c71}\\x{11ef7}-\\x{11ef8}\\x{11f43}-\\x{11f4f}\\x{11fff}"                    \
    "\\x{12ff1}-\\x{12ff2}\\x{16d6d}-\\x{16d6f}\\x{16e97}-\\x{16e9a}\\x{16fe2}\\x{1e5ff}"          \
    "\\x{1e95e}-\\x{1e95f}"

static hone_status load_punctuation(component *part) {
    hone_split split = HONE_SPLIT_ISOLATED;
    if (json_object_get(part->json, "behavior")) HONE_TRY(get_split(&split, part));
    HONE_TRY(add_regex_split(
        part, "(?![" LATER_PUNCTUATION "])[\\p{P}$+<=>^`|~\\x{166d}\\x{111c9}]", split, false));
    part->steps->items[part->steps->count - 1].as_is = true;
    return HONE_OK;
}

/* Words as Rust's regular expressions have them. */
#define RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"

static hone_status load_whitespace(component *part) {
    return add_regex_split(part, "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+", HONE_SPLIT_REMOVED, true);
}

static hone_status load_whitespace_split(component *part) {
    return add_regex_split(part, "\\s", HONE_SPLIT_REMOVED, false);
}

static hone_status get_prefix(hone_prefix *out, const component *part) {
    static const char *const names[] = {"never", "first", "always"};
    bool wanted = true; /* the older form of the option */
    HONE_TRY(opt_bool(&wanted, part, "add_prefix_space"));
    *out = wanted ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    const char *scheme = NULL;
    HONE_TRY(hone_json_opt_string(&scheme, part->json, "prepend_scheme", part->tokenizer->path));
    if (!scheme) return HONE_OK;
    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], scheme) != 0) continue;
        *out = (hone_prefix)i;
        return HONE_OK;
    }
    return refuse(part, "prepend_scheme", scheme);
}

static hone_status load_metaspace(component *part) {
    hone_step *step;
    text replacement;
    bool split = true;
    HONE_TRY(get_text(&replacement, part, "replacement"));
    HONE_TRY(opt_bool(&split, part, "split"));
    HONE_TRY(add_step(&step, part, hone_pretokenize_metaspace));
    HONE_TRY(get_prefix(&step->prefix, part));
    HONE_TRY(set_text(step, replacement));
    if (!split) return HONE_OK;
    return hone_regex_literal(&step->regex, replacement.data, replacement.length);
}

static const row pretokenizer_rows[] = {
    {"Split", load_split, 0},
    {"ByteLevel", load_byte_level, 0},
    {"Digits", load_digits, 0},
    {"Metaspace", load_metaspace, 0},
    {"Punctuation", load_punctuation, 0},
    {"Whitespace", load_whitespace, 0},
    {"WhitespaceSplit", load_whitespace_split, 0},
};

/* --- Post-processors: what stands before and behind a single text --- */

static hone_status no_tokens(component *part) {
    (void)part; /* ByteLevel here only trims the offsets of the library */
    return HONE_OK;
}

/* The ids of a special token of a template. */
static hone_status add_special_ids(component *part, hone_ids *ids, const char *name) {
    const json_t *special = json_object_get(json_object_get(part->json, "special_tokens"), name);
    const json_t *list = json_object_get(special, "ids");
    if (!json_is_array(list)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: special_tokens lacks the ids of '%.100s'",
                         part->tokenizer->path, part->where, name);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= INT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: %s: an id of '%.100s' is no token id",
                             part->tokenizer->path, part->where, name);
        }
        HONE_TRY(hone_ids_add(ids, (int32_t)json_integer_value(id)));
    }
    return HONE_OK;
}

static hone_status load_template(component *part) {
    const json_t *single;
    HONE_TRY(hone_json_get_array(&single, part->json, "single", part->tokenizer->path));
    hone_ids *ids = &part->tokenizer->prefix;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        if (json_object_get(item, "Sequence")) {
            ids = &part->tokenizer->suffix;
            continue;
        }
        const char *name = json_string_value(json_object_get(special, "id"));
        if (!name) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: %s: item %zu of 'single' is neither a "
                             "SpecialToken nor a Sequence",
                             part->tokenizer->path, part->where, i);
        }
        HONE_TRY(add_special_ids(part, ids, name));
    }
    return HONE_OK;
}

/* "sep": [text, id], "cls": [text, id] */
static hone_status load_cls_sep(component *part) {
    static const char *const keys[] = {"cls", "sep"};
    for (int i = 0; i < 2; i++) {
        const json_t *id = json_array_get(json_object_get(part->json, keys[i]), 1);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= INT32_MAX) {
            return hone_fail(HONE_ERR_FORMAT, "%s: %s: '%s' must be a token and its id",
                             part->tokenizer->path, part->where, keys[i]);
        }
        hone_ids *ids = i == 0 ? &part->tokenizer->prefix : &part->tokenizer->suffix;
        HONE_TRY(hone_ids_add(ids, (int32_t)json_integer_value(id)));
    }
    return HONE_OK;
}

static const row processor_rows[] = {
    {"TemplateProcessing", load_template, 0},
    {"ByteLevel", no_tokens, 0},
    {"BertProcessing", load_cls_sep, 0},
    {"RobertaProcessing", load_cls_sep, 0},
};

/* --- Decoders --- */

static hone_status decode_byte_level(component *part) {
    part->tokenizer->decoder.byte_level = true;
    return HONE_OK;
}

static hone_status decode_byte_fallback(component *part) {
    part->tokenizer->decoder.byte_fallback = true;
    return HONE_OK;
}

static hone_status decode_replace(component *part) {
    text pattern, content;
    bool is_regex;
    HONE_TRY(get_pattern(&pattern, &is_regex, part));
    HONE_TRY(get_text(&content, part, "content"));
    if (is_regex || pattern.length == 0) return refuse(part, "pattern", pattern.data);
    return hone_decoder_replace(&part->tokenizer->decoder, pattern.data, pattern.length,
                                content.data, content.length);
}

static hone_status decode_strip(component *part) {
    text content;
    int64_t start = 0;
    int64_t stop = 0;
    const char *file = part->tokenizer->path;
    HONE_TRY(get_text(&content, part, "content"));
    HONE_TRY(hone_json_opt_int(&start, part->json, "start", 0, 1000, file));
    HONE_TRY(hone_json_opt_int(&stop, part->json, "stop", 0, 1000, file));
    if (strcmp(content.data, " ") != 0) return refuse(part, "Strip of", content.data);
    if (stop != 0) return refuse(part, "Strip", "with a stop above 0");
    part->tokenizer->decoder.strip = (size_t)start;
    return HONE_OK;
}

static hone_status decode_metaspace(component *part) {
    text replacement;
    hone_prefix prefix;
    hone_decoder *decoder = &part->tokenizer->decoder;
    HONE_TRY(get_text(&replacement, part, "replacement"));
    HONE_TRY(get_prefix(&prefix, part));
    if (prefix == HONE_PREFIX_NEVER && replacement.length > 0) {
        return hone_decoder_replace(decoder, replacement.data, replacement.length, " ", 1);
    }
    if (replacement.length == 0 || decoder->marker) return refuse(part, "replacement", "");
    decoder->marker = hone_strndup(replacement.data, replacement.length);
    decoder->marker_length = replacement.length;
    return decoder->marker ? HONE_OK : HONE_ERR_MEMORY;
}

static const row decoder_rows[] = {
    {"ByteLevel", decode_byte_level, 0}, {"ByteFallback", decode_byte_fallback, 0},
    {"Replace", decode_replace, 0},      {"Strip", decode_strip, 0},
    {"Metaspace", decode_metaspace, 0},  {"Fuse", no_tokens, 0},
};

#define TABLE(where, rows, list)                                                                   \
    { where, rows, sizeof(rows) / sizeof *(rows), list }
static const component_table normalizers = TABLE("normalizer", normalizer_rows, "normalizers");
static const component_table pretokenizers =
    TABLE("pre_tokenizer", pretokenizer_rows, "pretokenizers");
static const component_table processors = TABLE("post_processor", processor_rows, "processors");
static const component_table decoders = TABLE("decoder", decoder_rows, "decoders");

hone_status hone_tokenizer_components(hone_tokenizer *tokenizer, const json_t *root) {
    component part = {.tokenizer = tokenizer, .last = true};
    part.json = json_object_get(root, "normalizer");
    part.steps = &tokenizer->normalizers;
    HONE_TRY(load_all(&normalizers, part, 0));
    part.json = json_object_get(root, "pre_tokenizer");
    part.steps = &tokenizer->pretokenizers;
    HONE_TRY(load_all(&pretokenizers, part, 0));
    part.json = json_object_get(root, "post_processor");
    HONE_TRY(load_all(&processors, part, 0));
    part.json = json_object_get(root, "decoder");
    HONE_TRY(load_all(&decoders, part, 0));
    /* a file without decoder: what the bytes mean follows from the pre-tokenizer */
    if (tokenizer->bpe.bytes) tokenizer->decoder.byte_level = true;
    return HONE_OK;
}
