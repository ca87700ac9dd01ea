#include "text/jinja.h"

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "tests/support.h"

/* Renders a template with variables (JSON) and messages (JSON, may be NULL). */
static hone_status render(hone_jinja_output *out, const char *text, const char *messages,
                          const char *variables, const hone_jinja_limits *limits) {
    hone_jinja *jinja;
    json_t *given = NULL, *values = NULL;
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5};
    HONE_TRY(hone_jinja_new(&jinja, text, strlen(text), "t.jinja"));
    if (messages) ck_ok(hone_json_parse(&given, messages, strlen(messages), "messages"));
    if (variables) ck_ok(hone_json_parse(&values, variables, strlen(variables), "variables"));
    const hone_jinja_input input = {.messages = given,
                                    .count = json_array_size(given),
                                    .variables = values,
                                    .now = &now,
                                    .limits = limits};
    hone_status status = hone_jinja_render(out, jinja, &input);
    json_decref(given);
    json_decref(values);
    hone_jinja_free(jinja);
    return status;
}

static void expect(const char *text, const char *variables, const char *expected) {
    hone_jinja_output out = {0};
    ck_ok(render(&out, text, NULL, variables, NULL));
    ck_assert_str_eq(out.text.data, expected);
    hone_jinja_output_free(&out);
}

static void expect_failure(const char *text, hone_status status, const char *message) {
    hone_jinja_output out = {0};
    ck_fails(render(&out, text, NULL, "{\"name\":\"Ada\",\"n\":[1,2]}", NULL), status, message);
    hone_jinja_output_free(&out);
}

/* --- the shared templates -------------------------------------------------------------------------------------- */

static void compare_case(const hone_jinja *jinja, const char *file, const json_t *all,
                         const json_t *one) {
    json_t *variables = json_deep_copy(json_object_get(one, "vars"));
    bool prompt = json_is_true(json_object_get(variables, "add_generation_prompt"));
    json_object_set(variables, "bos_token", json_object_get(all, "bos_token"));
    json_object_set(variables, "eos_token", json_object_get(all, "eos_token"));
    json_object_set(variables, "tools", json_object_get(all, "tools"));
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};
    const json_t *messages = json_object_get(one, "messages");
    const hone_jinja_input input = {.messages = messages,
                                    .count = json_array_size(messages),
                                    .variables = variables,
                                    .generation_prompt = prompt,
                                    .now = &now};
    const char *name = json_string_value(json_object_get(one, "case"));
    const char *expected = json_string_value(json_object_get(one, "output"));
    const char *error = json_string_value(json_object_get(one, "error"));
    hone_jinja_output out = {0};
    hone_status status = hone_jinja_render(&out, jinja, &input);
    if (expected) {
        ck_assert_msg(status == HONE_OK, "%s %s: %s", file, name, hone_fail_message());
        ck_assert_msg(strcmp(out.text.data, expected) == 0, "%s %s:\n%s\nnot\n%s", file, name,
                      out.text.data, expected);
    } else {
        ck_assert_msg(status == HONE_ERR_DATA, "%s %s", file, name);
        const char *said = strchr(error, ' ') + 1;
        ck_assert_msg(strstr(hone_fail_message(), said) != NULL, "%s", hone_fail_message());
    }
    hone_jinja_output_free(&out);
    json_decref(variables);
}

START_TEST(render_shared_templates_as_transformers) {
    const char *path = hone_test_data("templates/expected.json");
    if (!path) return;
    json_t *root, *all, *one;
    ck_ok(hone_json_load(&root, path));
    const char *file;
    size_t cases = 0, i;
    json_object_foreach(root, file, all) {
        char name[200];
        snprintf(name, sizeof name, "templates/%s", file);
        hone_buf text = {0};
        hone_jinja *jinja;
        ck_ok(hone_file_get(&text, hone_test_data(name)));
        ck_ok(hone_jinja_new(&jinja, text.data, text.length, file));
        json_array_foreach(json_object_get(all, "cases"), i, one) {
            compare_case(jinja, file, all, one);
            cases++;
        }
        hone_jinja_free(jinja);
        hone_buf_free(&text);
    }
    ck_assert_uint_ge(cases, 100);
    json_decref(root);
}
END_TEST

