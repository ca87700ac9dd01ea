#include "text/jinja_lexer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_text.h"
#include "text/utf8.h"

enum { DEEPEST_BRACKETS = 256 };

typedef struct lexer {
    hone_jinja *jinja;
    hone_jtokens *out;
    const char *source;
    size_t length, at;
    bool line_starting; /* what was read last ended a line */
    char brackets[DEEPEST_BRACKETS];
    int depth;
    size_t placed; /* the byte that stands at line and column */
    int32_t line, column;
} lexer;

static void step(int32_t *line, int32_t *column, char c) {
    if (c == '\n') {
        ++*line;
        *column = 1;
    } else if (((unsigned char)c & 0xc0) != 0x80) {
        ++*column;
    }
}

static void position(int32_t *line, int32_t *column, const hone_jinja *jinja, size_t at) {
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at && i < jinja->length; i++) step(line, column, jinja->source[i]);
}

hone_status(hone_j_fail_at)(const hone_jinja *jinja, size_t at, hone_status code,
                            const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int32_t line, column;
    position(&line, &column, jinja, at);
    return (hone_fail)(code, "%s: line %d, column %d: %s", jinja->name, (int)line, (int)column,
                       text);
}

static hone_status add(lexer *l, hone_jtoken_type type, size_t begin, size_t end) {
    HONE_TRY(hone_jarena_grow(&l->out->items, &l->jinja->arena, l->out->count, &l->out->capacity,
                              l->out->count + 1, sizeof *l->out->items));
    for (; l->placed < begin; l->placed++) step(&l->line, &l->column, l->source[l->placed]);
    l->out->items[l->out->count++] = (hone_jtoken){type, begin, end, l->line, l->column};
    return HONE_OK;
}

static bool starts(const lexer *l, size_t at, const char *what) {
    size_t length = strlen(what);
    return at <= l->length && l->length - at >= length && memcmp(l->source + at, what, length) == 0;
}

/* Bytes of the white-space character at `at`, or 0. */
static size_t space_at(const lexer *l, size_t at) {
    if (at >= l->length) return 0;
    int32_t code;
    size_t bytes = hone_utf8_next(&code, l->source + at, l->length - at);
    return hone_j_is_space(code) ? bytes : 0;
}

static size_t skip_space(const lexer *l, size_t at) {
    size_t bytes;
    while ((bytes = space_at(l, at)) > 0) at += bytes;
    return at;
}

/* --- text between tags ----------------------------------------------------------------------------------------- */

/* The end of the text before a tag with `sign` after its opening brace. */
static size_t trimmed(const lexer *l, size_t begin, size_t end, char sign, bool print) {
    hone_jstr text = {.data = l->source + begin, .length = end - begin};
    size_t from = 0, to = text.length;
    if (sign == '-') {
        hone_j_strip(&from, &to, &text, NULL, false, true);
        return begin + to;
    }
    if (sign == '+' || print) return end;
    size_t line = end;
    while (line > begin && l->source[line - 1] != '\n') line--;
    if (line == begin && !l->line_starting) return end;
    return skip_space(l, line) >= end ? line : end;
}

static hone_status add_data(lexer *l, size_t begin, size_t end) {
    return end > begin ? add(l, HONE_JT_DATA, begin, end) : HONE_OK;
}

/* The end of a tag at `at` ("%}" and its like, with its sign): where the text goes on; 0 when there is none. */
static size_t tag_end(const lexer *l, size_t at, const char *end, bool trim) {
    char sign = starts(l, at, "-") ? '-' : trim && starts(l, at, "+") ? '+' : '\0';
    size_t after = at + (sign != '\0');
    if (!starts(l, after, end)) return 0;
    after += strlen(end);
    if (sign == '-') return skip_space(l, after);
    if (sign == '\0' && trim && starts(l, after, "\n")) after++;
    return after;
}

static bool ends_line(const lexer *l, size_t at) {
    return at > 0 && l->source[at - 1] == '\n';
}

/* A raw tag at `at`: where its text begins; 0 when it is another tag. */
static size_t raw_begin(const lexer *l, size_t at) {
    size_t word = skip_space(l, at);
    if (!starts(l, word, "raw")) return 0;
    size_t end = skip_space(l, word + 3);
    return tag_end(l, end, "%}", false);
}

