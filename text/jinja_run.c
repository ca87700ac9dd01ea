#include <string.h>

#include "text/jinja_call.h"

/* --- scopes of blocks ------------------------------------------------------------------------------------------ */

static hone_status run_in(hone_jvm *vm, const hone_jnode *body, hone_jscope *scope) {
    hone_jscope *outer = vm->scope;
    vm->scope = scope;
    hone_status status = hone_j_run(vm, body);
    vm->scope = outer;
    return status;
}

hone_status hone_j_capture(hone_jvalue *out, hone_jvm *vm, const hone_jnode *body,
                           hone_jscope *scope) {
    hone_jbuilder builder = {.generation = vm->out->generation}, *outer = vm->out;
    vm->out = &builder;
    hone_status status = run_in(vm, body, scope);
    vm->out = outer;
    HONE_TRY(status);
    return hone_j_built(out, vm, &builder);
}

static hone_status capture_inner(hone_jvalue *out, hone_jvm *vm, const hone_jnode *body) {
    hone_jscope *scope;
    HONE_TRY(hone_j_scope_new(&scope, vm, vm->scope));
    return hone_j_capture(out, vm, body, scope);
}

/* --- assignment ------------------------------------------------------------------------------------------------ */

static hone_status assign_attribute(hone_jvm *vm, const hone_jnode *target, hone_jvalue value) {
    hone_jvalue space = hone_j_lookup(vm, target->symbol);
    vm->at = target;
    if (space.kind != HONE_J_NAMESPACE)
        return hone_j_fail(vm, "attributes can be set on namespaces only, not on a %s",
                           hone_j_type(space));
    if (target->text->data[0] == '_')
        return hone_j_fail(vm, "a namespace cannot have attributes that begin with '_'");
    return hone_j_dict_set(space.as.dict, vm, hone_j_string(target->text), value);
}

static hone_status assign(hone_jvm *vm, hone_jscope *scope, const hone_jnode *target,
                          hone_jvalue value) {
    if (target->type == HONE_JN_NAME) return hone_j_scope_set(scope, vm, target->symbol, value);
    if (target->type == HONE_JN_NAMESPACE_TARGET) return assign_attribute(vm, target, value);
    hone_jlist *items;
    vm->at = target;
    HONE_TRY(hone_j_items(&items, vm, value));
    size_t want = 0;
    for (const hone_jnode *n = target->a; n; n = n->next) want++;
    if (items->count != want)
        return hone_j_fail(vm, "%zu values for %zu names", items->count, want);
    const hone_jvalue *item = items->items;
    for (const hone_jnode *n = target->a; n; n = n->next) HONE_TRY(assign(vm, scope, n, *item++));
    return HONE_OK;
}

static hone_status run_set(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue value;
    HONE_TRY(hone_j_eval(&value, vm, node->b));
    return assign(vm, vm->scope, node->a, value);
}

/* The filters of a block; the innermost one filters `value`. */
static hone_status filter_block(hone_jvalue *out, hone_jvm *vm, const hone_jnode *filter,
                                hone_jvalue value) {
    if (filter->a) HONE_TRY(filter_block(&value, vm, filter->a, value));
    hone_jnode given = {.type = HONE_JN_CONST, .value = value};
    given.line = filter->line;
    given.column = filter->column;
    hone_jnode applied = *filter;
    applied.a = &given;
    hone_status status = hone_j_eval(out, vm, &applied);
    vm->at = filter;
    return status;
}

static hone_status run_set_block(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue value;
    HONE_TRY(capture_inner(&value, vm, node->body));
    if (node->b) HONE_TRY(filter_block(&value, vm, node->b, value));
    return assign(vm, vm->scope, node->a, value);
}

static hone_status run_filter_block(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue value;
    HONE_TRY(capture_inner(&value, vm, node->body));
    HONE_TRY(filter_block(&value, vm, node->a, value));
    return hone_j_put_value(vm->out, vm, value);
}

static hone_status run_with(hone_jvm *vm, const hone_jnode *node) {
    hone_jscope *scope;
    HONE_TRY(hone_j_scope_new(&scope, vm, vm->scope));
    for (const hone_jnode *n = node->a; n; n = n->next) {
        hone_jvalue value;
        HONE_TRY(hone_j_eval(&value, vm, n->b));
        HONE_TRY(assign(vm, scope, n->a, value));
    }
    return run_in(vm, node->body, scope);
}

/* --- loops ----------------------------------------------------------------------------------------------------- */

