#include <string.h>

#include "text/jinja_string.h"

/* Filters of jinja2 that choose, order and group the items of a list. */

static const hone_jvalue missing = {.kind = HONE_J_MISSING};

static bool given(const hone_jcall *call, int slot) {
    return call->slot[slot].kind != HONE_J_MISSING && call->slot[slot].kind != HONE_J_NONE;
}

/* --- paths ----------------------------------------------------------------------------------------------------- */

/* One part of a path: digits are an index. */
static hone_status path_key(hone_jvalue *out, hone_jvm *vm, const hone_jstr *path, size_t begin,
                            size_t end) {
    int64_t index;
    bool overflow;
    HONE_TRY(hone_j_part(out, vm, path, begin, end));
    bool digits = end > begin;
    for (size_t i = begin; i < end; i++) digits &= path->data[i] >= '0' && path->data[i] <= '9';
    if (digits && hone_j_read_int(&index, out->as.string, 10, &overflow)) *out = hone_j_int(index);
    return HONE_OK;
}

hone_status hone_j_path(hone_jvalue *out, hone_jvm *vm, hone_jvalue item, hone_jvalue path,
                        hone_jvalue otherwise) {
    *out = item;
    if (path.kind == HONE_J_NONE || path.kind == HONE_J_MISSING) return HONE_OK;
    if (path.kind != HONE_J_STRING) {
        HONE_TRY(hone_j_item(out, vm, item, path));
        if (out->kind == HONE_J_UNDEFINED && otherwise.kind != HONE_J_MISSING) *out = otherwise;
        return HONE_OK;
    }
    const hone_jstr dot = {.data = ".", .length = 1};
    const hone_jstr *text = path.as.string;
    for (size_t begin = 0; begin <= text->length;) {
        int64_t found = hone_j_find(text, &dot, begin);
        size_t end = found < 0 ? text->length : (size_t)found;
        hone_jvalue key;
        HONE_TRY(path_key(&key, vm, text, begin, end));
        HONE_TRY(hone_j_item(out, vm, *out, key));
        if (out->kind == HONE_J_UNDEFINED && otherwise.kind != HONE_J_MISSING) *out = otherwise;
        begin = end + 1;
    }
    return HONE_OK;
}

/* A list of the values at several paths, "a,b.c". */
static hone_status paths(hone_jvalue *out, hone_jvm *vm, hone_jvalue item, hone_jvalue path,
                         bool ignore_case) {
    hone_jlist *list;
    hone_jvalue parts;
    hone_jlist one = {.items = &path, .count = 1};
    const hone_jstr comma = {.data = ",", .length = 1};
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    *out = hone_j_list(HONE_J_LIST, list);
    const hone_jlist *all = &one;
    if (path.kind == HONE_J_STRING) {
        HONE_TRY(hone_j_split(&parts, vm, path.as.string, &comma, -1, false));
        all = parts.as.list;
    }
    for (size_t i = 0; i < all->count; i++) {
        hone_jvalue value;
        HONE_TRY(hone_j_path(&value, vm, item, all->items[i], missing));
        if (ignore_case) HONE_TRY(hone_j_ignore_case(&value, vm, value));
        HONE_TRY(hone_j_list_add(list, vm, value));
    }
    return HONE_OK;
}

static hone_status key_of(hone_jvalue *out, hone_jvm *vm, hone_jvalue item, hone_jvalue path,
                          hone_jvalue otherwise, bool case_sensitive) {
    HONE_TRY(hone_j_path(out, vm, item, path, otherwise));
    return case_sensitive ? HONE_OK : hone_j_ignore_case(out, vm, *out);
}

/* --- sorting --------------------------------------------------------------------------------------------------- */

typedef struct sorter {
    hone_jvm *vm;
    hone_jvalue *items, *keys, *spare_items, *spare_keys;
    bool reverse;
} sorter;

/* Whether the item at `b` must go before the one at `a`, which stands before it. */
static hone_status goes_before(bool *out, const sorter *s, size_t b, size_t a) {
    int order;
    HONE_TRY(s->reverse ? hone_j_compare(&order, s->vm, s->keys[a], s->keys[b])
                        : hone_j_compare(&order, s->vm, s->keys[b], s->keys[a]));
    *out = order < 0;
    return HONE_OK;
}