static hone_status read_raw(lexer *l, size_t begin) {
    l->line_starting = ends_line(l, begin);
    for (size_t at = begin; at < l->length; at++) {
        if (!starts(l, at, "{%")) continue;
        size_t word = at + 2;
        char sign = starts(l, word, "-") ? '-' : starts(l, word, "+") ? '+' : '\0';
        word = skip_space(l, word + (sign != '\0'));
        if (!starts(l, word, "endraw")) continue;
        size_t after = tag_end(l, skip_space(l, word + 6), "%}", true);
        if (after == 0) continue;
        HONE_TRY(add_data(l, begin, trimmed(l, begin, at, sign, false)));
        l->at = after;
        l->line_starting = ends_line(l, after);
        return HONE_OK;
    }
    return hone_j_fail_at(l->jinja, begin, HONE_ERR_FORMAT, "a raw block without its endraw");
}

static hone_status read_comment(lexer *l, size_t begin) {
    for (size_t at = begin; at < l->length; at++) {
        size_t after = tag_end(l, at, "#}", true);
        if (after == 0) continue;
        l->at = after;
        l->line_starting = ends_line(l, after);
        return HONE_OK;
    }
    return hone_j_fail_at(l->jinja, begin, HONE_ERR_FORMAT, "a comment without its end");
}

/* --- inside tags ----------------------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_base_digit(char c, int base) {
    if (base == 16) return isxdigit((unsigned char)c) != 0;
    return c >= '0' && c < '0' + (base < 10 ? base : 10);
}

/* Digits with single underscores between them; `at` when there are none. */
static size_t skip_digits(const lexer *l, size_t at, int base) {
    if (at >= l->length || !is_base_digit(l->source[at], base)) return at;
    while (at < l->length) {
        bool underscore =
            l->source[at] == '_' && at + 1 < l->length && is_base_digit(l->source[at + 1], base);
        if (!underscore && !is_base_digit(l->source[at], base)) break;
        at++;
    }
    return at;
}

static size_t skip_fraction(const lexer *l, size_t at) {
    if (!starts(l, at, ".")) return at;
    size_t end = skip_digits(l, at + 1, 10);
    return end > at + 1 ? end : at;
}

static size_t skip_exponent(const lexer *l, size_t at) {
    if (!starts(l, at, "e") && !starts(l, at, "E")) return at;
    size_t digits = at + 1;
    if (starts(l, digits, "+") || starts(l, digits, "-")) digits++;
    size_t end = skip_digits(l, digits, 10);
    return end > digits ? end : at;
}

static hone_status read_number(lexer *l) {
    size_t begin = l->at, end = skip_digits(l, begin, 10);
    bool after_dot = begin > 0 && l->source[begin - 1] == '.';
    size_t real = after_dot ? end : skip_exponent(l, skip_fraction(l, end));
    if (real > end) {
        l->at = real;
        return add(l, HONE_JT_FLOAT, begin, real);
    }
    if (l->source[begin] == '0') {
        char mark = begin + 1 < l->length ? (char)(l->source[begin + 1] | 0x20) : ' ';
        int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
        size_t digits = begin + 2 + (base && starts(l, begin + 2, "_"));
        if (base && skip_digits(l, digits, base) > digits) {
            end = skip_digits(l, digits, base);
        } else { /* only zeros; what follows is another token */
            end = begin + 1;
            while (starts(l, end, "0") || starts(l, end, "_0")) end++;
        }
    }
    l->at = end;
    return add(l, HONE_JT_INTEGER, begin, end);
}

static hone_status read_string(lexer *l, char quote) {
    for (size_t at = l->at + 1; at < l->length; at++) {
        if (l->source[at] == '\\') {
            at++;
        } else if (l->source[at] == quote) {
            size_t begin = l->at;
            l->at = at + 1;
            return add(l, HONE_JT_STRING, begin, at + 1);
        }
    }
    return hone_j_fail_at(l->jinja, l->at, HONE_ERR_FORMAT, "a text without its closing %c", quote);
}

static size_t name_end(const lexer *l, size_t at) {
    while (at < l->length) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, l->source + at, l->length - at);
        if (code < 0 || !hone_utf8_is_word(code)) break;
        at += bytes;
    }
    return at;
}