static hone_status passes(bool *out, hone_jvm *vm, const hone_jloop *loop, hone_jvalue item) {
    *out = true;
    if (!loop->node->c) return HONE_OK;
    hone_jscope *scope, *outer = vm->scope;
    hone_jvalue condition;
    HONE_TRY(hone_j_scope_new(&scope, vm, loop->scope));
    HONE_TRY(assign(vm, scope, loop->node->a, item));
    vm->scope = scope;
    hone_status status = hone_j_eval(&condition, vm, loop->node->c);
    vm->scope = outer;
    if (status == HONE_OK) *out = hone_j_truth(condition);
    return status;
}

hone_status hone_j_loop_fill(hone_jloop *loop, hone_jvm *vm, size_t count) {
    while (loop->items->count < count && loop->next < loop->source->count) {
        hone_jvalue item = loop->source->items[loop->next++];
        bool taken;
        HONE_TRY(passes(&taken, vm, loop, item));
        if (taken) HONE_TRY(hone_j_list_add(loop->items, vm, item));
    }
    return HONE_OK;
}

/* The scope of the next round: that of the last one, unless a macro holds it. */
static hone_status next_scope(hone_jscope **scope, hone_jvm *vm, hone_jloop *loop) {
    if (!*scope || (*scope)->kept) HONE_TRY(hone_j_scope_new(scope, vm, loop->scope));
    (*scope)->count = 0;
    return hone_j_scope_set(*scope, vm, vm->jinja->loop,
                            (hone_jvalue){.kind = HONE_J_LOOP, .as.loop = loop});
}

static hone_status run_rounds(hone_jvm *vm, hone_jloop *loop) {
    hone_jscope *scope = NULL;
    for (loop->index = 0;; loop->index++) {
        HONE_TRY(hone_j_charge(vm, 0));
        HONE_TRY(hone_j_loop_fill(loop, vm, (size_t)loop->index + 1));
        if ((size_t)loop->index >= loop->items->count) return HONE_OK;
        HONE_TRY(next_scope(&scope, vm, loop));
        HONE_TRY(assign(vm, scope, loop->node->a, loop->items->items[loop->index]));
        HONE_TRY(run_in(vm, loop->node->body, scope));
        hone_jflow flow = vm->flow;
        vm->flow = HONE_J_GO;
        loop->completed |= flow == HONE_J_GO;
        if (flow == HONE_J_BREAK) return HONE_OK;
    }
}

static hone_status run_loop(hone_jvm *vm, const hone_jnode *node, hone_jscope *around,
                            hone_jvalue items, int64_t depth) {
    hone_jloop *loop;
    HONE_TRY(hone_jarena_take(&loop, &vm->arena, 1, sizeof *loop));
    *loop = (hone_jloop){.node = node, .scope = around, .depth = depth};
    vm->at = node;
    HONE_TRY(hone_j_items(&loop->source, vm, items));
    HONE_TRY(hone_j_list_new(&loop->items, vm, 0));
    HONE_TRY(run_rounds(vm, loop));
    if (loop->completed || !node->otherwise) return HONE_OK;
    hone_jscope *scope;
    HONE_TRY(hone_j_scope_new(&scope, vm, around));
    return run_in(vm, node->otherwise, scope);
}

static hone_status run_for(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue items;
    HONE_TRY(hone_j_eval(&items, vm, node->b));
    return run_loop(vm, node, vm->scope, items, 0);
}

hone_status hone_j_recurse(hone_jvalue *out, hone_jvm *vm, const hone_jloop *loop,
                           hone_jvalue items) {
    if (!loop->node->recursive)
        return hone_j_fail(vm, "only a loop marked 'recursive' can be called");
    hone_jbuilder builder = {.generation = vm->out->generation}, *outer = vm->out;
    vm->out = &builder;
    HONE_TRY(hone_j_enter(vm));
    hone_status status = run_loop(vm, loop->node, loop->scope, items, loop->depth + 1);
    hone_j_leave(vm);
    vm->out = outer;
    HONE_TRY(status);
    return hone_j_built(out, vm, &builder);
}

/* --- loop.* ---------------------------------------------------------------------------------------------------- */

static bool is(const hone_jstr *name, const char *text) {
    return name->length == strlen(text) && memcmp(name->data, text, name->length) == 0;
}

static hone_status neighbour(hone_jvalue *out, hone_jvm *vm, hone_jloop *loop, int64_t index) {
    HONE_TRY(hone_j_loop_fill(loop, vm, (size_t)(index + 1)));
    *out = index >= 0 && (size_t)index < loop->items->count
               ? loop->items->items[index]
               : hone_j_undefined("the item beside this one", HONE_J_MISSING);
    return HONE_OK;
}

