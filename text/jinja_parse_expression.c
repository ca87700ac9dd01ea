#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_parser.h"
#include "text/utf8.h"

typedef hone_jparser parser;
typedef hone_jnode node;

static hone_status parse_or(node **out, parser *p);
static hone_status parse_unary(node **out, parser *p, bool filters);
static hone_status parse_primary(node **out, parser *p, bool namespaces);

/* --- literals -------------------------------------------------------------------------------------------------- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` hexadecimal ones at text[0]; -1 when there are fewer. */
static int64_t read_hex(const char *text, const char *end, int digits) {
    int64_t code = 0;
    for (int i = 0; i < digits; i++) {
        if (text + i >= end || hex_value(text[i]) < 0) return -1;
        code = code * 16 + hex_value(text[i]);
    }
    return code;
}

/* One escape of Python's strings: `*from` stands after the backslash. Returns the bytes put, -1 for a broken one. */
static int unescape(char *to, const char **from, const char *end) {
    static const char plain[] = "\\'\"abfnrtv", means[] = "\\'\"\a\b\f\n\r\t\v";
    char c = *(*from)++;
    const char *found = c ? strchr(plain, c) : NULL;
    if (found) {
        *to = means[found - plain];
        return 1;
    }
    if (c == '\n') return 0;
    if (c >= '0' && c <= '7') {
        int32_t code = c - '0';
        for (int i = 0; i < 2 && *from < end && **from >= '0' && **from <= '7'; i++)
            code = code * 8 + (*(*from)++ - '0');
        return (int)hone_utf8_put(to, code);
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) { /* not an escape: both characters stay */
        to[0] = '\\';
        to[1] = c;
        return c == 'N' ? -1 : 2;
    }
    int64_t code = read_hex(*from, end, digits);
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return -1;
    *from += digits;
    return (int)hone_utf8_put(to, (int32_t)code);
}

/* Appends the text of a string token to a string that has room for it. */
static hone_status append_string(hone_jstr *out, char *data, const parser *p) {
    const char *from = p->jinja->source + p->token->begin + 1;
    const char *end = p->jinja->source + p->token->end - 1;
    while (from < end) {
        if (*from != '\\') {
            data[out->length++] = *from++;
            continue;
        }
        size_t at = (size_t)(from++ - p->jinja->source);
        int bytes = unescape(data + out->length, &from, end);
        if (bytes < 0)
            return hone_j_fail_at(p->jinja, at, HONE_ERR_FORMAT,
                                  "an escape in a text that names no character");
        out->length += (size_t)bytes;
    }
    return HONE_OK;
}

/* Strings that stand side by side are one. */
static hone_status parse_string(node **out, parser *p) {
    size_t room = 0;
    for (const hone_jtoken *t = p->token; t->type == HONE_JT_STRING; t++) room += t->end - t->begin;
    HONE_TRY(hone_j_node(out, p, HONE_JN_CONST));
    hone_jstr *string;
    char *data;
    HONE_TRY(hone_jarena_take(&string, &p->jinja->arena, 1, sizeof *string));
    HONE_TRY(hone_jarena_take(&data, &p->jinja->arena, room + 4, 1));
    *string = (hone_jstr){.data = data, .characters = -1};
    for (; p->token->type == HONE_JT_STRING; p->token++) HONE_TRY(append_string(string, data, p));
    string->characters = hone_j_characters(string);
    (*out)->value = hone_j_string(string);
    return HONE_OK;
}

static hone_status parse_number(node **out, parser *p) {
    char text[400];
    size_t length = 0;
    for (size_t i = p->token->begin; i < p->token->end && length + 1 < sizeof text; i++) {
        if (p->jinja->source[i] != '_') text[length++] = p->jinja->source[i];
    }
    text[length] = '\0';
    HONE_TRY(hone_j_node(out, p, HONE_JN_CONST));
    if (p->token->type == HONE_JT_FLOAT) {
        (*out)->value = hone_j_float(strtod(text, NULL));
    } else {
        char mark = (char)(length > 1 && text[0] == '0' ? text[1] | 0x20 : ' ');
        int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
        errno = 0;
        long long value = strtoll(text + (base == 10 ? 0 : 2), NULL, base);
        if (errno != 0)
            return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_UNSUPPORTED,
                                  "an integer beyond 64 bits");
        (*out)->value = hone_j_int(value);
    }
    p->token++;
    return HONE_OK;
}