/* --- the language ---------------------------------------------------------------------------------------------- */

START_TEST(render_basics_as_python) {
    expect("{{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** -1 }} {{ 1e16 }} {{ 0.1 + 0.2 }}", NULL,
           "-4 2 0.5 1e+16 0.30000000000000004");
    expect("{{ [1, 'a\\'b', none, true, 2.0] }}{{ {'k': (1,)} }}", NULL,
           "[1, \"a'b\", None, True, 2.0]{'k': (1,)}");
    expect("{{ name[::-1] }}{{ name|length }}", "{\"name\":\"aé😀\"}", "😀éa3");
    expect(
        "{% for i in n if i > 1 %}{{ loop.index }}:{{ i }}{{ ';' if not loop.last }}{% endfor %}",
        "{\"n\":[1,2,3]}", "1:2;2:3");
    expect("{% set ns = namespace(t='') %}{% for i in 'ab' %}{% set ns.t = i ~ ns.t %}{% endfor %}"
           "{{ ns.t }}",
           NULL, "ba");
    expect("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", NULL, "a\n  b\nc");
    expect("{{ strftime_now('%d %b %Y, %-d %A') }}", NULL, "26 Jul 2024, 26 Friday");
}
END_TEST

START_TEST(render_tojson_as_transformers) {
    expect("{{ x|tojson }}", "{\"x\":{\"b\":[1,2.5,null,true],\"a\":\"é<\\n\\\"\"}}",
           "{\"b\": [1, 2.5, null, true], \"a\": \"é<\\n\\\"\"}");
    expect("{{ x|tojson(indent=2) }}", "{\"x\":{\"b\":[1],\"c\":[]}}",
           "{\n  \"b\": [\n    1\n  ],\n  \"c\": []\n}");
}
END_TEST

START_TEST(render_reasoning_by_any_name_as_transformers) {
    hone_jinja_output out = {0};
    ck_ok(render(&out,
                 "{% for m in messages %}{{ m.reasoning_content }}{{ m.thinking }}{% endfor %}",
                 "[{\"role\":\"assistant\",\"reasoning\":\"R\"},{\"role\":\"user\"}]", NULL, NULL));
    ck_assert_str_eq(out.text.data, "RR");
    hone_jinja_output_free(&out);
}
END_TEST

/* --- errors ---------------------------------------------------------------------------------------------------- */

START_TEST(render_null_members_of_messages_as_transformers) {
    hone_jinja_output out = {0};
    const char *text = "{% for m in messages %}{% for k in m %}{{ k }},{% endfor %}{{ m.content }}"
                       "{{ m.tool_calls }};{% endfor %}{{ n }}";
    const char *messages =
        "[{\"role\":\"user\",\"name\":null,\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":null}]}]";
    ck_ok(render(&out, text, messages, "{\"n\":null}", NULL));
    ck_assert_str_eq(out.text.data, "role,content,q;role,tool_calls,[{'id': None}];None");
    hone_jinja_output_free(&out);
}
END_TEST

START_TEST(new_bad_template_names_line_and_column) {
    expect_failure("a\n{{ 1 + }}", HONE_ERR_FORMAT, "t.jinja: line 2, column 8: expected");
    expect_failure("\n\n {% zzz %}", HONE_ERR_FORMAT, "line 3, column 5: unknown or misplaced tag");
    expect_failure("{% if x %}", HONE_ERR_FORMAT, "the block 'if' is still open");
    expect_failure("{{ name|zzz }}", HONE_ERR_UNSUPPORTED, "line 1, column 9: no filter is named");
    expect_failure("{{ name is zzz }}", HONE_ERR_UNSUPPORTED, "no test is named 'zzz'");
    expect_failure("{% include 'x' %}", HONE_ERR_UNSUPPORTED, "tag 'include' is not supported");
    expect_failure("{{ 'x'|random }}", HONE_ERR_UNSUPPORTED, "'random'");
    expect_failure("{{ 'x", HONE_ERR_FORMAT, "line 1, column 4");
    expect_failure("\xff", HONE_ERR_FORMAT, "not UTF-8");
}
END_TEST

