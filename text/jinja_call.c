#include "text/jinja_call.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

/* --- binding --------------------------------------------------------------------------------------------------- */

/* The place of a name among "width first blank"; -1 when it is not there. */
static int parameter_place(const char *parameters, const hone_jstr *name) {
    int place = 0;
    for (const char *p = parameters; *p; place++) {
        size_t length = strcspn(p, " ");
        if (length == name->length && memcmp(p, name->data, length) == 0) return place;
        p += length;
        p += *p == ' ';
    }
    return -1;
}

static size_t parameter_count(const char *parameters) {
    size_t count = *parameters != '\0';
    for (const char *p = parameters; *p; p++) count += *p == ' ';
    return count;
}

hone_status hone_j_bind(hone_jcall *call, hone_jvm *vm, const char *parameters, int required) {
    size_t count = parameter_count(parameters);
    for (size_t i = 0; i < HONE_J_SLOTS; i++) call->slot[i] = (hone_jvalue){.kind = HONE_J_MISSING};
    if (call->count > count)
        return hone_j_fail(vm, "%s takes %zu arguments at most, not %zu", call->name, count,
                           call->count);
    for (size_t i = 0; i < call->count; i++) call->slot[i] = call->arguments[i];
    for (size_t i = 0; i < call->named; i++) {
        int place = parameter_place(parameters, call->names[i]);
        if (place < 0 || call->slot[place].kind != HONE_J_MISSING)
            return hone_j_fail(vm, "%s %s '%.*s'", call->name,
                               place < 0 ? "has no argument" : "is given twice its argument",
                               (int)call->names[i]->length, call->names[i]->data);
        call->slot[place] = call->values[i];
    }
    for (int i = 0; i < required; i++) {
        if (call->slot[i].kind == HONE_J_MISSING)
            return hone_j_fail(vm, "%s needs %d argument%s", call->name, required,
                               required > 1 ? "s" : "");
    }
    return HONE_OK;
}

hone_status hone_j_apply(hone_jvalue *out, hone_jvm *vm, const hone_jfilter *filter,
                         hone_jcall *call) {
    call->name = filter->name;
    if (!filter->run) return hone_j_unsupported(vm, "hone lacks '%s' of jinja2", filter->name);
    if (filter->parameters) HONE_TRY(hone_j_bind(call, vm, filter->parameters, filter->required));
    return filter->run(out, vm, call);
}

static hone_status call_method(hone_jvalue *out, hone_jvm *vm, const hone_jbound *bound,
                               hone_jcall *call) {
    const hone_jmethod *method = bound->method;
    const hone_jfilter row = {method->name, method->parameters, method->required, method->run};
    if (!method->run)
        return hone_j_unsupported(vm, "the method '%s' of a %s is not supported", method->name,
                                  hone_j_type(bound->self));
    call->self = bound->self;
    return hone_j_apply(out, vm, &row, call);
}

static hone_status call_joiner(hone_jvalue *out, hone_jvm *vm, hone_jcycler *joiner) {
    if (joiner->at++ == 0) return hone_j_text(out, vm, "", 0);
    *out = hone_j_string((hone_jstr *)(uintptr_t)joiner->separator);
    return HONE_OK;
}

hone_status hone_j_call(hone_jvalue *out, hone_jvm *vm, hone_jvalue function, hone_jcall *call) {
    switch (function.kind) {
    case HONE_J_UNDEFINED:
        return hone_j_fail_undefined(vm, function);
    case HONE_J_MACRO:
        return hone_j_call_macro(out, vm, function.as.macro, call);
    case HONE_J_METHOD:
        return call_method(out, vm, function.as.bound, call);
    case HONE_J_GLOBAL:
        return hone_j_call_global(out, vm, function.as.global, call);
    case HONE_J_JOINER:
        return call_joiner(out, vm, function.as.cycler);
    case HONE_J_LOOP:
        call->name = "loop";
        HONE_TRY(hone_j_bind(call, vm, "iterable", 1));
        return hone_j_recurse(out, vm, function.as.loop, call->slot[0]);
    default:
        return hone_j_fail(vm, "a %s cannot be called", hone_j_type(function));
    }
}

