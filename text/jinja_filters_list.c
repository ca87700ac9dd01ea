#include <math.h>
#include <string.h>

#include "text/jinja_string.h"

/* Filters of jinja2 on lists and numbers. */

static hone_status as_iterator(hone_jvalue *out, hone_jlist *list, const char *what) {
    list->what = what;
    *out = hone_j_list(HONE_J_ITERATOR, list);
    return HONE_OK;
}

static bool given(const hone_jcall *call, int slot) {
    return call->slot[slot].kind != HONE_J_MISSING && call->slot[slot].kind != HONE_J_NONE;
}

/* --- parts of lists -------------------------------------------------------------------------------------------- */

static hone_status length(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    switch (call->self.kind) {
    case HONE_J_STRING:
        *out = hone_j_int(hone_j_characters(call->self.as.string));
        return HONE_OK;
    case HONE_J_LIST:
    case HONE_J_TUPLE:
    case HONE_J_RANGE:
    case HONE_J_VIEW:
        *out = hone_j_int((int64_t)call->self.as.list->count);
        return HONE_OK;
    case HONE_J_DICT:
        *out = hone_j_int((int64_t)call->self.as.dict->count);
        return HONE_OK;
    case HONE_J_UNDEFINED:
        *out = hone_j_int(0);
        return HONE_OK;
    case HONE_J_LOOP: {
        const hone_jstr name = {.data = "length", .length = 6};
        return hone_j_loop_field(out, vm, call->self.as.loop, &name);
    }
    default:
        return hone_j_fail(vm, "a %s has no length", hone_j_type(call->self));
    }
}

/* The first item; of an iterator only that one is taken. */
static hone_status first(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *items = call->self.as.list;
    *out = hone_j_undefined("the first item of nothing", HONE_J_MISSING);
    if (call->self.kind == HONE_J_ITERATOR) {
        if (items->at < items->count) *out = items->items[items->at++];
        return HONE_OK;
    }
    HONE_TRY(hone_j_items(&items, vm, call->self));
    if (items->count > 0) *out = items->items[0];
    return HONE_OK;
}

static hone_status last(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *items;
    if (call->self.kind == HONE_J_ITERATOR)
        return hone_j_fail(vm, "last: an iterator has no end to begin at; use |list first");
    HONE_TRY(hone_j_items(&items, vm, call->self));
    *out = items->count > 0 ? items->items[items->count - 1]
                            : hone_j_undefined("the last item of nothing", HONE_J_MISSING);
    return HONE_OK;
}

static hone_status copy_items(hone_jlist **out, hone_jvm *vm, hone_jvalue value) {
    hone_jlist *items;
    HONE_TRY(hone_j_items(&items, vm, value));
    HONE_TRY(hone_j_charge(vm, items->count * 16));
    HONE_TRY(hone_j_list_new(out, vm, items->count));
    for (size_t i = 0; i < items->count; i++) (*out)->items[(*out)->count++] = items->items[i];
    return HONE_OK;
}

static hone_status list_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *list;
    HONE_TRY(copy_items(&list, vm, call->self));
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

static hone_status items(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *pairs;
    if (call->self.kind == HONE_J_UNDEFINED) {
        HONE_TRY(hone_j_list_new(&pairs, vm, 0));
    } else if (call->self.kind == HONE_J_DICT) {
        HONE_TRY(hone_j_dict_pairs(&pairs, vm, call->self.as.dict));
    } else {
        return hone_j_fail(vm, "items takes an object, not a %s", hone_j_type(call->self));
    }
    return as_iterator(out, pairs, "items");
}

