#include "text/jinja_value.h"

#include <math.h>
#include <string.h>

#include "text/jinja_vm.h"

const char *hone_j_type(hone_jvalue value) {
    static const char *const names[] = {
        [HONE_J_MISSING] = "nothing",
        [HONE_J_UNDEFINED] = "Undefined",
        [HONE_J_NONE] = "NoneType",
        [HONE_J_BOOL] = "bool",
        [HONE_J_INT] = "int",
        [HONE_J_FLOAT] = "float",
        [HONE_J_STRING] = "str",
        [HONE_J_LIST] = "list",
        [HONE_J_TUPLE] = "tuple",
        [HONE_J_RANGE] = "range",
        [HONE_J_VIEW] = "view of a dict",
        [HONE_J_ITERATOR] = "generator",
        [HONE_J_DICT] = "dict",
        [HONE_J_NAMESPACE] = "Namespace",
        [HONE_J_LOOP] = "LoopContext",
        [HONE_J_MACRO] = "Macro",
        [HONE_J_GLOBAL] = "function",
        [HONE_J_METHOD] = "method",
        [HONE_J_CYCLER] = "Cycler",
        [HONE_J_JOINER] = "Joiner",
    };
    return names[value.kind];
}

bool hone_j_truth(hone_jvalue value) {
    switch (value.kind) {
    case HONE_J_MISSING:
    case HONE_J_UNDEFINED:
    case HONE_J_NONE:
        return false;
    case HONE_J_BOOL:
        return value.as.boolean;
    case HONE_J_INT:
        return value.as.integer != 0;
    case HONE_J_FLOAT:
        return value.as.real != 0;
    case HONE_J_STRING:
        return value.as.string->length > 0;
    case HONE_J_LIST:
    case HONE_J_TUPLE:
    case HONE_J_RANGE:
    case HONE_J_VIEW:
        return value.as.list->count > 0;
    case HONE_J_DICT:
        return value.as.dict->count > 0;
    default:
        return true;
    }
}

/* --- comparing ------------------------------------------------------------------------------------------------- */

/* Integers beyond 2^53 are compared exactly with each other only. */
static int compare_numbers(hone_jvalue a, hone_jvalue b) {
    if (hone_j_is_int(a) && hone_j_is_int(b)) {
        int64_t x = hone_j_as_int(a), y = hone_j_as_int(b);
        return (x > y) - (x < y);
    }
    double x = hone_j_as_real(a), y = hone_j_as_real(b);
    return (x > y) - (x < y);
}

static bool equal_numbers(hone_jvalue a, hone_jvalue b) {
    if (hone_j_is_int(a) && hone_j_is_int(b)) return hone_j_as_int(a) == hone_j_as_int(b);
    double x = hone_j_as_real(a), y = hone_j_as_real(b);
    return x <= y && x >= y;
}

static int compare_text(const hone_jstr *a, const hone_jstr *b) {
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->data, b->data, shorter);
    if (order != 0) return order < 0 ? -1 : 1;
    return (a->length > b->length) - (a->length < b->length);
}

static hone_status equal_lists(bool *out, hone_jvm *vm, const hone_jlist *a, const hone_jlist *b) {
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++)
        HONE_TRY(hone_j_equal(out, vm, a->items[i], b->items[i]));
    return HONE_OK;
}

static hone_status equal_dicts(bool *out, hone_jvm *vm, const hone_jdict *a, const hone_jdict *b) {
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const hone_jvalue *other = hone_j_dict_get(b, vm, a->keys[i]);
        *out = other != NULL;
        if (other) HONE_TRY(hone_j_equal(out, vm, a->values[i], *other));
    }
    return HONE_OK;
}

hone_status hone_j_equal(bool *out, hone_jvm *vm, hone_jvalue a, hone_jvalue b) {
    *out = false;
    if (hone_j_is_number(a) && hone_j_is_number(b)) {
        *out = equal_numbers(a, b);
        return HONE_OK;
    }
    if (a.kind != b.kind) return HONE_OK;
    HONE_TRY(hone_j_enter(vm));
    hone_status status = HONE_OK;
    switch (a.kind) {
    case HONE_J_NONE:
    case HONE_J_UNDEFINED:
        *out = true;
        break;
    case HONE_J_STRING:
        *out = hone_j_same_text(a.as.string, b.as.string);
        break;
    case HONE_J_LIST:
    case HONE_J_TUPLE:
    case HONE_J_RANGE:
        status = equal_lists(out, vm, a.as.list, b.as.list);
        break;
    case HONE_J_DICT:
        status = equal_dicts(out, vm, a.as.dict, b.as.dict);
        break;
    case HONE_J_GLOBAL:
        *out = a.as.global == b.as.global;
        break;
    default:
        *out = a.as.list == b.as.list;
    }
    hone_j_leave(vm);
    return status;
}