/* --- lists ----------------------------------------------------------------------------------------------------- */

static hone_status parse_list(node **out, parser *p) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_LIST));
    p->token++;
    hone_jchain list = {0};
    while (!hone_j_is_op(p, "]")) {
        if (list.first) HONE_TRY(hone_j_expect_op(p, ","));
        if (hone_j_is_op(p, "]")) break;
        node *item;
        HONE_TRY(hone_j_parse_expression(&item, p, true));
        hone_j_append(&list, item);
    }
    (*out)->a = list.first;
    return hone_j_expect_op(p, "]");
}

static hone_status parse_dict(node **out, parser *p) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_DICT));
    p->token++;
    hone_jchain list = {0};
    while (!hone_j_is_op(p, "}")) {
        if (list.first) HONE_TRY(hone_j_expect_op(p, ","));
        if (hone_j_is_op(p, "}")) break;
        node *pair;
        HONE_TRY(hone_j_node(&pair, p, HONE_JN_TUPLE));
        HONE_TRY(hone_j_parse_expression(&pair->a, p, true));
        HONE_TRY(hone_j_expect_op(p, ":"));
        HONE_TRY(hone_j_parse_expression(&pair->b, p, true));
        hone_j_append(&list, pair);
    }
    (*out)->a = list.first;
    return hone_j_expect_op(p, "}");
}

static bool tuple_ends(const parser *p, const char *end) {
    return p->token->type == HONE_JT_PRINT_END || p->token->type == HONE_JT_BLOCK_END ||
           hone_j_is_op(p, ")") || (end && hone_j_is_word(p, end));
}

typedef struct tuple_rule {
    bool target, namespaces, conditions, parentheses;
    const char *end;
} tuple_rule;

static hone_status parse_items(node **out, parser *p, const tuple_rule *rule) {
    node *tuple;
    HONE_TRY(hone_j_node(&tuple, p, HONE_JN_TUPLE));
    hone_jchain list = {0};
    bool commas = false;
    for (;;) {
        if (list.first) HONE_TRY(hone_j_expect_op(p, ","));
        if (tuple_ends(p, rule->end)) break;
        node *item;
        HONE_TRY(rule->target ? parse_primary(&item, p, rule->namespaces)
                              : hone_j_parse_expression(&item, p, rule->conditions));
        hone_j_append(&list, item);
        if (!hone_j_is_op(p, ",")) break;
        commas = true;
    }
    tuple->a = list.first;
    *out = commas ? tuple : list.first;
    if (!commas && !list.first) {
        if (!rule->parentheses) return hone_j_unexpected(p, "an expression");
        *out = tuple;
    }
    return HONE_OK;
}

hone_status hone_j_parse_tuple(hone_jnode **out, hone_jparser *p, bool conditions,
                               const char *end) {
    return parse_items(out, p, &(tuple_rule){.conditions = conditions, .end = end});
}

/* Whether all of it can be assigned to. */
static hone_status check_target(const node *target, const parser *p) {
    if (target->type == HONE_JN_NAME || target->type == HONE_JN_NAMESPACE_TARGET) return HONE_OK;
    if (target->type != HONE_JN_TUPLE)
        return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_FORMAT,
                              "this cannot be assigned to");
    for (const node *item = target->a; item; item = item->next) HONE_TRY(check_target(item, p));
    return HONE_OK;
}

hone_status hone_j_parse_target(hone_jnode **out, hone_jparser *p, bool namespaces,
                                const char *end) {
    HONE_TRY(parse_items(
        out, p,
        &(tuple_rule){.target = true, .namespaces = namespaces, .conditions = true, .end = end}));
    return check_target(*out, p);
}

/* --- names and what stands for values -------------------------------------------------------------------------- */

/* Macros have arguments of other names only where these are read. */
static void note_special(parser *p, int32_t symbol) {
    const hone_jinja *jinja = p->jinja;
    if (!p->macro) return;
    if (symbol == jinja->varargs) p->macro->uses_varargs = true;
    if (symbol == jinja->kwargs) p->macro->uses_kwargs = true;
    if (symbol == jinja->caller) p->macro->uses_caller = true;
}

