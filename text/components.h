/*
 * Loading of the parts that a tokenizer.json names; for the files of components*.c only.
 */
#ifndef HONE_TEXT_COMPONENTS_H
#define HONE_TEXT_COMPONENTS_H

#include "formats/json.h"
#include "text/tokenizer_parts.h"

/* What a row's function works on. */
typedef struct hone_component {
    hone_tokenizer *tokenizer;
    const json_t *json;
    const char *where; /* "pre_tokenizer", for messages */
    hone_steps *steps; /* where normalisers and pre-tokenizers go */
    bool last;         /* no other pre-tokenizer follows */
    unsigned int form; /* of the row */
} hone_component;

typedef struct hone_component_row {
    const char *type;
    hone_status (*load)(hone_component *part);
    unsigned int form;
} hone_component_row;

typedef struct hone_component_table {
    const char *where;
    const hone_component_row *rows;
    size_t count;
    const char *list; /* the member of a Sequence that holds its parts */
} hone_component_table;

extern const hone_component_table hone_normalizer_table;
extern const hone_component_table hone_pretokenizer_table;
extern const hone_component_table hone_decoder_table;

#define HONE_COMPONENT_TABLE(where, rows, list)                                                    \
    { where, rows, sizeof(rows) / sizeof *(rows), list }

/* --- Reading members; messages name the file and the kind of part --- */

typedef struct hone_component_text {
    const char *data;
    size_t length;
} hone_component_text;

HONE_MUST_USE hone_status hone_component_get_text(hone_component_text *out,
                                                  const hone_component *part, const char *key);

/* A text of one character. */
HONE_MUST_USE hone_status hone_component_get_character(hone_component_text *out,
                                                       const hone_component *part, const char *key);
HONE_MUST_USE hone_status hone_component_opt_bool(bool *out, const hone_component *part,
                                                  const char *key);

/* HONE_ERR_UNSUPPORTED for a value. */
HONE_MUST_USE hone_status hone_component_refuse(const hone_component *part, const char *key,
                                                const char *value);

/* "pattern": {"String": s} or {"Regex": s}. */
HONE_MUST_USE hone_status hone_component_pattern(hone_regex **out, const hone_component *part);

/* Metaspace's prepend_scheme, or its older form. */
HONE_MUST_USE hone_status hone_component_prefix(hone_prefix *out, const hone_component *part);

HONE_MUST_USE hone_status hone_component_step(hone_step **out, hone_component *part,
                                              hone_step_run run);
HONE_MUST_USE hone_status hone_component_copy(char **out, size_t *length, hone_component_text text);

#endif