static hone_status merge(sorter *s, size_t begin, size_t middle, size_t end) {
    size_t left = begin, right = middle;
    for (size_t to = begin; to < end; to++) {
        bool from_right = left == middle;
        if (left < middle && right < end) HONE_TRY(goes_before(&from_right, s, right, left));
        size_t from = from_right ? right++ : left++;
        s->spare_items[to] = s->items[from];
        s->spare_keys[to] = s->keys[from];
    }
    memcpy(s->items + begin, s->spare_items + begin, (end - begin) * sizeof *s->items);
    memcpy(s->keys + begin, s->spare_keys + begin, (end - begin) * sizeof *s->keys);
    return HONE_OK;
}

hone_status hone_j_sort(hone_jvalue *items, hone_jvalue *keys, size_t count, bool reverse,
                        hone_jvm *vm) {
    sorter s = {.vm = vm, .items = items, .keys = keys, .reverse = reverse};
    if (count < 2) return HONE_OK;
    HONE_TRY(hone_jarena_take(&s.spare_items, &vm->arena, count, sizeof *items));
    HONE_TRY(hone_jarena_take(&s.spare_keys, &vm->arena, count, sizeof *keys));
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t at = 0; at + width < count; at += 2 * width) {
            size_t end = at + 2 * width < count ? at + 2 * width : count;
            HONE_TRY(merge(&s, at, at + width, end));
        }
    }
    return HONE_OK;
}

/* A copy of the items, and room for as many keys. */
static hone_status sortable(hone_jlist **list, hone_jlist **keys, hone_jvm *vm, hone_jvalue value) {
    hone_jlist *from;
    HONE_TRY(hone_j_items(&from, vm, value));
    HONE_TRY(hone_j_list_new(list, vm, from->count));
    HONE_TRY(hone_j_list_new(keys, vm, from->count));
    for (size_t i = 0; i < from->count; i++) (*list)->items[(*list)->count++] = from->items[i];
    return HONE_OK;
}

static hone_status sort(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *list, *keys;
    bool case_sensitive = hone_j_slot_truth(call, 1, false);
    HONE_TRY(sortable(&list, &keys, vm, call->self));
    for (size_t i = 0; i < list->count; i++)
        HONE_TRY(paths(&keys->items[i], vm, list->items[i], call->slot[2], !case_sensitive));
    HONE_TRY(
        hone_j_sort(list->items, keys->items, list->count, hone_j_slot_truth(call, 0, false), vm));
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

static hone_status dictsort(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    static hone_jstr by_key = {.data = "key", .length = 3, .characters = 3};
    hone_jlist *list, *keys;
    hone_jstr *by = &by_key;
    HONE_TRY(hone_j_slot_string(&by, vm, call, 1));
    bool by_value = by->length == 5 && memcmp(by->data, "value", 5) == 0;
    if (!by_value && !hone_j_same_text(by, &by_key))
        return hone_j_fail(vm, "dictsort: by must be key or value");
    if (call->self.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, call->self);
    if (call->self.kind != HONE_J_DICT)
        return hone_j_fail(vm, "dictsort takes an object, not a %s", hone_j_type(call->self));
    HONE_TRY(hone_j_dict_pairs(&list, vm, call->self.as.dict));
    HONE_TRY(hone_j_list_new(&keys, vm, list->count));
    for (size_t i = 0; i < list->count; i++)
        HONE_TRY(key_of(&keys->items[i], vm, list->items[i].as.list->items[by_value], missing,
                        missing, hone_j_slot_truth(call, 0, false)));
    HONE_TRY(
        hone_j_sort(list->items, keys->items, list->count, hone_j_slot_truth(call, 2, false), vm));
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

static hone_status extreme(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool greatest) {
    hone_jlist *from;
    hone_jvalue best = missing;
    bool case_sensitive = hone_j_slot_truth(call, 0, false);
    HONE_TRY(hone_j_items(&from, vm, call->self));
    *out = hone_j_undefined("the least or greatest of nothing", HONE_J_MISSING);
    for (size_t i = 0; i < from->count; i++) {
        hone_jvalue key;
        int order = -1;
        HONE_TRY(key_of(&key, vm, from->items[i], call->slot[1], missing, case_sensitive));
        if (i > 0)
            HONE_TRY(greatest ? hone_j_compare(&order, vm, best, key)
                              : hone_j_compare(&order, vm, key, best));
        if (order >= 0) continue;
        best = key;
        *out = from->items[i];
    }
    return HONE_OK;
}

static hone_status min_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return extreme(out, vm, call, false);
}

static hone_status max_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return extreme(out, vm, call, true);
}

