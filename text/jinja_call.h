/*
 * Filters, tests, methods and functions: tables of name, parameters and function.
 */
#ifndef HONE_TEXT_JINJA_CALL_H
#define HONE_TEXT_JINJA_CALL_H

#include "text/jinja_vm.h"

enum { HONE_J_SLOTS = 6 };

typedef struct hone_jcall {
    const char *name;             /* of what is called, for messages */
    hone_jvalue self;             /* the value that is filtered or tested, the object of a method */
    const hone_jvalue *arguments; /* [count] */
    size_t count;
    const hone_jstr *const *names; /* [named] */
    const hone_jvalue *values;     /* [named] */
    size_t named;
    hone_jvalue slot[HONE_J_SLOTS]; /* by the parameters' order; HONE_J_MISSING where not given */
} hone_jcall;

typedef hone_status (*hone_jfunction)(hone_jvalue *out, hone_jvm *vm, hone_jcall *call);

/* Also a test. */
struct hone_jfilter {
    const char *name;
    const char *parameters; /* "width first blank"; NULL: takes what comes, unbound */
    int required;           /* of them */
    hone_jfunction run;     /* NULL: known to jinja2, not to hone */
};

struct hone_jmethod {
    const char *name;
    const char *parameters;
    int required;
    hone_jfunction run; /* NULL: known to Python, not to hone */
    bool changes;       /* its object, which the sandbox of transformers forbids */
};

/* NULL for a name that jinja2 lacks. */
const hone_jfilter *hone_j_filter_find(const char *name, size_t length);
const hone_jfilter *hone_j_test_find(const char *name, size_t length);
const hone_jmethod *hone_j_method_find(hone_jvalue object, const char *name, size_t length);

/* Arguments to slots. */
HONE_MUST_USE hone_status hone_j_bind(hone_jcall *call, hone_jvm *vm, const char *parameters,
                                      int required);

/* Binds and runs. */
HONE_MUST_USE hone_status hone_j_apply(hone_jvalue *out, hone_jvm *vm, const hone_jfilter *filter,
                                       hone_jcall *call);

/* Calls what can be called. */
HONE_MUST_USE hone_status hone_j_call(hone_jvalue *out, hone_jvm *vm, hone_jvalue function,
                                      hone_jcall *call);

/* Global functions by number; -1 for another name. */
int hone_j_global_find(const char *name, size_t length);
HONE_MUST_USE hone_status hone_j_call_global(hone_jvalue *out, hone_jvm *vm, int global,
                                             hone_jcall *call);

/* Slots as what they must be; a missing one leaves *out as it is. */
HONE_MUST_USE hone_status hone_j_slot_int(int64_t *out, hone_jvm *vm, const hone_jcall *call,
                                          int slot);
HONE_MUST_USE hone_status hone_j_slot_string(hone_jstr **out, hone_jvm *vm, const hone_jcall *call,
                                             int slot);
bool hone_j_slot_truth(const hone_jcall *call, int slot, bool otherwise);

/* The tables; each ends with a row without a name. */
extern const hone_jfilter hone_j_text_filters[], hone_j_list_filters[], hone_j_choice_filters[];
extern const hone_jmethod hone_j_string_methods[];

/* '%' of Python for strings, and str.format. */
HONE_MUST_USE hone_status hone_j_percent(hone_jvalue *out, hone_jvm *vm, hone_jstr *format,
                                         hone_jvalue arguments);
HONE_MUST_USE hone_status hone_j_str_format(hone_jvalue *out, hone_jvm *vm, hone_jcall *call);

/* The value at the path "a.b.0" of an item, as `attribute=` of filters; `otherwise` (may be HONE_J_MISSING) stands for
 * what is undefined on the way. */
HONE_MUST_USE hone_status hone_j_path(hone_jvalue *out, hone_jvm *vm, hone_jvalue item,
                                      hone_jvalue path, hone_jvalue otherwise);

/* A string in lower case, as str.lower(); another value is itself. */
HONE_MUST_USE hone_status hone_j_ignore_case(hone_jvalue *out, hone_jvm *vm, hone_jvalue value);

/* Tuples (key, value). */
HONE_MUST_USE hone_status hone_j_dict_pairs(hone_jlist **out, hone_jvm *vm, const hone_jdict *dict);

/* Stable, by the keys. */
HONE_MUST_USE hone_status hone_j_sort(hone_jvalue *items, hone_jvalue *keys, size_t count,
                                      bool reverse, hone_jvm *vm);

/* Appends a date as strftime of C. */
HONE_MUST_USE hone_status hone_j_put_time(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *format,
                                          const struct tm *time);

/* A text as Python's int() and float() read it; false when it is none. */
bool hone_j_read_int(int64_t *out, const hone_jstr *text, int base, bool *overflow);
bool hone_j_read_float(double *out, const hone_jstr *text);

#endif
