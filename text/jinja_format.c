#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_string.h"
#include "text/utf8.h"

/* Python's two ways of formatting: "%5.2f" % x, and "{:5.2f}".format(x). */

/* One field's wishes. */
typedef struct spec {
    char fill[5];   /* one character */
    char align;     /* < > ^ =, or 0 */
    char sign;      /* + or space, or 0 */
    bool alternate; /* # */
    char grouping;  /* , or _, or 0 */
    int width;
    int precision; /* -1: not said */
    char type;     /* 0: not said */
} spec;

enum { WIDEST = 4096 };

static hone_status bad_format(hone_jvm *vm, const char *what) {
    return hone_j_fail(vm, "a format that Python does not take: %s", what);
}

/* --- numbers --------------------------------------------------------------------------------------------------- */

/* Digits in groups of three (four for other bases than ten). */
static void group_digits(char *out, size_t room, const char *digits, char mark, size_t size) {
    size_t whole = strspn(digits, "0123456789abcdefABCDEF");
    size_t to = 0;
    for (size_t i = 0; i < whole; i++) {
        if (i > 0 && (whole - i) % size == 0) out[to++] = mark;
        out[to++] = digits[i];
    }
    snprintf(out + to, room - to, "%s", digits + whole);
}

/* Sign, prefix, digits; filled between them for '='. */
static hone_status put_number(hone_jbuilder *out, hone_jvm *vm, const spec *s, bool negative,
                              const char *prefix, const char *digits) {
    char grouped[1024], sign[2] = {negative ? '-' : s->sign, '\0'};
    bool hex = s->type && strchr("xXob", s->type);
    if (strlen(digits) * 2 >= sizeof grouped) return bad_format(vm, "too many digits");
    if (s->grouping) {
        group_digits(grouped, sizeof grouped, digits, s->grouping, hex ? 4 : 3);
    } else {
        snprintf(grouped, sizeof grouped, "%s", digits);
    }
    if (s->align == '=' && s->grouping && s->fill[0] == '0' && s->width > 0)
        return hone_j_unsupported(vm, "zeros filled between groups of digits");
    const hone_jstr fill = {.data = s->fill, .length = strlen(s->fill)};
    int64_t missing = s->width - (int64_t)(strlen(sign) + strlen(prefix) + strlen(grouped));
    if (missing < 0) missing = 0;
    int64_t before = s->align == '<' || s->align == '=' ? 0
                     : s->align == '^'                  ? missing / 2
                                                        : missing;
    HONE_TRY(hone_j_put_times(out, vm, &fill, before));
    HONE_TRY(hone_j_puts(out, vm, sign));
    HONE_TRY(hone_j_puts(out, vm, prefix));
    if (s->align == '=') HONE_TRY(hone_j_put_times(out, vm, &fill, missing));
    HONE_TRY(hone_j_puts(out, vm, grouped));
    return s->align == '=' ? HONE_OK : hone_j_put_times(out, vm, &fill, missing - before);
}

static hone_status put_integer(hone_jbuilder *out, hone_jvm *vm, const spec *s, int64_t value) {
    char digits[80];
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const char *prefix = "";
    switch (s->type) {
    case 'x':
    case 'X':
        snprintf(digits, sizeof digits, s->type == 'x' ? "%llx" : "%llX", (unsigned long long)size);
        prefix = s->type == 'x' ? "0x" : "0X";
        break;
    case 'o':
        snprintf(digits, sizeof digits, "%llo", (unsigned long long)size);
        prefix = "0o";
        break;
    case 'b': {
        int bits = 1;
        while (bits < 64 && size >> bits) bits++;
        for (int i = 0; i < bits; i++) digits[i] = (char)('0' + ((size >> (bits - 1 - i)) & 1));
        digits[bits] = '\0';
        prefix = "0b";
        break;
    }
    default:
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
    }
    return put_number(out, vm, s, value < 0, s->alternate ? prefix : "", digits);
}

/* The digits of a real, without its sign. */
static void real_digits(char *out, size_t size, const spec *s, double value) {
    int precision = s->precision < 0 ? 6 : s->precision;
    char conversion[8] = "%.*f";
    if (s->type == '%') {
        snprintf(out, size, "%.*f%%", precision, value * 100);
        return;
    }
    conversion[3] = s->type;
    snprintf(out, size, conversion, precision, value);
}