static hone_status compare_lists(int *out, hone_jvm *vm, const hone_jlist *a, const hone_jlist *b) {
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool equal;
        HONE_TRY(hone_j_equal(&equal, vm, a->items[i], b->items[i]));
        if (!equal) return hone_j_compare(out, vm, a->items[i], b->items[i]);
    }
    *out = (a->count > b->count) - (a->count < b->count);
    return HONE_OK;
}

hone_status hone_j_compare(int *out, hone_jvm *vm, hone_jvalue a, hone_jvalue b) {
    *out = 0;
    HONE_TRY(hone_j_charge(vm, 0));
    if (hone_j_is_number(a) && hone_j_is_number(b)) {
        *out = compare_numbers(a, b);
        return HONE_OK;
    }
    if (a.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, a);
    if (b.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, b);
    if (a.kind == HONE_J_STRING && b.kind == HONE_J_STRING) {
        *out = compare_text(a.as.string, b.as.string);
        return HONE_OK;
    }
    bool lists = a.kind == b.kind && (a.kind == HONE_J_LIST || a.kind == HONE_J_TUPLE);
    if (!lists)
        return hone_j_fail(vm, "a %s and a %s have no order", hone_j_type(a), hone_j_type(b));
    HONE_TRY(hone_j_enter(vm));
    hone_status status = compare_lists(out, vm, a.as.list, b.as.list);
    hone_j_leave(vm);
    return status;
}

/* --- lists ----------------------------------------------------------------------------------------------------- */

hone_status hone_j_list_new(hone_jlist **out, hone_jvm *vm, size_t capacity) {
    HONE_TRY(hone_jarena_take(out, &vm->arena, 1, sizeof **out));
    (*out)->capacity = capacity;
    return hone_jarena_take(&(*out)->items, &vm->arena, capacity, sizeof *(*out)->items);
}

hone_status hone_j_list_add(hone_jlist *list, hone_jvm *vm, hone_jvalue item) {
    HONE_TRY(hone_jarena_grow(&list->items, &vm->arena, list->count, &list->capacity,
                              list->count + 1, sizeof *list->items));
    list->items[list->count++] = item;
    return HONE_OK;
}

/* --- dicts ----------------------------------------------------------------------------------------------------- */

bool hone_j_hashable(hone_jvalue value) {
    if (value.kind == HONE_J_TUPLE) {
        for (size_t i = 0; i < value.as.list->count; i++) {
            if (!hone_j_hashable(value.as.list->items[i])) return false;
        }
    }
    return value.kind != HONE_J_LIST && value.kind != HONE_J_DICT;
}

hone_status hone_j_dict_new(hone_jdict **out, hone_jvm *vm) {
    return hone_jarena_take(out, &vm->arena, 1, sizeof **out);
}

const hone_jvalue *hone_j_dict_text(const hone_jdict *dict, const char *key, size_t length) {
    for (size_t i = 0; i < dict->count; i++) {
        if (dict->keys[i].kind != HONE_J_STRING) continue;
        const hone_jstr *name = dict->keys[i].as.string;
        if (name->length == length && memcmp(name->data, key, length) == 0) return &dict->values[i];
    }
    return NULL;
}

static bool equal_keys(hone_jvm *vm, hone_jvalue a, hone_jvalue b) {
    bool equal;
    return hone_j_equal(&equal, vm, a, b) == HONE_OK && equal;
}

const hone_jvalue *hone_j_dict_get(const hone_jdict *dict, hone_jvm *vm, hone_jvalue key) {
    if (key.kind == HONE_J_STRING)
        return hone_j_dict_text(dict, key.as.string->data, key.as.string->length);
    for (size_t i = 0; hone_j_hashable(key) && i < dict->count; i++) {
        if (equal_keys(vm, dict->keys[i], key)) return &dict->values[i];
    }
    return NULL;
}

