#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

struct hone_regex {
    pcre2_code *code; /* owned */
};

struct hone_matcher {
    pcre2_general_context *memory;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL until a match needs it */
};

/* --- From Oniguruma's notation to PCRE2's --- */

/* Classes that the two engines define differently, by PCRE2's names for the same characters. Inside brackets the outer
 * ones are dropped; a negated class of several parts cannot stand there. */
typedef struct class_escape {
    char letter;
    const char *outside, *inside;
} class_escape;

static const class_escape class_escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'w', "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe]",
     "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe"},
    {'W', "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe]", NULL},
};

static hone_status unlike(const char *pattern, size_t length, const char *what) {
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "regular expression `%.*s`: %s is not supported; write it with \\p{...}, "
                     "brackets, groups and look-ahead",
                     (int)(length > 400 ? 400 : length), pattern, what);
}

/* Scripts, which PCRE2 would widen by script extensions, and binary properties, which mean the same to both. */
static const char *const scripts[] = {
    "Arabic",   "Armenian", "Bengali", "Cyrillic", "Devanagari", "Georgian",  "Greek",
    "Gujarati", "Gurmukhi", "Han",     "Hangul",   "Hebrew",     "Hiragana",  "Kannada",
    "Katakana", "Khmer",    "Lao",     "Latin",    "Malayalam",  "Mongolian", "Myanmar",
    "Sinhala",  "Tamil",    "Telugu",  "Thai",     "Tibetan",    NULL,
};
static const char *const properties[] = {"Alphabetic",  "Lowercase", "Uppercase",
                                         "White_Space", "Any",       NULL};

static bool listed(const char *const *list, const char *name, size_t length) {
    for (; *list; list++) {
        if (strlen(*list) == length && memcmp(*list, name, length) == 0) return true;
    }
    return false;
}

/* \p{name} or \P{name} at pattern[at]: general categories, and the names above. */
static hone_status put_property(hone_buf *out, size_t *used, const char *pattern, size_t length,
                                size_t at) {
    const char *name = pattern + at + 3;
    const char *close = at + 3 < length ? memchr(name, '}', length - at - 3) : NULL;
    if (!close || pattern[at + 2] != '{') return unlike(pattern, length, "\\p without {name}");
    size_t size = (size_t)(close - name);
    *used = 4 + size;
    bool negated = size > 0 && name[0] == '^';
    const char *bare = negated ? name + 1 : name;
    size_t bare_size = negated ? size - 1 : size;
    const char *kind = listed(scripts, bare, bare_size) ? "sc:" : "";
    if (!*kind && bare_size > 2 && !listed(properties, bare, bare_size)) {
        return hone_fail(
            HONE_ERR_UNSUPPORTED, "regular expression `%.*s`: the property '%.*s' is not known",
            (int)(length > 400 ? 400 : length), pattern, (int)(size > 60 ? 60 : size), name);
    }
    return hone_buf_printf(out, "\\%c{%s%s%.*s}", pattern[at + 1], negated ? "^" : "", kind,
                           (int)bare_size, bare);
}

/* One escape at pattern[at]; *used says how many bytes of the pattern it took. */
static hone_status put_escape(hone_buf *out, size_t *used, const char *pattern, size_t length,
                              size_t at, bool inside) {
    char letter = at + 1 < length ? pattern[at + 1] : '\0';
    *used = 2;
    for (size_t i = 0; i < sizeof class_escapes / sizeof *class_escapes; i++) {
        const class_escape *escape = &class_escapes[i];
        if (escape->letter != letter) continue;
        const char *text = inside ? escape->inside : escape->outside;
        if (!text) return unlike(pattern, length, "\\W inside brackets");
        return hone_buf_puts(out, text);
    }
    if (letter == 'p' || letter == 'P') return put_property(out, used, pattern, length, at);
    if (letter == '\0') return unlike(pattern, length, "a backslash at the end");
    /* \b needs Oniguruma's idea of a word, \h means a hexadecimal digit there, \K and \g<name> differ. */
    if (strchr("bBhHKgkGXyYOR", letter)) {
        char what[] = "\\x";
        what[1] = letter;
        return unlike(pattern, length, what);
    }
    return hone_buf_append(out, pattern + at, 2);
}

/* Nested brackets, intersections and POSIX classes mean something else to PCRE2, or nothing. */
static const char *foreign_in_brackets(const char *pattern, size_t length, size_t at) {
    char next = at + 1 < length ? pattern[at + 1] : '\0';
    if (pattern[at] == '[') return next == ':' ? "a POSIX class" : "a bracket inside brackets";
    return pattern[at] == '&' && next == '&' ? "&& inside brackets" : NULL;
}

