/* Chat templates: rendered text byte for byte, what is learned of it, what stays literal, refusals. */
#include "tests/chat_support.h"

static const char five[] =
    "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U1\"},"
    "{\"role\":\"assistant\",\"content\":\"A1\"},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":\"A2\"}]";
static const char four[] =
    "[{\"role\":\"user\",\"content\":\"U1\"},"
    "{\"role\":\"assistant\",\"content\":\"A1\"},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":\"A2\"}]";

/* --- the shared templates ---------------------------------------------------------------------------------------- */

static const struct {
    const char *file, *bos, *eos;
    bool no_system;
    const char *learned;
} shared[] = {
    {"classic/chatml.jinja", "", "", false, "A1<|im_end|>|A2<|im_end|>"},
    {"Qwen-Qwen2.5-7B-Instruct.jinja", "", "<|im_end|>", false, "A1<|im_end|>|A2<|im_end|>"},
    {"classic/smollm2.jinja", "", "<|im_end|>", false, "A1<|im_end|>|A2<|im_end|>"},
    {"HuggingFaceTB-SmolLM3-3B.jinja", "", "<|im_end|>", false, "A1<|im_end|>|A2<|im_end|>"},
    {"Qwen-Qwen3-0.6B.jinja", "", "<|im_end|>", false, "A1<|im_end|>//A2<|im_end|>"},
    {"classic/llama-2.jinja", "<s>", "</s>", false, " A1 </s>| A2 </s>"},
    {"classic/llama-3-original.jinja", "<|begin_of_text|>", "<|eot_id|>", false,
     "A1<|eot_id|>|A2<|eot_id|>"},
    {"meta-llama-Llama-3.1-8B-Instruct.jinja", "<|begin_of_text|>", "<|eot_id|>", false,
     "A1<|eot_id|>|A2<|eot_id|>"},
    {"meta-llama-Llama-3.2-3B-Instruct.jinja", "<|begin_of_text|>", "<|eot_id|>", false,
     "A1<|eot_id|>|A2<|eot_id|>"},
    {"classic/mistral-v0.2-no-system.jinja", "<s>", "</s>", true, "A1</s>|A2</s>"},
    {"classic/mistral-v1-system.jinja", "<s>", "</s>", false, " A1</s>| A2</s>"},
    {"classic/mistral-v3.jinja", "<s>", "</s>", false, " A1</s>// A2</s>"},
    {"classic/mistral-v3.jinja", "<s>", "</s>", true, " A1</s>| A2</s>"},
    {"classic/mistral-v3-tekken.jinja", "<s>", "</s>", false, "A1</s>//A2</s>"},
    {"classic/mistral-v3-tekken.jinja", "<s>", "</s>", true, "A1</s>|A2</s>"},
    {"mistralai-Mistral-Nemo-Instruct-2407.jinja", "<s>", "</s>", false, "A1</s>//A2</s>"},
    {"classic/mistral-v7.jinja", "<s>", "</s>", false, " A1</s>| A2</s>"},
    {"classic/gemma-1.jinja", "<bos>", "<eos>", true, "A1<end_of_turn>|A2<end_of_turn>"},
    {"google-gemma-2-2b-it.jinja", "<bos>", "<eos>", true, "A1<end_of_turn>|A2<end_of_turn>"},
    {"classic/gemma-3.jinja", "<bos>", "<eos>", false, "A1<end_of_turn>|A2<end_of_turn>"},
    {"classic/phi-3-mini-original.jinja", "<s>", "<|endoftext|>", false, "A1<|end|>|A2<|end|>"},
    {"classic/phi-3-small.jinja", "<|endoftext|>", "<|endoftext|>", false, "A1<|end|>|A2<|end|>"},
    {"microsoft-Phi-3.5-mini-instruct.jinja", "<s>", "<|endoftext|>", false, "A1<|end|>|A2<|end|>"},
    {"classic/phi-4.jinja", "", "<|im_end|>", false, "A1<|im_end|>|A2<|im_end|>"},
    {"classic/zephyr.jinja", "<s>", "</s>", false, "A1</s>|A2</s>"},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", "<｜begin▁of▁sentence｜>",
     "<｜end▁of▁sentence｜>", false, "A1<｜end▁of▁sentence｜>|A2<｜end▁of▁sentence｜>"},
};
enum { SHARED = sizeof shared / sizeof *shared };

