#include <string.h>

#include "text/jinja_call.h"

/* --- attributes ------------------------------------------------------------------------------------------------ */

static hone_status bind_method(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                               const hone_jmethod *method) {
    hone_jbound *bound;
    HONE_TRY(hone_jarena_take(&bound, &vm->arena, 1, sizeof *bound));
    *bound = (hone_jbound){object, method};
    *out = (hone_jvalue){.kind = HONE_J_METHOD, .as.bound = bound};
    return HONE_OK;
}

static bool is_name(const hone_jstr *name, const char *text) {
    return name->length == strlen(text) && memcmp(name->data, text, name->length) == 0;
}

static hone_status parameter_names(hone_jvalue *out, hone_jvm *vm, const hone_jnode *macro) {
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    for (const hone_jnode *n = macro->a; n; n = n->next)
        HONE_TRY(hone_j_list_add(list, vm, hone_j_string(n->text)));
    *out = hone_j_list(HONE_J_TUPLE, list);
    return HONE_OK;
}

static hone_status macro_attribute(hone_jvalue *out, hone_jvm *vm, const hone_jnode *macro,
                                   const hone_jstr *name) {
    if (is_name(name, "name") && macro->text) *out = hone_j_string(macro->text);
    if (is_name(name, "caller")) *out = hone_j_bool(macro->uses_caller);
    if (is_name(name, "catch_kwargs")) *out = hone_j_bool(macro->uses_kwargs);
    if (is_name(name, "catch_varargs")) *out = hone_j_bool(macro->uses_varargs);
    return is_name(name, "arguments") ? parameter_names(out, vm, macro) : HONE_OK;
}

/* The name as text with an end, for a message that may come later. */
static hone_status undefined(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                             const hone_jstr *name) {
    char *copy;
    HONE_TRY(hone_jarena_take(&copy, &vm->arena, name->length + 1, 1));
    memcpy(copy, name->data, name->length);
    *out = hone_j_undefined(copy, object.kind);
    return HONE_OK;
}

/* What Python's getattr finds; HONE_J_MISSING when it finds nothing. */
static hone_status attribute_of(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                                const hone_jstr *name) {
    *out = (hone_jvalue){.kind = HONE_J_MISSING};
    switch (object.kind) {
    case HONE_J_NAMESPACE: {
        const hone_jvalue *found = hone_j_dict_text(object.as.dict, name->data, name->length);
        if (found) *out = *found;
        return HONE_OK;
    }
    case HONE_J_LOOP:
        HONE_TRY(hone_j_loop_field(out, vm, object.as.loop, name));
        break;
    case HONE_J_MACRO:
        return macro_attribute(out, vm, object.as.macro->node, name);
    case HONE_J_TUPLE:
        if (object.as.list->group && is_name(name, "grouper")) *out = object.as.list->items[0];
        if (object.as.list->group && is_name(name, "list")) *out = object.as.list->items[1];
        break;
    case HONE_J_CYCLER:
        if (is_name(name, "current")) *out = object.as.cycler->items[object.as.cycler->at];
        break;
    default:
        break;
    }
    if (out->kind != HONE_J_MISSING) return HONE_OK;
    const hone_jmethod *method = hone_j_method_find(object, name->data, name->length);
    if (!method) return HONE_OK;
    if (method->changes) return undefined(out, vm, object, name);
    return bind_method(out, vm, object, method);
}

hone_status hone_j_attribute(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                             const hone_jstr *name) {
    if (object.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, object);
    HONE_TRY(attribute_of(out, vm, object, name));
    if (out->kind != HONE_J_MISSING) return HONE_OK;
    const hone_jvalue *found = NULL;
    if (object.kind == HONE_J_DICT)
        found = hone_j_dict_text(object.as.dict, name->data, name->length);
    if (!found) return undefined(out, vm, object, name);
    *out = *found;
    return HONE_OK;
}

/* --- items ----------------------------------------------------------------------------------------------------- */

static hone_status character(hone_jvalue *out, hone_jvm *vm, hone_jstr *string, int64_t index) {
    int64_t count = hone_j_characters(string);
    if (index < 0) index += count;
    if (index < 0 || index >= count) return HONE_OK;
    HONE_TRY(hone_j_charge(vm, string->length));
    size_t begin = hone_j_place(string, index), end = begin + 1;
    while (end < string->length && ((unsigned char)string->data[end] & 0xc0) == 0x80) end++;
    return hone_j_part(out, vm, string, begin, end);
}

static bool has_index(hone_jvalue object) {
    return object.kind == HONE_J_LIST || object.kind == HONE_J_TUPLE || object.kind == HONE_J_RANGE;
}

