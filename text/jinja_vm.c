#include "text/jinja_vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- messages and limits --------------------------------------------------------------------------------------- */

static hone_status fail_here(const hone_jvm *vm, hone_status code, const char *format,
                             va_list arguments) {
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    const hone_jnode *at = vm->at;
    if (!at) return (hone_fail)(code, "%s: %s", vm->jinja->name, text);
    return (hone_fail)(code, "%s: line %d, column %d: %s", vm->jinja->name, (int)at->line,
                       (int)at->column, text);
}

hone_status(hone_j_fail)(hone_jvm *vm, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    hone_status status = fail_here(vm, HONE_ERR_DATA, format, arguments);
    va_end(arguments);
    return status;
}

hone_status(hone_j_unsupported)(hone_jvm *vm, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    hone_status status = fail_here(vm, HONE_ERR_UNSUPPORTED, format, arguments);
    va_end(arguments);
    return status;
}

hone_status(hone_j_fail_undefined)(hone_jvm *vm, hone_jvalue value) {
    const char *name = value.as.name ? value.as.name : "a value";
    if (value.owner == HONE_J_MISSING) return hone_j_fail(vm, "'%s' is undefined", name);
    return hone_j_fail(vm, "a %s has no attribute '%s'",
                       hone_j_type((hone_jvalue){.kind = value.owner}), name);
}

hone_status hone_j_charge(hone_jvm *vm, size_t bytes) {
    vm->steps -= 1 + (int64_t)(bytes / 64);
    if (vm->steps >= 0) return HONE_OK;
    return hone_j_fail(vm, "the template takes too many steps; does it loop for ever?");
}

hone_status hone_j_enter(hone_jvm *vm) {
    HONE_TRY(hone_j_charge(vm, 0));
    if (vm->depth >= HONE_J_DEPTH)
        return hone_j_fail(vm, "nested deeper than %d; does it call itself for ever?",
                           HONE_J_DEPTH);
    vm->depth++;
    return HONE_OK;
}

/* --- scopes ---------------------------------------------------------------------------------------------------- */

hone_status hone_j_scope_new(hone_jscope **out, hone_jvm *vm, hone_jscope *parent) {
    HONE_TRY(hone_jarena_take(out, &vm->arena, 1, sizeof **out));
    (*out)->parent = parent;
    return HONE_OK;
}

static hone_jbinding *find(hone_jscope *scope, int symbol) {
    for (size_t i = 0; i < scope->count; i++) {
        if (scope->bindings[i].symbol == symbol) return &scope->bindings[i];
    }
    return NULL;
}

hone_status hone_j_scope_set(hone_jscope *scope, hone_jvm *vm, int symbol, hone_jvalue value) {
    hone_jbinding *old = find(scope, symbol);
    if (old) {
        old->value = value;
        return HONE_OK;
    }
    HONE_TRY(hone_jarena_grow(&scope->bindings, &vm->arena, scope->count, &scope->capacity,
                              scope->count + 1, sizeof *scope->bindings));
    scope->bindings[scope->count++] = (hone_jbinding){symbol, value};
    return HONE_OK;
}

hone_jvalue hone_j_lookup(const hone_jvm *vm, int symbol) {
    for (hone_jscope *scope = vm->scope; scope; scope = scope->parent) {
        const hone_jbinding *found = find(scope, symbol);
        if (found) return found->value;
    }
    hone_jvalue value = vm->globals[symbol];
    if (value.kind != HONE_J_MISSING) return value;
    return hone_j_undefined(vm->jinja->symbols[symbol]->data, HONE_J_MISSING);
}