static bool open_shared(bench *b, int row) {
    char name[200];
    snprintf(name, sizeof name, "templates/%s", shared[row].file);
    const char *path = hone_test_data(name);
    if (!path) return false;
    hone_buf text = {0};
    ck_ok(hone_file_get(&text, path));
    *b = (bench){.tokenizer = tokenizer_with(shared[row].bos, shared[row].eos)};
    ck_ok(hone_chat_template_new(&b->chat, text.data, text.length, shared[row].file, NULL));
    hone_buf_free(&text);
    return true;
}

START_TEST(samples_shared_templates_learn_content_and_end_token) {
    bench b;
    if (!open_shared(&b, _i)) return;
    take_messages(&b, shared[_i].no_system ? four : five);
    ck_ok(make(&b));
    ck_assert_str_eq(learned(&b), shared[_i].learned);
    check_masks(&b);
    close_bench(&b);
}
END_TEST

/* Of whatever is said: each sample learns the assistants' texts as a whole, and nothing of the others. */
START_TEST(samples_shared_templates_learn_nothing_of_others) {
    static const char *const odd[] = {"  x1q \\n", "x2q <|im_end|> </s>", "x3q\\n\\nx4q", "{x5q}",
                                      "é x6q"};
    bench b;
    if (!open_shared(&b, _i)) return;
    for (int turns = 1; turns <= 3; turns++) {
        hone_buf json = {0};
        ck_ok(hone_buf_puts(&json, "["));
        if (!shared[_i].no_system)
            ck_ok(hone_buf_puts(&json, "{\"role\":\"system\",\"content\":\"Zsystem\"},"));
        for (int t = 0; t < turns; t++)
            ck_ok(hone_buf_printf(&json,
                                  "%s{\"role\":\"user\",\"content\":\"Zuser %s\"},"
                                  "{\"role\":\"assistant\",\"content\":\"K%d%s\"}",
                                  t ? "," : "", odd[(t + 1) % 5], t, odd[(t + turns) % 5]));
        ck_ok(hone_buf_puts(&json, "]"));
        take_messages(&b, json.data);
        ck_ok(make(&b));
        const char *text = learned(&b);
        ck_assert_ptr_null(strstr(text, "Zuser"));
        ck_assert_ptr_null(strstr(text, "Zsystem"));
        for (int t = 0; t < turns; t++) {
            json_t *answer = json_array_get(b.messages, json_array_size(b.messages) -
                                                            (size_t)(2 * (turns - t)) + 1);
            char content[80];
            snprintf(content, sizeof content, "%s",
                     json_string_value(json_object_get(answer, "content")));
            size_t length = strlen(content);
            while (length > 0 && strchr(" \n", content[length - 1])) content[--length] = '\0';
            ck_assert_msg(strstr(text, content) != NULL, "%s: \"%s\" not in \"%s\"",
                          shared[_i].file, content, text);
        }
        hone_buf_free(&json);
    }
    close_bench(&b);
}
END_TEST

/* What transformers rendered of the family's own template. llama-3's of old always ended with a header. */
static void check_family(const json_t *root, const char *entry, const char *name) {
    const json_t *family = json_object_get(root, entry);
    const char *bos = json_string_value(json_object_get(family, "bos_token"));
    const char *eos = json_string_value(json_object_get(family, "eos_token"));
    const json_t *cases = json_object_get(family, "cases");
    ck_assert_uint_gt(json_array_size(cases), 3);
    bench b = bench_named(name, bos, eos);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const char *output = json_string_value(json_object_get(one, "output"));
        if (!output) continue;
        json_decref(b.messages);
        b.messages = json_deep_copy(json_object_get(one, "messages"));
        const json_t *vars = json_object_get(one, "vars");
        if (json_is_true(json_object_get(vars, "add_generation_prompt")) ||
            strcmp(name, "llama-3") == 0) {
            ck_ok(ask(&b));
            ck_assert_str_eq(b.prompt.rendering.text.data, output);
        } else {
            const hone_conversation conversation = said(&b);
            ck_ok(hone_chat_samples_make(&b.samples, b.chat, b.tokenizer, &conversation, true));
            ck_assert_str_eq(text_of(&b), output);
        }
    }
    close_bench(&b);
}

