#include "text/jinja_parser.h"

#include <stdio.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

typedef hone_jparser parser;
typedef hone_jnode node;

hone_status hone_j_node(hone_jnode **out, hone_jparser *p, hone_jnode_type type) {
    hone_jnode *made;
    HONE_TRY(hone_jarena_take(&made, &p->jinja->arena, 1, sizeof *made));
    made->type = (uint8_t)type;
    made->line = p->token->line;
    made->column = p->token->column;
    *out = made;
    return HONE_OK;
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */

static bool is_text(const parser *p, hone_jtoken_type type, const char *text) {
    size_t length = strlen(text);
    const hone_jtoken *t = p->token;
    return t->type == type && t->end - t->begin == length &&
           memcmp(p->jinja->source + t->begin, text, length) == 0;
}

bool hone_j_is_op(const hone_jparser *p, const char *text) {
    return is_text(p, HONE_JT_OPERATOR, text);
}

bool hone_j_is_word(const hone_jparser *p, const char *word) {
    return is_text(p, HONE_JT_NAME, word);
}

bool hone_j_skip_op(hone_jparser *p, const char *text) {
    if (!hone_j_is_op(p, text)) return false;
    p->token++;
    return true;
}

bool hone_j_skip_word(hone_jparser *p, const char *word) {
    if (!hone_j_is_word(p, word)) return false;
    p->token++;
    return true;
}

hone_status(hone_j_unexpected)(const hone_jparser *p, const char *expected) {
    const hone_jtoken *t = p->token;
    const char *names[] = {[HONE_JT_DATA] = "text",    [HONE_JT_BLOCK] = "{%",
                           [HONE_JT_BLOCK_END] = "%}", [HONE_JT_PRINT] = "{{",
                           [HONE_JT_PRINT_END] = "}}", [HONE_JT_END] = "the end of the template"};
    char text[48];
    size_t length = t->end - t->begin;
    if (t->type < sizeof names / sizeof *names && names[t->type]) {
        snprintf(text, sizeof text, "%s", names[t->type]);
    } else {
        snprintf(text, sizeof text, "%.*s", (int)(length < 40 ? length : 40),
                 p->jinja->source + t->begin);
    }
    return hone_j_fail_at(p->jinja, t->begin, HONE_ERR_FORMAT, "expected %s, got '%s'", expected,
                          text);
}

hone_status hone_j_expect_op(hone_jparser *p, const char *text) {
    char expected[16];
    snprintf(expected, sizeof expected, "'%s'", text);
    return hone_j_skip_op(p, text) ? HONE_OK : hone_j_unexpected(p, expected);
}

static hone_status expect(parser *p, hone_jtoken_type type, const char *name) {
    if (p->token->type != type) return hone_j_unexpected(p, name);
    p->token++;
    return HONE_OK;
}

static hone_status expect_word(parser *p, const char *word) {
    return hone_j_skip_word(p, word) ? HONE_OK : hone_j_unexpected(p, word);
}

hone_status hone_j_take_name(hone_jstr **out, hone_jparser *p) {
    if (p->token->type != HONE_JT_NAME) return hone_j_unexpected(p, "a name");
    HONE_TRY(hone_jarena_take(out, &p->jinja->arena, 1, sizeof **out));
    **out = (hone_jstr){.data = p->jinja->source + p->token->begin,
                        .length = p->token->end - p->token->begin,
                        .characters = -1};
    hone_j_characters(*out);
    p->token++;
    return HONE_OK;
}

hone_status hone_j_deeper(hone_jparser *p) {
    if (++p->depth <= HONE_J_PARSE_DEPTH) return HONE_OK;
    return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_FORMAT, "nested deeper than %d",
                          HONE_J_PARSE_DEPTH);
}

/* --- statements ------------------------------------------------------------------------------------------------ */

static hone_status parse_until(node **out, parser *p, const char *const *ends, const char *tag);

/* The body of a block up to one of the tags `ends` (NULL-ended), which becomes the present token. */
static hone_status parse_body(node **out, parser *p, const char *const *ends, const char *tag) {
    hone_j_skip_op(p, ":");
    HONE_TRY(expect(p, HONE_JT_BLOCK_END, "%}"));
    HONE_TRY(hone_j_deeper(p));
    HONE_TRY(parse_until(out, p, ends, tag));
    p->depth--;
    return HONE_OK;
}

/* As above, stepping over the one tag that ends it. */
static hone_status parse_closed(node **out, parser *p, const char *end, const char *tag) {
    const char *const ends[] = {end, NULL};
    HONE_TRY(parse_body(out, p, ends, tag));
    return expect_word(p, end);
}

static hone_status parse_if(node *out, parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    bool soft = p->soft;
    p->soft = true;
    HONE_TRY(hone_j_deeper(p));
    HONE_TRY(hone_j_parse_tuple(&out->a, p, false, NULL));
    HONE_TRY(parse_body(&out->b, p, ends, "if"));
    if (hone_j_is_word(p, "elif")) {
        HONE_TRY(hone_j_node(&out->c, p, HONE_JN_IF));
        p->token++;
        HONE_TRY(parse_if(out->c, p));
    } else if (hone_j_skip_word(p, "else")) {
        HONE_TRY(parse_closed(&out->c, p, "endif", "if"));
    } else {
        p->token++;
    }
    p->soft = soft;
    p->depth--;
    return HONE_OK;
}