hone_status hone_j_loop_field(hone_jvalue *out, hone_jvm *vm, hone_jloop *loop,
                              const hone_jstr *name) {
    int64_t index = loop->index;
    if (is(name, "index")) *out = hone_j_int(index + 1);
    if (is(name, "index0")) *out = hone_j_int(index);
    if (is(name, "first")) *out = hone_j_bool(index == 0);
    if (is(name, "depth")) *out = hone_j_int(loop->depth + 1);
    if (is(name, "depth0")) *out = hone_j_int(loop->depth);
    if (is(name, "previtem")) return neighbour(out, vm, loop, index - 1);
    if (is(name, "nextitem")) return neighbour(out, vm, loop, index + 1);
    if (is(name, "last")) {
        HONE_TRY(hone_j_loop_fill(loop, vm, (size_t)index + 2));
        *out = hone_j_bool((size_t)index + 1 >= loop->items->count);
    }
    bool counts = is(name, "length") || is(name, "revindex") || is(name, "revindex0");
    if (!counts) return HONE_OK;
    HONE_TRY(hone_j_loop_fill(loop, vm, SIZE_MAX));
    int64_t length = (int64_t)loop->items->count;
    *out = hone_j_int(is(name, "length")     ? length
                      : is(name, "revindex") ? length - index
                                             : length - index - 1);
    return HONE_OK;
}

/* --- macros ---------------------------------------------------------------------------------------------------- */

/* The scopes that a macro can see are not used again. */
static hone_status new_macro(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jmacro *macro;
    HONE_TRY(hone_jarena_take(&macro, &vm->arena, 1, sizeof *macro));
    *macro = (hone_jmacro){node, vm->scope};
    for (hone_jscope *scope = vm->scope; scope && !scope->kept; scope = scope->parent)
        scope->kept = true;
    *out = (hone_jvalue){.kind = HONE_J_MACRO, .as.macro = macro};
    return HONE_OK;
}

static hone_status run_macro(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue macro;
    HONE_TRY(new_macro(&macro, vm, node));
    return hone_j_scope_set(vm->scope, vm, node->symbol, macro);
}

/* Named arguments that no parameter takes. */
static hone_status take_rest(hone_jdict **out, hone_jvm *vm, const hone_jcall *call,
                             const bool *used) {
    HONE_TRY(hone_j_dict_new(out, vm));
    for (size_t i = 0; i < call->named; i++) {
        hone_jvalue name = hone_j_string((hone_jstr *)(uintptr_t)call->names[i]);
        if (!used[i]) HONE_TRY(hone_j_dict_set(*out, vm, name, call->values[i]));
    }
    return HONE_OK;
}

/* Parameters by place, by name, by default; what is left over is an error unless the body reads it. */
static hone_status bind_parameters(hone_jscope *scope, hone_jvm *vm, const hone_jnode *node,
                                   const hone_jcall *call, bool *used) {
    size_t place = 0;
    for (const hone_jnode *p = node->a; p; p = p->next, place++) {
        hone_jvalue value = {.kind = HONE_J_MISSING};
        if (place < call->count) value = call->arguments[place];
        for (size_t i = 0; place >= call->count && i < call->named; i++) {
            if (!hone_j_same_text(call->names[i], p->text)) continue;
            used[i] = true;
            value = call->values[i];
        }
        if (value.kind == HONE_J_MISSING && p->b) {
            vm->scope = scope;
            HONE_TRY(hone_j_eval(&value, vm, p->b));
        } else if (value.kind == HONE_J_MISSING) {
            value = hone_j_undefined(vm->jinja->symbols[p->symbol]->data, HONE_J_MISSING);
        }
        HONE_TRY(hone_j_scope_set(scope, vm, p->symbol, value));
    }
    if (call->count > place && !node->uses_varargs)
        return hone_j_fail(vm, "the macro takes %zu arguments, not %zu", place, call->count);
    hone_jlist *rest;
    HONE_TRY(hone_j_list_new(&rest, vm, 0));
    for (; node->uses_varargs && place < call->count; place++)
        HONE_TRY(hone_j_list_add(rest, vm, call->arguments[place]));
    if (!node->uses_varargs) return HONE_OK;
    return hone_j_scope_set(scope, vm, vm->jinja->varargs, hone_j_list(HONE_J_TUPLE, rest));
}

static hone_status bind_named(hone_jscope *scope, hone_jvm *vm, const hone_jnode *node,
                              const hone_jcall *call, bool *used) {
    const hone_jstr *caller = vm->jinja->symbols[vm->jinja->caller];
    hone_jvalue given = hone_j_undefined("caller", HONE_J_MISSING);
    for (size_t i = 0; node->uses_caller && i < call->named; i++) {
        if (used[i] || !hone_j_same_text(call->names[i], caller)) continue;
        used[i] = true;
        given = call->values[i];
    }
    bool parameter = false;
    for (const hone_jnode *p = node->a; p; p = p->next) parameter |= p->symbol == vm->jinja->caller;
    if (node->uses_caller && !parameter)
        HONE_TRY(hone_j_scope_set(scope, vm, vm->jinja->caller, given));
    hone_jdict *rest;
    HONE_TRY(take_rest(&rest, vm, call, used));
    if (node->uses_kwargs) return hone_j_scope_set(scope, vm, vm->jinja->kwargs, hone_j_dict(rest));
    if (rest->count == 0) return HONE_OK;
    const hone_jstr *name = rest->keys[0].as.string;
    return hone_j_fail(vm, "the macro takes no argument '%.*s'", (int)name->length, name->data);
}