static hone_status reverse(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *list;
    const hone_jvalue back[3] = {HONE_J_NULL, HONE_J_NULL, hone_j_int(-1)};
    if (call->self.kind == HONE_J_STRING) return hone_j_slice(out, vm, call->self, back);
    HONE_TRY(copy_items(&list, vm, call->self));
    for (size_t i = 0; i + 1 < list->count - i; i++) {
        hone_jvalue end = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = list->items[i];
        list->items[i] = end;
    }
    if (call->self.kind != HONE_J_ITERATOR) return as_iterator(out, list, "reverse");
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

static hone_status add_slice(hone_jlist *out, hone_jvm *vm, const hone_jlist *from, size_t begin,
                             size_t end, size_t fill, hone_jvalue with) {
    hone_jlist *part;
    HONE_TRY(hone_j_list_new(&part, vm, 0));
    for (size_t i = begin; i < end; i++) HONE_TRY(hone_j_list_add(part, vm, from->items[i]));
    for (; fill > 0; fill--) HONE_TRY(hone_j_list_add(part, vm, with));
    return hone_j_list_add(out, vm, hone_j_list(HONE_J_LIST, part));
}

static hone_status batch(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from, *list;
    int64_t size = 0;
    HONE_TRY(hone_j_slot_int(&size, vm, call, 0));
    HONE_TRY(hone_j_items(&from, vm, call->self));
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    /* like jinja2: a size that is never reached makes one batch; 0 begins with an empty one */
    if (size == 0 && from->count > 0) HONE_TRY(add_slice(list, vm, from, 0, 0, 0, HONE_J_NULL));
    size_t most = size > 0 ? (size_t)size : from->count;
    for (size_t at = 0; at < from->count; at += most) {
        size_t end = from->count - at > most ? at + most : from->count;
        bool fills = given(call, 1) && size > 0;
        size_t missing = fills ? most - (end - at) : 0;
        HONE_TRY(add_slice(list, vm, from, at, end, missing, call->slot[1]));
    }
    return as_iterator(out, list, "batch");
}

static hone_status slice(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from, *list;
    int64_t slices = 0;
    HONE_TRY(hone_j_slot_int(&slices, vm, call, 0));
    HONE_TRY(hone_j_items(&from, vm, call->self));
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    if (slices == 0) return hone_j_fail(vm, "slice into 0 parts");
    int64_t each = slices > 0 ? (int64_t)from->count / slices : 0;
    int64_t extra = slices > 0 ? (int64_t)from->count % slices : 0;
    size_t at = 0;
    for (int64_t i = 0; i < slices; i++) {
        size_t end = at + (size_t)each + (i < extra);
        HONE_TRY(add_slice(list, vm, from, at, end, given(call, 1) && i >= extra, call->slot[1]));
        at = end;
    }
    return as_iterator(out, list, "slice");
}

static hone_status join(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from, *list;
    hone_jstr none = {.data = ""}, *separator = &none;
    HONE_TRY(hone_j_items(&from, vm, call->self));
    if (call->slot[0].kind != HONE_J_MISSING)
        HONE_TRY(hone_j_to_string(&separator, vm, call->slot[0]));
    list = from;
    if (given(call, 1)) {
        HONE_TRY(hone_j_list_new(&list, vm, from->count));
        for (size_t i = 0; i < from->count; i++)
            HONE_TRY(hone_j_path(&list->items[list->count++], vm, from->items[i], call->slot[1],
                                 (hone_jvalue){.kind = HONE_J_MISSING}));
    }
    return hone_j_join(out, vm, separator, list, true);
}

/* --- numbers --------------------------------------------------------------------------------------------------- */

static hone_status abs_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    *out = call->self;
    if (call->self.kind == HONE_J_FLOAT) {
        *out = hone_j_float(fabs(call->self.as.real));
        return HONE_OK;
    }
    if (!hone_j_is_int(call->self))
        return hone_j_fail(vm, "abs takes a number, not a %s", hone_j_type(call->self));
    *out = hone_j_int(hone_j_as_int(call->self));
    return out->as.integer < 0 ? hone_j_negate(out, vm, *out) : HONE_OK;
}

static bool real_to_int(int64_t *out, double value) {
    if (!(value > -9.2e18 && value < 9.2e18)) return false;
    *out = (int64_t)value;
    return true;
}

static hone_status text_to_int(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, int base) {
    int64_t value;
    double real;
    bool overflow = false;
    if (hone_j_read_int(&value, call->self.as.string, base, &overflow)) {
        *out = hone_j_int(value);
    } else if (overflow) {
        return hone_j_fail(vm, "int: beyond 64 bits");
    } else if (hone_j_read_float(&real, call->self.as.string) && real_to_int(&value, real)) {
        *out = hone_j_int(value);
    }
    return HONE_OK;
}

static hone_status int_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int64_t base = 10;
    HONE_TRY(hone_j_slot_int(&base, vm, call, 1));
    *out = call->slot[0].kind == HONE_J_MISSING ? hone_j_int(0) : call->slot[0];
    if (call->self.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, call->self);
    if (call->self.kind == HONE_J_STRING) return text_to_int(out, vm, call, (int)base);
    if (hone_j_is_int(call->self)) *out = hone_j_int(hone_j_as_int(call->self));
    if (call->self.kind != HONE_J_FLOAT) return HONE_OK;
    if (isinf(call->self.as.real)) return hone_j_fail(vm, "int of infinity");
    int64_t value;
    if (isnan(call->self.as.real)) return HONE_OK;
    if (!real_to_int(&value, call->self.as.real)) return hone_j_fail(vm, "int: beyond 64 bits");
    *out = hone_j_int(value);
    return HONE_OK;
}

