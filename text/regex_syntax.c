#include "text/regex_syntax.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "text/regex_classes.h"
#include "text/utf8.h"

enum { MOST_DEPTH = 100 };

/* Words and their borders as the engine has them outside of brackets. */
#define WORD      "[" HONE_REGEX_WORD "\\xb2\\xb3\\xb9\\xbc-\\xbe]"
#define NO_WORD   "[^" HONE_REGEX_WORD "\\xb2\\xb3\\xb9\\xbc-\\xbe]"
#define BORDER    "(?:(?<=" WORD ")(?!" WORD ")|(?<!" WORD ")(?=" WORD "))"
#define NO_BORDER "(?:(?<=" WORD ")(?=" WORD ")|(?<!" WORD ")(?!" WORD "))"
#define LINE_END  "(?>\\r\\n|[\\n\\x0b\\x0c\\r\\x85\\x{2028}\\x{2029}])"

typedef struct parser {
    const char *pattern;
    size_t length, at;
    hone_buf *out;
    int depth;
    bool folds;       /* inside (?i) */
    int32_t previous; /* the literal before, for letters that fold together; 0: none */
} parser;

static hone_status unlike(const parser *p, const char *what) {
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "regular expression `%.*s`: byte %zu: %s is not supported; write it with "
                     "\\p{...}, brackets, groups and look-ahead",
                     (int)(p->length > 400 ? 400 : p->length), p->pattern, p->at, what);
}

static char peek(const parser *p, size_t ahead) {
    return p->at + ahead < p->length ? p->pattern[p->at + ahead] : '\0';
}

static bool starts(const parser *p, const char *text) {
    size_t length = strlen(text);
    return p->length - p->at >= length && memcmp(p->pattern + p->at, text, length) == 0;
}

/* --- Escapes --- */

typedef struct escape {
    char letter;
    const char *outside;
    const char *inside; /* of brackets, without them; NULL: `outside` can stand there too */
} escape;

static const escape escapes[] = {
    {'s', "\\p{White_Space}", NULL},
    {'S', "\\P{White_Space}", NULL},
    {'d', "\\p{Nd}", NULL},
    {'D', "\\P{Nd}", NULL},
    {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
    {'w', WORD, HONE_REGEX_WORD}, /* the engine's tables disagree on six characters */
    {'t', "\\t", NULL},
    {'n', "\\n", NULL},
    {'r', "\\r", NULL},
    {'f', "\\f", NULL},
    {'a', "\\a", NULL},
    {'e', "\\e", NULL},
    {'v', "\\x0b", NULL},
};

/* Escapes that cannot stand in PCRE2's brackets, or mean something else there. */
static const escape outside_escapes[] = {
    {'W', NO_WORD, "[^" HONE_REGEX_WORD "]"},
    {'H', "[^0-9A-Fa-f]", "[^0-9A-Fa-f]"},
    {'b', BORDER, NULL},
    {'B', NO_BORDER, NULL},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "\\Z", NULL},
    {'R', LINE_END, NULL},
    {'N', "[^\\n]", NULL},
    {'O', "(?s:.)", NULL},
};

static const escape *find_escape(const escape *list, size_t count, char letter) {
    for (size_t i = 0; i < count; i++) {
        if (list[i].letter == letter) return &list[i];
    }
    return NULL;
}
#define FIND(list, letter) find_escape(list, sizeof(list) / sizeof *(list), letter)

/* Whether a property in PCRE2's notation is one of case: the two engines fold such ones differently. */
static bool is_cased(const char *property) {
    static const char *const cased[] = {"{Lu}", "{Ll}", "{Lt}", "{Uppercase}", "{Lowercase}"};
    for (size_t i = 0; i < sizeof cased / sizeof *cased; i++) {
        if (strstr(property, cased[i])) return true;
    }
    return false;
}

