#include <math.h>
#include <stdint.h>

#include "text/jinja_call.h"

static const char *sign_of(hone_jop op) {
    static const char *const signs[] = {
        [HONE_J_ADD] = "+",    [HONE_J_SUBTRACT] = "-",      [HONE_J_MULTIPLY] = "*",
        [HONE_J_DIVIDE] = "/", [HONE_J_FLOOR_DIVIDE] = "//", [HONE_J_MODULO] = "%",
        [HONE_J_POWER] = "**",
    };
    return signs[op];
}

static hone_status too_big(hone_jvm *vm) {
    return hone_j_fail(vm, "an integer grows beyond 64 bits");
}

/* --- integers -------------------------------------------------------------------------------------------------- */

/* Rounded down, as Python does. The quotient of the smallest integer by -1 is left to the caller. */
static int64_t floor_divide(int64_t a, int64_t b) {
    int64_t quotient = a / b;
    return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

static int64_t modulo(int64_t a, int64_t b) {
    if (b == -1) return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static hone_status power_of_ints(hone_jvalue *out, hone_jvm *vm, int64_t base, int64_t exponent) {
    int64_t result = 1;
    for (; exponent > 0; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return too_big(vm);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return too_big(vm);
    }
    *out = hone_j_int(result);
    return HONE_OK;
}

static hone_status ints(hone_jvalue *out, hone_jvm *vm, hone_jop op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
    case HONE_J_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case HONE_J_SUBTRACT:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case HONE_J_MULTIPLY:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case HONE_J_POWER:
        return power_of_ints(out, vm, a, b);
    case HONE_J_MODULO:
        result = modulo(a, b);
        break;
    default:
        overflow = a == INT64_MIN && b == -1;
        if (!overflow) result = floor_divide(a, b);
    }
    if (overflow) return too_big(vm);
    *out = hone_j_int(result);
    return HONE_OK;
}

/* --- reals ----------------------------------------------------------------------------------------------------- */

static double real_modulo(double a, double b) {
    double rest = fmod(a, b);
    if (rest != 0) return (b < 0) != (rest < 0) ? rest + b : rest;
    return copysign(0.0, b);
}

static double real_floor_divide(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0.0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static hone_status real_power(hone_jvalue *out, hone_jvm *vm, double a, double b) {
    if (a == 0 && b < 0) return hone_j_fail(vm, "zero to a negative power");
    if (a < 0 && floor(b) < b) return hone_j_fail(vm, "a negative number to a broken power");
    double result = pow(a, b);
    if (isinf(result) && !isinf(a) && !isinf(b)) return hone_j_fail(vm, "a number grows too big");
    *out = hone_j_float(result);
    return HONE_OK;
}

static hone_status numbers(hone_jvalue *out, hone_jvm *vm, hone_jop op, hone_jvalue left,
                           hone_jvalue right) {
    double a = hone_j_as_real(left), b = hone_j_as_real(right);
    bool divides = op == HONE_J_DIVIDE || op == HONE_J_FLOOR_DIVIDE || op == HONE_J_MODULO;
    if (divides && b == 0) return hone_j_fail(vm, "division by zero");
    bool whole = hone_j_is_int(left) && hone_j_is_int(right) && op != HONE_J_DIVIDE;
    if (whole && !(op == HONE_J_POWER && hone_j_as_int(right) < 0))
        return ints(out, vm, op, hone_j_as_int(left), hone_j_as_int(right));
    switch (op) {
    case HONE_J_ADD:
        *out = hone_j_float(a + b);
        return HONE_OK;
    case HONE_J_SUBTRACT:
        *out = hone_j_float(a - b);
        return HONE_OK;
    case HONE_J_MULTIPLY:
        *out = hone_j_float(a * b);
        return HONE_OK;
    case HONE_J_DIVIDE:
        *out = hone_j_float(a / b);
        return HONE_OK;
    case HONE_J_MODULO:
        *out = hone_j_float(real_modulo(a, b));
        return HONE_OK;
    case HONE_J_FLOOR_DIVIDE:
        *out = hone_j_float(real_floor_divide(a, b));
        return HONE_OK;
    default:
        return real_power(out, vm, a, b);
    }
}

/* --- strings and lists ----------------------------------------------------------------------------------------- */

/* Where one of them is safe, the other is escaped. */
static hone_status add_strings(hone_jvalue *out, hone_jvm *vm, hone_jvalue left,
                               hone_jvalue right) {
    bool safe = left.as.string->safe || right.as.string->safe;
    if (safe) {
        HONE_TRY(hone_j_escape(&left, vm, left));
        HONE_TRY(hone_j_escape(&right, vm, right));
    }
    hone_jbuilder builder = {0};
    HONE_TRY(hone_j_put_str(&builder, vm, left.as.string));
    HONE_TRY(hone_j_put_str(&builder, vm, right.as.string));
    HONE_TRY(hone_j_built(out, vm, &builder));
    out->as.string->safe = safe;
    return HONE_OK;
}

static hone_status add_lists(hone_jvalue *out, hone_jvm *vm, hone_jvalue left, hone_jvalue right) {
    hone_jlist *list;
    const hone_jlist *parts[] = {left.as.list, right.as.list};
    HONE_TRY(hone_j_list_new(&list, vm, parts[0]->count + parts[1]->count));
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < parts[p]->count; i++)
            list->items[list->count++] = parts[p]->items[i];
    }
    *out = hone_j_list((hone_jkind)left.kind, list);
    return hone_j_charge(vm, list->count * 16);
}

