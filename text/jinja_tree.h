/*
 * A template as a tree. Nodes live in the template's arena and never change once it is compiled.
 */
#ifndef HONE_TEXT_JINJA_TREE_H
#define HONE_TEXT_JINJA_TREE_H

#include "text/jinja_value.h"

typedef struct hone_jfilter hone_jfilter; /* jinja_call.h */

typedef enum hone_jnode_type {
    /* expressions */
    HONE_JN_CONST,     /* value */
    HONE_JN_NAME,      /* symbol */
    HONE_JN_LIST,      /* a: items */
    HONE_JN_TUPLE,     /* a: items */
    HONE_JN_DICT,      /* a: pairs, each a key and b value */
    HONE_JN_BINARY,    /* a op b */
    HONE_JN_NEGATE,    /* -a */
    HONE_JN_POSITIVE,  /* +a */
    HONE_JN_NOT,       /* not a */
    HONE_JN_AND,       /* a and b */
    HONE_JN_OR,        /* a or b */
    HONE_JN_IF_ELSE,   /* b if a else c; c may be NULL */
    HONE_JN_COMPARE,   /* a, then b: a chain of operands, each op and a */
    HONE_JN_CONCAT,    /* a: items */
    HONE_JN_ATTRIBUTE, /* a.text */
    HONE_JN_ITEM,      /* a[b] */
    HONE_JN_SLICE,     /* a[b: items of three, each may be HONE_JN_NOTHING] */
    HONE_JN_NOTHING,
    HONE_JN_CALL,     /* a(b: arguments) */
    HONE_JN_FILTER,   /* a | text(b: arguments); a NULL: what stands in the block */
    HONE_JN_TEST,     /* a is text(b: arguments) */
    HONE_JN_ARGUMENT, /* op: how; a; symbol text for a named one */
    /* statements */
    HONE_JN_DATA,         /* text */
    HONE_JN_OUTPUT,       /* a */
    HONE_JN_IF,           /* if a: b else c (statements) */
    HONE_JN_FOR,          /* target a in b, condition c: body, otherwise; flag: recursive */
    HONE_JN_SET,          /* target a = b */
    HONE_JN_SET_BLOCK,    /* target a, filter b (may be NULL), body */
    HONE_JN_MACRO,        /* symbol, parameters a (names with default b), body */
    HONE_JN_CALL_BLOCK,   /* call b, parameters a, body */
    HONE_JN_FILTER_BLOCK, /* filter a, body */
    HONE_JN_WITH,         /* a: targets, each with value b; body */
    HONE_JN_GENERATION,   /* body */
    HONE_JN_BREAK,
    HONE_JN_CONTINUE,
    HONE_JN_NAMESPACE_TARGET, /* symbol.text as a target */
    HONE_JN_PARAMETER,        /* symbol text, default b or NULL */
} hone_jnode_type;

typedef enum hone_jop {
    HONE_J_ADD,
    HONE_J_SUBTRACT,
    HONE_J_MULTIPLY,
    HONE_J_DIVIDE,
    HONE_J_FLOOR_DIVIDE,
    HONE_J_MODULO,
    HONE_J_POWER,
    HONE_J_EQ,
    HONE_J_NE,
    HONE_J_LT,
    HONE_J_LE,
    HONE_J_GT,
    HONE_J_GE,
    HONE_J_IN,
    HONE_J_NOT_IN,
    HONE_J_POSITIONAL, /* arguments */
    HONE_J_NAMED,
    HONE_J_STAR,
    HONE_J_STAR_STAR,
} hone_jop;

struct hone_jnode {
    uint8_t type; /* hone_jnode_type */
    uint8_t op;   /* hone_jop */
    bool recursive;
    bool uses_varargs, uses_kwargs, uses_caller; /* of a macro */
    int32_t line, column;
    int32_t symbol;
    hone_jnode *next; /* in the list that it stands in */
    hone_jnode *a, *b, *c, *body, *otherwise;
    hone_jstr *text;
    hone_jvalue value;
    const hone_jfilter *filter; /* of a filter or test; NULL: unknown, an error when it is run */
};

struct hone_jinja {
    hone_jarena arena;
    char *name;
    char *source; /* owned; line ends are \n */
    size_t length;
    hone_jnode *body;
    hone_jstr **symbols; /* [symbol_count]: the names that stand in it */
    size_t symbol_count, symbol_capacity;
    int32_t loop, caller, varargs, kwargs; /* symbols */
    bool has_generation;
};

/* The number of a name; it is added when it is new. */
HONE_MUST_USE hone_status hone_j_symbol(int32_t *out, hone_jinja *jinja, const char *name,
                                        size_t length);
/* -1 when the name does not stand in the template. */
int32_t hone_j_symbol_find(const hone_jinja *jinja, const char *name, size_t length);

#endif