/* \p{name}, \p{^name} or \P{name} at the parser. */
static hone_status put_property(parser *p, hone_buf *out) {
    size_t start = p->at + 3;
    const char *close =
        start < p->length ? memchr(p->pattern + start, '}', p->length - start) : NULL;
    if (!close || peek(p, 2) != '{') return unlike(p, "\\p without {name}");
    const char *name = p->pattern + start;
    size_t length = (size_t)(close - name);
    bool negated = peek(p, 1) == 'P';
    if (length > 0 && name[0] == '^') {
        negated = !negated;
        name++;
        length--;
    }
    size_t before = out->length;
    HONE_TRY(hone_regex_put_property(out, negated, name, length, p->pattern, p->length));
    if (p->folds && is_cased(out->data + before)) return unlike(p, "a property of case under (?i)");
    p->at = (size_t)(close - p->pattern) + 1;
    return HONE_OK;
}

/* The code of \xHH, \x{H...} or \uHHHH; *used bytes. */
static hone_status read_code(int32_t *code, size_t *used, const parser *p) {
    bool braces = peek(p, 2) == '{';
    size_t most = peek(p, 1) == 'u' ? 4 : braces ? 8 : 2;
    size_t at = braces ? 3 : 2, digits = 0;
    int64_t value = 0;
    while (digits < most && isxdigit((unsigned char)peek(p, at))) {
        char c = peek(p, at++);
        value = 16 * value + (isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
        digits++;
    }
    bool whole =
        digits > 0 && (!braces || peek(p, at) == '}') && (peek(p, 1) == 'x' || digits == 4);
    if (!whole || value > 0x10ffff) return unlike(p, "this way to write a character");
    if (peek(p, 1) == 'x' && !braces && value > 0x7f) return unlike(p, "\\xHH above 7F, a byte,");
    *code = (int32_t)value;
    *used = at + (braces ? 1 : 0);
    return HONE_OK;
}

/* An escape that means the same inside and outside of brackets; *done: it was one. */
static hone_status put_common_escape(parser *p, hone_buf *out, bool inside, bool *done) {
    char letter = peek(p, 1);
    *done = true;
    if (letter == '\0') return unlike(p, "a backslash at the end");
    if (letter == 'p' || letter == 'P') return put_property(p, out);
    const escape *found = FIND(escapes, letter);
    if (found) {
        p->at += 2;
        return hone_buf_puts(out, inside && found->inside ? found->inside : found->outside);
    }
    if (letter == 'x' || letter == 'u') {
        int32_t code;
        size_t used;
        HONE_TRY(read_code(&code, &used, p));
        p->at += used;
        return hone_buf_printf(out, "\\x{%x}", (unsigned int)code);
    }
    if (letter == '0' && !isdigit((unsigned char)peek(p, 2))) {
        p->at += 2;
        return hone_buf_puts(out, "\\x{0}");
    }
    if ((letter & 0x80) == 0 && !isalnum((unsigned char)letter)) {
        HONE_TRY(hone_buf_append(out, p->pattern + p->at, 2));
        p->at += 2;
        return HONE_OK;
    }
    *done = false;
    return HONE_OK;
}

static hone_status refuse_escape(const parser *p) {
    char what[] = "\\x";
    what[1] = peek(p, 1);
    return unlike(p, (what[1] & 0x80) ? "an escaped character that is no letter" : what);
}

static hone_status put_escape(parser *p) {
    bool done;
    HONE_TRY(put_common_escape(p, p->out, false, &done));
    if (done) return HONE_OK;
    const escape *found = FIND(outside_escapes, peek(p, 1));
    if (found) {
        p->at += 2;
        return hone_buf_puts(p->out, found->outside);
    }
    char letter = peek(p, 1);
    if (letter >= '1' && letter <= '9' && !isdigit((unsigned char)peek(p, 2))) {
        p->at += 2;
        return hone_buf_printf(p->out, "\\g{%c}", letter);
    }
    if (letter == 'k' && peek(p, 2) == '<' && isalpha((unsigned char)peek(p, 3))) {
        HONE_TRY(hone_buf_append(p->out, p->pattern + p->at, 2)); /* the name follows as it is */
        p->at += 2;
        return HONE_OK;
    }
    return refuse_escape(p);
}

/* --- Brackets --- */

/* What one term between && holds: ranges for one pair of PCRE2's brackets, and whole expressions beside them. */
typedef struct term {
    hone_buf ranges;
    hone_buf others; /* "|x|y" */
} term;

static hone_status put_brackets(parser *p, hone_buf *out);

static hone_status add_other(term *t, const hone_buf *expression) {
    HONE_TRY(hone_buf_puts(&t->others, "|"));
    return hone_buf_append(&t->others, expression->data, expression->length);
}

static hone_status put_nested(parser *p, term *t) {
    hone_buf nested = {0};
    hone_status status = put_brackets(p, &nested);
    if (status == HONE_OK) status = add_other(t, &nested);
    hone_buf_free(&nested);
    return status;
}

static hone_status put_bracket_escape(parser *p, term *t) {
    bool done;
    HONE_TRY(put_common_escape(p, &t->ranges, true, &done));
    if (done) return HONE_OK;
    char letter = peek(p, 1);
    const escape *found = FIND(outside_escapes, letter);
    if (letter == 'b') {
        p->at += 2;
        return hone_buf_puts(&t->ranges, "\\x08");
    }
    if (!found || !found->inside) return refuse_escape(p);
    p->at += 2;
    HONE_TRY(hone_buf_puts(&t->others, "|"));
    return hone_buf_puts(&t->others, found->inside);
}

static hone_status put_posix(parser *p, term *t) {
    bool negated = peek(p, 2) == '^';
    size_t start = negated ? 3 : 2, length = 0;
    while (isalpha((unsigned char)peek(p, start + length))) length++;
    const char *body = hone_regex_posix(p->pattern + p->at + start, length);
    if (!body) return unlike(p, "this POSIX class");
    if (p->folds && is_cased(body)) return unlike(p, "a class of case under (?i)");
    p->at += start + length + 2;
    if (!negated) return hone_buf_puts(&t->ranges, body);
    return hone_buf_printf(&t->others, "|[^%s]", body);
}

static bool is_posix(const parser *p) {
    const char *rest = p->pattern + p->at;
    return starts(p, "[:") && memmem(rest, p->length - p->at, ":]", 2) != NULL;
}

/* Terms end at ']' or '&&'. `first`: a closing bracket here stands for itself. */
static hone_status put_term(parser *p, term *t, bool first) {
    for (; p->at < p->length; first = false) {
        char c = peek(p, 0);
        if (c == ']' && !first) return HONE_OK;
        if (starts(p, "&&")) return HONE_OK;
        if (c == '\\') {
            HONE_TRY(put_bracket_escape(p, t));
        } else if (c == '[') {
            HONE_TRY(is_posix(p) ? put_posix(p, t) : put_nested(p, t));
        } else {
            if (c == ']') HONE_TRY(hone_buf_puts(&t->ranges, "\\"));
            HONE_TRY(hone_buf_append(&t->ranges, &c, 1));
            p->at++;
        }
    }
    return unlike(p, "a bracket that is not closed");
}

/* Appends the term as an expression for one character. */
static hone_status close_term(hone_buf *out, const term *t, bool negated) {
    const char *ranges = t->ranges.data ? t->ranges.data : "";
    const char *others = t->others.data ? t->others.data : "";
    if (!t->others.length) return hone_buf_printf(out, "[%s%s]", negated ? "^" : "", ranges);
    HONE_TRY(hone_buf_puts(out, negated ? "(?:(?!" : "(?:"));
    if (t->ranges.length) {
        HONE_TRY(hone_buf_printf(out, "[%s]%s", ranges, others));
    } else {
        HONE_TRY(hone_buf_puts(out, others + 1));
    }
    return hone_buf_puts(out, negated ? ")(?s:.))" : ")");
}

/* The terms of one pair of brackets: all but the last as look-ahead. */
static hone_status put_terms(parser *p, hone_buf *out, bool negated) {
    bool first = true, single = true;
    hone_buf ahead = {0};
    hone_status status = HONE_OK;
    for (bool more = true; more && status == HONE_OK; first = false) {
        term t = {0};
        status = put_term(p, &t, first);
        more = status == HONE_OK && peek(p, 0) == '&';
        if (more) {
            p->at += 2;
            single = false;
            status = hone_buf_puts(&ahead, "(?=");
            if (status == HONE_OK) status = close_term(&ahead, &t, false);
            if (status == HONE_OK) status = hone_buf_puts(&ahead, ")");
        } else if (status == HONE_OK) {
            status = close_term(single ? out : &ahead, &t, single && negated);
        }
        hone_buf_free(&t.ranges);
        hone_buf_free(&t.others);
    }
    if (status == HONE_OK && !single) {
        status = hone_buf_printf(out, negated ? "(?:(?!%s)(?s:.))" : "(?:%s)", ahead.data);
    }
    hone_buf_free(&ahead);
    return status;
}

static hone_status put_brackets(parser *p, hone_buf *out) {
    if (++p->depth > MOST_DEPTH) return unlike(p, "nesting this deep");
    p->at++;
    bool negated = peek(p, 0) == '^';
    if (negated) p->at++;
    HONE_TRY(put_terms(p, out, negated));
    p->at++;
    p->depth--;
    return HONE_OK;
}

/* --- Repeats --- */

/* Bytes of {n}, {n,}, {n,m} or {,m} at the parser, or 0: then the brace stands for itself. */
static size_t interval_length(const parser *p, bool *fixed, bool *open) {
    size_t at = 1, digits = 0, more = 0;
    while (isdigit((unsigned char)peek(p, at))) at++, digits++;
    *fixed = peek(p, at) == '}';
    *open = digits == 0;
    if (*fixed) return digits ? at + 1 : 0;
    if (peek(p, at++) != ',') return 0;
    while (isdigit((unsigned char)peek(p, at))) at++, more++;
    return peek(p, at) == '}' && digits + more > 0 ? at + 1 : 0;
}

/* Puts what was written since `start` into a group of its own. */
static hone_status wrap(parser *p, size_t start) {
    hone_buf atom = {0};
    hone_status status = hone_buf_append(&atom, p->out->data + start, p->out->length - start);
    p->out->length = start;
    if (status == HONE_OK) status = hone_buf_printf(p->out, "(?:%s)", atom.data);
    hone_buf_free(&atom);
    return status;
}

static hone_status put_repeats(parser *p, size_t start) {
    for (bool again = false;; again = true) {
        char c = peek(p, 0);
        bool fixed = false, open = false;
        size_t used = c == '?' || c == '*' || c == '+' ? 1 : 0;
        bool interval = c == '{';
        if (interval) used = interval_length(p, &fixed, &open);
        if (used == 0) return HONE_OK;
        if (again) HONE_TRY(wrap(p, start));
        if (open) HONE_TRY(hone_buf_puts(p->out, "{0"));
        HONE_TRY(
            hone_buf_append(p->out, p->pattern + p->at + (open ? 1 : 0), used - (open ? 1 : 0)));
        p->at += used;
        p->previous = 0;
        /* lazy or possessive; {n}? and {n,m}+ are repeats of repeats instead */
        char suffix = peek(p, 0);
        bool belongs = suffix == '?' ? !fixed : suffix == '+' && !interval;
        if (!belongs) continue;
        HONE_TRY(hone_buf_append(p->out, &suffix, 1));
        p->at++;
    }
}

/* --- Literals --- */

/* Under (?i) the engine knows letters that are two when folded; PCRE2 does not. */
static hone_status check_folding(const parser *p, int32_t code) {
    static const char pairs[][3] = {"ss", "ff", "fi", "fl", "st"};
    if (!p->folds) return HONE_OK;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (p->previous == pairs[i][0] && (code | 0x20) == pairs[i][1]) {
            return unlike(p, "(?i) over letters that a ligature stands for");
        }
    }
    utf8proc_int32_t folded[8];
    int boundary = 0;
    if (code >= 0x80 &&
        utf8proc_decompose_char(code, folded, 8, UTF8PROC_CASEFOLD, &boundary) > 1) {
        return unlike(p, "(?i) over a letter that folds to several");
    }
    return HONE_OK;
}

