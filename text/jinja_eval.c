#include <string.h>

#include "text/jinja_call.h"

static hone_status eval_list(hone_jlist **out, hone_jvm *vm, const hone_jnode *items) {
    HONE_TRY(hone_j_list_new(out, vm, 0));
    for (; items; items = items->next) {
        hone_jvalue item;
        HONE_TRY(hone_j_eval(&item, vm, items));
        HONE_TRY(hone_j_list_add(*out, vm, item));
    }
    return HONE_OK;
}

static hone_status eval_dict(hone_jvalue *out, hone_jvm *vm, const hone_jnode *pairs) {
    hone_jdict *dict;
    HONE_TRY(hone_j_dict_new(&dict, vm));
    for (; pairs; pairs = pairs->next) {
        hone_jvalue key, value;
        HONE_TRY(hone_j_eval(&key, vm, pairs->a));
        HONE_TRY(hone_j_eval(&value, vm, pairs->b));
        vm->at = pairs;
        HONE_TRY(hone_j_dict_set(dict, vm, key, value));
    }
    *out = hone_j_dict(dict);
    return HONE_OK;
}

static hone_status eval_concat(hone_jvalue *out, hone_jvm *vm, const hone_jnode *items) {
    hone_jbuilder builder = {0};
    for (; items; items = items->next) {
        hone_jvalue item;
        HONE_TRY(hone_j_eval(&item, vm, items));
        HONE_TRY(hone_j_put_value(&builder, vm, item));
    }
    return hone_j_built(out, vm, &builder);
}

/* --- comparisons ----------------------------------------------------------------------------------------------- */

static hone_status compare(bool *out, hone_jvm *vm, hone_jop op, hone_jvalue left,
                           hone_jvalue right) {
    int order = 0;
    if (op == HONE_J_EQ || op == HONE_J_NE) {
        HONE_TRY(hone_j_equal(out, vm, left, right));
        *out = *out == (op == HONE_J_EQ);
        return HONE_OK;
    }
    if (op == HONE_J_IN || op == HONE_J_NOT_IN) {
        HONE_TRY(hone_j_contains(out, vm, right, left));
        *out = *out == (op == HONE_J_IN);
        return HONE_OK;
    }
    HONE_TRY(hone_j_compare(&order, vm, left, right));
    *out = op == HONE_J_LT   ? order < 0
           : op == HONE_J_LE ? order <= 0
           : op == HONE_J_GT ? order > 0
                             : order >= 0;
    return HONE_OK;
}

/* a < b < c: each pair, until one fails. */
static hone_status eval_compare(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue left, right;
    bool holds = true;
    HONE_TRY(hone_j_eval(&left, vm, node->a));
    for (const hone_jnode *operand = node->b; operand && holds; operand = operand->next) {
        HONE_TRY(hone_j_eval(&right, vm, operand->a));
        vm->at = node;
        HONE_TRY(compare(&holds, vm, (hone_jop)operand->op, left, right));
        left = right;
    }
    *out = hone_j_bool(holds);
    return HONE_OK;
}

/* --- calls ----------------------------------------------------------------------------------------------------- */

/* Arguments in the making. */
typedef struct arguments {
    hone_jlist *positional, *values;
    const hone_jstr **names;
    size_t named, capacity;
} arguments;

static hone_status add_named(arguments *list, hone_jvm *vm, const hone_jstr *name,
                             hone_jvalue value) {
    for (size_t i = 0; i < list->named; i++) {
        if (hone_j_same_text(list->names[i], name))
            return hone_j_fail(vm, "the argument '%.*s' is given twice", (int)name->length,
                               name->data);
    }
    HONE_TRY(hone_jarena_grow(&list->names, &vm->arena, list->named, &list->capacity,
                              list->named + 1, sizeof(hone_jstr *)));
    list->names[list->named++] = name;
    return hone_j_list_add(list->values, vm, value);
}

static hone_status spread(arguments *list, hone_jvm *vm, hone_jvalue value) {
    hone_jlist *items;
    HONE_TRY(hone_j_items(&items, vm, value));
    for (size_t i = 0; i < items->count; i++)
        HONE_TRY(hone_j_list_add(list->positional, vm, items->items[i]));
    return HONE_OK;
}

static hone_status spread_named(arguments *list, hone_jvm *vm, hone_jvalue value) {
    if (value.kind != HONE_J_DICT)
        return hone_j_fail(vm, "** takes an object, not a %s", hone_j_type(value));
    for (size_t i = 0; i < value.as.dict->count; i++) {
        if (value.as.dict->keys[i].kind != HONE_J_STRING)
            return hone_j_fail(vm, "** takes an object whose keys are texts");
        HONE_TRY(add_named(list, vm, value.as.dict->keys[i].as.string, value.as.dict->values[i]));
    }
    return HONE_OK;
}

static hone_status eval_arguments(hone_jcall *call, hone_jvm *vm, const hone_jnode *node) {
    arguments list = {0};
    HONE_TRY(hone_j_list_new(&list.positional, vm, 0));
    HONE_TRY(hone_j_list_new(&list.values, vm, 0));
    for (; node; node = node->next) {
        hone_jvalue value;
        HONE_TRY(hone_j_eval(&value, vm, node->a));
        vm->at = node;
        switch (node->op) {
        case HONE_J_NAMED:
            HONE_TRY(add_named(&list, vm, node->text, value));
            break;
        case HONE_J_STAR:
            HONE_TRY(spread(&list, vm, value));
            break;
        case HONE_J_STAR_STAR:
            HONE_TRY(spread_named(&list, vm, value));
            break;
        default:
            HONE_TRY(hone_j_list_add(list.positional, vm, value));
        }
    }
    call->arguments = list.positional->items;
    call->count = list.positional->count;
    call->names = list.names;
    call->values = list.values->items;
    call->named = list.named;
    return HONE_OK;
}

