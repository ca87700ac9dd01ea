#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_call.h"

/* Texts as numbers, and dates as texts. */

enum { LONGEST_NUMBER = 400 };

/* The text without white space around it and without the underscores that Python allows; false when it is none. */
static bool clean(char out[LONGEST_NUMBER], const hone_jstr *text) {
    size_t begin, end, length = 0;
    hone_j_strip(&begin, &end, text, NULL, true, true);
    if (begin == end || end - begin >= LONGEST_NUMBER) return false;
    for (size_t i = begin; i < end; i++) {
        char c = text->data[i];
        if (c == '_') {
            bool between = i > begin && i + 1 < end &&
                           strchr("0123456789abcdefABCDEFxXoO", text->data[i - 1]) &&
                           strchr("0123456789abcdefABCDEF", text->data[i + 1]);
            if (!between) return false;
            continue;
        }
        if (c <= ' ' || c > '~') return false;
        out[length++] = c;
    }
    out[length] = '\0';
    return length > 0;
}

bool hone_j_read_int(int64_t *out, const hone_jstr *text, int base, bool *overflow) {
    char cleaned[LONGEST_NUMBER], *end;
    *overflow = false;
    if (!clean(cleaned, text) || base < 0 || base == 1 || base > 36) return false;
    char *digits = cleaned;
    bool negative = *digits == '-';
    if (*digits == '-' || *digits == '+') digits++;
    char mark = (char)(digits[0] == '0' ? digits[1] | 0x20 : 0);
    int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked && (base == 0 || base == marked)) {
        digits += 2;
        base = marked;
    } else if (base == 0) {
        bool zeros = digits[strspn(digits, "0")] == '\0';
        if (digits[0] == '0' && !zeros) return false;
        base = 10;
    }
    if (!((*digits >= '0' && *digits <= '9') ||
          ((*digits | 0x20) >= 'a' && (*digits | 0x20) <= 'z')))
        return false;
    errno = 0;
    unsigned long long value = strtoull(digits, &end, base);
    if (*end != '\0') return false;
    *overflow = errno == ERANGE || value > (unsigned long long)INT64_MAX + negative;
    if (*overflow) return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool hone_j_read_float(double *out, const hone_jstr *text) {
    char cleaned[LONGEST_NUMBER], *end;
    if (!clean(cleaned, text)) return false;
    const char *digits = cleaned + (*cleaned == '-' || *cleaned == '+');
    if ((digits[0] == '0' && (digits[1] | 0x20) == 'x') || strchr(digits, '(')) return false;
    *out = strtod(cleaned, &end);
    return *end == '\0';
}

/* What a moment without a time zone and without microseconds says to some letters. */
static const char *own_text(char letter) {
    switch (letter) {
    case 'f':
        return "000000";
    case 'z':
    case 'Z':
        return "";
    case '%':
        return "%";
    default:
        return NULL;
    }
}

hone_status hone_j_put_time(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *format,
                            const struct tm *time) {
    for (size_t at = 0; at < format->length;) {
        char c = format->data[at];
        if (c != '%' || at + 1 >= format->length) {
            HONE_TRY(hone_j_put_part(out, vm, format, at, at + 1));
            at++;
            continue;
        }
        bool flag = strchr("-_0^#", format->data[at + 1]) && at + 2 < format->length;
        char letter = format->data[at + 1 + flag], one[8], text[128];
        if (letter == '\0' || !strchr("aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%", letter))
            return hone_j_unsupported(vm, "strftime_now: the format has a letter that is unknown");
        snprintf(one, sizeof one, "%.*s", (int)(2 + flag), format->data + at);
        const char *own = own_text(letter);
        if (!own && strftime(text, sizeof text, one, time) == 0) text[0] = '\0';
        HONE_TRY(hone_j_puts(out, vm, own ? own : text));
        at += 2 + (size_t)flag;
    }
    return HONE_OK;
}