static hone_status put_literal(parser *p) {
    int32_t code;
    size_t bytes = hone_utf8_next(&code, p->pattern + p->at, p->length - p->at);
    HONE_TRY(check_folding(p, code));
    p->previous = code < 0x80 ? tolower(code) : code;
    HONE_TRY(hone_buf_append(p->out, p->pattern + p->at, bytes));
    p->at += bytes;
    return HONE_OK;
}

/* --- Groups --- */

static hone_status put_branches(parser *p);

/* Letters of (?imx-imx at the parser, behind "(?"; the colon or bracket that ends them is not taken. */
static hone_status read_options(parser *p, hone_buf *options) {
    bool off = false;
    for (;; p->at++) {
        char c = peek(p, 0);
        if (c == ':' || c == ')') return HONE_OK;
        if (c == '-') off = true;
        if (c == 'i') p->folds = !off;
        if (c != 'i' && c != 'm' && c != '-') return unlike(p, "this kind of group");
        c = c == 'm' ? 's' : c; /* Ruby's m: a dot matches line ends, too */
        HONE_TRY(hone_buf_append(options, &c, 1));
    }
}

/* (?i) reaches to the end of the group that it stands in, over all branches that follow. */
static hone_status put_options(parser *p, bool *isolated) {
    hone_buf options = {0};
    hone_status status = read_options(p, &options);
    if (status == HONE_OK) {
        *isolated = peek(p, 0) == ')';
        status = hone_buf_printf(p->out, "(?%s:", options.data ? options.data : "");
        p->at++;
    }
    hone_buf_free(&options);
    return status;
}

