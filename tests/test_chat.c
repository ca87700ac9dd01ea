/* Chat templates: rendered text byte for byte, supervised and literal spans, refusals. */
#include <jansson.h>

#include "tests/support.h"
#include "text/chat.h"

enum { MOST_MESSAGES = 16 };

static hone_message say(const char *role, const char *content) {
    return (hone_message){role, content, strlen(content)};
}

static const hone_chat_template *named(const char *name) {
    const hone_chat_template *chat = hone_chat_template_find(name);
    ck_assert_ptr_nonnull(chat);
    return chat;
}

static size_t read_messages(hone_message out[MOST_MESSAGES], const json_t *list) {
    size_t count = json_array_size(list);
    ck_assert_uint_le(count, MOST_MESSAGES);
    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get(list, i);
        out[i] = say(json_string_value(json_object_get(message, "role")),
                     json_string_value(json_object_get(message, "content")));
    }
    return count;
}

/* What transformers rendered. llama-3's template of old always ended with a header. */
static void check_family(const json_t *root, const char *entry, const char *name) {
    const json_t *family = json_object_get(root, entry);
    const char *bos = json_string_value(json_object_get(family, "bos_token"));
    const char *eos = json_string_value(json_object_get(family, "eos_token"));
    const json_t *cases = json_object_get(family, "cases");
    ck_assert_uint_gt(json_array_size(cases), 3);
    hone_rendering got = {0};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        hone_message messages[MOST_MESSAGES];
        size_t count = read_messages(messages, json_object_get(one, "messages"));
        const json_t *vars = json_object_get(one, "vars");
        bool generation = json_is_true(json_object_get(vars, "add_generation_prompt")) ||
                          strcmp(name, "llama-3") == 0;
        ck_ok(hone_chat_render(named(name), &got, messages, count, bos, eos, generation));
        ck_assert_str_eq(got.text.data, json_string_value(json_object_get(one, "output")));
    }
    hone_rendering_free(&got);
}

START_TEST(render_shared_conversations_as_transformers) {
    const char *path = hone_test_data("templates/expected.json");
    if (!path) return;
    json_t *root = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(root);
    check_family(root, "classic/chatml.jinja", "chatml");
    check_family(root, "classic/llama-2.jinja", "llama-2");
    check_family(root, "classic/llama-3-original.jinja", "llama-3");
    check_family(root, "classic/zephyr.jinja", "zephyr");
    json_decref(root);
}
END_TEST

typedef struct spans_case {
    const char *name, *text, *supervised[2];
} spans_case;

static const spans_case spans_cases[] = {
    {"chatml",
     "<|im_start|>system\n S \n<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
     "<|im_start|>assistant\n A1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n"
     "<|im_start|>assistant\nA2\n<|im_end|>\n",
     {" A1<|im_end|>", "A2\n<|im_end|>"}},
    {"llama-2",
     "<s>[INST] <<SYS>>\n S \n\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST] A2 </s>",
     {" A1 </s>", " A2 </s>"}},
    {"llama-3",
     "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nA2<|eot_id|>",
     {"A1<|eot_id|>", "A2<|eot_id|>"}},
    {"zephyr",
     "<|system|>\n S \n</s>\n<|user|>\nU1</s>\n<|assistant|>\n A1</s>\n<|user|>\nU2</s>\n"
     "<|assistant|>\nA2\n</s>\n",
     {" A1</s>", "A2\n</s>"}},
    {"plain", "<s> S \n\nU1\n A1</s>\nU2\nA2\n</s>", {" A1</s>", "A2\n</s>"}},
};

START_TEST(render_two_turns_supervises_content_and_end_token) {
    const spans_case *want = &spans_cases[_i];
    hone_message messages[] = {say("system", " S \n"), say("user", "U1"), say("assistant", " A1"),
                               say("user", "U2"), say("assistant", "A2\n")};
    hone_rendering got = {0};
    ck_ok(hone_chat_render(named(want->name), &got, messages, 5, "<s>", "</s>", false));
    ck_assert_str_eq(got.text.data, want->text);
    ck_assert_uint_eq(got.supervised_count, 2);
    for (size_t i = 0; i < 2; i++) {
        hone_span s = got.supervised[i];
        ck_assert_uint_eq(s.end - s.begin, strlen(want->supervised[i]));
        ck_assert_mem_eq(got.text.data + s.begin, want->supervised[i], s.end - s.begin);
    }
    ck_assert_uint_eq(got.literal_count, 5);
    for (size_t i = 0; i < 5; i++) {
        hone_span s = got.literal[i];
        ck_assert_ptr_nonnull(memmem(messages[i].content, messages[i].length,
                                     got.text.data + s.begin, s.end - s.begin));
        if (i > 0) ck_assert_uint_ge(s.begin, got.literal[i - 1].end);
    }
    hone_rendering_free(&got);
}
END_TEST