static hone_status put_real(hone_jbuilder *out, hone_jvm *vm, const spec *s, double value) {
    char digits[800];
    bool negative = signbit(value) != 0 && !isnan(value);
    double size = fabs(value);
    if (s->precision > 300) return bad_format(vm, "a precision beyond 300");
    if (s->alternate) return hone_j_unsupported(vm, "'#' in the format of a real");
    if (s->type == 0 && s->precision < 0) {
        hone_j_float_text(digits, size);
    } else if (s->type == 0) {
        return hone_j_unsupported(vm, "a precision without a type in the format of a real");
    } else {
        real_digits(digits, sizeof digits, s, size);
    }
    return put_number(out, vm, s, negative, "", digits);
}

/* --- texts ----------------------------------------------------------------------------------------------------- */

static hone_status put_text(hone_jbuilder *out, hone_jvm *vm, const spec *s, hone_jvalue value) {
    hone_jstr *text;
    HONE_TRY(hone_j_to_string(&text, vm, value));
    hone_jvalue cut = hone_j_string(text);
    if (s->precision >= 0 && s->precision < hone_j_characters(text))
        HONE_TRY(hone_j_part(&cut, vm, text, 0, hone_j_place(text, s->precision)));
    const hone_jstr fill = {.data = s->fill, .length = strlen(s->fill)};
    int64_t missing = s->width - hone_j_characters(cut.as.string);
    if (missing < 0) missing = 0;
    int64_t before = s->align == '>' ? missing : s->align == '^' ? missing / 2 : 0;
    HONE_TRY(hone_j_put_times(out, vm, &fill, before));
    HONE_TRY(hone_j_put_str(out, vm, cut.as.string));
    return hone_j_put_times(out, vm, &fill, missing - before);
}

static hone_status put_repr(hone_jbuilder *out, hone_jvm *vm, const spec *s, hone_jvalue value) {
    hone_jbuilder inner = {0};
    hone_jvalue text;
    HONE_TRY(hone_j_put_repr(&inner, vm, value));
    HONE_TRY(hone_j_built(&text, vm, &inner));
    return put_text(out, vm, s, text);
}

/* --- "%5.2f" --------------------------------------------------------------------------------------------------- */

typedef struct percent {
    hone_jvm *vm;
    const hone_jstr *format;
    size_t at;
    hone_jvalue arguments;
    size_t next; /* of a tuple; 1 when a single value was taken */
    bool safe;
} percent;

static hone_status next_argument(hone_jvalue *out, percent *p) {
    bool tuple = p->arguments.kind == HONE_J_TUPLE;
    size_t count = tuple ? p->arguments.as.list->count : 1;
    if (p->next >= count) return hone_j_fail(p->vm, "too few values for the format");
    *out = tuple ? p->arguments.as.list->items[p->next] : p->arguments;
    p->next++;
    return HONE_OK;
}

static char peek(const percent *p) {
    return p->at < p->format->length ? p->format->data[p->at] : '\0';
}

/* "(name)": the value of an object. */
static hone_status named_argument(hone_jvalue *out, percent *p) {
    size_t begin = ++p->at;
    for (int depth = 1; depth > 0; p->at++) {
        char c = peek(p);
        if (c == '\0') return bad_format(p->vm, "a name without ')'");
        depth += (c == '(') - (c == ')');
    }
    if (p->arguments.kind != HONE_J_DICT)
        return hone_j_fail(p->vm, "a format with names takes an object");
    const hone_jvalue *found =
        hone_j_dict_text(p->arguments.as.dict, p->format->data + begin, p->at - 1 - begin);
    if (!found)
        return hone_j_fail(p->vm, "the format names '%.*s', which is not given",
                           (int)(p->at - 1 - begin), p->format->data + begin);
    *out = *found;
    p->next = 1;
    return HONE_OK;
}

static hone_status percent_number(int *out, percent *p) {
    hone_jvalue value;
    if (peek(p) == '*') {
        p->at++;
        HONE_TRY(next_argument(&value, p));
        if (!hone_j_is_int(value) || hone_j_as_int(value) < -WIDEST ||
            hone_j_as_int(value) > WIDEST)
            return bad_format(p->vm, "a width that is no small integer");
        *out = (int)hone_j_as_int(value);
        return HONE_OK;
    }
    *out = 0;
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        *out = *out * 10 + (peek(p) - '0');
        if (*out > WIDEST) return bad_format(p->vm, "a width beyond 4096");
    }
    return HONE_OK;
}