/* --- slots ----------------------------------------------------------------------------------------------------- */

hone_status hone_j_slot_int(int64_t *out, hone_jvm *vm, const hone_jcall *call, int slot) {
    hone_jvalue value = call->slot[slot];
    if (value.kind == HONE_J_MISSING) return HONE_OK;
    if (value.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, value);
    if (!hone_j_is_int(value))
        return hone_j_fail(vm, "%s takes an integer, not a %s", call->name, hone_j_type(value));
    *out = hone_j_as_int(value);
    return HONE_OK;
}

hone_status hone_j_slot_string(hone_jstr **out, hone_jvm *vm, const hone_jcall *call, int slot) {
    hone_jvalue value = call->slot[slot];
    if (value.kind == HONE_J_MISSING) return HONE_OK;
    if (value.kind != HONE_J_STRING)
        return hone_j_fail(vm, "%s takes a text, not a %s", call->name, hone_j_type(value));
    *out = value.as.string;
    return HONE_OK;
}

bool hone_j_slot_truth(const hone_jcall *call, int slot, bool otherwise) {
    return call->slot[slot].kind == HONE_J_MISSING ? otherwise : hone_j_truth(call->slot[slot]);
}

/* --- global functions ------------------------------------------------------------------------------------------ */

enum { MOST_RANGE = 100000 };

static int64_t range_count(int64_t first, int64_t end, int64_t step) {
    if (step > 0) return first < end ? (end - first - 1) / step + 1 : 0;
    return first > end ? (first - end - 1) / -step + 1 : 0;
}

static hone_status make_range(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int64_t first = 0, end = 0, step = 1;
    HONE_TRY(hone_j_bind(call, vm, "start stop step", 1));
    HONE_TRY(hone_j_slot_int(call->count > 1 ? &first : &end, vm, call, 0));
    HONE_TRY(hone_j_slot_int(&end, vm, call, 1));
    HONE_TRY(hone_j_slot_int(&step, vm, call, 2));
    if (step == 0) return hone_j_fail(vm, "range in steps of 0");
    const int64_t limit = INT64_MAX / 4;
    bool far = first > limit || first < -limit || end > limit || end < -limit || step < -limit;
    int64_t count = far ? MOST_RANGE + 1 : range_count(first, end, step);
    if (count > MOST_RANGE)
        return hone_j_fail(vm, "range of more than %d numbers", (int)MOST_RANGE);
    hone_jlist *list;
    HONE_TRY(hone_j_charge(vm, (size_t)count * 16));
    HONE_TRY(hone_j_list_new(&list, vm, (size_t)count + 3));
    for (int64_t i = 0; i < count; i++) list->items[list->count++] = hone_j_int(first + i * step);
    const int64_t made[] = {first, end, step};
    for (size_t i = 0; i < 3; i++) list->items[list->count + i] = hone_j_int(made[i]);
    *out = hone_j_list(HONE_J_RANGE, list);
    return HONE_OK;
}

static hone_status add_pairs(hone_jdict *dict, hone_jvm *vm, hone_jvalue from) {
    if (from.kind == HONE_J_DICT || from.kind == HONE_J_NAMESPACE) {
        for (size_t i = 0; i < from.as.dict->count; i++)
            HONE_TRY(hone_j_dict_set(dict, vm, from.as.dict->keys[i], from.as.dict->values[i]));
        return HONE_OK;
    }
    hone_jlist *items;
    HONE_TRY(hone_j_items(&items, vm, from));
    for (size_t i = 0; i < items->count; i++) {
        hone_jlist *pair;
        HONE_TRY(hone_j_items(&pair, vm, items->items[i]));
        if (pair->count != 2)
            return hone_j_fail(vm, "an object is made of pairs, not of %zu items", pair->count);
        HONE_TRY(hone_j_dict_set(dict, vm, pair->items[0], pair->items[1]));
    }
    return HONE_OK;
}