static hone_status eval_call(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue function;
    hone_jcall call = {.name = "the call"};
    HONE_TRY(hone_j_eval(&function, vm, node->a));
    HONE_TRY(eval_arguments(&call, vm, node->b));
    vm->at = node;
    return hone_j_call(out, vm, function, &call);
}

static hone_status eval_filter(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jcall call = {0};
    HONE_TRY(hone_j_eval(&call.self, vm, node->a));
    HONE_TRY(eval_arguments(&call, vm, node->b));
    vm->at = node;
    if (!node->filter || !node->filter->run)
        return hone_j_unsupported(vm, "no %s is named '%.*s'",
                                  node->type == HONE_JN_TEST ? "test" : "filter",
                                  (int)node->text->length, node->text->data);
    return hone_j_apply(out, vm, node->filter, &call);
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static hone_status eval_binary(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue left, right;
    HONE_TRY(hone_j_eval(&left, vm, node->a));
    HONE_TRY(hone_j_eval(&right, vm, node->b));
    vm->at = node;
    return hone_j_binary(out, vm, (hone_jop)node->op, left, right);
}

static hone_status eval_unary(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue value;
    HONE_TRY(hone_j_eval(&value, vm, node->a));
    vm->at = node;
    if (node->type == HONE_JN_NOT) {
        *out = hone_j_bool(!hone_j_truth(value));
        return HONE_OK;
    }
    HONE_TRY(hone_j_negate(out, vm, value));
    if (node->type == HONE_JN_NEGATE) return HONE_OK;
    *out = hone_j_is_int(value) ? hone_j_int(hone_j_as_int(value)) : value;
    return HONE_OK;
}

/* "a and b" is the value that decides it. */
static hone_status eval_logic(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    HONE_TRY(hone_j_eval(out, vm, node->a));
    return hone_j_truth(*out) == (node->type == HONE_JN_AND) ? hone_j_eval(out, vm, node->b)
                                                             : HONE_OK;
}

static hone_status eval_choice(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue condition;
    HONE_TRY(hone_j_eval(&condition, vm, node->a));
    const hone_jnode *chosen = hone_j_truth(condition) ? node->b : node->c;
    *out = hone_j_undefined("what an inline if without else gives", HONE_J_MISSING);
    return chosen ? hone_j_eval(out, vm, chosen) : HONE_OK;
}

static hone_status eval_item(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue object, key;
    HONE_TRY(hone_j_eval(&object, vm, node->a));
    HONE_TRY(hone_j_eval(&key, vm, node->b));
    vm->at = node;
    return hone_j_item(out, vm, object, key);
}

static hone_status eval_attribute(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue object;
    HONE_TRY(hone_j_eval(&object, vm, node->a));
    vm->at = node;
    return hone_j_attribute(out, vm, object, node->text);
}

static hone_status eval_slice(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jvalue object, bounds[3];
    HONE_TRY(hone_j_eval(&object, vm, node->a));
    const hone_jnode *bound = node->b;
    for (int i = 0; i < 3; i++, bound = bound->next) HONE_TRY(hone_j_eval(&bounds[i], vm, bound));
    vm->at = node;
    return hone_j_slice(out, vm, object, bounds);
}

static hone_status eval_sequence(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    hone_jlist *list;
    HONE_TRY(eval_list(&list, vm, node->a));
    *out = hone_j_list(node->type == HONE_JN_LIST ? HONE_J_LIST : HONE_J_TUPLE, list);
    return HONE_OK;
}

static hone_status eval_node(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    switch (node->type) {
    case HONE_JN_CONST:
        *out = node->value;
        return HONE_OK;
    case HONE_JN_NAME:
        *out = hone_j_lookup(vm, node->symbol);
        return HONE_OK;
    case HONE_JN_NOTHING:
        *out = HONE_J_NULL;
        return HONE_OK;
    case HONE_JN_LIST:
    case HONE_JN_TUPLE:
        return eval_sequence(out, vm, node);
    case HONE_JN_DICT:
        return eval_dict(out, vm, node->a);
    case HONE_JN_BINARY:
        return eval_binary(out, vm, node);
    case HONE_JN_NEGATE:
    case HONE_JN_POSITIVE:
    case HONE_JN_NOT:
        return eval_unary(out, vm, node);
    case HONE_JN_AND:
    case HONE_JN_OR:
        return eval_logic(out, vm, node);
    case HONE_JN_IF_ELSE:
        return eval_choice(out, vm, node);
    case HONE_JN_COMPARE:
        return eval_compare(out, vm, node);
    case HONE_JN_CONCAT:
        return eval_concat(out, vm, node->a);
    case HONE_JN_ATTRIBUTE:
        return eval_attribute(out, vm, node);
    case HONE_JN_ITEM:
        return eval_item(out, vm, node);
    case HONE_JN_SLICE:
        return eval_slice(out, vm, node);
    case HONE_JN_CALL:
        return eval_call(out, vm, node);
    default:
        return eval_filter(out, vm, node);
    }
}

hone_status hone_j_eval(hone_jvalue *out, hone_jvm *vm, const hone_jnode *node) {
    HONE_TRY(hone_j_enter(vm));
    vm->at = node;
    hone_status status = eval_node(out, vm, node);
    hone_j_leave(vm);
    return status;
}