static hone_status percent_flags(spec *s, percent *p) {
    bool zero = false, left = false;
    for (;; p->at++) {
        char c = peek(p);
        if (c == '#') {
            s->alternate = true;
        } else if (c == '0') {
            zero = true;
        } else if (c == '-') {
            left = true;
        } else if (c == '+' || (c == ' ' && s->sign != '+')) {
            s->sign = c;
        } else if (c != ' ') {
            break;
        }
    }
    HONE_TRY(percent_number(&s->width, p));
    if (s->width < 0) {
        left = true;
        s->width = -s->width;
    }
    s->align = left ? '<' : zero ? '=' : '>';
    s->fill[0] = zero && !left ? '0' : ' ';
    if (peek(p) != '.') return HONE_OK;
    p->at++;
    HONE_TRY(percent_number(&s->precision, p));
    if (s->precision < 0) s->precision = 0;
    return HONE_OK;
}

static hone_status percent_integer(hone_jbuilder *out, percent *p, spec *s, hone_jvalue value) {
    hone_jvm *vm = p->vm;
    if (value.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(vm, value);
    bool real = value.kind == HONE_J_FLOAT && s->type == 'd';
    if (!hone_j_is_int(value) && !real)
        return hone_j_fail(vm, "%%%c takes an integer, not a %s", s->type, hone_j_type(value));
    if (real && !(fabs(value.as.real) < 9e18)) return hone_j_fail(vm, "%%d beyond 64 bits");
    if (s->precision >= 0) return hone_j_unsupported(vm, "a precision for an integer");
    return put_integer(out, vm, s, real ? (int64_t)value.as.real : hone_j_as_int(value));
}

static hone_status percent_real(hone_jbuilder *out, percent *p, spec *s, hone_jvalue value) {
    if (value.kind == HONE_J_UNDEFINED) return hone_j_fail_undefined(p->vm, value);
    if (!hone_j_is_number(value))
        return hone_j_fail(p->vm, "%%%c takes a number, not a %s", s->type, hone_j_type(value));
    return put_real(out, p->vm, s, hone_j_as_real(value));
}

static hone_status percent_character(hone_jbuilder *out, percent *p, spec *s, hone_jvalue value) {
    char text[4];
    if (hone_j_is_int(value) && hone_j_as_int(value) >= 0 && hone_j_as_int(value) <= 0x10ffff) {
        size_t length = hone_utf8_put(text, (int32_t)hone_j_as_int(value));
        hone_jbuilder inner = {0};
        HONE_TRY(hone_j_put(&inner, p->vm, text, length));
        HONE_TRY(hone_j_built(&value, p->vm, &inner));
    } else if (value.kind != HONE_J_STRING || hone_j_characters(value.as.string) != 1) {
        return bad_format(p->vm, "%c takes one character");
    }
    return put_text(out, p->vm, s, value);
}

static hone_status percent_text(hone_jbuilder *out, percent *p, spec *s, hone_jvalue value) {
    if (s->align == '=') {
        s->align = '>';
        s->fill[0] = ' ';
    }
    if (s->type == 'c') return percent_character(out, p, s, value);
    if (s->type == 'a') return hone_j_unsupported(p->vm, "the format %%a is not supported");
    if (p->safe && s->type == 's') HONE_TRY(hone_j_escape(&value, p->vm, value));
    return s->type == 'r' ? put_repr(out, p->vm, s, value) : put_text(out, p->vm, s, value);
}

static hone_status percent_field(hone_jbuilder *out, percent *p) {
    spec s = {.precision = -1};
    hone_jvalue value = {.kind = HONE_J_MISSING};
    if (peek(p) == '(') HONE_TRY(named_argument(&value, p));
    HONE_TRY(percent_flags(&s, p));
    while (peek(p) == 'l' || peek(p) == 'h' || peek(p) == 'L') p->at++;
    s.type = peek(p);
    if (s.type == '\0') return bad_format(p->vm, "it ends within a field");
    p->at++;
    if (s.type == '%') return hone_j_puts(out, p->vm, "%");
    if (value.kind == HONE_J_MISSING) HONE_TRY(next_argument(&value, p));
    if (strchr("diu", s.type)) s.type = 'd';
    if (strchr("dxXo", s.type)) return percent_integer(out, p, &s, value);
    if (strchr("eEfFgG", s.type)) return percent_real(out, p, &s, value);
    if (strchr("srca", s.type)) return percent_text(out, p, &s, value);
    return bad_format(p->vm, "an unknown letter after %");
}

hone_status hone_j_percent(hone_jvalue *out, hone_jvm *vm, hone_jstr *format,
                           hone_jvalue arguments) {
    percent p = {.vm = vm, .format = format, .arguments = arguments, .safe = format->safe};
    hone_jbuilder builder = {0};
    const hone_jstr sign = {.data = "%", .length = 1};
    for (;;) {
        int64_t found = hone_j_find(format, &sign, p.at);
        size_t end = found < 0 ? format->length : (size_t)found;
        HONE_TRY(hone_j_put_part(&builder, vm, format, p.at, end));
        if (found < 0) break;
        p.at = end + 1;
        HONE_TRY(percent_field(&builder, &p));
    }
    bool tuple = arguments.kind == HONE_J_TUPLE;
    bool left = tuple ? p.next < arguments.as.list->count
                      : p.next == 0 && arguments.kind != HONE_J_DICT &&
                            arguments.kind != HONE_J_LIST && arguments.kind != HONE_J_UNDEFINED;
    if (left) return hone_j_fail(vm, "not all values are used by the format");
    HONE_TRY(hone_j_built(out, vm, &builder));
    return hone_j_with_safe(out, vm, *out, format->safe);
}

/* --- "{:5.2f}" ------------------------------------------------------------------------------------------------- */

typedef struct braces {
    hone_jvm *vm;
    hone_jcall *call;
    int64_t next; /* the argument of the next "{}"; -1 once numbers were named */
    bool numbered;
} braces;

static size_t digits_at(int *out, const char *text, size_t length) {
    size_t at = 0;
    *out = 0;
    for (; at < length && text[at] >= '0' && text[at] <= '9' && *out <= WIDEST; at++)
        *out = *out * 10 + (text[at] - '0');
    return at;
}

/* [[fill]align][sign][#][0][width][grouping][.precision][type] */
static hone_status read_spec(spec *s, hone_jvm *vm, const char *text, size_t length) {
    *s = (spec){.fill = " ", .precision = -1};
    size_t at = 0, first = length > 0 ? hone_utf8_length(text[0]) : 0;
    if (first < length && strchr("<>=^", text[first])) {
        memcpy(s->fill, text, first);
        s->fill[first] = '\0';
        s->align = text[first];
        at = first + 1;
    } else if (length > 0 && text[0] && strchr("<>=^", text[0])) {
        s->align = text[at++];
    }
    if (at < length && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
        if (text[at] != '-') s->sign = text[at];
        at++;
    }
    if (at < length && text[at] == '#') {
        s->alternate = true;
        at++;
    }
    if (at < length && text[at] == '0') {
        if (!s->align) {
            s->align = '=';
            s->fill[0] = '0';
        }
        at++;
    }
    at += digits_at(&s->width, text + at, length - at);
    if (at < length && (text[at] == ',' || text[at] == '_')) s->grouping = text[at++];
    if (at < length && text[at] == '.') {
        size_t digits = digits_at(&s->precision, text + at + 1, length - at - 1);
        if (digits == 0) return bad_format(vm, "a '.' without digits");
        at += 1 + digits;
    }
    if (at < length) s->type = text[at++];
    if (at < length || s->width > WIDEST) return bad_format(vm, "after the colon");
    return HONE_OK;
}

static hone_status put_with_spec(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value,
                                 const char *text, size_t length) {
    spec s;
    HONE_TRY(read_spec(&s, vm, text, length));
    bool number = hone_j_is_number(value) && !(value.kind == HONE_J_BOOL && length == 0);
    if (!number) {
        bool plain = value.kind == HONE_J_STRING || length == 0;
        if (!plain || (s.type && s.type != 's') || s.align == '=' || s.sign || s.grouping)
            return bad_format(vm, "it does not fit the value");
        return put_text(out, vm, &s, value);
    }
    if (!s.align) s.align = '>';
    bool real = value.kind == HONE_J_FLOAT || (s.type && strchr("eEfFgG%", s.type));
    if (s.type && !strchr(real ? "eEfFgG%" : "dxXobn", s.type))
        return bad_format(vm, "a type that does not fit the number");
    if (real) return put_real(out, vm, &s, hone_j_as_real(value));
    if (s.precision >= 0) return bad_format(vm, "a precision for an integer");
    return put_integer(out, vm, &s, hone_j_as_int(value));
}

static hone_status numbered_argument(hone_jvalue *out, braces *b, int64_t index) {
    if (index >= (int64_t)b->call->count)
        return hone_j_fail(b->vm, "format: no argument has the number %lld", (long long)index);
    *out = b->call->arguments[index];
    return HONE_OK;
}

static hone_status field_value(hone_jvalue *out, braces *b, const char *name, size_t length) {
    int number;
    if (length == 0) {
        if (b->numbered) return bad_format(b->vm, "numbered and unnumbered fields");
        return numbered_argument(out, b, b->next++);
    }
    if (digits_at(&number, name, length) == length) {
        if (b->next > 0) return bad_format(b->vm, "numbered and unnumbered fields");
        b->numbered = true;
        return numbered_argument(out, b, number);
    }
    for (size_t i = 0; i < b->call->named; i++) {
        const hone_jstr *other = b->call->names[i];
        *out = b->call->values[i];
        if (other->length == length && memcmp(other->data, name, length) == 0) return HONE_OK;
    }
    return hone_j_fail(b->vm, "format: no argument is named '%.*s'", (int)length, name);
}

/* The steps after the name: ".attribute" and "[key]". */
static hone_status follow(hone_jvalue *value, braces *b, const char *path, size_t length) {
    for (size_t at = 0; at < length;) {
        bool key = path[at] == '[';
        size_t begin = ++at;
        while (at < length && (key ? path[at] != ']' : path[at] != '.' && path[at] != '[')) at++;
        hone_jvalue name;
        int number;
        if (at == begin || (key && at == length)) return bad_format(b->vm, "the path of a field");
        HONE_TRY(hone_j_text(&name, b->vm, path + begin, at - begin));
        if (key && digits_at(&number, path + begin, at - begin) == at - begin)
            name = hone_j_int(number);
        HONE_TRY(key ? hone_j_item(value, b->vm, *value, name)
                     : hone_j_attribute(value, b->vm, *value, name.as.string));
        at += key;
    }
    return HONE_OK;
}

/* What stands between braces: name!conversion:spec. */
static hone_status put_field(hone_jbuilder *out, braces *b, const char *text, size_t length) {
    size_t end = 0, name = 0;
    while (end < length && text[end] != ':' && text[end] != '!') end++;
    while (name < end && text[name] != '.' && text[name] != '[') name++;
    hone_jvalue value;
    HONE_TRY(field_value(&value, b, text, name));
    HONE_TRY(follow(&value, b, text + name, end - name));
    if (end < length && text[end] == '!') {
        char how = end + 1 < length ? text[end + 1] : '\0';
        hone_jbuilder inner = {0};
        if (how != 'r' && how != 's') return bad_format(b->vm, "a conversion other than r and s");
        HONE_TRY(how == 'r' ? hone_j_put_repr(&inner, b->vm, value)
                            : hone_j_put_value(&inner, b->vm, value));
        HONE_TRY(hone_j_built(&value, b->vm, &inner));
        end += 2;
        if (end < length && text[end] != ':') return bad_format(b->vm, "after a conversion");
    }
    size_t spec_at = end < length ? end + 1 : length;
    if (b->call->self.as.string->safe) HONE_TRY(hone_j_escape(&value, b->vm, value));
    if (memchr(text + spec_at, '{', length - spec_at))
        return hone_j_unsupported(b->vm, "fields within the format of a field");
    return put_with_spec(out, b->vm, value, text + spec_at, length - spec_at);
}

hone_status hone_j_str_format(hone_jvalue *out, hone_jvm *vm, hone_jcall *call) {
    const hone_jstr *format = call->self.as.string;
    braces b = {.vm = vm, .call = call};
    hone_jbuilder builder = {0};
    for (size_t at = 0; at < format->length;) {
        char c = format->data[at];
        bool twice = at + 1 < format->length && format->data[at + 1] == c;
        if (c != '{' && c != '}') {
            size_t end = at;
            while (end < format->length && format->data[end] != '{' && format->data[end] != '}')
                end++;
            HONE_TRY(hone_j_put_part(&builder, vm, format, at, end));
            at = end;
        } else if (twice) {
            HONE_TRY(hone_j_put(&builder, vm, &c, 1));
            at += 2;
        } else {
            size_t end = at + 1;
            for (int depth = 1; c == '{' && end < format->length; end++) {
                depth += (format->data[end] == '{') - (format->data[end] == '}');
                if (depth == 0) break;
            }
            if (c == '}' || end == format->length) return bad_format(vm, "a brace by itself");
            HONE_TRY(put_field(&builder, &b, format->data + at + 1, end - at - 1));
            at = end + 1;
        }
    }
    HONE_TRY(hone_j_built(out, vm, &builder));
    return hone_j_with_safe(out, vm, *out, format->safe);
}
