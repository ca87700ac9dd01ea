/*
 * What the suites of chat templates share: a tokenizer with the control tokens of all families, and a template with a
 * conversation at work.
 */
#ifndef HONE_TESTS_CHAT_SUPPORT_H
#define HONE_TESTS_CHAT_SUPPORT_H

#include "formats/json.h"
#include "tests/data_support.h"
#include "text/chat.h"

/* --- a tokenizer that has the control tokens of all families ---------------------------------------------------- */

static const char *const controls[] = {"<|im_start|>",
                                       "<|im_end|>",
                                       "<|im_sep|>",
                                       "<s>",
                                       "</s>",
                                       "<bos>",
                                       "<eos>",
                                       "[INST]",
                                       "[/INST]",
                                       "[SYSTEM_PROMPT]",
                                       "[/SYSTEM_PROMPT]",
                                       "<start_of_turn>",
                                       "<end_of_turn>",
                                       "<|user|>",
                                       "<|assistant|>",
                                       "<|system|>",
                                       "<|end|>",
                                       "<|endoftext|>",
                                       "<|begin_of_text|>",
                                       "<|start_header_id|>",
                                       "<|end_header_id|>",
                                       "<|eot_id|>",
                                       "<｜begin▁of▁sentence｜>",
                                       "<｜end▁of▁sentence｜>",
                                       "<｜User｜>",
                                       "<｜Assistant｜>"};

static inline hone_tokenizer *tokenizer_with(const char *bos, const char *eos) {
    hone_buf json = {0};
    ck_ok(hone_buf_puts(&json, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{"
                               "\"\\u0120\":0,\"\\u010a\":1"));
    for (int c = 33; c < 127; c++)
        ck_ok(hone_buf_printf(&json, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c));
    ck_ok(hone_buf_puts(&json, "}},\"added_tokens\":["));
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        ck_ok(hone_buf_printf(&json,
                              "%s{\"id\":%zu,\"content\":\"%s\",\"special\":true,"
                              "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                              "\"normalized\":false}",
                              i ? "," : "", 200 + i, controls[i]));
    ck_ok(hone_buf_puts(&json, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                               "\"add_prefix_space\":false,\"trim_offsets\":true,"
                               "\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"},"
                               "\"post_processor\":null}"));
    ck_ok(hone_dir_make(test_path("tok")));
    put_bytes("tok/tokenizer.json", json.data, json.length);
    hone_buf_clear(&json);
    const char *before = "{";
    if (*bos) ck_ok(hone_buf_printf(&json, "{\"bos_token\":\"%s\"", bos));
    if (*bos) before = ",";
    if (*eos) ck_ok(hone_buf_printf(&json, "%s\"eos_token\":\"%s\"", before, eos));
    ck_ok(hone_buf_puts(&json, *bos || *eos ? "}" : "{}"));
    put_bytes("tok/tokenizer_config.json", json.data, json.length);
    hone_buf_free(&json);
    hone_tokenizer *tokenizer;
    ck_ok(hone_tokenizer_load_folder(&tokenizer, test_path("tok")));
    return tokenizer;
}

/* --- what a test works with -------------------------------------------------------------------------------------- */

typedef struct bench {
    hone_tokenizer *tokenizer;
    hone_chat_template *chat;
    json_t *messages;
    hone_chat_samples samples;
    hone_chat_sample prompt;
} bench;

static inline hone_conversation said(const bench *b) {
    return (hone_conversation){.messages = b->messages, .count = json_array_size(b->messages)};
}

static inline void take_messages(bench *b, const char *json) {
    json_decref(b->messages);
    ck_ok(hone_json_parse(&b->messages, json, strlen(json), "messages"));
}

static inline bench bench_named(const char *name, const char *bos, const char *eos) {
    bench b = {.tokenizer = tokenizer_with(bos, eos)};
    ck_ok(hone_chat_template_named(&b.chat, name));
    return b;
}

static inline bench bench_of(const char *template, const char *bos, const char *eos) {
    bench b = {.tokenizer = tokenizer_with(bos, eos)};
    ck_ok(hone_chat_template_new(&b.chat, template, strlen(template), "t.jinja", NULL));
    return b;
}

static inline void close_bench(bench *b) {
    hone_chat_samples_free(&b->samples);
    hone_chat_sample_free(&b->prompt);
    hone_chat_template_free(b->chat);
    hone_tokenizer_free(b->tokenizer);
    json_decref(b->messages);
}

static inline hone_status make(bench *b) {
    const hone_conversation conversation = said(b);
    return hone_chat_samples_make(&b->samples, b->chat, b->tokenizer, &conversation, false);
}

static inline hone_status ask(bench *b) {
    const hone_conversation conversation = said(b);
    return hone_chat_prompt(&b->prompt, b->chat, b->tokenizer, &conversation);
}

/* What is learned of all samples: "span|span//span". */
static inline const char *learned(const bench *b) {
    static hone_buf text;
    hone_buf_clear(&text);
    ck_ok(hone_buf_puts(&text, ""));
    for (size_t s = 0; s < b->samples.count; s++) {
        const hone_rendering *r = &b->samples.items[s].rendering;
        if (s > 0) ck_ok(hone_buf_puts(&text, "//"));
        for (size_t i = 0; i < r->supervised_count; i++) {
            if (i > 0) ck_ok(hone_buf_puts(&text, "|"));
            ck_ok(hone_buf_append(&text, r->text.data + r->supervised[i].begin,
                                  r->supervised[i].end - r->supervised[i].begin));
        }
    }
    return text.data;
}

static inline const char *text_of(const bench *b) {
    return b->samples.items[0].rendering.text.data;
}

/* Targets are exactly the tokens that begin in what is learned. */
static inline void check_masks(const bench *b) {
    for (size_t s = 0; s < b->samples.count; s++) {
        const hone_chat_sample *sample = &b->samples.items[s];
        for (size_t i = 0; i < sample->encoding.count; i++) {
            size_t at = sample->encoding.spans[i].begin;
            bool inside = false;
            for (size_t n = 0; n < sample->rendering.supervised_count; n++)
                inside |= at >= sample->rendering.supervised[n].begin &&
                          at < sample->rendering.supervised[n].end;
            ck_assert_int_eq(sample->mask[i], inside && i > 0);
        }
    }
}

#endif
