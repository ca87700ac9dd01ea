#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "text/regex_syntax.h"

struct hone_regex {
    pcre2_code *code; /* owned */
};

struct hone_matcher {
    pcre2_general_context *memory;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL until a match needs it */
};

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
    hone_status status = hone_regex_translate(&text, pattern, length);
    if (status == HONE_OK) {
        status = compile(out, text.data ? text.data : "", text.length,
                         PCRE2_UCP | PCRE2_MULTILINE | PCRE2_DUPNAMES);
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