/* --- groups ---------------------------------------------------------------------------------------------------- */

static hone_status unique(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from, *list;
    hone_jdict *seen;
    HONE_TRY(hone_j_items(&from, vm, call->self));
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    HONE_TRY(hone_j_dict_new(&seen, vm));
    for (size_t i = 0; i < from->count; i++) {
        hone_jvalue key;
        size_t before = seen->count;
        HONE_TRY(key_of(&key, vm, from->items[i], call->slot[1], missing,
                        hone_j_slot_truth(call, 0, false)));
        HONE_TRY(hone_j_dict_set(seen, vm, key, HONE_J_NULL));
        if (seen->count > before) HONE_TRY(hone_j_list_add(list, vm, from->items[i]));
    }
    list->what = "unique";
    *out = hone_j_list(HONE_J_ITERATOR, list);
    return HONE_OK;
}

static hone_status add_group(hone_jlist *out, hone_jlist **members, hone_jvm *vm, hone_jvalue key) {
    hone_jlist *group;
    HONE_TRY(hone_j_list_new(&group, vm, 2));
    HONE_TRY(hone_j_list_new(members, vm, 0));
    group->group = true;
    group->items[0] = key;
    group->items[1] = hone_j_list(HONE_J_LIST, *members);
    group->count = 2;
    return hone_j_list_add(out, vm, hone_j_list(HONE_J_TUPLE, group));
}

static hone_status groupby(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *list, *keys, *groups, *members = NULL;
    bool case_sensitive = hone_j_slot_truth(call, 2, false);
    hone_jvalue otherwise = given(call, 1) ? call->slot[1] : missing;
    HONE_TRY(sortable(&list, &keys, vm, call->self));
    for (size_t i = 0; i < list->count; i++)
        HONE_TRY(
            key_of(&keys->items[i], vm, list->items[i], call->slot[0], otherwise, case_sensitive));
    HONE_TRY(hone_j_sort(list->items, keys->items, list->count, false, vm));
    HONE_TRY(hone_j_list_new(&groups, vm, 0));
    for (size_t i = 0; i < list->count; i++) {
        bool same = false;
        if (i > 0) HONE_TRY(hone_j_equal(&same, vm, keys->items[i - 1], keys->items[i]));
        if (!same) {
            hone_jvalue name;
            HONE_TRY(hone_j_path(&name, vm, list->items[i], call->slot[0], otherwise));
            HONE_TRY(add_group(groups, &members, vm, name));
        }
        HONE_TRY(hone_j_list_add(members, vm, list->items[i]));
    }
    *out = hone_j_list(HONE_J_LIST, groups);
    return HONE_OK;
}

/* --- map, select, reject --------------------------------------------------------------------------------------- */

/* What is applied to each item: a filter or a test with the arguments after its name. */
typedef struct applied {
    const hone_jfilter *row; /* NULL: nothing, the item itself */
    hone_jcall call;
} applied;

static hone_status find_row(applied *out, hone_jvm *vm, const hone_jcall *call, size_t name_at,
                            bool test) {
    *out = (applied){.call = *call};
    if (call->count <= name_at) return HONE_OK;
    hone_jvalue name = call->arguments[name_at];
    if (name.kind != HONE_J_STRING)
        return hone_j_fail(vm, "%s takes the name of a %s", call->name, test ? "test" : "filter");
    const hone_jstr *text = name.as.string;
    out->row = test ? hone_j_test_find(text->data, text->length)
                    : hone_j_filter_find(text->data, text->length);
    if (!out->row || !out->row->run)
        return hone_j_unsupported(vm, "%s: no %s is named '%.*s'", call->name,
                                  test ? "test" : "filter",
                                  (int)(text->length < 40 ? text->length : 40), text->data);
    out->call.arguments = call->arguments + name_at + 1;
    out->call.count = call->count - name_at - 1;
    return HONE_OK;
}

