/*
 * What GGUF's tokenizer.ggml.pre names: how text is cut before byte-pair encoding, as llama.cpp does it.
 */
#ifndef HONE_TEXT_PRETOKENIZE_NAMES_H
#define HONE_TEXT_PRETOKENIZE_NAMES_H

#include <stdbool.h>

#include "text/steps.h"

/* GPT-2's expression, which ByteLevel with use_regex stands for. */
extern const char hone_gpt2_regex[];

enum { HONE_MOST_CUTS = 6 };

/* Matches become pieces, and so does what stands between them. An expression says the same to Oniguruma; two that
 * take a time quadratic in the length of a number are done by other means. */
typedef struct hone_cut {
    const char *regex; /* NULL behind the last one */
    hone_split split;
} hone_cut;

typedef struct hone_pretokenizer {
    const char *const *names; /* ends with NULL */
    hone_cut cuts[HONE_MOST_CUTS + 1];
    bool ignore_merges;
    bool adds_bos;    /* unless the file says otherwise */
    bool insists;     /* adds bos even if the file says otherwise */
    bool plain;       /* symbols are characters, not bytes in the byte-level alphabet */
    bool marks_space; /* a space becomes U+2581 first */
    bool newlines;    /* a run of line ends that is a token is that token */
} hone_pretokenizer;

/* HONE_ERR_UNSUPPORTED with the list of known names for any other. */
HONE_MUST_USE hone_status hone_pretokenizer_find(const hone_pretokenizer **out, const char *name,
                                                 size_t length, const char *file);

/* All of them, by number; NULL behind the last. */
const hone_pretokenizer *hone_pretokenizer_at(size_t index);

/* Appends its cuts to `steps`. */
HONE_MUST_USE hone_status hone_pretokenizer_steps(hone_steps *steps,
                                                  const hone_pretokenizer *pretokenizer);

#endif