static hone_status make_dict(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jdict *dict;
    HONE_TRY(hone_j_dict_new(&dict, vm));
    if (call->count > 1) return hone_j_fail(vm, "%s takes one argument at most", call->name);
    if (call->count == 1) HONE_TRY(add_pairs(dict, vm, call->arguments[0]));
    for (size_t i = 0; i < call->named; i++) {
        hone_jvalue name = hone_j_string((hone_jstr *)(uintptr_t)call->names[i]);
        HONE_TRY(hone_j_dict_set(dict, vm, name, call->values[i]));
    }
    *out = hone_j_dict(dict);
    return HONE_OK;
}

static hone_status make_namespace(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    HONE_TRY(make_dict(out, vm, call));
    for (size_t i = 0; i < out->as.dict->count; i++) {
        hone_jvalue key = out->as.dict->keys[i];
        if (key.kind == HONE_J_STRING && key.as.string->length > 0 && key.as.string->data[0] == '_')
            return hone_j_fail(vm, "a namespace cannot have attributes that begin with '_'");
    }
    out->kind = HONE_J_NAMESPACE;
    return HONE_OK;
}

static hone_status make_cycler(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jcycler *cycler;
    if (call->count == 0 || call->named > 0) return hone_j_fail(vm, "cycler takes items");
    HONE_TRY(hone_jarena_take(&cycler, &vm->arena, 1, sizeof *cycler));
    HONE_TRY(hone_jarena_take(&cycler->items, &vm->arena, call->count, sizeof *cycler->items));
    memcpy(cycler->items, call->arguments, call->count * sizeof *cycler->items);
    cycler->count = call->count;
    *out = (hone_jvalue){.kind = HONE_J_CYCLER, .as.cycler = cycler};
    return HONE_OK;
}

static hone_status make_joiner(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jcycler *joiner;
    hone_jvalue separator;
    HONE_TRY(hone_j_bind(call, vm, "sep", 0));
    HONE_TRY(hone_jarena_take(&joiner, &vm->arena, 1, sizeof *joiner));
    HONE_TRY(hone_j_text(&separator, vm, ", ", 2));
    hone_jstr *given = separator.as.string;
    HONE_TRY(hone_j_slot_string(&given, vm, call, 0));
    joiner->separator = given;
    *out = (hone_jvalue){.kind = HONE_J_JOINER, .as.cycler = joiner};
    return HONE_OK;
}

static hone_status raise_exception(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    (void)out;
    HONE_TRY(hone_j_bind(call, vm, "message", 1));
    HONE_TRY(hone_j_to_string(&text, vm, call->slot[0]));
    return hone_j_fail(vm, "the template refuses these messages: %.*s",
                       (int)(text->length < 400 ? text->length : 400), text->data);
}

static hone_status strftime_now(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *format = NULL;
    hone_jbuilder builder = {0};
    HONE_TRY(hone_j_bind(call, vm, "format", 1));
    HONE_TRY(hone_j_slot_string(&format, vm, call, 0));
    if (!vm->input->now) return hone_j_fail(vm, "strftime_now: no date is given");
    HONE_TRY(hone_j_put_time(&builder, vm, format, vm->input->now));
    return hone_j_built(out, vm, &builder);
}

static hone_status lipsum(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)out;
    (void)call;
    return hone_j_unsupported(vm, "lipsum is not supported");
}

static const struct {
    const char *name;
    hone_jfunction run;
} globals[] = {
    {"range", make_range},          {"dict", make_dict},     {"namespace", make_namespace},
    {"cycler", make_cycler},        {"joiner", make_joiner}, {"raise_exception", raise_exception},
    {"strftime_now", strftime_now}, {"lipsum", lipsum},
};

int hone_j_global_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strlen(globals[i].name) == length && memcmp(globals[i].name, name, length) == 0)
            return (int)i;
    }
    return -1;
}

hone_status hone_j_call_global(hone_jvalue *out, hone_jvm *vm, int global, hone_jcall *call) {
    call->name = globals[global].name;
    return globals[global].run(out, vm, call);
}