static const char *const openings[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};

static hone_status put_opening(parser *p, bool *isolated) {
    *isolated = false;
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        if (!starts(p, openings[i])) continue;
        p->at += strlen(openings[i]);
        return hone_buf_puts(p->out, openings[i]);
    }
    if (starts(p, "(?<") && isalpha((unsigned char)peek(p, 3))) {
        p->at += 3;
        return hone_buf_puts(p->out, "(?<"); /* the name follows as it is */
    }
    if (starts(p, "(?")) {
        p->at += 2;
        return put_options(p, isolated);
    }
    if (starts(p, "(*")) return unlike(p, "a callout");
    p->at++;
    return hone_buf_puts(p->out, "(");
}

static hone_status put_group(parser *p) {
    bool folds = p->folds, isolated;
    if (starts(p, "(?#")) {
        const char *close = memchr(p->pattern + p->at, ')', p->length - p->at);
        if (!close) return unlike(p, "a comment that is not closed");
        p->at = (size_t)(close - p->pattern) + 1;
        return HONE_OK;
    }
    if (++p->depth > MOST_DEPTH) return unlike(p, "nesting this deep");
    HONE_TRY(put_opening(p, &isolated));
    HONE_TRY(put_branches(p));
    p->depth--;
    if (isolated) return hone_buf_puts(p->out, ")"); /* what closes it closes the group around it */
    if (peek(p, 0) != ')') return unlike(p, "a group that is not closed");
    p->at++;
    p->folds = folds;
    return hone_buf_puts(p->out, ")");
}