START_TEST(render_wrong_use_names_line_and_column) {
    expect_failure("\n{{ 'é' + 1 }}", HONE_ERR_DATA, "t.jinja: line 2, column 8: '+' cannot be");
    expect_failure("{{ nobody.name }}", HONE_ERR_DATA, "'nobody' is undefined");
    expect_failure("{{ name.zzz.y }}", HONE_ERR_DATA, "a str has no attribute 'zzz'");
    expect_failure("{{ raise_exception('roles!') }}", HONE_ERR_DATA, "roles!");
    expect_failure("{{ name.encode() }}", HONE_ERR_UNSUPPORTED, "the method 'encode'");
    expect_failure("{{ n.append(1) }}", HONE_ERR_DATA, "a list has no attribute 'append'");
    expect_failure("{{ 9223372036854775807 + 1 }}", HONE_ERR_DATA, "beyond 64 bits");
}
END_TEST

START_TEST(render_endless_template_is_stopped) {
    const hone_jinja_limits few = {.steps = 10000, .memory = 1 << 20, .output = 1000};
    hone_jinja_output out = {0};
    ck_fails(
        render(&out,
               "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
               NULL, NULL, &few),
        HONE_ERR_DATA, "too many steps");
    ck_fails(render(&out, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", NULL, NULL, NULL),
             HONE_ERR_DATA, "nested deeper");
    ck_fails(render(&out, "{{ 'abcdefgh' * 1000 }}", NULL, NULL, &few), HONE_ERR_DATA,
             "writes more");
    const hone_jinja_limits narrow = {.steps = 1 << 30, .memory = 1 << 20, .output = 1 << 30};
    ck_fails(render(&out, "{% set x = 'abcdefgh' * 100000000 %}", NULL, NULL, &narrow),
             HONE_ERR_DATA,
             "t.jinja: line 1, column 23: the template needs more than 1 MB of memory");
    ck_fails(render(&out,
                    "{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x ~ "
                    "ns.x %}{% endfor %}",
                    NULL, NULL, NULL),
             HONE_ERR_DATA, "the template");
    ck_fails(
        render(&out,
               "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
               "{% endfor %}{{ ns.x }}",
               NULL, NULL, NULL),
        HONE_ERR_DATA, "nested deeper");
    hone_jinja_output_free(&out);
}
END_TEST

START_TEST(new_deeply_nested_template_is_refused) {
    char text[4000];
    memset(text, '(', sizeof text);
    memcpy(text, "{{ ", 3);
    text[sizeof text - 1] = '\0';
    expect_failure(text, HONE_ERR_FORMAT, "nested deeper");
    hone_buf many = {0};
    for (int i = 0; i < 2000; i++) ck_ok(hone_buf_puts(&many, i ? "{% elif x %}" : "{% if x %}"));
    expect_failure(many.data, HONE_ERR_FORMAT, "nested deeper");
    hone_buf_free(&many);
}
END_TEST

START_TEST(render_without_memory_fails_cleanly) {
    const char *text = "{% for m in messages %}{{ m.content|upper|tojson }}{% endfor %}";
    for (int64_t n = 1; n < 60; n++) {
        hone_jinja_output out = {0};
        hone_alloc_fail_at(n);
        hone_jinja *jinja;
        hone_status status = hone_jinja_new(&jinja, text, strlen(text), "t");
        const hone_jinja_input input = {0};
        if (status == HONE_OK) status = hone_jinja_render(&out, jinja, &input);
        hone_alloc_fail_at(0);
        hone_jinja_free(jinja);
        hone_jinja_output_free(&out);
        if (status == HONE_OK) return;
        ck_assert_int_eq(status, HONE_ERR_MEMORY);
    }
    ck_abort_msg("never enough memory");
}
END_TEST

/* --- where text came from -------------------------------------------------------------------------------------- */

/* Runs as text: "<message><first letter of the field>[text]". */
static void expect_runs(const char *text, const char *messages, const char *expected) {
    static const char letters[] = "rctTo";
    hone_jinja_output out = {0};
    hone_buf said = {0};
    ck_ok(render(&out, text, messages, NULL, NULL));
    for (size_t i = 0; i < out.count; i++) {
        const hone_jinja_run *run = &out.runs[i];
        ck_ok(hone_buf_printf(&said, "%d%c%s[%.*s]", (int)run->message, letters[run->field],
                              run->generation ? "!" : "", (int)(run->end - run->begin),
                              out.text.data + run->begin));
    }
    ck_assert_str_eq(said.data ? said.data : "", expected);
    hone_buf_free(&said);
    hone_jinja_output_free(&out);
}

static const char two[] = "[{\"role\":\"user\",\"content\":\" Hi, you \"},"
                          "{\"role\":\"assistant\",\"content\":\"<think>T</think>Yes\","
                          "\"tool_calls\":[{\"name\":\"f\",\"arguments\":{\"a\":1}}]}]";

START_TEST(runs_follow_text_through_operators) {
    expect_runs("<{{ messages[0].content }}>", two, "0c[ Hi, you ]");
    expect_runs("{{ messages[0].role + ': ' + messages[0].content }}", two,
                "0r[user]0c[ Hi, you ]");
    expect_runs("{{ 'a' ~ messages[0].content|trim ~ 'b' }}", two, "0c[Hi, you]");
    expect_runs("{{ messages[0].content[1:3] }}{{ messages[0].content[::-1] }}", two,
                "0c[Hi uoy ,iH ]");
    expect_runs("{% set x = messages[0].content %}{{ '%s|%s' % (x.strip(), 1) }}", two,
                "0c[Hi, you]");
    expect_runs("{{ '{}|{}'.format(1, messages[0].role) }}", two, "0r[user]");
}
END_TEST

START_TEST(runs_follow_text_through_methods_and_filters) {
    expect_runs("{{ messages[1].content.split('</think>')[-1] }}", two, "1c[Yes]");
    expect_runs("{{ messages[1].content.split('</think>')[0].split('<think>')[-1] }}", two,
                "1c[T]");
    expect_runs("{{ messages[0].content|upper }}{{ messages[0].content|replace('Hi', 'Ho') }}", two,
                "0c[ HI, YOU  ]0c[, you ]");
    expect_runs("{{ messages|map(attribute='role')|join(', ') }}", two, "0r[user]1r[assistant]");
    expect_runs("{{ messages[1].tool_calls|tojson }}", two,
                "1T[[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]]");
    expect_runs("{% macro f(m) %}[{{ m.content }}]{% endmacro %}{{ f(messages[0]) }}", two,
                "0c[ Hi, you ]");
    expect_runs("{% set x %}{{ messages[0].role }}!{% endset %}{{ x|title }}", two, "0r[User]");
    expect_runs("{{ messages[0].content|length }}", two, "");
}
END_TEST

START_TEST(runs_mark_generation_blocks) {
    expect_runs("a{% generation %}b{{ messages[0].role }}{% endgeneration %}c", two,
                "-1r![b]0r![user]");
    expect_runs("{% set x %}a{% generation %}b{% endgeneration %}{% endset %}{{ x }}", two,
                "-1r![b]");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("jinja");
    TCase *values = tcase_create("values");
    tcase_add_test(values, render_shared_templates_as_transformers);
    tcase_add_test(values, render_basics_as_python);
    tcase_add_test(values, render_tojson_as_transformers);
    tcase_add_test(values, render_reasoning_by_any_name_as_transformers);
    tcase_add_test(values, render_null_members_of_messages_as_transformers);
    tcase_add_test(values, runs_follow_text_through_operators);
    tcase_add_test(values, runs_follow_text_through_methods_and_filters);
    tcase_add_test(values, runs_mark_generation_blocks);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, new_bad_template_names_line_and_column);
    tcase_add_test(errors, render_wrong_use_names_line_and_column);
    tcase_add_test(errors, render_endless_template_is_stopped);
    tcase_add_test(errors, new_deeply_nested_template_is_refused);
    tcase_add_test(errors, render_without_memory_fails_cleanly);
    tcase_set_timeout(errors, 60);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
