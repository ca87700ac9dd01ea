/*
 * What GGUF's tokenizer.ggml.pre names: the regular expressions that cut text before byte-level BPE.
 */
#ifndef HONE_TEXT_PRETOKENIZE_NAMES_H
#define HONE_TEXT_PRETOKENIZE_NAMES_H

#include <stdbool.h>

#include "text/steps.h"

/* GPT-2's expression, which ByteLevel with use_regex stands for. */
extern const char hone_gpt2_regex[];

typedef struct hone_pretokenizer {
    const char *const *names; /* ends with NULL */
    const char *regexes[4];   /* applied one after the other; ends with NULL */
    bool ignore_merges;
    bool adds_bos; /* unless the file says otherwise */
} hone_pretokenizer;

/* HONE_ERR_UNSUPPORTED with the list of known names for any other. */
HONE_MUST_USE hone_status hone_pretokenizer_find(const hone_pretokenizer **out, const char *name,
                                                 size_t length, const char *file);

/* Appends its splits to `steps`. */
HONE_MUST_USE hone_status hone_pretokenizer_steps(hone_steps *steps,
                                                  const hone_pretokenizer *pretokenizer);

#endif