static hone_status parse_name(node **out, parser *p, bool namespaces) {
    static const struct {
        const char *word;
        hone_jvalue value;
    } constants[] = {
        {"true", {.kind = HONE_J_BOOL, .as.boolean = true}},
        {"True", {.kind = HONE_J_BOOL, .as.boolean = true}},
        {"false", {.kind = HONE_J_BOOL}},
        {"False", {.kind = HONE_J_BOOL}},
        {"none", {.kind = HONE_J_NONE}},
        {"None", {.kind = HONE_J_NONE}},
    };
    HONE_TRY(hone_j_node(out, p, HONE_JN_CONST));
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        (*out)->value = constants[i].value;
        if (hone_j_skip_word(p, constants[i].word)) return HONE_OK;
    }
    hone_jstr *name;
    (*out)->type = HONE_JN_NAME;
    HONE_TRY(hone_j_take_name(&name, p));
    HONE_TRY(hone_j_symbol(&(*out)->symbol, p->jinja, name->data, name->length));
    note_special(p, (*out)->symbol);
    if (!namespaces || !hone_j_skip_op(p, ".")) return HONE_OK;
    (*out)->type = HONE_JN_NAMESPACE_TARGET;
    return hone_j_take_name(&(*out)->text, p);
}

static hone_status parse_parentheses(node **out, parser *p) {
    p->token++;
    HONE_TRY(parse_items(out, p, &(tuple_rule){.conditions = true, .parentheses = true}));
    return hone_j_expect_op(p, ")");
}

static hone_status parse_primary(node **out, parser *p, bool namespaces) {
    HONE_TRY(hone_j_deeper(p));
    hone_status status;
    if (p->token->type == HONE_JT_NAME) {
        status = parse_name(out, p, namespaces);
    } else if (p->token->type == HONE_JT_STRING) {
        status = parse_string(out, p);
    } else if (p->token->type == HONE_JT_INTEGER || p->token->type == HONE_JT_FLOAT) {
        status = parse_number(out, p);
    } else if (hone_j_is_op(p, "(")) {
        status = parse_parentheses(out, p);
    } else if (hone_j_is_op(p, "[")) {
        status = parse_list(out, p);
    } else if (hone_j_is_op(p, "{")) {
        status = parse_dict(out, p);
    } else {
        status = hone_j_unexpected(p, "an expression");
    }
    p->depth--;
    return status;
}

/* --- calls, subscripts, filters, tests ------------------------------------------------------------------------- */

static hone_status parse_argument(node **out, parser *p) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_ARGUMENT));
    bool named = p->token->type == HONE_JT_NAME && p->token[1].type == HONE_JT_OPERATOR &&
                 p->token[1].end - p->token[1].begin == 1 &&
                 p->jinja->source[p->token[1].begin] == '=';
    (*out)->op = HONE_J_POSITIONAL;
    if (hone_j_skip_op(p, "*")) {
        (*out)->op = HONE_J_STAR;
    } else if (hone_j_skip_op(p, "**")) {
        (*out)->op = HONE_J_STAR_STAR;
    } else if (named) {
        (*out)->op = HONE_J_NAMED;
        HONE_TRY(hone_j_take_name(&(*out)->text, p));
        p->token++;
    }
    return hone_j_parse_expression(&(*out)->a, p, true);
}

/* "(a, b, *c, d=e, **f)" in this order. */
static hone_status parse_arguments(node **out, parser *p) {
    node **end = out;
    bool star = false, last = false, named = false;
    HONE_TRY(hone_j_expect_op(p, "("));
    while (!hone_j_is_op(p, ")")) {
        if (*out) HONE_TRY(hone_j_expect_op(p, ","));
        if (*out && hone_j_is_op(p, ")")) break;
        size_t at = p->token->begin;
        HONE_TRY(parse_argument(end, p));
        uint8_t op = (*end)->op;
        bool wrong =
            last || (op == HONE_J_STAR && star) || (op == HONE_J_POSITIONAL && (star || named));
        if (wrong)
            return hone_j_fail_at(p->jinja, at, HONE_ERR_FORMAT,
                                  "arguments must stand in the order a, *b, c=d, **e");
        star |= op == HONE_J_STAR;
        last |= op == HONE_J_STAR_STAR;
        named |= op == HONE_J_NAMED;
        end = &(*end)->next;
    }
    return hone_j_expect_op(p, ")");
}

