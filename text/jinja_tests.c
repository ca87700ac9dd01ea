#include <math.h>
#include <string.h>

#include "text/jinja_string.h"

/* Tests of jinja2: "x is odd". */

static hone_status answer(hone_jvalue *out, bool value) {
    *out = hone_j_bool(value);
    return HONE_OK;
}

#define KIND_TEST(name, condition)                                                                 \
    static hone_status name(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {                    \
        (void)vm;                                                                                  \
        hone_jvalue value = call->self;                                                            \
        return answer(out, condition);                                                             \
    }
KIND_TEST(is_defined, value.kind != HONE_J_UNDEFINED)
KIND_TEST(is_undefined, value.kind == HONE_J_UNDEFINED)
KIND_TEST(is_none, value.kind == HONE_J_NONE)
KIND_TEST(is_boolean, value.kind == HONE_J_BOOL)
KIND_TEST(is_true, value.kind == HONE_J_BOOL && value.as.boolean)
KIND_TEST(is_false, value.kind == HONE_J_BOOL && !value.as.boolean)
KIND_TEST(is_integer, value.kind == HONE_J_INT)
KIND_TEST(is_float, value.kind == HONE_J_FLOAT)
KIND_TEST(is_number, hone_j_is_number(value))
KIND_TEST(is_string, value.kind == HONE_J_STRING)
KIND_TEST(is_mapping, value.kind == HONE_J_DICT)
KIND_TEST(is_iterable, hone_j_iterable(value))
KIND_TEST(is_escaped, value.kind == HONE_J_STRING && value.as.string->safe)
KIND_TEST(is_sequence, value.kind == HONE_J_STRING || value.kind == HONE_J_LIST ||
                           value.kind == HONE_J_TUPLE || value.kind == HONE_J_RANGE ||
                           value.kind == HONE_J_DICT || value.kind == HONE_J_UNDEFINED)
KIND_TEST(is_callable, value.kind == HONE_J_MACRO || value.kind == HONE_J_GLOBAL ||
                           value.kind == HONE_J_METHOD || value.kind == HONE_J_JOINER ||
                           value.kind == HONE_J_LOOP || value.kind == HONE_J_UNDEFINED)

static hone_status is_lower(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    HONE_TRY(hone_j_to_string(&text, vm, call->self));
    return answer(out, hone_j_is_case(text, HONE_J_LOWER));
}

static hone_status is_upper(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jstr *text;
    HONE_TRY(hone_j_to_string(&text, vm, call->self));
    return answer(out, hone_j_is_case(text, HONE_J_UPPER));
}

static hone_status has_remainder(hone_jvalue *out, hone_jvm *vm, hone_jvalue value, hone_jvalue by,
                                 int64_t remainder) {
    hone_jvalue rest;
    bool equal;
    HONE_TRY(hone_j_binary(&rest, vm, HONE_J_MODULO, value, by));
    HONE_TRY(hone_j_equal(&equal, vm, rest, hone_j_int(remainder)));
    return answer(out, equal);
}

static hone_status is_odd(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return has_remainder(out, vm, call->self, hone_j_int(2), 1);
}

static hone_status is_even(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return has_remainder(out, vm, call->self, hone_j_int(2), 0);
}

static hone_status is_divisible(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    return has_remainder(out, vm, call->self, call->slot[0], 0);
}

static hone_status is_equal(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    bool equal;
    HONE_TRY(hone_j_equal(&equal, vm, call->self, call->slot[0]));
    return answer(out, equal);
}

static hone_status is_unequal(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    HONE_TRY(is_equal(out, vm, call));
    return answer(out, !out->as.boolean);
}

static hone_status order(int *out, hone_jvm *vm, const hone_jcall *call) {
    return hone_j_compare(out, vm, call->self, call->slot[0]);
}

static hone_status is_less(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int sign;
    HONE_TRY(order(&sign, vm, call));
    return answer(out, sign < 0);
}

static hone_status is_at_most(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int sign;
    HONE_TRY(order(&sign, vm, call));
    return answer(out, sign <= 0);
}

static hone_status is_greater(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int sign;
    HONE_TRY(order(&sign, vm, call));
    return answer(out, sign > 0);
}

static hone_status is_at_least(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    int sign;
    HONE_TRY(order(&sign, vm, call));
    return answer(out, sign >= 0);
}

static hone_status is_in(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    bool inside;
    HONE_TRY(hone_j_contains(&inside, vm, call->slot[0], call->self));
    return answer(out, inside);
}

/* Python's identity, as far as values have one here. */
static hone_status is_same(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    hone_jvalue a = call->self, b = call->slot[0];
    if (a.kind != b.kind) return answer(out, false);
    if (a.kind <= HONE_J_FLOAT) return is_equal(out, vm, call);
    return answer(out, a.as.list == b.as.list);
}

static hone_status is_filter(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    const hone_jstr *name = call->self.as.string;
    return answer(out, call->self.kind == HONE_J_STRING &&
                           hone_j_filter_find(name->data, name->length) != NULL);
}

static hone_status is_test(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    (void)vm;
    const hone_jstr *name = call->self.as.string;
    return answer(out, call->self.kind == HONE_J_STRING &&
                           hone_j_test_find(name->data, name->length) != NULL);
}

static const hone_jfilter tests[] = {
    {"defined", "", 0, is_defined},
    {"undefined", "", 0, is_undefined},
    {"none", "", 0, is_none},
    {"boolean", "", 0, is_boolean},
    {"true", "", 0, is_true},
    {"false", "", 0, is_false},
    {"integer", "", 0, is_integer},
    {"float", "", 0, is_float},
    {"number", "", 0, is_number},
    {"string", "", 0, is_string},
    {"mapping", "", 0, is_mapping},
    {"iterable", "", 0, is_iterable},
    {"sequence", "", 0, is_sequence},
    {"callable", "", 0, is_callable},
    {"escaped", "", 0, is_escaped},
    {"lower", "", 0, is_lower},
    {"upper", "", 0, is_upper},
    {"odd", "", 0, is_odd},
    {"even", "", 0, is_even},
    {"divisibleby", "num", 1, is_divisible},
    {"sameas", "other", 1, is_same},
    {"in", "seq", 1, is_in},
    {"==", "other", 1, is_equal},
    {"eq", "other", 1, is_equal},
    {"equalto", "other", 1, is_equal},
    {"!=", "other", 1, is_unequal},
    {"ne", "other", 1, is_unequal},
    {"<", "other", 1, is_less},
    {"lt", "other", 1, is_less},
    {"lessthan", "other", 1, is_less},
    {"<=", "other", 1, is_at_most},
    {"le", "other", 1, is_at_most},
    {">", "other", 1, is_greater},
    {"gt", "other", 1, is_greater},
    {"greaterthan", "other", 1, is_greater},
    {">=", "other", 1, is_at_least},
    {"ge", "other", 1, is_at_least},
    {"filter", "", 0, is_filter},
    {"test", "", 0, is_test},
};

const hone_jfilter *hone_j_test_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (strlen(tests[i].name) == length && memcmp(tests[i].name, name, length) == 0)
            return &tests[i];
    }
    return NULL;
}