static hone_status float_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    double value;
    *out = call->slot[0].kind == HONE_J_MISSING ? hone_j_float(0) : call->slot[0];
    if (call->self.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, call->self);
    if (hone_j_is_number(call->self)) *out = hone_j_float(hone_j_as_real(call->self));
    if (call->self.kind == HONE_J_STRING && hone_j_read_float(&value, call->self.as.string))
        *out = hone_j_float(value);
    return HONE_OK;
}

/* Python's round(): to even, by the decimal digits that the number really has. */
static double round_common(double value, int64_t precision) {
    char text[400];
    if (precision > 300 || !isfinite(value)) return value;
    if (precision < -300) return 0 * value;
    if (precision < 0) {
        double power = pow(10, (double)-precision);
        return rint(value / power) * power;
    }
    snprintf(text, sizeof text, "%.*f", (int)precision, value);
    return strtod(text, NULL);
}

static hone_status round_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    static hone_jstr common = {.data = "common", .length = 6, .characters = 6};
    int64_t precision = 0;
    hone_jstr *method = &common;
    HONE_TRY(hone_j_slot_int(&precision, vm, call, 0));
    HONE_TRY(hone_j_slot_string(&method, vm, call, 1));
    if (!hone_j_is_number(call->self))
        return hone_j_fail(vm, "round takes a number, not a %s", hone_j_type(call->self));
    bool ceils = method->length == 4 && memcmp(method->data, "ceil", 4) == 0;
    bool floors = method->length == 5 && memcmp(method->data, "floor", 5) == 0;
    if (!ceils && !floors && !hone_j_same_text(method, &common))
        return hone_j_fail(vm, "round: the method must be common, ceil or floor");
    double value = hone_j_as_real(call->self);
    if (ceils || floors) {
        double power = pow(10, (double)precision), scaled = value * power;
        *out = hone_j_float(((ceils ? ceil(scaled) : floor(scaled)) + 0.0) / power);
        return HONE_OK;
    }
    if (!hone_j_is_int(call->self)) {
        *out = hone_j_float(round_common(value, precision));
        return HONE_OK;
    }
    int64_t rounded = hone_j_as_int(call->self);
    if (precision < 0 && !real_to_int(&rounded, round_common(value, precision)))
        return hone_j_fail(vm, "round: beyond 64 bits");
    *out = hone_j_int(rounded);
    return HONE_OK;
}

static hone_status sum(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from;
    HONE_TRY(hone_j_items(&from, vm, call->self));
    *out = call->slot[1].kind == HONE_J_MISSING ? hone_j_int(0) : call->slot[1];
    if (out->kind == HONE_J_STRING) return hone_j_fail(vm, "sum does not add texts; use join");
    for (size_t i = 0; i < from->count; i++) {
        hone_jvalue item = from->items[i];
        if (given(call, 0))
            HONE_TRY(
                hone_j_path(&item, vm, item, call->slot[0], (hone_jvalue){.kind = HONE_J_MISSING}));
        HONE_TRY(hone_j_binary(out, vm, HONE_J_ADD, *out, item));
    }
    return HONE_OK;
}

static hone_status default_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    bool missing = call->self.kind == HONE_J_UNDEFINED ||
                   (hone_j_slot_truth(call, 1, false) && !hone_j_truth(call->self));
    *out = missing ? call->slot[0] : call->self;
    return out->kind == HONE_J_MISSING ? hone_j_text(out, vm, "", 0) : HONE_OK;
}

static hone_status attr(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *name = NULL;
    HONE_TRY(hone_j_slot_string(&name, vm, call, 0));
    if (call->self.kind != HONE_J_DICT) return hone_j_attribute(out, vm, call->self, name);
    hone_jdict nothing = {0}; /* the methods of an object, not its members */
    HONE_TRY(hone_j_attribute(out, vm, hone_j_dict(&nothing), name));
    return out->kind == HONE_J_METHOD ? hone_j_attribute(out, vm, call->self, name) : HONE_OK;
}

const hone_jfilter hone_j_list_filters[] = {
    {"length", "", 0, length},
    {"count", "", 0, length},
    {"first", "", 0, first},
    {"last", "", 0, last},
    {"list", "", 0, list_filter},
    {"items", "", 0, items},
    {"reverse", "", 0, reverse},
    {"batch", "linecount fill_with", 1, batch},
    {"slice", "slices fill_with", 1, slice},
    {"join", "d attribute", 0, join},
    {"abs", "", 0, abs_filter},
    {"int", "default base", 0, int_filter},
    {"float", "default", 0, float_filter},
    {"round", "precision method", 0, round_filter},
    {"sum", "attribute start", 0, sum},
    {"default", "default_value boolean", 0, default_filter},
    {"d", "default_value boolean", 0, default_filter},
    {"attr", "name", 1, attr},
    {"random", NULL, 0, NULL},
    {0},
};