static hone_status parse_call(node **out, parser *p, node *function) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_CALL));
    (*out)->a = function;
    return parse_arguments(&(*out)->b, p);
}

/* The next bound of a slice; HONE_JN_NOTHING when it is left out. */
static hone_status parse_bound(node **out, parser *p) {
    if (hone_j_is_op(p, ":") || hone_j_is_op(p, "]") || hone_j_is_op(p, ","))
        return hone_j_node(out, p, HONE_JN_NOTHING);
    return hone_j_parse_expression(out, p, true);
}

static hone_status parse_brackets(node **out, parser *p, node *object) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_ITEM));
    (*out)->a = object;
    p->token++;
    node *first;
    HONE_TRY(parse_bound(&first, p));
    (*out)->b = first;
    if (hone_j_skip_op(p, ":")) {
        (*out)->type = HONE_JN_SLICE;
        HONE_TRY(parse_bound(&first->next, p));
        if (hone_j_skip_op(p, ":")) {
            HONE_TRY(parse_bound(&first->next->next, p));
        } else {
            HONE_TRY(hone_j_node(&first->next->next, p, HONE_JN_NOTHING));
        }
    } else if (first->type == HONE_JN_NOTHING) {
        return hone_j_unexpected(p, "a key");
    } else if (hone_j_is_op(p, ",")) {
        return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_UNSUPPORTED,
                              "several keys in one subscript are not supported");
    }
    return hone_j_expect_op(p, "]");
}

static hone_status parse_dot(node **out, parser *p, node *object) {
    HONE_TRY(hone_j_node(out, p, HONE_JN_ATTRIBUTE));
    (*out)->a = object;
    p->token++;
    if (p->token->type == HONE_JT_INTEGER) {
        (*out)->type = HONE_JN_ITEM;
        return parse_number(&(*out)->b, p);
    }
    return hone_j_take_name(&(*out)->text, p);
}

static hone_status parse_postfix(node **out, parser *p, node *value) {
    for (;;) {
        *out = value;
        if (hone_j_is_op(p, ".")) {
            HONE_TRY(parse_dot(&value, p, *out));
        } else if (hone_j_is_op(p, "[")) {
            HONE_TRY(parse_brackets(&value, p, *out));
        } else if (hone_j_is_op(p, "(")) {
            HONE_TRY(parse_call(&value, p, *out));
        } else {
            return HONE_OK;
        }
    }
}

/* The row of the table; one that is unknown is refused now, or in an `if` when it is run. */
static hone_status find_filter(node *n, parser *p, size_t at, bool test) {
    n->filter = test ? hone_j_test_find(n->text->data, n->text->length)
                     : hone_j_filter_find(n->text->data, n->text->length);
    if (n->filter && (n->filter->run || p->soft)) return HONE_OK;
    if (!n->filter && p->soft) return HONE_OK;
    return hone_j_fail_at(p->jinja, at, HONE_ERR_UNSUPPORTED, "no %s is named '%.*s'%s",
                          test ? "test" : "filter",
                          (int)(n->text->length < 40 ? n->text->length : 40), n->text->data,
                          n->filter ? " here, though jinja2 has it" : "");
}

hone_status hone_j_parse_filters(hone_jnode **out, hone_jparser *p, hone_jnode *value,
                                 bool inline_first) {
    *out = value;
    while (inline_first || hone_j_is_op(p, "|")) {
        if (!inline_first) p->token++;
        inline_first = false;
        size_t at = p->token->begin;
        node *filter;
        HONE_TRY(hone_j_node(&filter, p, HONE_JN_FILTER));
        filter->a = *out;
        HONE_TRY(hone_j_take_name(&filter->text, p));
        while (hone_j_skip_op(p, ".")) HONE_TRY(hone_j_take_name(&filter->text, p));
        HONE_TRY(find_filter(filter, p, at, false));
        if (hone_j_is_op(p, "(")) HONE_TRY(parse_arguments(&filter->b, p));
        *out = filter;
    }
    return HONE_OK;
}

/* A test's one argument may stand without parentheses. */
static bool test_argument_follows(const parser *p) {
    hone_jtoken_type type = p->token->type;
    if (type == HONE_JT_STRING || type == HONE_JT_INTEGER || type == HONE_JT_FLOAT) return true;
    if (hone_j_is_op(p, "[") || hone_j_is_op(p, "{")) return true;
    return type == HONE_JT_NAME && !hone_j_is_word(p, "else") && !hone_j_is_word(p, "or") &&
           !hone_j_is_word(p, "and");
}