static hone_status call_in(hone_jvalue *out, hone_jvm *vm, const hone_jmacro *macro,
                           const hone_jcall *call) {
    hone_jscope *scope;
    bool *used;
    HONE_TRY(hone_j_scope_new(&scope, vm, macro->scope));
    HONE_TRY(hone_jarena_take(&used, &vm->arena, call->named + 1, sizeof *used));
    HONE_TRY(bind_parameters(scope, vm, macro->node, call, used));
    HONE_TRY(bind_named(scope, vm, macro->node, call, used));
    return hone_j_capture(out, vm, macro->node->body, scope);
}

hone_status hone_j_call_macro(hone_jvalue *out, hone_jvm *vm, const hone_jmacro *macro,
                              const struct hone_jcall *call) {
    hone_jscope *outer = vm->scope;
    HONE_TRY(hone_j_enter(vm));
    hone_status status = call_in(out, vm, macro, call);
    vm->scope = outer;
    hone_j_leave(vm);
    return status;
}

/* {% call macro(x) %}: the body is one more argument, `caller`. */
static hone_status run_call_block(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue caller, value;
    HONE_TRY(new_macro(&caller, vm, node));
    const hone_jstr *name = vm->jinja->symbols[vm->jinja->caller];
    hone_jnode constant = {.type = HONE_JN_CONST, .value = caller};
    hone_jnode argument = {.type = HONE_JN_ARGUMENT,
                           .op = HONE_J_NAMED,
                           .a = &constant,
                           .text = (hone_jstr *)(uintptr_t)name,
                           .next = node->b->b};
    constant.line = argument.line = node->line;
    constant.column = argument.column = node->column;
    hone_jnode call = *node->b;
    call.b = &argument;
    hone_status status = hone_j_eval(&value, vm, &call);
    vm->at = node;
    HONE_TRY(status);
    return hone_j_put_value(vm->out, vm, value);
}

/* --- statements ------------------------------------------------------------------------------------------------ */

static hone_status run_output(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue value;
    HONE_TRY(hone_j_eval(&value, vm, node->a));
    vm->at = node;
    return hone_j_put_value(vm->out, vm, value);
}

static hone_status run_if(hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue condition;
    HONE_TRY(hone_j_eval(&condition, vm, node->a));
    return hone_j_run(vm, hone_j_truth(condition) ? node->b : node->c);
}

static hone_status run_generation(hone_jvm *vm, const hone_jnode *node) {
    hone_jscope *scope;
    bool outer = vm->out->generation;
    HONE_TRY(hone_j_scope_new(&scope, vm, vm->scope));
    vm->out->generation = true;
    hone_status status = run_in(vm, node->body, scope);
    vm->out->generation = outer;
    return status;
}

static hone_status run_statement(hone_jvm *vm, const hone_jnode *node) {
    switch (node->type) {
    case HONE_JN_DATA:
        return hone_j_put_str(vm->out, vm, node->text);
    case HONE_JN_OUTPUT:
        return run_output(vm, node);
    case HONE_JN_IF:
        return run_if(vm, node);
    case HONE_JN_FOR:
        return run_for(vm, node);
    case HONE_JN_SET:
        return run_set(vm, node);
    case HONE_JN_SET_BLOCK:
        return run_set_block(vm, node);
    case HONE_JN_MACRO:
        return run_macro(vm, node);
    case HONE_JN_CALL_BLOCK:
        return run_call_block(vm, node);
    case HONE_JN_FILTER_BLOCK:
        return run_filter_block(vm, node);
    case HONE_JN_WITH:
        return run_with(vm, node);
    case HONE_JN_GENERATION:
        return run_generation(vm, node);
    default:
        vm->flow = node->type == HONE_JN_BREAK ? HONE_J_BREAK : HONE_J_CONTINUE;
        return HONE_OK;
    }
}

hone_status hone_j_run(hone_jvm *vm, const hone_jnode *statements) {
    HONE_TRY(hone_j_enter(vm));
    hone_status status = HONE_OK;
    for (; statements && status == HONE_OK && vm->flow == HONE_J_GO;
         statements = statements->next) {
        vm->at = statements;
        status = run_statement(vm, statements);
    }
    hone_j_leave(vm);
    return status;
}