static hone_status parse_for(node *out, parser *p) {
    static const char *const ends[] = {"endfor", "else", NULL};
    bool soft = p->soft;
    HONE_TRY(hone_j_parse_target(&out->a, p, false, "in"));
    HONE_TRY(expect_word(p, "in"));
    HONE_TRY(hone_j_parse_tuple(&out->b, p, false, "recursive"));
    p->soft = false;
    if (hone_j_skip_word(p, "if")) HONE_TRY(hone_j_parse_expression(&out->c, p, true));
    out->recursive = hone_j_skip_word(p, "recursive");
    p->loops++;
    HONE_TRY(parse_body(&out->body, p, ends, "for"));
    p->loops--;
    if (hone_j_skip_word(p, "else")) {
        HONE_TRY(parse_closed(&out->otherwise, p, "endfor", "for"));
    } else {
        p->token++;
    }
    p->soft = soft;
    return HONE_OK;
}

/* A body that jinja2 makes a function of: its loops are its own. */
static hone_status parse_function_body(node **out, parser *p, const char *end, const char *tag) {
    int loops = p->loops;
    bool soft = p->soft;
    p->loops = 0;
    p->soft = false;
    HONE_TRY(parse_closed(out, p, end, tag));
    p->loops = loops;
    p->soft = soft;
    return HONE_OK;
}

static hone_status parse_set(node *out, parser *p) {
    HONE_TRY(hone_j_parse_target(&out->a, p, true, NULL));
    if (hone_j_skip_op(p, "=")) return hone_j_parse_tuple(&out->b, p, true, NULL);
    out->type = HONE_JN_SET_BLOCK;
    HONE_TRY(hone_j_parse_filters(&out->b, p, NULL, false));
    bool soft = p->soft;
    p->soft = false;
    HONE_TRY(parse_closed(&out->body, p, "endset", "set"));
    p->soft = soft;
    return HONE_OK;
}

static hone_status parse_parameters(node **out, parser *p) {
    hone_jchain list = {0};
    bool defaults = false;
    HONE_TRY(hone_j_expect_op(p, "("));
    while (!hone_j_is_op(p, ")")) {
        if (list.first) HONE_TRY(hone_j_expect_op(p, ","));
        node *item;
        HONE_TRY(hone_j_node(&item, p, HONE_JN_PARAMETER));
        HONE_TRY(hone_j_take_name(&item->text, p));
        HONE_TRY(hone_j_symbol(&item->symbol, p->jinja, item->text->data, item->text->length));
        if (hone_j_skip_op(p, "=")) {
            HONE_TRY(hone_j_parse_expression(&item->b, p, true));
            defaults = true;
        } else if (defaults) {
            return hone_j_unexpected(p, "a default, as the parameter before has one");
        }
        hone_j_append(&list, item);
    }
    *out = list.first;
    return hone_j_expect_op(p, ")");
}

static hone_status parse_macro(node *out, parser *p) {
    HONE_TRY(hone_j_take_name(&out->text, p));
    HONE_TRY(hone_j_symbol(&out->symbol, p->jinja, out->text->data, out->text->length));
    node *outer = p->macro;
    p->macro = out;
    HONE_TRY(parse_parameters(&out->a, p));
    HONE_TRY(parse_function_body(&out->body, p, "endmacro", "macro"));
    p->macro = outer;
    return HONE_OK;
}

static hone_status parse_call_block(node *out, parser *p) {
    out->type = HONE_JN_CALL_BLOCK;
    node *outer = p->macro;
    p->macro = out;
    if (hone_j_is_op(p, "(")) HONE_TRY(parse_parameters(&out->a, p));
    p->macro = outer;
    size_t at = p->token->begin;
    HONE_TRY(hone_j_parse_expression(&out->b, p, true));
    if (out->b->type != HONE_JN_CALL)
        return hone_j_fail_at(p->jinja, at, HONE_ERR_FORMAT, "expected a call");
    p->macro = out;
    HONE_TRY(parse_function_body(&out->body, p, "endcall", "call"));
    p->macro = outer;
    return HONE_OK;
}

static hone_status parse_filter_block(node *out, parser *p) {
    HONE_TRY(hone_j_parse_filters(&out->a, p, NULL, true));
    bool soft = p->soft;
    p->soft = false;
    HONE_TRY(parse_closed(&out->body, p, "endfilter", "filter"));
    p->soft = soft;
    return HONE_OK;
}

static hone_status parse_with(node *out, parser *p) {
    hone_jchain list = {0};
    while (p->token->type != HONE_JT_BLOCK_END) {
        if (list.first) HONE_TRY(hone_j_expect_op(p, ","));
        node *item;
        HONE_TRY(hone_j_node(&item, p, HONE_JN_SET));
        HONE_TRY(hone_j_parse_target(&item->a, p, false, NULL));
        HONE_TRY(hone_j_expect_op(p, "="));
        HONE_TRY(hone_j_parse_expression(&item->b, p, true));
        hone_j_append(&list, item);
    }
    out->a = list.first;
    bool soft = p->soft;
    p->soft = false;
    HONE_TRY(parse_closed(&out->body, p, "endwith", "with"));
    p->soft = soft;
    return HONE_OK;
}