static hone_status parse_test(node **out, parser *p, node *value) {
    node *test;
    HONE_TRY(hone_j_node(&test, p, HONE_JN_TEST));
    p->token++;
    bool negated = hone_j_skip_word(p, "not");
    size_t at = p->token->begin;
    test->a = value;
    HONE_TRY(hone_j_take_name(&test->text, p));
    HONE_TRY(find_filter(test, p, at, true));
    if (hone_j_is_op(p, "(")) {
        HONE_TRY(parse_arguments(&test->b, p));
    } else if (test_argument_follows(p)) {
        if (hone_j_is_word(p, "is"))
            return hone_j_fail_at(p->jinja, p->token->begin, HONE_ERR_FORMAT,
                                  "tests cannot be chained with 'is'");
        HONE_TRY(hone_j_node(&test->b, p, HONE_JN_ARGUMENT));
        test->b->op = HONE_J_POSITIONAL;
        HONE_TRY(parse_primary(&test->b->a, p, false));
        HONE_TRY(parse_postfix(&test->b->a, p, test->b->a));
    }
    *out = test;
    if (!negated) return HONE_OK;
    HONE_TRY(hone_j_node(out, p, HONE_JN_NOT));
    (*out)->a = test;
    return HONE_OK;
}

static hone_status parse_filter_expression(node **out, parser *p, node *value) {
    for (;;) {
        *out = value;
        if (hone_j_is_op(p, "|")) {
            HONE_TRY(hone_j_parse_filters(&value, p, *out, false));
        } else if (hone_j_is_word(p, "is")) {
            HONE_TRY(parse_test(&value, p, *out));
        } else if (hone_j_is_op(p, "(")) {
            HONE_TRY(parse_call(&value, p, *out));
        } else {
            return HONE_OK;
        }
    }
}

/* --- operators, loosest last ----------------------------------------------------------------------------------- */

static hone_status parse_unary(node **out, parser *p, bool filters) {
    HONE_TRY(hone_j_deeper(p));
    bool minus = hone_j_is_op(p, "-");
    if (minus || hone_j_is_op(p, "+")) {
        HONE_TRY(hone_j_node(out, p, minus ? HONE_JN_NEGATE : HONE_JN_POSITIVE));
        p->token++;
        HONE_TRY(parse_unary(&(*out)->a, p, false));
    } else {
        HONE_TRY(parse_primary(out, p, false));
    }
    HONE_TRY(parse_postfix(out, p, *out));
    if (filters) HONE_TRY(parse_filter_expression(out, p, *out));
    p->depth--;
    return HONE_OK;
}

static hone_status parse_unary_filtered(node **out, parser *p) {
    return parse_unary(out, p, true);
}

typedef struct operators {
    hone_status (*operand)(node **out, parser *p);
    struct {
        const char *text;
        hone_jop op;
    } row[5];
} operators;

/* Operators of one rank, from the left. */
static hone_status parse_binary(node **out, parser *p, const operators *rank) {
    HONE_TRY(rank->operand(out, p));
    for (;;) {
        size_t i = 0;
        while (rank->row[i].text && !hone_j_is_op(p, rank->row[i].text)) i++;
        if (!rank->row[i].text) return HONE_OK;
        node *binary;
        HONE_TRY(hone_j_node(&binary, p, HONE_JN_BINARY));
        p->token++;
        binary->op = (uint8_t)rank->row[i].op;
        binary->a = *out;
        HONE_TRY(rank->operand(&binary->b, p));
        *out = binary;
    }
}

static hone_status parse_power(node **out, parser *p) {
    return parse_binary(out, p, &(operators){parse_unary_filtered, {{"**", HONE_J_POWER}}});
}

static hone_status parse_product(node **out, parser *p) {
    static const operators rank = {parse_power,
                                   {{"*", HONE_J_MULTIPLY},
                                    {"/", HONE_J_DIVIDE},
                                    {"//", HONE_J_FLOOR_DIVIDE},
                                    {"%", HONE_J_MODULO}}};
    return parse_binary(out, p, &rank);
}

