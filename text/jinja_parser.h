/*
 * Tokens to a tree. Statements in jinja_parser.c, expressions in jinja_parse_expression.c.
 */
#ifndef HONE_TEXT_JINJA_PARSER_H
#define HONE_TEXT_JINJA_PARSER_H

#include "text/jinja_lexer.h"

/* Deepest nesting of brackets and blocks. */
enum { HONE_J_PARSE_DEPTH = 450 };

typedef struct hone_jparser {
    hone_jinja *jinja;
    const hone_jtoken *token; /* the present one */
    int depth;
    bool soft;         /* in an `if`: an unknown filter is an error only when it is run */
    int loops;         /* that `break` may leave */
    hone_jnode *macro; /* the innermost one */
} hone_jparser;

/* A list of nodes that grows at its end. */
typedef struct hone_jchain {
    hone_jnode *first, *last;
} hone_jchain;

static inline void hone_j_append(hone_jchain *list, hone_jnode *item) {
    if (list->last) {
        list->last->next = item;
    } else {
        list->first = item;
    }
    list->last = item;
}

HONE_MUST_USE hone_status hone_j_node(hone_jnode **out, hone_jparser *p, hone_jnode_type type);

/* One level deeper, which p->depth-- leaves. */
HONE_MUST_USE hone_status hone_j_deeper(hone_jparser *p);

/* The present token is this operator, or this name. */
bool hone_j_is_op(const hone_jparser *p, const char *text);
bool hone_j_is_word(const hone_jparser *p, const char *word);
/* Steps over it when it is. */
bool hone_j_skip_op(hone_jparser *p, const char *text);
bool hone_j_skip_word(hone_jparser *p, const char *word);
HONE_MUST_USE hone_status hone_j_expect_op(hone_jparser *p, const char *text);

/* HONE_ERR_FORMAT at the present token: "expected ..., got ...". */
hone_status hone_j_unexpected(const hone_jparser *p, const char *expected);
#define hone_j_unexpected(p, expected)                                                             \
    hone_fail_code(hone_j_unexpected(p, expected), HONE_ERR_FORMAT)

/* The present token's text as a string of the tree; it must be a name. */
HONE_MUST_USE hone_status hone_j_take_name(hone_jstr **out, hone_jparser *p);

/* "a if b else c" and below; without conditions: what may stand before an `if` of a loop. */
HONE_MUST_USE hone_status hone_j_parse_expression(hone_jnode **out, hone_jparser *p,
                                                  bool conditions);
/* One, or several with commas between: a tuple. `end` (may be NULL): a word that ends it. */
HONE_MUST_USE hone_status hone_j_parse_tuple(hone_jnode **out, hone_jparser *p, bool conditions,
                                             const char *end);
/* A name, a tuple of them, and where `namespaces` is set x.y. */
HONE_MUST_USE hone_status hone_j_parse_target(hone_jnode **out, hone_jparser *p, bool namespaces,
                                              const char *end);
/* Filters on `value` (may be NULL: a block); `inline_first`: the first has no '|' before it. */
HONE_MUST_USE hone_status hone_j_parse_filters(hone_jnode **out, hone_jparser *p, hone_jnode *value,
                                               bool inline_first);

HONE_MUST_USE hone_status hone_j_parse(hone_jinja *jinja, const hone_jtokens *tokens);

#endif