START_TEST(named_templates_render_as_the_families_own) {
    static const char *const families[][2] = {
        {"classic/chatml.jinja", "chatml"}, {"classic/llama-2.jinja", "llama-2"},
        {"classic/zephyr.jinja", "zephyr"}, {"classic/llama-3-original.jinja", "llama-3"},
        {"classic/gemma-3.jinja", "gemma"}, {"classic/mistral-v1-system.jinja", "mistral-v1"},
        {"classic/phi-4.jinja", "phi-4"},   {"classic/mistral-v7.jinja", "mistral-v7"},
    };
    const char *path = hone_test_data("templates/expected.json");
    if (!path) return;
    json_t *root;
    ck_ok(hone_json_load(&root, path));
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        check_family(root, families[i][0], families[i][1]);
    json_decref(root);
}
END_TEST

/* --- the templates by name --------------------------------------------------------------------------------------- */

static const char padded[] =
    "[{\"role\":\"system\",\"content\":\" S \\n\"},{\"role\":\"user\",\"content\":\"U1\"},"
    "{\"role\":\"assistant\",\"content\":\" A1\"},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":\"A2\\n\"}]";

static const struct {
    const char *name, *text, *learned;
} named[] = {
    {"chatml",
     "<|im_start|>system\n S \n<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
     "<|im_start|>assistant\n A1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n"
     "<|im_start|>assistant\nA2\n<|im_end|>\n",
     " A1<|im_end|>|A2\n<|im_end|>"},
    {"llama-2",
     "<s>[INST] <<SYS>>\n S \n\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST] A2 </s>",
     " A1 </s>| A2 </s>"},
    {"llama-3",
     "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nA2<|eot_id|>",
     "A1<|eot_id|>|A2<|eot_id|>"},
    {"zephyr",
     "<|system|>\n S \n</s>\n<|user|>\nU1</s>\n<|assistant|>\n A1</s>\n<|user|>\nU2</s>\n"
     "<|assistant|>\nA2\n</s>\n",
     " A1</s>|A2\n</s>"},
    {"gemma",
     "<s><start_of_turn>user\n S \n\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n"
     "<start_of_turn>user\nU2<end_of_turn>\n<start_of_turn>model\nA2<end_of_turn>\n",
     "A1<end_of_turn>|A2<end_of_turn>"},
    {"mistral-v3", "<s>[INST]  S \n\n\nU1[/INST] A1</s>[INST] U2[/INST] A2</s>", " A1</s>| A2</s>"},
    {"mistral-v3-tekken", "<s>[INST] S \n\n\nU1[/INST] A1</s>[INST]U2[/INST]A2\n</s>",
     " A1</s>|A2\n</s>"},
    {"phi-3",
     "<|system|>\n S \n<|end|>\n<|user|>\nU1<|end|>\n<|assistant|>\n "
     "A1<|end|>\n<|user|>\nU2<|end|>\n"
     "<|assistant|>\nA2\n<|end|>\n",
     " A1<|end|>|A2\n<|end|>"},
    {"plain", " S \n\nU1\n A1</s>\nU2\nA2\n</s>", " A1</s>|A2\n</s>"},
};

START_TEST(samples_named_template_learns_content_and_end_token) {
    bench b = bench_named(named[_i].name, "<s>", "</s>");
    take_messages(&b, padded);
    ck_ok(make(&b));
    ck_assert_uint_eq(b.samples.count, 1);
    ck_assert_str_eq(text_of(&b), named[_i].text);
    ck_assert_str_eq(learned(&b), named[_i].learned);
    check_masks(&b);
    close_bench(&b);
}
END_TEST

START_TEST(samples_control_text_of_people_stays_literal) {
    bench b = bench_named("chatml", "", "");
    take_messages(&b, "[{\"role\":\"user\",\"content\":\"<|im_end|>x\"},"
                      "{\"role\":\"assistant\",\"content\":\"y<|im_end|>\"}]");
    ck_ok(make(&b));
    ck_assert_str_eq(learned(&b), "y<|im_end|><|im_end|>");
    int32_t end = hone_tokenizer_find(b.tokenizer, "<|im_end|>");
    size_t ends = 0;
    const hone_encoding *encoding = &b.samples.items[0].encoding;
    for (size_t i = 0; i < encoding->count; i++) ends += encoding->ids[i] == end;
    ck_assert_uint_eq(ends, 2);
    close_bench(&b);
}
END_TEST

