/*
 * The steps between a text and the model: normalisers rewrite it, pre-tokenizers cut it. A tokenizer holds two lists of
 * them; a step does its work on every piece that is not yet a token.
 */
#ifndef HONE_TEXT_STEPS_H
#define HONE_TEXT_STEPS_H

#include "text/charsmap.h"
#include "text/regex.h"
#include "text/trie.h"
#include "text/work_text.h"

typedef struct hone_step hone_step;

typedef hone_status (*hone_step_run)(const hone_step *step, hone_work *work, hone_matcher *matcher);

/* What becomes of the matches of a split (the names of the tokenizers library). */
typedef enum hone_split {
    HONE_SPLIT_REMOVED,
    HONE_SPLIT_ISOLATED,
    HONE_SPLIT_MERGED_WITH_PREVIOUS,
    HONE_SPLIT_MERGED_WITH_NEXT,
    HONE_SPLIT_CONTIGUOUS,
} hone_split;

typedef enum hone_prefix { HONE_PREFIX_NEVER, HONE_PREFIX_FIRST, HONE_PREFIX_ALWAYS } hone_prefix;

/* What a character becomes: out[0..n), n <= 3 returned. */
typedef size_t (*hone_character_map)(int32_t out[3], int32_t code);

/* A step and its parameters; each run function says which it reads. */
struct hone_step {
    hone_step_run run;
    hone_regex *regex;  /* owned, may be NULL */
    char *text;         /* owned, may be NULL */
    size_t text_length; /* of text */
    hone_split split;   /* what becomes of matches of regex */
    bool invert;        /* matches and the rest exchange roles */
    bool as_is;         /* regex has tables of its own: no stand-ins for recent characters */
    hone_prefix prefix; /* when to put text, or a space, in front */
    bool spells_bytes;  /* pieces are rewritten in the byte-level alphabet */
    unsigned int form;  /* options of utf8proc */
    hone_character_map map;
    hone_charsmap *charsmap; /* owned, may be NULL */
    hone_trie protected;     /* texts that no replacement touches */
    bool left, right;        /* which ends to strip */
    size_t count;            /* characters in a piece */
};

typedef struct hone_steps {
    hone_step *items; /* owned */
    size_t count, capacity;
} hone_steps;

/* A new zeroed step at the end of the list, or NULL when memory is out. */
hone_step *hone_steps_add(hone_steps *steps);
void hone_steps_free(hone_steps *steps);
HONE_MUST_USE hone_status hone_steps_run(const hone_steps *steps, hone_work *work,
                                         hone_matcher *matcher);

/* Normalisers. Prepend: `text` in front of what is not empty. Replace: each match of `regex` becomes `text`.
 * Form: a Unicode normal form, by `form`. */
HONE_MUST_USE hone_status hone_normalize_prepend(const hone_step *step, hone_work *work,
                                                 hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_replace(const hone_step *step, hone_work *work,
                                                 hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_form(const hone_step *step, hone_work *work,
                                              hone_matcher *matcher);

/* Characters: each by `map`. Strip: white space away at the ends `left` and `right`. Precompiled: by `charsmap`, as the
 * tokenizers library looks it up. Byte level: the byte-level alphabet. */
HONE_MUST_USE hone_status hone_normalize_characters(const hone_step *step, hone_work *work,
                                                    hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_strip(const hone_step *step, hone_work *work,
                                               hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_precompiled(const hone_step *step, hone_work *work,
                                                     hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_byte_level(const hone_step *step, hone_work *work,
                                                    hone_matcher *matcher);

/* Everything a SentencePiece model does to a text: replacements by `charsmap` outside of `protected`, a space in front by
 * `prefix`, runs of spaces squeezed and ends stripped if `left`, spaces as `text`. The second as llama.cpp does it. */
HONE_MUST_USE hone_status hone_normalize_sentencepiece(const hone_step *step, hone_work *work,
                                                       hone_matcher *matcher);
HONE_MUST_USE hone_status hone_normalize_unigram_gguf(const hone_step *step, hone_work *work,
                                                      hone_matcher *matcher);

/* Maps for hone_normalize_characters. */
size_t hone_map_lower(int32_t out[3], int32_t code);
size_t hone_map_strip_marks(int32_t out[3], int32_t code);
size_t hone_map_strip_nonspacing(int32_t out[3], int32_t code); /* after NFD (BertNormalizer) */
size_t hone_map_clean(int32_t out[3], int32_t code);            /* BertNormalizer's clean_text */
size_t hone_map_chinese(int32_t out[3],
                        int32_t code); /* spaces around CJK ideographs (BertNormalizer) */
size_t hone_map_nmt(int32_t out[3], int32_t code);

/* Pre-tokenizers. Split: at matches of `regex`, by `split` and `invert`. Byte level: a space in front by `prefix`, a
 * split at `regex` if there is one, then the alphabet if `spells_bytes`. Metaspace: each space becomes `text`, `text`
 * in front by `prefix`, a split before each `text` (`regex` matches it) if there is a regex. */
HONE_MUST_USE hone_status hone_pretokenize_split(const hone_step *step, hone_work *work,
                                                 hone_matcher *matcher);
HONE_MUST_USE hone_status hone_pretokenize_byte_level(const hone_step *step, hone_work *work,
                                                      hone_matcher *matcher);
HONE_MUST_USE hone_status hone_pretokenize_metaspace(const hone_step *step, hone_work *work,
                                                     hone_matcher *matcher);

/* Fixed length: after every `count` characters. Scripts: where the script changes. */
HONE_MUST_USE hone_status hone_pretokenize_fixed(const hone_step *step, hone_work *work,
                                                 hone_matcher *matcher);
HONE_MUST_USE hone_status hone_pretokenize_scripts(const hone_step *step, hone_work *work,
                                                   hone_matcher *matcher);

/* Numbers in groups of three from the right (llama.cpp): the first group stays with the text before it, a cut follows
 * the last. With `as_is` digits 0-9 only, a cut before every full group and none behind the number. */
HONE_MUST_USE hone_status hone_pretokenize_thousands(const hone_step *step, hone_work *work,
                                                     hone_matcher *matcher);

/* --- For the steps themselves --- */

/* Writes text[begin..end) of the work anew, by hone_work_put and hone_work_copy. */
typedef hone_status (*hone_rewrite)(const hone_step *step, hone_work *work, hone_matcher *matcher,
                                    size_t begin, size_t end);

/* Rewrites every piece that is no token by `rewrite`; tokens and their text are kept. */
HONE_MUST_USE hone_status hone_steps_rewrite(const hone_step *step, hone_work *work,
                                             hone_matcher *matcher, hone_rewrite rewrite);

/* Walks the matches in a stretch of text, as the find_iter of Rust's regular expressions does. */
typedef struct hone_matches {
    const char *text;
    size_t length;
    size_t at;       /* where to look next */
    size_t last_end; /* of the last match; SIZE_MAX before the first */
} hone_matches;

/* As hone_regex_find; begin and end count from `matches->text`. */
HONE_MUST_USE hone_status hone_matches_next(size_t *begin, size_t *end, hone_matches *matches,
                                            const hone_regex *regex, hone_matcher *matcher);

#endif
