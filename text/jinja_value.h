/*
 * The values of a template: Python's, as far as templates can tell. All memory is the arena's of one rendering.
 *
 * Every string knows which runs of its bytes came from which message. Strings, lists and objects never change.
 */
#ifndef HONE_TEXT_JINJA_VALUE_H
#define HONE_TEXT_JINJA_VALUE_H

#include "text/jinja.h"
#include "text/jinja_arena.h"

typedef struct hone_jvm hone_jvm;     /* one rendering: jinja_vm.h */
typedef struct hone_jnode hone_jnode; /* a part of the template: jinja_tree.h */
typedef struct hone_jvalue hone_jvalue;
typedef struct hone_jscope hone_jscope;   /* jinja_vm.h */
typedef struct hone_jloop hone_jloop;     /* jinja_vm.h */
typedef struct hone_jmethod hone_jmethod; /* jinja_call.h */

typedef enum hone_jkind {
    HONE_J_MISSING, /* no value: an argument that was not given */
    HONE_J_UNDEFINED,
    HONE_J_NONE,
    HONE_J_BOOL,
    HONE_J_INT,
    HONE_J_FLOAT,
    HONE_J_STRING,
    HONE_J_LIST, /* this and the next four are a hone_jlist */
    HONE_J_TUPLE,
    HONE_J_RANGE,
    HONE_J_VIEW,     /* dict.keys() and its like */
    HONE_J_ITERATOR, /* can be walked once */
    HONE_J_DICT,
    HONE_J_NAMESPACE,
    HONE_J_LOOP,
    HONE_J_MACRO,
    HONE_J_GLOBAL, /* a function of the environment */
    HONE_J_METHOD,
    HONE_J_CYCLER,
    HONE_J_JOINER,
} hone_jkind;

typedef struct hone_jstr {
    const char *data; /* UTF-8, not ended by a zero byte */
    size_t length;
    const hone_jinja_run *runs; /* [run_count] over data */
    size_t run_count;
    int64_t characters; /* -1: not counted yet */
    bool safe;          /* Python's Markup */
} hone_jstr;

typedef struct hone_jlist {
    hone_jvalue *items; /* [count] */
    size_t count, capacity;
    size_t at;        /* of an iterator: the next item */
    const char *what; /* how an iterator or a view calls itself */
    bool group;       /* a tuple of groupby, with names for its two items */
} hone_jlist;

typedef struct hone_jdict {
    hone_jvalue *keys, *values; /* [count], in order of insertion */
    size_t count, key_capacity, value_capacity;
    size_t part_of; /* 1 + the message whose content it is a part of; 0: none */
} hone_jdict;

typedef struct hone_jmacro {
    const hone_jnode *node; /* HONE_JN_MACRO, or HONE_JN_CALL_BLOCK for a caller */
    hone_jscope *scope;     /* where it was defined */
} hone_jmacro;

typedef struct hone_jbound hone_jbound;   /* a method and its object */
typedef struct hone_jcycler hone_jcycler; /* items and a place */

struct hone_jvalue {
    uint8_t kind;  /* hone_jkind */
    uint8_t owner; /* of an undefined value: the kind of what lacks it, or HONE_J_MISSING */
    union {
        bool boolean;
        int64_t integer;
        double real;
        hone_jstr *string;
        hone_jlist *list;
        hone_jdict *dict; /* of a namespace too */
        hone_jloop *loop;
        hone_jmacro *macro;
        hone_jbound *bound;
        hone_jcycler *cycler;
        int global;
        const char *name; /* of an undefined value; NULL: unknown */
    } as;
};

struct hone_jbound {
    hone_jvalue self;
    const hone_jmethod *method;
};

struct hone_jcycler {
    hone_jvalue *items;
    size_t count, at;
    const hone_jstr *separator; /* of a joiner */
};

#define HONE_J_NULL ((hone_jvalue){.kind = HONE_J_NONE})

static inline hone_jvalue hone_j_bool(bool value) {
    return (hone_jvalue){.kind = HONE_J_BOOL, .as.boolean = value};
}