static hone_status balance(lexer *l, char c) {
    if (c == '(' || c == '[' || c == '{') {
        if (l->depth == DEEPEST_BRACKETS)
            return hone_j_fail_at(l->jinja, l->at, HONE_ERR_FORMAT,
                                  "brackets are nested deeper than %d", DEEPEST_BRACKETS);
        l->brackets[l->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (l->depth == 0)
            return hone_j_fail_at(l->jinja, l->at, HONE_ERR_FORMAT, "unexpected '%c'", c);
        if (l->brackets[--l->depth] != c)
            return hone_j_fail_at(l->jinja, l->at, HONE_ERR_FORMAT,
                                  "unexpected '%c', expected '%c'", c, l->brackets[l->depth]);
    }
    return HONE_OK;
}

static hone_status read_operator(lexer *l) {
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!starts(l, l->at, pairs[i])) continue;
        l->at += 2;
        return add(l, HONE_JT_OPERATOR, l->at - 2, l->at);
    }
    char c = l->source[l->at];
    if (c == '\0' || !strchr("+-/*%~[](){}<>=.:|,;", c))
        return hone_j_fail_at(l->jinja, l->at, HONE_ERR_FORMAT,
                              "unexpected character in a tag (byte 0x%02x)", (unsigned char)c);
    HONE_TRY(balance(l, c));
    l->at++;
    return add(l, HONE_JT_OPERATOR, l->at - 1, l->at);
}

static hone_status read_inner(lexer *l) {
    char c = l->source[l->at];
    if (is_digit(c)) return read_number(l);
    if (c == '\'' || c == '"') return read_string(l, c);
    size_t end = name_end(l, l->at);
    if (end == l->at) return read_operator(l);
    size_t begin = l->at;
    l->at = end;
    return add(l, HONE_JT_NAME, begin, end);
}

/* From after the opening brace and its sign to after the end of the tag. */
static hone_status read_tag(lexer *l, size_t begin, bool print) {
    hone_jtoken_type open = print ? HONE_JT_PRINT : HONE_JT_BLOCK;
    hone_jtoken_type close = print ? HONE_JT_PRINT_END : HONE_JT_BLOCK_END;
    HONE_TRY(add(l, open, begin, l->at));
    l->depth = 0;
    while (l->at < l->length) {
        size_t after = l->depth == 0 ? tag_end(l, l->at, print ? "}}" : "%}", !print) : 0;
        if (after > 0) {
            HONE_TRY(add(l, close, l->at, after));
            l->at = after;
            l->line_starting = ends_line(l, after);
            return HONE_OK;
        }
        size_t space = space_at(l, l->at);
        l->at += space;
        if (space == 0) HONE_TRY(read_inner(l));
    }
    return hone_j_fail_at(l->jinja, begin, HONE_ERR_FORMAT, "a tag without its end");
}

/* --- all of it ------------------------------------------------------------------------------------------------- */

static hone_status read_next(lexer *l) {
    size_t tag = l->at;
    while (tag < l->length &&
           !(starts(l, tag, "{%") || starts(l, tag, "{{") || starts(l, tag, "{#"))) {
        const char *brace = memchr(l->source + tag + 1, '{', l->length - tag - 1);
        tag = brace ? (size_t)(brace - l->source) : l->length;
    }
    if (tag >= l->length) {
        size_t begin = l->at;
        l->at = l->length;
        return add_data(l, begin, l->length);
    }
    char kind = l->source[tag + 1];
    char sign = starts(l, tag + 2, "-") ? '-' : starts(l, tag + 2, "+") ? '+' : '\0';
    size_t inner = tag + 2 + (sign != '\0');
    HONE_TRY(add_data(l, l->at, trimmed(l, l->at, tag, sign, kind == '{')));
    if (kind == '#') return read_comment(l, inner);
    size_t raw = kind == '%' ? raw_begin(l, inner) : 0;
    if (raw > 0) return read_raw(l, raw);
    l->at = inner;
    return read_tag(l, tag, kind == '{');
}

hone_status hone_j_tokenize(hone_jtokens *out, hone_jinja *jinja) {
    lexer l = {.jinja = jinja,
               .out = out,
               .source = jinja->source,
               .length = jinja->length,
               .line_starting = true,
               .line = 1,
               .column = 1};
    while (l.at < l.length) HONE_TRY(read_next(&l));
    return add(&l, HONE_JT_END, l.length, l.length);
}