START_TEST(render_content_with_control_text_stays_literal) {
    hone_message messages[] = {say("user", "<|im_end|>x"), say("assistant", "y<|im_end|>")};
    hone_rendering got = {0};
    ck_ok(hone_chat_render(named("chatml"), &got, messages, 2, "", "", false));
    ck_assert_uint_eq(got.literal[0].end - got.literal[0].begin, 11);
    ck_assert_uint_eq(got.literal[1].end - got.literal[1].begin, 11);
    ck_assert_uint_eq(got.supervised[0].end - got.supervised[0].begin, 21);
    hone_rendering_free(&got);
}
END_TEST

/* str.strip() of Python takes Unicode white space too, and leaves the zero-width space. */
START_TEST(render_unicode_space_stripped_as_python) {
    hone_message messages[] = {say("user", "\xc2\xa0\xe3\x80\x80 hi \xe2\x80\xa8\x1c\xc2\x85"),
                               say("assistant", "\xe2\x80\x8b"
                                                "a\xe2\x80\x8b\t")};
    hone_rendering got = {0};
    ck_ok(hone_chat_render(named("llama-2"), &got, messages, 2, "", "$", false));
    ck_assert_str_eq(got.text.data, "[INST] hi [/INST] \xe2\x80\x8b"
                                    "a\xe2\x80\x8b $");
    hone_rendering_free(&got);
}
END_TEST

START_TEST(render_plain_without_eos_ends_with_line) {
    hone_message messages[] = {say("user", "U"), say("assistant", "A")};
    hone_rendering got = {0};
    ck_ok(hone_chat_render(named("plain"), &got, messages, 2, "", "", false));
    ck_assert_str_eq(got.text.data, "U\nA\n");
    ck_assert_uint_eq(got.supervised[0].begin, 2);
    ck_assert_uint_eq(got.supervised[0].end, 4);
    ck_ok(hone_chat_render(named("plain"), &got, messages, 1, "", "", true));
    ck_assert_str_eq(got.text.data, "U\n");
    hone_rendering_free(&got);
}
END_TEST

START_TEST(render_generation_ends_with_assistant_header) {
    static const char *const want[][2] = {
        {"chatml", "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"},
        {"llama-2", "<s>[INST] U [/INST]"},
        {"zephyr", "<|user|>\nU</s>\n<|assistant|>\n"},
        {"plain", "<s>U\n"},
    };
    hone_message message = say("user", "U");
    hone_rendering got = {0};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        ck_ok(hone_chat_render(named(want[i][0]), &got, &message, 1, "<s>", "</s>", true));
        ck_assert_str_eq(got.text.data, want[i][1]);
        ck_assert_uint_eq(got.supervised_count, 0);
    }
    hone_rendering_free(&got);
}
END_TEST

START_TEST(render_unfit_roles_refused_with_number) {
    hone_message twice[] = {say("user", "a"), say("user", "b")};
    hone_message late[] = {say("user", "a"), say("assistant", "b"), say("system", "c")};
    hone_message odd[] = {say("user", "a"), say("tool\n", "b")};
    hone_message system = say("system", "s");
    hone_rendering got = {0};
    ck_fails(hone_chat_render(named("llama-2"), &got, twice, 2, "", "", false), HONE_ERR_DATA,
             "message 2 (role \"user\")");
    ck_fails(hone_chat_render(named("llama-2"), &got, late, 3, "", "", false), HONE_ERR_DATA,
             "message 3 (role \"system\")");
    ck_fails(hone_chat_render(named("llama-2"), &got, &system, 1, "", "", false), HONE_ERR_DATA,
             "without a user");
    ck_fails(hone_chat_render(named("zephyr"), &got, odd, 2, "", "", false), HONE_ERR_DATA,
             "message 2");
    ck_fails(hone_chat_render(named("chatml"), &got, odd, 2, "", "", false), HONE_ERR_DATA,
             "message 2");
    ck_fails(hone_chat_render(named("chatml"), &got, odd, 0, "", "", false), HONE_ERR_DATA,
             "without messages");
    ck_assert_ptr_null(hone_chat_template_find("chatML"));
    hone_rendering_free(&got);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("chat");
    TCase *values = tcase_create("values");
    tcase_add_test(values, render_shared_conversations_as_transformers);
    tcase_add_loop_test(values, render_two_turns_supervises_content_and_end_token, 0,
                        (int)(sizeof spans_cases / sizeof *spans_cases));
    tcase_add_test(values, render_content_with_control_text_stays_literal);
    tcase_add_test(values, render_unicode_space_stripped_as_python);
    tcase_add_test(values, render_plain_without_eos_ends_with_line);
    tcase_add_test(values, render_generation_ends_with_assistant_header);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, render_unfit_roles_refused_with_number);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
