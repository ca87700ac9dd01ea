/*
 * A template's text as tokens, with white space controlled as jinja2 does it under trim_blocks and lstrip_blocks.
 */
#ifndef HONE_TEXT_JINJA_LEXER_H
#define HONE_TEXT_JINJA_LEXER_H

#include "text/jinja_tree.h"

typedef enum hone_jtoken_type {
    HONE_JT_DATA,      /* text between tags, already trimmed */
    HONE_JT_BLOCK,     /* {% */
    HONE_JT_BLOCK_END, /* %} */
    HONE_JT_PRINT,     /* {{ */
    HONE_JT_PRINT_END, /* }} */
    HONE_JT_NAME,
    HONE_JT_STRING, /* with quotes */
    HONE_JT_INTEGER,
    HONE_JT_FLOAT,
    HONE_JT_OPERATOR, /* its text is the operator */
    HONE_JT_END,
} hone_jtoken_type;

typedef struct hone_jtoken {
    hone_jtoken_type type;
    size_t begin, end; /* bytes of the source */
    int32_t line, column;
} hone_jtoken;

typedef struct hone_jtokens {
    hone_jtoken *items; /* [count], the last one HONE_JT_END */
    size_t count, capacity;
} hone_jtokens;

/* The tokens of jinja->source, in the template's arena. */
HONE_MUST_USE hone_status hone_j_tokenize(hone_jtokens *out, hone_jinja *jinja);

/* HONE_ERR_FORMAT (or another code) with the name, line and column of byte `at`. */
hone_status hone_j_fail_at(const hone_jinja *jinja, size_t at, hone_status code, const char *format,
                           ...) HONE_PRINTF(4, 5);
#define hone_j_fail_at(jinja, at, code, ...)                                                       \
    hone_fail_code(hone_j_fail_at(jinja, at, code, __VA_ARGS__), code)

#endif