static hone_status parse_concat(node **out, parser *p) {
    HONE_TRY(parse_product(out, p));
    if (!hone_j_is_op(p, "~")) return HONE_OK;
    node *concat;
    HONE_TRY(hone_j_node(&concat, p, HONE_JN_CONCAT));
    concat->a = *out;
    node *last = concat->a;
    while (hone_j_skip_op(p, "~")) {
        HONE_TRY(parse_product(&last->next, p));
        last = last->next;
    }
    *out = concat;
    return HONE_OK;
}

static hone_status parse_sum(node **out, parser *p) {
    static const operators rank = {parse_concat, {{"+", HONE_J_ADD}, {"-", HONE_J_SUBTRACT}}};
    return parse_binary(out, p, &rank);
}

static bool take_comparison(uint8_t *op, parser *p) {
    static const struct {
        const char *text;
        hone_jop op;
    } rows[] = {{"==", HONE_J_EQ}, {"!=", HONE_J_NE}, {"<=", HONE_J_LE},
                {">=", HONE_J_GE}, {"<", HONE_J_LT},  {">", HONE_J_GT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *op = (uint8_t)rows[i].op;
        if (hone_j_skip_op(p, rows[i].text)) return true;
    }
    *op = HONE_J_IN;
    if (hone_j_skip_word(p, "in")) return true;
    const hone_jtoken *token = p->token;
    *op = HONE_J_NOT_IN;
    if (hone_j_skip_word(p, "not") && hone_j_skip_word(p, "in")) return true;
    p->token = token;
    return false;
}

static hone_status parse_compare(node **out, parser *p) {
    HONE_TRY(parse_sum(out, p));
    node *compare = NULL, **end = NULL;
    uint8_t op;
    for (;;) {
        const hone_jtoken *token = p->token;
        if (!take_comparison(&op, p)) return HONE_OK;
        if (!compare) {
            HONE_TRY(hone_j_node(&compare, &(parser){.jinja = p->jinja, .token = token},
                                 HONE_JN_COMPARE));
            compare->a = *out;
            *out = compare;
            end = &compare->b;
        }
        HONE_TRY(hone_j_node(end, p, HONE_JN_ARGUMENT));
        (*end)->op = op;
        HONE_TRY(parse_sum(&(*end)->a, p));
        end = &(*end)->next;
    }
}

static hone_status parse_not(node **out, parser *p) {
    if (!hone_j_is_word(p, "not")) return parse_compare(out, p);
    HONE_TRY(hone_j_deeper(p));
    HONE_TRY(hone_j_node(out, p, HONE_JN_NOT));
    p->token++;
    HONE_TRY(parse_not(&(*out)->a, p));
    p->depth--;
    return HONE_OK;
}

static hone_status parse_logic(node **out, parser *p, const char *word, hone_jnode_type type,
                               hone_status (*operand)(node **out, parser *p)) {
    HONE_TRY(operand(out, p));
    while (hone_j_is_word(p, word)) {
        node *logic;
        HONE_TRY(hone_j_node(&logic, p, type));
        p->token++;
        logic->a = *out;
        HONE_TRY(operand(&logic->b, p));
        *out = logic;
    }
    return HONE_OK;
}

static hone_status parse_and(node **out, parser *p) {
    return parse_logic(out, p, "and", HONE_JN_AND, parse_not);
}

static hone_status parse_or(node **out, parser *p) {
    return parse_logic(out, p, "or", HONE_JN_OR, parse_and);
}

/* "x if condition else y" */
static hone_status parse_conditional(node **out, parser *p) {
    bool soft = p->soft;
    HONE_TRY(parse_or(out, p));
    while (hone_j_is_word(p, "if")) {
        node *choice;
        HONE_TRY(hone_j_node(&choice, p, HONE_JN_IF_ELSE));
        p->token++;
        p->soft = true;
        choice->b = *out;
        HONE_TRY(parse_or(&choice->a, p));
        if (hone_j_skip_word(p, "else")) HONE_TRY(hone_j_parse_expression(&choice->c, p, true));
        *out = choice;
        p->soft = soft;
    }
    return HONE_OK;
}

hone_status hone_j_parse_expression(hone_jnode **out, hone_jparser *p, bool conditions) {
    HONE_TRY(hone_j_deeper(p));
    HONE_TRY(conditions ? parse_conditional(out, p) : parse_or(out, p));
    p->depth--;
    return HONE_OK;
}