static hone_status translate(hone_buf *out, const char *pattern, size_t length) {
    bool inside = false; /* of brackets */
    size_t used;
    for (size_t at = 0; at < length; at += used) {
        char c = pattern[at];
        used = 1;
        if (c == '\\') {
            HONE_TRY(put_escape(out, &used, pattern, length, at, inside));
            continue;
        }
        const char *foreign = inside ? foreign_in_brackets(pattern, length, at) : NULL;
        if (foreign) return unlike(pattern, length, foreign);
        if (c == '[') {
            inside = true;
            /* a closing bracket in first place stands for itself */
            if (at + used < length && pattern[at + used] == '^') used++;
            if (at + used < length && pattern[at + used] == ']') used++;
        } else if (c == ']') {
            inside = false;
        } else if (c == '}' && !inside && at + 1 < length && pattern[at + 1] == '+') {
            /* possessive here, a repeated repeat there */
            return unlike(pattern, length, "a plus behind {n,m}");
        }
        HONE_TRY(hone_buf_append(out, pattern + at, used));
    }
    return HONE_OK;
}

/* --- Compiling and matching --- */

static void *pcre_alloc(size_t size, void *context) {
    (void)context;
    return hone_alloc(size, 1);
}

static void pcre_free(void *block, void *context) {
    (void)context;
    hone_free(block);
}

static pcre2_general_context *general(void) {
    return pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
}

static hone_status compile(hone_regex **out, const char *text, size_t length, uint32_t options) {
    pcre2_general_context *memory = general();
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    hone_regex *regex = context ? hone_alloc(1, sizeof *regex) : NULL;
    int error = 0;
    PCRE2_SIZE at = 0;
    if (regex) {
        regex->code =
            pcre2_compile((PCRE2_SPTR)text, length, options | PCRE2_UTF, &error, &at, context);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (!regex) return HONE_ERR_MEMORY;
    if (!regex->code) {
        hone_free(regex);
        if (error == PCRE2_ERROR_HEAP_FAILED) return HONE_ERR_MEMORY; /* hone_alloc has said it */
        PCRE2_UCHAR why[128] = "";
        pcre2_get_error_message(error, why, sizeof why);
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "regular expression `%.*s` does not compile: %s at byte %zu",
                         (int)(length > 400 ? 400 : length), text, (const char *)why, (size_t)at);
    }
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    *out = regex;
    return HONE_OK;
}

hone_status hone_regex_new(hone_regex **out, const char *pattern, size_t length) {
    hone_buf text = {0};
    hone_status status = translate(&text, pattern, length);
    if (status == HONE_OK) {
        status = compile(out, text.data ? text.data : "", text.length, PCRE2_UCP | PCRE2_MULTILINE);
    }
    hone_buf_free(&text);
    return status;
}

hone_status hone_regex_literal(hone_regex **out, const char *text, size_t length) {
    return compile(out, text, length, PCRE2_LITERAL);
}

void hone_regex_free(hone_regex *regex) {
    if (!regex) return;
    pcre2_code_free(regex->code);
    hone_free(regex);
}

/* Only few expressions on few texts need more than the machine's own stack: what they get is made when they ask. */
enum { STACK_START = 32 * 1024, STACK_MOST = 8 * 1024 * 1024 };

hone_status hone_matcher_new(hone_matcher **out) {
    hone_matcher *matcher = hone_alloc(1, sizeof *matcher);
    if (!matcher) return HONE_ERR_MEMORY;
    matcher->memory = general();
    if (matcher->memory) {
        matcher->data = pcre2_match_data_create(1, matcher->memory);
        matcher->context = pcre2_match_context_create(matcher->memory);
    }
    if (!matcher->data || !matcher->context) {
        hone_matcher_free(matcher);
        return HONE_ERR_MEMORY;
    }
    *out = matcher;
    return HONE_OK;
}

void hone_matcher_free(hone_matcher *matcher) {
    if (!matcher) return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    pcre2_general_context_free(matcher->memory);
    hone_free(matcher);
}

static hone_status enlarge_stack(hone_matcher *matcher) {
    matcher->stack = pcre2_jit_stack_create(STACK_START, STACK_MOST, matcher->memory);
    if (!matcher->stack) return hone_fail(HONE_ERR_MEMORY, "out of memory for a match's stack");
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    return HONE_OK;
}

static int match(const hone_regex *regex, hone_matcher *matcher, const char *text, size_t length,
                 size_t from) {
    return pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK,
                       matcher->data, matcher->context);
}

static hone_status match_fails(int error, size_t from) {
    PCRE2_UCHAR why[128] = "";
    pcre2_get_error_message(error, why, sizeof why);
    return hone_fail(HONE_ERR_DATA,
                     "byte %zu of a text: the tokenizer's regular expression cannot be matched: "
                     "%s; cut the text into shorter records",
                     from, (const char *)why);
}

hone_status hone_regex_find(size_t *begin, size_t *end, const hone_regex *regex,
                            hone_matcher *matcher, const char *text, size_t length, size_t from) {
    int count = match(regex, matcher, text, length, from);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT && !matcher->stack) {
        HONE_TRY(enlarge_stack(matcher));
        count = match(regex, matcher, text, length, from);
    }
    *begin = *end = SIZE_MAX;
    if (count == PCRE2_ERROR_NOMATCH) return HONE_OK;
    if (count == PCRE2_ERROR_NOMEMORY) return HONE_ERR_MEMORY;
    if (count < 0) return match_fails(count, from);
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(matcher->data);
    *begin = found[0];
    *end = found[1];
    return HONE_OK;
}
