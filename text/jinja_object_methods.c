#include <string.h>

#include "text/jinja_call.h"

/* --- lists ----------------------------------------------------------------------------------------------------- */

static hone_status count_item(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    const hone_jlist *list = call->self.as.list;
    int64_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool equal;
        HONE_TRY(hone_j_equal(&equal, vm, list->items[i], call->slot[0]));
        count += equal;
    }
    *out = hone_j_int(count);
    return HONE_OK;
}

static hone_status index_item(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    const hone_jlist *list = call->self.as.list;
    int64_t count = (int64_t)list->count, first = 0, last = count;
    HONE_TRY(hone_j_slot_int(&first, vm, call, 1));
    HONE_TRY(hone_j_slot_int(&last, vm, call, 2));
    if (first < 0) first = first + count > 0 ? first + count : 0;
    if (last < 0) last += count;
    for (int64_t i = first; i < last && i < count; i++) {
        bool equal;
        HONE_TRY(hone_j_equal(&equal, vm, list->items[i], call->slot[0]));
        *out = hone_j_int(i);
        if (equal) return HONE_OK;
    }
    return hone_j_fail(vm, "index: the list has no such item");
}

/* Nothing can be changed: a copy is the thing itself. */
static hone_status copy(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    *out = call->self;
    return HONE_OK;
}

/* --- objects --------------------------------------------------------------------------------------------------- */

static hone_status view(hone_jvalue *out, hone_jvm *vm, const hone_jvalue *items, size_t count,
                        const char *what) {
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, count));
    if (count > 0) memcpy(list->items, items, count * sizeof *items);
    list->count = count;
    list->what = what;
    *out = hone_j_list(HONE_J_VIEW, list);
    return HONE_OK;
}

static hone_status keys(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return view(out, vm, call->self.as.dict->keys, call->self.as.dict->count, "dict_keys");
}

static hone_status values(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return view(out, vm, call->self.as.dict->values, call->self.as.dict->count, "dict_values");
}

hone_status hone_j_dict_pairs(hone_jlist **out, hone_jvm *vm, const hone_jdict *dict) {
    HONE_TRY(hone_j_list_new(out, vm, dict->count));
    for (size_t i = 0; i < dict->count; i++) {
        hone_jlist *pair;
        HONE_TRY(hone_j_list_new(&pair, vm, 2));
        pair->items[0] = dict->keys[i];
        pair->items[1] = dict->values[i];
        pair->count = 2;
        (*out)->items[(*out)->count++] = hone_j_list(HONE_J_TUPLE, pair);
    }
    return HONE_OK;
}

static hone_status items(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *pairs;
    HONE_TRY(hone_j_dict_pairs(&pairs, vm, call->self.as.dict));
    pairs->what = "dict_items";
    *out = hone_j_list(HONE_J_VIEW, pairs);
    return HONE_OK;
}

static hone_status get(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    if (!hone_j_hashable(call->slot[0]))
        return hone_j_fail(vm, "a %s cannot be the key of an object", hone_j_type(call->slot[0]));
    const hone_jvalue *found = hone_j_dict_get(call->self.as.dict, vm, call->slot[0]);
    *out = call->slot[1].kind == HONE_J_MISSING ? HONE_J_NULL : call->slot[1];
    if (found) *out = *found;
    return HONE_OK;
}

/* --- loops and cyclers ----------------------------------------------------------------------------------------- */

static hone_status loop_cycle(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    if (call->count == 0 || call->named > 0) return hone_j_fail(vm, "cycle takes items");
    *out = call->arguments[call->self.as.loop->index % (int64_t)call->count];
    return HONE_OK;
}

static hone_status loop_changed(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jloop *loop = call->self.as.loop;
    hone_jlist *now;
    if (call->named > 0) return hone_j_fail(vm, "changed takes no named arguments");
    HONE_TRY(hone_j_list_new(&now, vm, call->count));
    for (size_t i = 0; i < call->count; i++) now->items[now->count++] = call->arguments[i];
    hone_jvalue tuple = hone_j_list(HONE_J_TUPLE, now);
    bool same = false;
    if (loop->changed.kind != HONE_J_MISSING)
        HONE_TRY(hone_j_equal(&same, vm, loop->changed, tuple));
    loop->changed = tuple;
    *out = hone_j_bool(!same);
    return HONE_OK;
}

static hone_status cycler_next(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    hone_jcycler *cycler = call->self.as.cycler;
    *out = cycler->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->count;
    return HONE_OK;
}

static hone_status cycler_reset(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    call->self.as.cycler->at = 0;
    *out = HONE_J_NULL;
    return HONE_OK;
}

/* --- the tables ------------------------------------------------------------------------------------------------ */

static const hone_jmethod list_methods[] = {
    {"count", "value", 1, count_item, false},
    {"index", "value start stop", 1, index_item, false},
    {"copy", "", 0, copy, false},
    {"append", NULL, 0, NULL, true},
    {"clear", NULL, 0, NULL, true},
    {"extend", NULL, 0, NULL, true},
    {"insert", NULL, 0, NULL, true},
    {"pop", NULL, 0, NULL, true},
    {"remove", NULL, 0, NULL, true},
    {"reverse", NULL, 0, NULL, true},
    {"sort", NULL, 0, NULL, true},
    {0},
};

static const hone_jmethod tuple_methods[] = {
    {"count", "value", 1, count_item, false},
    {"index", "value start stop", 1, index_item, false},
    {0},
};

static const hone_jmethod dict_methods[] = {
    {"copy", "", 0, copy, false},          {"fromkeys", NULL, 0, NULL, false},
    {"get", "key default", 1, get, false}, {"items", "", 0, items, false},
    {"keys", "", 0, keys, false},          {"values", "", 0, values, false},
    {"clear", NULL, 0, NULL, true},        {"pop", NULL, 0, NULL, true},
    {"popitem", NULL, 0, NULL, true},      {"setdefault", NULL, 0, NULL, true},
    {"update", NULL, 0, NULL, true},       {0},
};

static const hone_jmethod loop_methods[] = {
    {"cycle", NULL, 0, loop_cycle, false},
    {"changed", NULL, 0, loop_changed, false},
    {0},
};

static const hone_jmethod cycler_methods[] = {
    {"next", "", 0, cycler_next, false},
    {"reset", "", 0, cycler_reset, false},
    {0},
};

const hone_jmethod *hone_j_method_find(hone_jvalue object, const char *name, size_t length) {
    static const hone_jmethod *const tables[] = {
        [HONE_J_STRING] = hone_j_string_methods,
        [HONE_J_LIST] = list_methods,
        [HONE_J_TUPLE] = tuple_methods,
        [HONE_J_RANGE] = tuple_methods,
        [HONE_J_DICT] = dict_methods,
        [HONE_J_LOOP] = loop_methods,
        [HONE_J_CYCLER] = cycler_methods,
        [HONE_J_JOINER] = NULL,
    };
    const hone_jmethod *row = tables[object.kind];
    for (; row && row->name; row++) {
        if (strlen(row->name) == length && memcmp(row->name, name, length) == 0) return row;
    }
    return NULL;
}
