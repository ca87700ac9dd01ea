/*
 * One rendering: its scopes, its limits, where it is.
 */
#ifndef HONE_TEXT_JINJA_VM_H
#define HONE_TEXT_JINJA_VM_H

#include "text/jinja_text.h"
#include "text/jinja_tree.h"

/* Deepest nesting of evaluation, of values and of calls. */
enum { HONE_J_DEPTH = 1500 };

typedef struct hone_jbinding {
    int symbol;
    hone_jvalue value;
} hone_jbinding;

struct hone_jscope {
    hone_jscope *parent;
    hone_jbinding *bindings;
    size_t count, capacity;
    bool kept; /* a macro refers to it: it is not used again */
};

struct hone_jloop {
    hone_jlist *items; /* those that passed the condition so far */
    hone_jlist *source;
    size_t next; /* of the source */
    int64_t index;
    const hone_jnode *node;
    hone_jscope *scope; /* around the loop */
    int64_t depth;
    bool completed;      /* a round came to its end: as in jinja2, `else` runs unless one did */
    hone_jvalue changed; /* what changed() was last called with */
};

typedef enum hone_jflow { HONE_J_GO, HONE_J_BREAK, HONE_J_CONTINUE } hone_jflow;

struct hone_jvm {
    const hone_jinja *jinja;
    const hone_jinja_input *input;
    hone_jarena arena;
    hone_jbuilder *out;
    hone_jscope *scope;
    hone_jvalue *globals; /* [symbols]: the variables that were given, and the functions */
    const hone_jnode *at; /* for messages */
    hone_jflow flow;
    int64_t steps; /* left */
    int depth;
    int64_t output_limit;
    size_t spelled_part_of; /* as in hone_jinja_output */
};

/* HONE_ERR_DATA (or another code) with the template's name, line and column. */
hone_status hone_j_fail(hone_jvm *vm, const char *format, ...) HONE_PRINTF(2, 3);
hone_status hone_j_unsupported(hone_jvm *vm, const char *format, ...) HONE_PRINTF(2, 3);

/* What happens when an undefined value is used; the message says which. */
hone_status hone_j_fail_undefined(hone_jvm *vm, hone_jvalue value);

/* They give back what they were given: said here, so that the compiler sees at the call that it is no HONE_OK. */
#define hone_j_fail(vm, ...) hone_fail_code(hone_j_fail(vm, __VA_ARGS__), HONE_ERR_DATA)
#define hone_j_unsupported(vm, ...)                                                                \
    hone_fail_code(hone_j_unsupported(vm, __VA_ARGS__), HONE_ERR_UNSUPPORTED)
#define hone_j_fail_undefined(vm, value)                                                           \
    hone_fail_code(hone_j_fail_undefined(vm, value), HONE_ERR_DATA)

/* Counts work of `bytes` bytes and one step. */
HONE_MUST_USE hone_status hone_j_charge(hone_jvm *vm, size_t bytes);

/* One level deeper; hone_j_leave for each that succeeded. */
HONE_MUST_USE hone_status hone_j_enter(hone_jvm *vm);
static inline void hone_j_leave(hone_jvm *vm) {
    vm->depth--;
}

/* The variables that a template is given become the globals. */
HONE_MUST_USE hone_status hone_j_take_input(hone_jvm *vm);

HONE_MUST_USE hone_status hone_j_scope_new(hone_jscope **out, hone_jvm *vm, hone_jscope *parent);
HONE_MUST_USE hone_status hone_j_scope_set(hone_jscope *scope, hone_jvm *vm, int symbol,
                                           hone_jvalue value);
/* Undefined when there is none. */
hone_jvalue hone_j_lookup(const hone_jvm *vm, int symbol);

HONE_MUST_USE hone_status hone_j_eval(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node);

/* Runs a list of statements. */
HONE_MUST_USE hone_status hone_j_run(hone_jvm *vm, const hone_jnode *statements);

/* Runs statements in a scope of their own, their output as a string. */
HONE_MUST_USE hone_status hone_j_capture(hone_jvalue *out, hone_jvm *vm, const hone_jnode *body,
                                         hone_jscope *scope);

/* A macro's parameters are bound and its body run. */
struct hone_jcall;
HONE_MUST_USE hone_status hone_j_call_macro(hone_jvalue *out, hone_jvm *vm,
                                            const hone_jmacro *macro,
                                            const struct hone_jcall *call);

/* The body of a recursive loop, over other items. */
HONE_MUST_USE hone_status hone_j_recurse(hone_jvalue *out, hone_jvm *vm, const hone_jloop *loop,
                                         hone_jvalue items);
/* The items of a loop that come next are looked at, at least `ahead` of them when there are so many. */
HONE_MUST_USE hone_status hone_j_loop_fill(hone_jloop *loop, hone_jvm *vm, size_t count);
HONE_MUST_USE hone_status hone_j_loop_field(hone_jvalue *out, hone_jvm *vm, hone_jloop *loop,
                                            const hone_jstr *name);

/* left <op> right for the arithmetic of HONE_JN_BINARY, and -x. */
HONE_MUST_USE hone_status hone_j_binary(hone_jvalue *out, hone_jvm *vm, hone_jop op,
                                        hone_jvalue left, hone_jvalue right);
HONE_MUST_USE hone_status hone_j_negate(hone_jvalue *out, hone_jvm *vm, hone_jvalue value);

/* x.name and x[key], as jinja2 looks them up. */
HONE_MUST_USE hone_status hone_j_attribute(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                                           const hone_jstr *name);
HONE_MUST_USE hone_status hone_j_item(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                                      hone_jvalue key);
HONE_MUST_USE hone_status hone_j_slice(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                                       const hone_jvalue bounds[3]);

#endif
