#include <string.h>

#include "text/components.h"
#include "text/pretokenize_names.h"

static hone_status get_split(hone_split *out, const hone_component *part) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    hone_component_text behavior;
    HONE_TRY(hone_component_get_text(&behavior, part, "behavior"));
    for (int i = 0; i < 5; i++) {
        if (strcmp(names[i], behavior.data) != 0) continue;
        *out = (hone_split)i;
        return HONE_OK;
    }
    return hone_component_refuse(part, "behavior", behavior.data);
}

static hone_status load_split(hone_component *part) {
    hone_step *step;
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_split));
    HONE_TRY(hone_component_pattern(&step->regex, part));
    HONE_TRY(get_split(&step->split, part));
    return hone_component_opt_bool(&step->invert, part, "invert");
}

/* ByteLevel in last place leaves the bytes as they are when the model can read bytes. */
static hone_status load_byte_level(hone_component *part) {
    hone_step *step;
    bool prefix = true;
    bool split = true;
    HONE_TRY(hone_component_opt_bool(&prefix, part, "add_prefix_space"));
    HONE_TRY(hone_component_opt_bool(&split, part, "use_regex"));
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_byte_level));
    step->prefix = prefix ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    hone_tokenizer *tokenizer = part->tokenizer;
    const hone_bpe *bpe = &tokenizer->bpe;
    bool reads_bytes =
        tokenizer->model == HONE_MODEL_BPE && !bpe->prefix && !bpe->suffix && !bpe->byte_fallback;
    step->spells_bytes = !part->last || !reads_bytes;
    tokenizer->bpe.bytes = !step->spells_bytes;
    if (!split) return HONE_OK;
    return hone_regex_new(&step->regex, hone_gpt2_regex, strlen(hone_gpt2_regex));
}

static hone_status add_regex_split(hone_component *part, const char *regex, hone_split split,
                                   bool invert) {
    hone_step *step;
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_split));
    step->split = split;
    step->invert = invert;
    return hone_regex_new(&step->regex, regex, strlen(regex));
}

/* Numbers as Rust's standard library (Unicode 17) has them. */
static hone_status load_digits(hone_component *part) {
    bool individual = false;
    HONE_TRY(hone_component_opt_bool(&individual, part, "individual_digits"));
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

static hone_status load_punctuation(hone_component *part) {
    hone_split split = HONE_SPLIT_ISOLATED;
    if (json_object_get(part->json, "behavior")) HONE_TRY(get_split(&split, part));
    HONE_TRY(add_regex_split(
        part, "(?![" LATER_PUNCTUATION "])[\\p{P}$+<=>^`|~\\x{166d}\\x{111c9}]", split, false));
    part->steps->items[part->steps->count - 1].as_is = true;
    return HONE_OK;
}

/* Words as Rust's regular expressions have them. */
#define RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"

static hone_status load_whitespace(hone_component *part) {
    return add_regex_split(part, "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+", HONE_SPLIT_REMOVED, true);
}

static hone_status load_whitespace_split(hone_component *part) {
    return add_regex_split(part, "\\s", HONE_SPLIT_REMOVED, false);
}

static hone_status load_metaspace(hone_component *part) {
    hone_step *step;
    hone_component_text replacement;
    bool split = true;
    HONE_TRY(hone_component_get_character(&replacement, part, "replacement"));
    HONE_TRY(hone_component_opt_bool(&split, part, "split"));
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_metaspace));
    HONE_TRY(hone_component_prefix(&step->prefix, part));
    HONE_TRY(hone_component_copy(&step->text, &step->text_length, replacement));
    if (!split) return HONE_OK;
    return hone_regex_literal(&step->regex, replacement.data, replacement.length);
}

static hone_status load_delimiter(hone_component *part) {
    hone_step *step;
    hone_component_text delimiter;
    HONE_TRY(hone_component_get_character(&delimiter, part, "delimiter"));
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_split));
    step->split = HONE_SPLIT_REMOVED;
    step->as_is = true;
    return hone_regex_literal(&step->regex, delimiter.data, delimiter.length);
}

static hone_status load_fixed(hone_component *part) {
    hone_step *step;
    int64_t length = 5;
    HONE_TRY(hone_json_opt_int(&length, part->json, "length", 1, INT32_MAX, part->tokenizer->path));
    HONE_TRY(hone_component_step(&step, part, hone_pretokenize_fixed));
    step->count = (size_t)length;
    return HONE_OK;
}

static hone_status load_scripts(hone_component *part) {
    hone_step *step;
    return hone_component_step(&step, part, hone_pretokenize_scripts);
}

static hone_status load_bert(hone_component *part) {
    HONE_TRY(load_whitespace_split(part));
    return load_punctuation(part);
}

static const hone_component_row rows[] = {
    {"Split", load_split, 0},
    {"ByteLevel", load_byte_level, 0},
    {"Digits", load_digits, 0},
    {"Metaspace", load_metaspace, 0},
    {"Punctuation", load_punctuation, 0},
    {"Whitespace", load_whitespace, 0},
    {"WhitespaceSplit", load_whitespace_split, 0},
    {"BertPreTokenizer", load_bert, 0},
    {"CharDelimiterSplit", load_delimiter, 0},
    {"FixedLength", load_fixed, 0},
    {"UnicodeScripts", load_scripts, 0},
};
const hone_component_table hone_pretokenizer_table =
    HONE_COMPONENT_TABLE("pre_tokenizer", rows, "pretokenizers");