/* --- The whole --- */

static hone_status put_atom(parser *p) {
    char c = peek(p, 0);
    if (c != '\\' && c != '[' && c != '(' && !strchr(".^$", c)) return put_literal(p);
    p->previous = 0;
    if (c == '\\') return put_escape(p);
    if (c == '[') return put_brackets(p, p->out);
    if (c == '(') return put_group(p);
    p->at++;
    return hone_buf_append(p->out, &c, 1);
}

/* Branches up to the end of the pattern or of the group. */
static hone_status put_branches(parser *p) {
    while (p->at < p->length && peek(p, 0) != ')') {
        if (peek(p, 0) == '|') {
            p->previous = 0;
            p->at++;
            HONE_TRY(hone_buf_puts(p->out, "|"));
            continue;
        }
        if (peek(p, 0) == '\0') return unlike(p, "a zero byte");
        size_t start = p->out->length;
        HONE_TRY(put_atom(p));
        HONE_TRY(put_repeats(p, start));
    }
    return HONE_OK;
}

hone_status hone_regex_translate(hone_buf *out, const char *pattern, size_t length) {
    parser p = {.pattern = pattern, .length = length, .out = out};
    if (hone_utf8_valid(pattern, length) < length) return unlike(&p, "text that is no UTF-8");
    HONE_TRY(hone_buf_puts(out, ""));
    HONE_TRY(put_branches(&p));
    return p.at == length ? HONE_OK : unlike(&p, "a bracket that closes nothing");
}