static hone_status parse_generation(node *out, parser *p) {
    p->jinja->has_generation = true;
    return parse_function_body(&out->body, p, "endgeneration", "generation");
}

static hone_status parse_leave(node *out, parser *p) {
    if (p->loops > 0) return HONE_OK;
    return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_FORMAT, "%s outside of a loop",
                          out->type == HONE_JN_BREAK ? "break" : "continue");
}

static const struct {
    const char *tag;
    hone_jnode_type type;
    hone_status (*parse)(node *out, parser *p);
} statements[] = {
    {"if", HONE_JN_IF, parse_if},
    {"for", HONE_JN_FOR, parse_for},
    {"set", HONE_JN_SET, parse_set},
    {"macro", HONE_JN_MACRO, parse_macro},
    {"call", HONE_JN_CALL_BLOCK, parse_call_block},
    {"filter", HONE_JN_FILTER_BLOCK, parse_filter_block},
    {"with", HONE_JN_WITH, parse_with},
    {"generation", HONE_JN_GENERATION, parse_generation},
    {"break", HONE_JN_BREAK, parse_leave},
    {"continue", HONE_JN_CONTINUE, parse_leave},
};

static hone_status unknown_tag(const parser *p, const char *tag) {
    static const char *const others[] = {"include", "import", "from",
                                         "extends", "block",  "autoescape"};
    const hone_jtoken *t = p->token;
    int length = (int)(t->end - t->begin < 40 ? t->end - t->begin : 40);
    const char *name = p->jinja->source + t->begin;
    if (t->type != HONE_JT_NAME) return hone_j_unexpected(p, "the name of a tag");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (hone_j_is_word(p, others[i]))
            return hone_j_fail_at(p->jinja, t->begin, HONE_ERR_UNSUPPORTED,
                                  "the tag '%.*s' is not supported in chat templates", length,
                                  name);
    }
    if (tag)
        return hone_j_fail_at(p->jinja, t->begin, HONE_ERR_FORMAT,
                              "unknown or misplaced tag '%.*s'; the block '%s' is still open",
                              length, name, tag);
    return hone_j_fail_at(p->jinja, t->begin, HONE_ERR_FORMAT, "unknown or misplaced tag '%.*s'",
                          length, name);
}

static hone_status parse_statement(node **out, parser *p, const char *tag) {
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!hone_j_is_word(p, statements[i].tag)) continue;
        HONE_TRY(hone_j_node(out, p, statements[i].type));
        p->token++;
        HONE_TRY(statements[i].parse(*out, p));
        return expect(p, HONE_JT_BLOCK_END, "%}");
    }
    return unknown_tag(p, tag);
}

static hone_status parse_data(node **out, parser *p) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_DATA));
    HONE_TRY(hone_jarena_take(&(*out)->text, &p->jinja->arena, 1, sizeof *(*out)->text));
    *(*out)->text = (hone_jstr){.data = p->jinja->source + p->token->begin,
                                .length = p->token->end - p->token->begin,
                                .characters = -1};
    p->token++;
    return HONE_OK;
}

static hone_status parse_print(node **out, parser *p) {
    p->token++;
    HONE_TRY(hone_j_node(out, p, HONE_JN_OUTPUT));
    HONE_TRY(hone_j_parse_tuple(&(*out)->a, p, true, NULL));
    return expect(p, HONE_JT_PRINT_END, "}}");
}

static bool at_end(const parser *p, const char *const *ends) {
    for (; ends && *ends; ends++) {
        if (hone_j_is_word(p, *ends)) return true;
    }
    return false;
}

/* Statements up to one of the tags `ends`; NULL: up to the end of the template. `tag`: the open block. */
static hone_status parse_until(node **out, parser *p, const char *const *ends, const char *tag) {
    hone_jchain list = {0};
    for (;;) {
        node *item = NULL;
        switch (p->token->type) {
        case HONE_JT_DATA:
            HONE_TRY(parse_data(&item, p));
            break;
        case HONE_JT_PRINT:
            HONE_TRY(parse_print(&item, p));
            break;
        case HONE_JT_BLOCK:
            p->token++;
            if (at_end(p, ends)) {
                *out = list.first;
                return HONE_OK;
            }
            HONE_TRY(parse_statement(&item, p, tag));
            break;
        default:
            *out = list.first;
            if (!tag) return HONE_OK;
            return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_FORMAT,
                                  "the template ends, but the block '%s' is still open", tag);
        }
        hone_j_append(&list, item);
    }
}

hone_status hone_j_parse(hone_jinja *jinja, const hone_jtokens *tokens) {
    parser p = {.jinja = jinja, .token = tokens->items};
    return parse_until(&jinja->body, &p, NULL, NULL);
}