static hone_status repeat(hone_jvalue *out, hone_jvm *vm, hone_jvalue value, int64_t times) {
    if (value.kind == HONE_J_STRING) {
        hone_jbuilder builder = {0};
        HONE_TRY(hone_j_put_times(&builder, vm, value.as.string, times));
        HONE_TRY(hone_j_built(out, vm, &builder));
        out->as.string->safe = value.as.string->safe;
        return HONE_OK;
    }
    const hone_jlist *from = value.as.list;
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, 0));
    for (int64_t n = 0; n < times && from->count > 0; n++) {
        HONE_TRY(hone_j_charge(vm, from->count * 16));
        for (size_t i = 0; i < from->count; i++)
            HONE_TRY(hone_j_list_add(list, vm, from->items[i]));
    }
    *out = hone_j_list((hone_jkind)value.kind, list);
    return HONE_OK;
}

static bool repeats(hone_jvalue value, hone_jvalue times) {
    return hone_j_is_int(times) &&
           (value.kind == HONE_J_STRING || value.kind == HONE_J_LIST || value.kind == HONE_J_TUPLE);
}

hone_status hone_j_binary(hone_jvalue *out, hone_jvm *vm, hone_jop op, hone_jvalue left,
                          hone_jvalue right) {
    if (hone_j_is_number(left) && hone_j_is_number(right)) return numbers(out, vm, op, left, right);
    if (op == HONE_J_MODULO && left.kind == HONE_J_STRING)
        return hone_j_percent(out, vm, left.as.string, right);
    if (left.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, left);
    if (right.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, right);
    if (op == HONE_J_ADD && left.kind == right.kind) {
        if (left.kind == HONE_J_STRING) return add_strings(out, vm, left, right);
        if (left.kind == HONE_J_LIST || left.kind == HONE_J_TUPLE)
            return add_lists(out, vm, left, right);
    }
    if (op == HONE_J_MULTIPLY && repeats(left, right))
        return repeat(out, vm, left, hone_j_as_int(right));
    if (op == HONE_J_MULTIPLY && repeats(right, left))
        return repeat(out, vm, right, hone_j_as_int(left));
    return hone_j_fail(vm, "'%s' cannot be done with a %s and a %s", sign_of(op), hone_j_type(left),
                       hone_j_type(right));
}

hone_status hone_j_negate(hone_jvalue *out, hone_jvm *vm, hone_jvalue value) {
    if (value.kind == HONE_J_FLOAT) {
        *out = hone_j_float(-value.as.real);
        return HONE_OK;
    }
    if (value.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, value);
    if (!hone_j_is_int(value)) return hone_j_fail(vm, "a %s has no negative", hone_j_type(value));
    return ints(out, vm, HONE_J_SUBTRACT, 0, hone_j_as_int(value));
}