/* str.strip() of Python takes Unicode white space too, and leaves the zero-width space. */
START_TEST(samples_unicode_space_stripped_as_python) {
    bench b = bench_named("llama-2", "", "<eos>");
    take_messages(&b,
                  "[{\"role\":\"user\",\"content\":\"\\u00a0\\u3000 hi \\u2028\\u001c\\u0085\"},"
                  "{\"role\":\"assistant\",\"content\":\"\\u200ba\\u200b\\t\"}]");
    ck_ok(make(&b));
    ck_assert_str_eq(text_of(&b), "[INST] hi [/INST] \xe2\x80\x8b"
                                  "a\xe2\x80\x8b <eos>");
    close_bench(&b);
}
END_TEST

START_TEST(samples_plain_without_eos_ends_with_line) {
    bench b = bench_named("plain", "", "");
    take_messages(&b, "[{\"role\":\"user\",\"content\":\"U\"},"
                      "{\"role\":\"assistant\",\"content\":\"A\"}]");
    ck_ok(make(&b));
    ck_assert_str_eq(text_of(&b), "U\nA\n");
    ck_assert_str_eq(learned(&b), "A\n");
    close_bench(&b);
}
END_TEST

START_TEST(prompt_ends_with_assistant_header) {
    static const char *const want[][2] = {
        {"chatml", "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"},
        {"llama-2", "<s>[INST] U [/INST]"},
        {"zephyr", "<|user|>\nU</s>\n<|assistant|>\n"},
        {"plain", "U\n"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        bench b = bench_named(want[i][0], "<s>", "</s>");
        take_messages(&b, "[{\"role\":\"user\",\"content\":\"U\"}]");
        ck_ok(ask(&b));
        ck_assert_str_eq(b.prompt.rendering.text.data, want[i][1]);
        ck_assert_uint_eq(b.prompt.rendering.supervised_count, 0);
        close_bench(&b);
    }
}
END_TEST

/* --- thinking, marks, tools -------------------------------------------------------------------------------------- */

static int row_of(const char *file) {
    for (int i = 0; i < SHARED; i++) {
        if (strcmp(shared[i].file, file) == 0) return i;
    }
    return -1;
}

/* The empty block belongs to the prompt, which then gives it as enable_thinking = false does. */
START_TEST(samples_qwen3_empty_thinking_belongs_to_the_prompt) {
    bench b;
    if (!open_shared(&b, row_of("Qwen-Qwen3-0.6B.jinja"))) return;
    take_messages(&b, "[{\"role\":\"user\",\"content\":\"U\"},"
                      "{\"role\":\"assistant\",\"content\":\"A\"}]");
    ck_ok(make(&b));
    ck_assert_str_eq(text_of(&b), "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
                                  "<think>\n\n</think>\n\nA<|im_end|>\n");
    ck_assert_str_eq(learned(&b), "A<|im_end|>");
    ck_assert_uint_eq(b.samples.unthinking, 1);
    ck_assert_uint_eq(b.samples.reasoned, 0);
    ck_ok(hone_chat_template_suggest(b.chat, "{\"enable_thinking\": false}"));
    json_array_remove(b.messages, 1);
    ck_ok(ask(&b));
    ck_assert_str_eq(
        b.prompt.rendering.text.data,
        "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    close_bench(&b);
}
END_TEST

START_TEST(samples_qwen3_reasoning_is_learned) {
    static const char *const forms[] = {
        "[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A\","
        "\"reasoning_content\":\"R\"}]",
        "[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":"
        "\"<think>\\nR\\n</think>\\n\\nA\"}]"};
    bench b;
    if (!open_shared(&b, row_of("Qwen-Qwen3-0.6B.jinja"))) return;
    for (size_t i = 0; i < 2; i++) {
        take_messages(&b, forms[i]);
        ck_ok(make(&b));
        ck_assert_str_eq(learned(&b), "<think>\nR\n</think>\n\nA<|im_end|>");
        ck_assert_uint_eq(b.samples.reasoned, 1);
        ck_assert_uint_eq(b.samples.unthinking, 0);
    }
    close_bench(&b);
}
END_TEST

START_TEST(samples_tool_calls_are_learned) {
    bench b;
    if (!open_shared(&b, row_of("Qwen-Qwen2.5-7B-Instruct.jinja"))) return;
    take_messages(&b,
                  "[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"\","
                  "\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                  "\"arguments\":{\"x\":1}}}]},{\"role\":\"tool\",\"content\":\"42\"},"
                  "{\"role\":\"assistant\",\"content\":\"It is 42.\"}]");
    ck_ok(make(&b));
    ck_assert_str_eq(
        learned(&b),
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>"
        "|It is 42.<|im_end|>");
    close_bench(&b);
}
END_TEST

START_TEST(samples_generation_blocks_decide) {
    bench b =
        bench_of("{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}"
                 "{% generation %}{{ m.content }}.{% endgeneration %}{% else %}{{ m.content }}"
                 "{% endif %};{% endfor %}",
                 "", "");
    take_messages(&b, four);
    ck_ok(make(&b));
    ck_assert_str_eq(text_of(&b), "user:U1;assistant:A1.;user:U2;assistant:A2.;");
    ck_assert_str_eq(learned(&b), "A1.|A2.");
    close_bench(&b);
}
END_TEST

/* A template that knows nothing of generation prompts: its headers are not learned for that. */
START_TEST(samples_header_is_never_learned) {
    bench b =
        bench_of("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                 "{% endfor %}",
                 "", "");
    take_messages(&b, five);
    ck_ok(make(&b));
    ck_assert_str_eq(learned(&b), "A1<|im_end|>|A2<|im_end|>");
    close_bench(&b);
}
END_TEST

/* A template that shows the last turn only. */
START_TEST(samples_turn_that_depends_on_later_ones_is_its_own) {
    bench b = bench_of("{{ messages[-2].content }}>{{ messages[-1].content }}<eos>", "", "<eos>");
    take_messages(&b, four);
    ck_ok(make(&b));
    ck_assert_str_eq(learned(&b), "A1<eos>//A2<eos>");
    ck_assert_str_eq(text_of(&b), "U1>A1<eos>");
    close_bench(&b);
}
END_TEST

START_TEST(samples_all_learns_every_token) {
    bench b = bench_named("chatml", "", "");
    take_messages(&b, four);
    const hone_conversation conversation = said(&b);
    ck_ok(hone_chat_samples_make(&b.samples, b.chat, b.tokenizer, &conversation, true));
    const hone_chat_sample *sample = &b.samples.items[0];
    for (size_t i = 0; i < sample->encoding.count; i++) ck_assert_int_eq(sample->mask[i], i > 0);
    close_bench(&b);
}
END_TEST

START_TEST(template_finds_special_tokens_by_name) {
    bench b =
        bench_of("{{ bos_token }} {{ pad_token }} {{ image_token }} {{ boi }} {{ unk_token }} "
                 "{{ add_bos_token }} {{ x_token }}{{ messages[0].content }}",
                 "<s>", "</s>");
    hone_tokenizer_free(b.tokenizer);
    put_file(
        "tok/tokenizer_config.json",
        "{\"bos_token\":\"<s>\",\"pad_token\":{\"content\":\"<|end|>\",\"lstrip\":false},"
        "\"unk_token\":null,\"image_token\":\"<img>\",\"add_bos_token\":true,\"x_token\":\"X\","
        "\"extra_special_tokens\":{\"boi\":\"<boi>\"}}");
    ck_ok(hone_tokenizer_load_folder(&b.tokenizer, test_path("tok")));
    take_messages(&b, "[{\"role\":\"user\",\"content\":\"U\"}]");
    ck_ok(hone_chat_template_set(b.chat, "{\"x_token\": \"given\"}"));
    ck_ok(ask(&b));
    ck_assert_str_eq(b.prompt.rendering.text.data, "<s> <|end|> <img> <boi>   givenU");
    close_bench(&b);
}
END_TEST

START_TEST(template_variables_and_date_reach_it) {
    bench b = bench_of("{{ mood }}{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}", "", "");
    char before[HONE_SHA256_TEXT], after[HONE_SHA256_TEXT];
    take_messages(&b, "[{\"role\":\"user\",\"content\":\"U\"}]");
    ck_ok(hone_chat_template_date(b.chat, "2024-07-26"));
    ck_ok(hone_chat_template_key(before, b.chat));
    ck_ok(hone_chat_template_set(b.chat, "{\"mood\": \"glad \"}"));
    ck_ok(hone_chat_template_suggest(b.chat, "{\"mood\": \"sad \"}"));
    ck_ok(hone_chat_template_key(after, b.chat));
    ck_assert_str_ne(before, after);
    ck_ok(ask(&b));
    ck_assert_str_eq(b.prompt.rendering.text.data, "glad 26 Jul 2024U");
    ck_ok(hone_chat_template_date(b.chat, "2025-01-02"));
    ck_ok(hone_chat_template_key(before, b.chat));
    ck_assert_str_ne(before, after);
    ck_fails(hone_chat_template_set(b.chat, "[1]"), HONE_ERR_USAGE, "JSON object");
    ck_fails(hone_chat_template_date(b.chat, "2024-02-30"), HONE_ERR_USAGE, "no date");
    close_bench(&b);
}
END_TEST

/* --- refusals ---------------------------------------------------------------------------------------------------- */

static void refuse(const char *name, const char *messages, const char *why) {
    bench b = bench_named(name, "", "");
    take_messages(&b, messages);
    ck_fails(make(&b), HONE_ERR_DATA, why);
    close_bench(&b);
}

START_TEST(samples_unfit_roles_refused_with_number) {
    static const char twice[] =
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]";
    static const char late[] =
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
        "{\"role\":\"system\",\"content\":\"c\"}]";
    static const char odd[] =
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"tool\\n\",\"content\":\"b\"}]";
    refuse("llama-2", twice, "message 2 (role \"user\")");
    refuse("llama-2", late, "message 3 (role \"system\")");
    refuse("llama-2", "[{\"role\":\"system\",\"content\":\"s\"}]", "without a user");
    refuse("zephyr", odd, "message 2");
    refuse("chatml", odd, "message 2");
    refuse("chatml", "[]", "without messages");
    hone_chat_template *chat;
    ck_fails(hone_chat_template_named(&chat, "chatML"), HONE_ERR_USAGE, "known: chatml");
}
END_TEST

START_TEST(samples_untracked_template_refused_with_remedy) {
    bench b = bench_of(
        "{% for m in messages %}{{ m.role }} says {{ m.content|length }}{% endfor %}", "", "");
    take_messages(&b, four);
    ck_fails(make(&b), HONE_ERR_UNSUPPORTED, "message 2: what the assistant says cannot be found");
    ck_fails(make(&b), HONE_ERR_UNSUPPORTED, "template: chatml");
    close_bench(&b);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("chat");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_loop_test(values, samples_shared_templates_learn_content_and_end_token, 0, SHARED);
    tcase_add_loop_test(values, samples_shared_templates_learn_nothing_of_others, 0, SHARED);
    tcase_add_test(values, named_templates_render_as_the_families_own);
    tcase_add_loop_test(values, samples_named_template_learns_content_and_end_token, 0,
                        (int)(sizeof named / sizeof *named));
    tcase_add_test(values, samples_control_text_of_people_stays_literal);
    tcase_add_test(values, samples_unicode_space_stripped_as_python);
    tcase_add_test(values, samples_plain_without_eos_ends_with_line);
    tcase_add_test(values, prompt_ends_with_assistant_header);
    tcase_add_test(values, samples_qwen3_empty_thinking_belongs_to_the_prompt);
    tcase_add_test(values, samples_qwen3_reasoning_is_learned);
    tcase_add_test(values, samples_tool_calls_are_learned);
    tcase_add_test(values, samples_generation_blocks_decide);
    tcase_add_test(values, samples_turn_that_depends_on_later_ones_is_its_own);
    tcase_add_test(values, samples_header_is_never_learned);
    tcase_add_test(values, samples_all_learns_every_token);
    tcase_add_test(values, template_finds_special_tokens_by_name);
    tcase_add_test(values, template_variables_and_date_reach_it);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_test(errors, samples_unfit_roles_refused_with_number);
    tcase_add_test(errors, samples_untracked_template_refused_with_remedy);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