static inline hone_jvalue hone_j_int(int64_t value) {
    return (hone_jvalue){.kind = HONE_J_INT, .as.integer = value};
}

static inline hone_jvalue hone_j_float(double value) {
    return (hone_jvalue){.kind = HONE_J_FLOAT, .as.real = value};
}

static inline hone_jvalue hone_j_undefined(const char *name, uint8_t owner) {
    return (hone_jvalue){.kind = HONE_J_UNDEFINED, .owner = owner, .as.name = name};
}

static inline hone_jvalue hone_j_string(hone_jstr *string) {
    return (hone_jvalue){.kind = HONE_J_STRING, .as.string = string};
}

static inline hone_jvalue hone_j_list(hone_jkind kind, hone_jlist *list) {
    return (hone_jvalue){.kind = (uint8_t)kind, .as.list = list};
}

static inline hone_jvalue hone_j_dict(hone_jdict *dict) {
    return (hone_jvalue){.kind = HONE_J_DICT, .as.dict = dict};
}

/* Python's name of a value's type: "str", "list", ... */
const char *hone_j_type(hone_jvalue value);

/* bool(), int and float where a bool is a number too. */
static inline bool hone_j_is_int(hone_jvalue value) {
    return value.kind == HONE_J_INT || value.kind == HONE_J_BOOL;
}
static inline bool hone_j_is_number(hone_jvalue value) {
    return hone_j_is_int(value) || value.kind == HONE_J_FLOAT;
}
static inline int64_t hone_j_as_int(hone_jvalue value) {
    return value.kind == HONE_J_BOOL ? value.as.boolean : value.as.integer;
}
static inline double hone_j_as_real(hone_jvalue value) {
    return value.kind == HONE_J_FLOAT ? value.as.real : (double)hone_j_as_int(value);
}
static inline bool hone_j_is_list(hone_jvalue value) {
    return value.kind >= HONE_J_LIST && value.kind <= HONE_J_ITERATOR;
}
bool hone_j_truth(hone_jvalue value);

/* a == b, and whether a comes before b (-1, 0, 1); comparing what Python cannot is an error. */
HONE_MUST_USE hone_status hone_j_equal(bool *out, hone_jvm *vm, hone_jvalue a, hone_jvalue b);
HONE_MUST_USE hone_status hone_j_compare(int *out, hone_jvm *vm, hone_jvalue a, hone_jvalue b);
bool hone_j_same_text(const hone_jstr *a, const hone_jstr *b);

/* item in container */
HONE_MUST_USE hone_status hone_j_contains(bool *out, hone_jvm *vm, hone_jvalue container,
                                          hone_jvalue item);

/* A list or another of its kind, with room for `capacity` items. */
HONE_MUST_USE hone_status hone_j_list_new(hone_jlist **out, hone_jvm *vm, size_t capacity);
HONE_MUST_USE hone_status hone_j_list_add(hone_jlist *list, hone_jvm *vm, hone_jvalue item);

HONE_MUST_USE hone_status hone_j_dict_new(hone_jdict **out, hone_jvm *vm);
/* Sets or replaces; a key that Python cannot hash is an error. */
HONE_MUST_USE hone_status hone_j_dict_set(hone_jdict *dict, hone_jvm *vm, hone_jvalue key,
                                          hone_jvalue value);
/* NULL when there is none. Never fails but by a key that Python cannot hash: then NULL, too. */
const hone_jvalue *hone_j_dict_get(const hone_jdict *dict, hone_jvm *vm, hone_jvalue key);
const hone_jvalue *hone_j_dict_text(const hone_jdict *dict, const char *key, size_t length);
bool hone_j_hashable(hone_jvalue value);

/* Walks what can be walked: *out is a list of the items (borrowed where the value has one; an iterator is emptied).
 * Another value is an error that names `what`. */
HONE_MUST_USE hone_status hone_j_items(hone_jlist **out, hone_jvm *vm, hone_jvalue value);
bool hone_j_iterable(hone_jvalue value);

#endif