hone_status hone_j_item(hone_jvalue *out, hone_jvm *vm, hone_jvalue object, hone_jvalue key) {
    if (object.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, object);
    *out = hone_j_undefined(NULL, object.kind);
    if (object.kind == HONE_J_DICT) {
        const hone_jvalue *found = hone_j_dict_get(object.as.dict, vm, key);
        if (found) {
            *out = *found;
            return HONE_OK;
        }
    } else if (hone_j_is_int(key) && object.kind == HONE_J_STRING) {
        return character(out, vm, object.as.string, hone_j_as_int(key));
    } else if (hone_j_is_int(key) && has_index(object)) {
        int64_t index = hone_j_as_int(key), count = (int64_t)object.as.list->count;
        if (index < 0) index += count;
        if (index >= 0 && index < count) *out = object.as.list->items[index];
        return HONE_OK;
    }
    if (key.kind != HONE_J_STRING) return HONE_OK;
    HONE_TRY(attribute_of(out, vm, object, key.as.string));
    return out->kind == HONE_J_MISSING ? undefined(out, vm, object, key.as.string) : HONE_OK;
}

/* --- slices ---------------------------------------------------------------------------------------------------- */

/* From `first` in steps of `step`, `count` times. */
typedef struct slice {
    int64_t first, step, count;
} slice;

static int64_t clamp(int64_t index, int64_t length, bool backward) {
    if (index < 0) {
        index += length;
        if (index < 0) return backward ? -1 : 0;
    }
    int64_t most = backward ? length - 1 : length;
    return index < most ? index : most;
}

static hone_status resolve(slice *out, hone_jvm *vm, const hone_jvalue bounds[3], int64_t length) {
    for (int i = 0; i < 3; i++) {
        if (bounds[i].kind != HONE_J_NONE && !hone_j_is_int(bounds[i]))
            return hone_j_fail(vm, "a slice is bounded by integers, not by a %s",
                               hone_j_type(bounds[i]));
    }
    int64_t step = bounds[2].kind == HONE_J_NONE ? 1 : hone_j_as_int(bounds[2]);
    if (step == 0) return hone_j_fail(vm, "a slice in steps of 0");
    if (step == INT64_MIN) step++;
    bool backward = step < 0;
    int64_t first = backward ? length - 1 : 0, last = backward ? -1 : length;
    if (bounds[0].kind != HONE_J_NONE) first = clamp(hone_j_as_int(bounds[0]), length, backward);
    if (bounds[1].kind != HONE_J_NONE) last = clamp(hone_j_as_int(bounds[1]), length, backward);
    int64_t span = backward ? first - last : last - first;
    int64_t stride = backward ? -step : step;
    *out = (slice){first, step, span > 0 ? (span - 1) / stride + 1 : 0};
    return HONE_OK;
}

static hone_status slice_string(hone_jvalue *out, hone_jvm *vm, hone_jstr *string,
                                const hone_jvalue bounds[3]) {
    slice s;
    HONE_TRY(hone_j_charge(vm, string->length));
    HONE_TRY(resolve(&s, vm, bounds, hone_j_characters(string)));
    if (s.count == 0) return hone_j_part(out, vm, string, 0, 0);
    if (s.step == 1)
        return hone_j_part(out, vm, string, hone_j_place(string, s.first),
                           hone_j_place(string, s.first + s.count));
    hone_jlist *characters;
    HONE_TRY(hone_j_items(&characters, vm, hone_j_string(string)));
    hone_jbuilder builder = {0};
    for (int64_t i = 0; i < s.count; i++) {
        const hone_jvalue *item = &characters->items[s.first + i * s.step];
        HONE_TRY(hone_j_put_str(&builder, vm, item->as.string));
    }
    HONE_TRY(hone_j_built(out, vm, &builder));
    out->as.string->safe = string->safe;
    return HONE_OK;
}

hone_status hone_j_slice(hone_jvalue *out, hone_jvm *vm, hone_jvalue object,
                         const hone_jvalue bounds[3]) {
    if (object.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, object);
    if (object.kind == HONE_J_STRING) return slice_string(out, vm, object.as.string, bounds);
    if (!has_index(object)) return hone_j_fail(vm, "a %s cannot be sliced", hone_j_type(object));
    slice s;
    HONE_TRY(resolve(&s, vm, bounds, (int64_t)object.as.list->count));
    hone_jlist *list;
    HONE_TRY(hone_j_charge(vm, (size_t)s.count * 16));
    HONE_TRY(hone_j_list_new(&list, vm, (size_t)s.count));
    for (int64_t i = 0; i < s.count; i++)
        list->items[list->count++] = object.as.list->items[s.first + i * s.step];
    *out = hone_j_list(object.kind == HONE_J_TUPLE ? HONE_J_TUPLE : HONE_J_LIST, list);
    return HONE_OK;
}
