/*
 * From the texts of tokens back to text: a list of steps, each of which rewrites a list of strings.
 */
#ifndef HONE_TEXT_DECODER_H
#define HONE_TEXT_DECODER_H

#include <stdbool.h>

#include "base/buf.h"
#include "text/regex.h"

/* Strings one behind the other: string i ends at ends[i]. */
typedef struct hone_strings {
    hone_buf bytes;
    size_t *ends; /* owned */
    size_t count, capacity;
} hone_strings;

void hone_strings_clear(hone_strings *strings);
void hone_strings_free(hone_strings *strings);
const char *hone_strings_at(size_t *length, const hone_strings *strings, size_t index);

/* Ends the string that was appended to strings->bytes. */
HONE_MUST_USE hone_status hone_strings_end(hone_strings *strings);
HONE_MUST_USE hone_status hone_strings_add(hone_strings *strings, const char *text, size_t length);

typedef struct hone_decode_step hone_decode_step;

/* What a step works on. `part`: the strings stand somewhere inside a text, and bytes stay bytes even where they are no
 * UTF-8; else they are the whole of it, and bytes that are none become U+FFFD. */
typedef struct hone_decoding {
    hone_strings in, out;
    hone_strings work; /* for steps that rewrite a string several times */
    hone_matcher *matcher;
    bool part;
} hone_decoding;

typedef hone_status (*hone_decode_run)(const hone_decode_step *step, hone_decoding *decoding);

struct hone_decode_step {
    hone_decode_run run;
    hone_regex *regex; /* owned, may be NULL */
    char *text;        /* owned, may be NULL */
    char *other;       /* owned, may be NULL */
    size_t text_length, other_length;
    size_t start, stop;
    bool flag;
};

typedef struct hone_decoder {
    hone_decode_step *steps; /* owned; none: the tokens with spaces between (tokenizers) */
    size_t count, capacity;
    bool by_token; /* each token alone, control and user tokens as their text (llama.cpp) ... */
    size_t strip;  /* ... and then so many spaces dropped from the start of the whole */
} hone_decoder;

/* A new zeroed step at the end, or NULL when memory is out. */
hone_decode_step *hone_decoder_add(hone_decoder *decoder, hone_decode_run run);
void hone_decoder_free(hone_decoder *decoder);

/* Runs all steps over decoding->in; the result stands there. */
HONE_MUST_USE hone_status hone_decoder_run(const hone_decoder *decoder, hone_decoding *decoding);
void hone_decoding_free(hone_decoding *decoding);

/* The steps, by the names of the tokenizers library. */
HONE_MUST_USE hone_status hone_decode_byte_level(const hone_decode_step *step,
                                                 hone_decoding *decoding);
HONE_MUST_USE hone_status hone_decode_byte_fallback(const hone_decode_step *step,
                                                    hone_decoding *decoding);
HONE_MUST_USE hone_status hone_decode_fuse(const hone_decode_step *step, hone_decoding *decoding);
/* regex -> text */
HONE_MUST_USE hone_status hone_decode_replace(const hone_decode_step *step,
                                              hone_decoding *decoding);
/* up to `start` times `text`, one character, from the front and up to `stop` times from the end of each string */
HONE_MUST_USE hone_status hone_decode_strip(const hone_decode_step *step, hone_decoding *decoding);
/* text -> a space; nothing in the first string if `flag` */
HONE_MUST_USE hone_status hone_decode_metaspace(const hone_decode_step *step,
                                                hone_decoding *decoding);
/* text is the prefix of what continues a word; flag: clean up */
HONE_MUST_USE hone_status hone_decode_wordpiece(const hone_decode_step *step,
                                                hone_decoding *decoding);
/* text is the suffix of what ends a word */
HONE_MUST_USE hone_status hone_decode_suffix(const hone_decode_step *step, hone_decoding *decoding);
/* text is the padding, other the delimiter of words; flag: clean up */
HONE_MUST_USE hone_status hone_decode_ctc(const hone_decode_step *step, hone_decoding *decoding);

#endif