hone_status hone_j_dict_set(hone_jdict *dict, hone_jvm *vm, hone_jvalue key, hone_jvalue value) {
    if (!hone_j_hashable(key))
        return hone_j_fail(vm, "a %s cannot be the key of an object", hone_j_type(key));
    HONE_TRY(hone_j_charge(vm, dict->count * 16));
    const hone_jvalue *old = hone_j_dict_get(dict, vm, key);
    if (old) {
        dict->values[old - dict->values] = value;
        return HONE_OK;
    }
    HONE_TRY(hone_jarena_grow(&dict->keys, &vm->arena, dict->count, &dict->key_capacity,
                              dict->count + 1, sizeof *dict->keys));
    HONE_TRY(hone_jarena_grow(&dict->values, &vm->arena, dict->count, &dict->value_capacity,
                              dict->count + 1, sizeof *dict->values));
    dict->keys[dict->count] = key;
    dict->values[dict->count++] = value;
    return HONE_OK;
}

/* --- walking --------------------------------------------------------------------------------------------------- */

bool hone_j_iterable(hone_jvalue value) {
    return hone_j_is_list(value) || value.kind == HONE_J_DICT || value.kind == HONE_J_STRING ||
           value.kind == HONE_J_UNDEFINED || value.kind == HONE_J_LOOP;
}

/* The characters of a Markup are plain, as Python's are. */
static hone_status characters(hone_jlist *out, hone_jvm *vm, const hone_jstr *string) {
    for (size_t at = 0; at < string->length;) {
        size_t end = at + 1;
        while (end < string->length && ((unsigned char)string->data[end] & 0xc0) == 0x80) end++;
        hone_jvalue character;
        HONE_TRY(hone_j_part(&character, vm, string, at, end));
        character.as.string->safe = false;
        HONE_TRY(hone_j_list_add(out, vm, character));
        at = end;
    }
    return HONE_OK;
}

/* What an iterator has left; it has nothing afterwards. */
static hone_status empty(hone_jlist **out, hone_jvm *vm, hone_jlist *iterator) {
    HONE_TRY(hone_j_list_new(out, vm, 0));
    (*out)->items = iterator->items + iterator->at;
    (*out)->count = iterator->count - iterator->at;
    (*out)->capacity = (*out)->count;
    iterator->at = iterator->count;
    return HONE_OK;
}

hone_status hone_j_items(hone_jlist **out, hone_jvm *vm, hone_jvalue value) {
    if (value.kind == HONE_J_ITERATOR) return empty(out, vm, value.as.list);
    if (hone_j_is_list(value)) {
        *out = value.as.list;
        return HONE_OK;
    }
    if (value.kind == HONE_J_UNDEFINED) return hone_j_list_new(out, vm, 0);
    if (value.kind == HONE_J_STRING) {
        HONE_TRY(hone_j_list_new(out, vm, value.as.string->length));
        return characters(*out, vm, value.as.string);
    }
    if (value.kind != HONE_J_DICT)
        return hone_j_fail(vm, "a %s has no items to walk", hone_j_type(value));
    HONE_TRY(hone_j_list_new(out, vm, 0));
    (*out)->items = value.as.dict->keys;
    (*out)->count = value.as.dict->count;
    (*out)->capacity = (*out)->count;
    return HONE_OK;
}

static hone_status text_contains(bool *out, hone_jvm *vm, const hone_jstr *text, hone_jvalue item) {
    if (item.kind != HONE_J_STRING)
        return hone_j_fail(vm, "'in' looks for a text in a text, not for a %s", hone_j_type(item));
    HONE_TRY(hone_j_charge(vm, text->length));
    *out = hone_j_find(text, item.as.string, 0) >= 0;
    return HONE_OK;
}

static hone_status list_contains(bool *out, hone_jvm *vm, hone_jlist *list, size_t *at,
                                 hone_jvalue item) {
    while (!*out && *at < list->count) HONE_TRY(hone_j_equal(out, vm, list->items[(*at)++], item));
    return HONE_OK;
}

hone_status hone_j_contains(bool *out, hone_jvm *vm, hone_jvalue container, hone_jvalue item) {
    *out = false;
    if (container.kind == HONE_J_STRING) return text_contains(out, vm, container.as.string, item);
    if (container.kind == HONE_J_DICT) {
        if (!hone_j_hashable(item))
            return hone_j_fail(vm, "a %s cannot be the key of an object", hone_j_type(item));
        *out = hone_j_dict_get(container.as.dict, vm, item) != NULL;
        return HONE_OK;
    }
    if (container.kind == HONE_J_UNDEFINED) return HONE_OK;
    if (!hone_j_is_list(container))
        return hone_j_fail(vm, "a %s contains nothing that 'in' could look for",
                           hone_j_type(container));
    size_t start = 0;
    size_t *at = container.kind == HONE_J_ITERATOR ? &container.as.list->at : &start;
    return list_contains(out, vm, container.as.list, at, item);
}