static hone_status apply(hone_jvalue *out, hone_jvm *vm, const applied *what, hone_jvalue item) {
    *out = item;
    if (!what->row) return HONE_OK;
    hone_jcall call = what->call;
    call.self = item;
    return hone_j_apply(out, vm, what->row, &call);
}

static hone_status choose(hone_jvalue *out, hone_jvm *vm, hone_jcall *call, bool keep,
                          bool by_attribute) {
    hone_jlist *from, *list;
    applied what;
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    list->what = call->name;
    *out = hone_j_list(HONE_J_ITERATOR, list);
    if (!hone_j_truth(call->self)) return HONE_OK;
    if (by_attribute && call->count == 0)
        return hone_j_fail(vm, "%s takes the name of an attribute", call->name);
    HONE_TRY(find_row(&what, vm, call, by_attribute, true));
    HONE_TRY(hone_j_items(&from, vm, call->self));
    for (size_t i = 0; i < from->count; i++) {
        hone_jvalue value = from->items[i];
        if (by_attribute) HONE_TRY(hone_j_path(&value, vm, value, call->arguments[0], missing));
        HONE_TRY(apply(&value, vm, &what, value));
        if (hone_j_truth(value) == keep) HONE_TRY(hone_j_list_add(list, vm, from->items[i]));
    }
    return HONE_OK;
}

static hone_status select_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return choose(out, vm, call, true, false);
}

static hone_status reject(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return choose(out, vm, call, false, false);
}

static hone_status selectattr(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return choose(out, vm, call, true, true);
}

static hone_status rejectattr(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return choose(out, vm, call, false, true);
}

static bool named(const hone_jcall *call, const char *name) {
    for (size_t i = 0; i < call->named; i++) {
        if (call->names[i]->length == strlen(name) &&
            memcmp(call->names[i]->data, name, call->names[i]->length) == 0)
            return true;
    }
    return false;
}

static hone_status map_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jlist *from, *list;
    applied what = {0};
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    list->what = "map";
    *out = hone_j_list(HONE_J_ITERATOR, list);
    if (!hone_j_truth(call->self)) return HONE_OK;
    bool by_attribute = call->count == 0 && named(call, "attribute");
    if (by_attribute) {
        HONE_TRY(hone_j_bind(call, vm, "attribute default", 1));
    } else if (call->count == 0) {
        return hone_j_fail(vm, "map takes the name of a filter, or attribute=");
    } else {
        HONE_TRY(find_row(&what, vm, call, 0, false));
    }
    hone_jvalue otherwise = by_attribute && given(call, 1) ? call->slot[1] : missing;
    HONE_TRY(hone_j_items(&from, vm, call->self));
    for (size_t i = 0; i < from->count; i++) {
        hone_jvalue value = from->items[i];
        HONE_TRY(by_attribute ? hone_j_path(&value, vm, value, call->slot[0], otherwise)
                              : apply(&value, vm, &what, value));
        HONE_TRY(hone_j_list_add(list, vm, value));
    }
    return HONE_OK;
}

const hone_jfilter hone_j_choice_filters[] = {
    {"sort", "reverse case_sensitive attribute", 0, sort},
    {"dictsort", "case_sensitive by reverse", 0, dictsort},
    {"min", "case_sensitive attribute", 0, min_filter},
    {"max", "case_sensitive attribute", 0, max_filter},
    {"unique", "case_sensitive attribute", 0, unique},
    {"groupby", "attribute default case_sensitive", 1, groupby},
    {"map", NULL, 0, map_filter},
    {"select", NULL, 0, select_filter},
    {"reject", NULL, 0, reject},
    {"selectattr", NULL, 0, selectattr},
    {"rejectattr", NULL, 0, rejectattr},
    {0},
};

const hone_jfilter *hone_j_filter_find(const char *name, size_t length) {
    const hone_jfilter *const tables[] = {hone_j_text_filters, hone_j_list_filters,
                                          hone_j_choice_filters};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const hone_jfilter *row = tables[t]; row->name; row++) {
            if (strlen(row->name) == length && memcmp(row->name, name, length) == 0) return row;
        }
    }
    return NULL;
}
