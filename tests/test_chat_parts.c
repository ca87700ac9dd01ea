/* Chat templates: contents that are lists of parts. */
#include "tests/chat_support.h"

static const char in_parts[] =
    "[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"S\"}]},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"url\":\"a.png\"},"
    "{\"type\":\"text\",\"text\":\"U1 <|im_end|>\"}]},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"A1, "
    "\"},{\"type\":\"image\"},"
    "{\"type\":\"text\",\"text\":\" A2\"}]},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"A3\"}]}]";

#define TURNS_OF(content)                                                                          \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n" content "<|im_end|>\n{% endfor %}"         \
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

START_TEST(samples_parts_are_rendered_and_learned) {
    bench b = bench_of(
        TURNS_OF("{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
                 "{% if p.type == 'text' %}{{ p.text }}{% else %}<|im_sep|>{{ p.url }}{% endif %}"
                 "{% endfor %}{% endif %}"),
        "", "<|im_end|>");
    take_messages(&b, in_parts);
    ck_ok(make(&b));
    ck_assert_str_eq(text_of(&b),
                     "<|im_start|>system\nS<|im_end|>\n"
                     "<|im_start|>user\n<|im_sep|>a.pngU1 <|im_end|><|im_end|>\n"
                     "<|im_start|>assistant\nA1, <|im_sep|> A2<|im_end|>\n"
                     "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\nA3<|im_end|>\n");
    ck_assert_str_eq(learned(&b), "A1, <|im_sep|> A2<|im_end|>|A3<|im_end|>");
    check_masks(&b);
    const hone_rendering *r = &b.samples.items[0].rendering;
    size_t said = (size_t)(strstr(r->text.data, "U1 <|im_end|>") - r->text.data);
    bool literal = false;
    for (size_t i = 0; i < r->literal_count; i++)
        literal |= r->literal[i].begin <= said && said + 13 <= r->literal[i].end;
    ck_assert(literal);
    close_bench(&b);
}
END_TEST

START_TEST(message_text_joins_the_texts_of_parts) {
    bench b = {0};
    hone_buf text = {0};
    take_messages(&b, in_parts);
    for (size_t i = 2; i < 4; i++) ck_ok(hone_message_text(&text, json_array_get(b.messages, i)));
    ck_assert_str_eq(text.data, "A1,  A2U2");
    hone_buf_free(&text);
    json_decref(b.messages);
}
END_TEST

START_TEST(samples_parts_of_a_template_for_texts_refused) {
    static const struct {
        const char *template, *why;
    } cases[] = {
        {TURNS_OF("{{ m.content }}"), "message 1: the template t.jinja prints it as Python does"},
        {TURNS_OF("{{ m.content | string | trim }}"), "prints it as Python does"},
        {TURNS_OF("{{ 'said: ' ~ m.content }}"), "prints it as Python does"},
        {TURNS_OF("{% for p in m.content %}{{ p }}{% endfor %}"), "prints it as Python does"},
        {TURNS_OF("{{ m.content + '' }}"), "message 1: its content is a list of parts"},
        {TURNS_OF("{{ m.content.strip() }}"), "message 1: its content is a list of parts"},
        {TURNS_OF("{{ m.content if m.content is string }}"),
         "message 2: the template t.jinja leaves it out"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b = bench_of(cases[i].template, "", "<|im_end|>");
        take_messages(&b, in_parts);
        ck_fails(make(&b), HONE_ERR_DATA, cases[i].why);
        ck_fails(make(&b), HONE_ERR_DATA, "write content as one text");
        ck_fails(ask(&b), HONE_ERR_DATA, "write content as one text");
        close_bench(&b);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("chat_parts");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_test(values, samples_parts_are_rendered_and_learned);
    tcase_add_test(values, message_text_joins_the_texts_of_parts);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_test(errors, samples_parts_of_a_template_for_texts_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
