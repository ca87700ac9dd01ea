/*
 * Tokenizers turned from one file format into the other give the ids they gave before.
 */
#include <math.h>

#include "base/file.h"
#include "formats/gguf_writer.h"
#include "formats/json.h"
#include "tests/support.h"
#include "text/tokenizer.h"
#include "text/tokenizer_export.h"

static char folder[64];

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/hone-tokenizer-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Good until 8 further calls. */
static const char *in_folder(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void copy(const char *name, const char *from) {
    hone_buf content = {0};
    ck_ok(hone_file_get(&content, from));
    ck_ok(hone_file_put(in_folder(name), content.data, content.length));
    hone_buf_free(&content);
}

static hone_encoding encode(const hone_tokenizer *tokenizer, const char *text, size_t length,
                            bool special) {
    hone_encoding out = {0};
    hone_encode_options options = {.add_special = special, .parse_special = true};
    ck_ok(hone_tokenizer_encode(tokenizer, &out, text, length, &options));
    return out;
}

static void ck_same_ids(const hone_tokenizer *a, const hone_tokenizer *b, const char *text,
                        size_t length) {
    for (int special = 0; special < 2; special++) {
        hone_encoding x = encode(a, text, length, special), y = encode(b, text, length, special);
        ck_assert_msg(x.count == y.count, "%zu and %zu ids for: %.*s", x.count, y.count,
                      (int)length, text);
        if (x.count > 0) ck_assert_mem_eq(x.ids, y.ids, x.count * sizeof *x.ids);
        hone_encoding_free(&x);
        hone_encoding_free(&y);
    }
}

static void ck_same_specials(const hone_tokenizer *a, const hone_tokenizer *b) {
    ck_assert_int_eq(hone_tokenizer_size(a), hone_tokenizer_size(b));
    ck_assert_int_eq(hone_tokenizer_bos(a), hone_tokenizer_bos(b));
    ck_assert_int_eq(hone_tokenizer_eos(a), hone_tokenizer_eos(b));
    ck_assert_int_eq(hone_tokenizer_adds_bos(a), hone_tokenizer_adds_bos(b));
    ck_assert_int_eq(hone_tokenizer_adds_eos(a), hone_tokenizer_adds_eos(b));
}

/* Writes the folder's tokenizer as a GGUF file without tensors, and reads that. */
static hone_tokenizer *through_gguf(const char *from, int64_t vocabulary) {
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_gguf_set_string(writer, "general.architecture", "llama", 5));
    ck_ok(hone_tokenizer_to_gguf(writer, from, vocabulary));
    ck_ok(hone_gguf_begin(writer, in_folder("out.gguf")));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_gguf *gguf;
    hone_tokenizer *tokenizer;
    ck_ok(hone_gguf_open(&gguf, in_folder("out.gguf")));
    ck_ok(hone_tokenizer_load_gguf(&tokenizer, gguf));
    hone_gguf_close(gguf);
    return tokenizer;
}

static void ck_same_vocabulary(const hone_tokenizer *a, const hone_tokenizer *b) {
    char x[HONE_SHA256_TEXT], y[HONE_SHA256_TEXT];
    ck_ok(hone_tokenizer_vocabulary_hash(x, a));
    ck_ok(hone_tokenizer_vocabulary_hash(y, b));
    ck_assert_str_eq(x, y);
    ck_assert_str_ne(hone_tokenizer_hash(a), hone_tokenizer_hash(b));
}

/* Every paragraph of a text, in turn. */
static void ck_same_on_text(const hone_tokenizer *a, const hone_tokenizer *b, const char *path) {
    hone_buf text = {0};
    ck_ok(hone_file_get(&text, path));
    for (size_t at = 0; at < text.length && at < 200000;) {
        const char *end = strstr(text.data + at, "\n\n");
        size_t next = end ? (size_t)(end - text.data) + 2 : text.length;
        ck_same_ids(a, b, text.data + at, next - at);
        at = next;
    }
    hone_buf_free(&text);
}

static void ck_same_on_odd_texts(const hone_tokenizer *a, const hone_tokenizer *b) {
    static const char *const texts[] = {
        "",
        " ",
        "      x       y                     z",
        "a\r\n\r\nb\n \n\tc",
        "It's 12345 o'clock, I'LL be there!?...",
        "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd",
        "<|im_start|>user\nHi<|im_end|>\n<|endoftext|> and </s> or <unk><s>so",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabababababababa",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_same_ids(a, b, texts[i], strlen(texts[i]));
    }
}

/* --- values: folder to GGUF --- */

static const char *const fixtures[] = {"grouped-tied", "llama3-rope", "sharded-bf16", "untied-odd"};

START_TEST(to_gguf_fixture_gives_same_ids) {
    char from[256];
    snprintf(from, sizeof from, "%s/models/%s", HONE_TEST_FIXTURES, fixtures[_i]);
    hone_tokenizer *plain;
    ck_ok(hone_tokenizer_load_folder(&plain, from));
    hone_tokenizer *turned = through_gguf(from, 400);
    ck_assert_int_eq(hone_tokenizer_size(turned), 400);
    ck_assert_int_eq(hone_tokenizer_find(turned, "[PAD399]"), 399);
    ck_assert_int_eq(hone_tokenizer_eos(plain), hone_tokenizer_eos(turned));
    ck_assert_int_eq(hone_tokenizer_adds_bos(plain), hone_tokenizer_adds_bos(turned));
    ck_same_on_odd_texts(plain, turned);
    ck_same_vocabulary(plain, turned);
    hone_tokenizer_free(turned);
    hone_tokenizer_free(plain);
}
END_TEST

typedef struct source {
    const char *json, *config; /* under HONE_TEST_DATA; config may be NULL */
    int64_t vocabulary;
    const char *pre;
} source;

static const source sources[] = {
    {"hf-tokenizers/gpt-2/tokenizer.json", NULL, 50257, "gpt-2"},
    {"hf-tokenizers/small/llama3-style-2000.json", NULL, 2000, "llama-bpe"},
    {"hf-tokenizers/small/qwen2-style-2000.json", NULL, 2003, "qwen2"},
    {"stories260K/hf/tokenizer.json", "stories260K/hf/tokenizer_config.json", 512, "default"},
};

START_TEST(to_gguf_real_tokenizer_gives_same_ids) {
    const source *one = &sources[_i];
    const char *path = hone_test_data(one->json);
    if (!path) return;
    copy("tokenizer.json", path);
    if (one->config) copy("tokenizer_config.json", hone_test_data(one->config));
    hone_tokenizer *plain;
    ck_ok(hone_tokenizer_load_folder(&plain, folder));
    hone_tokenizer *turned = through_gguf(folder, one->vocabulary);
    hone_gguf *gguf;
    hone_gguf_string pre;
    ck_ok(hone_gguf_open(&gguf, in_folder("out.gguf")));
    ck_ok(hone_gguf_get_string(&pre, gguf, "tokenizer.ggml.pre"));
    ck_assert(hone_gguf_string_is(pre, one->pre));
    hone_gguf_close(gguf);
    ck_same_specials(plain, turned);
    ck_same_on_odd_texts(plain, turned);
    ck_same_vocabulary(plain, turned);
    ck_same_on_text(plain, turned, hone_test_data("text/tinyshakespeare.txt"));
    hone_tokenizer_free(turned);
    hone_tokenizer_free(plain);
}
END_TEST

START_TEST(to_gguf_stories_equals_llama_cpps_converter) {
    static const char *const keys[] = {"model",         "pre",           "tokens",
                                       "token_type",    "bos_token_id",  "eos_token_id",
                                       "add_bos_token", "add_eos_token", "unknown_token_id"};
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_tokenizer_free(through_gguf(path, 512));
    hone_gguf *ours, *theirs;
    ck_ok(hone_gguf_open(&ours, in_folder("out.gguf")));
    ck_ok(hone_gguf_open(&theirs, hone_test_data("stories260K/stories260K-f32.gguf")));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s", keys[i]);
        const hone_gguf_value *a = hone_gguf_find(ours, key), *b = hone_gguf_find(theirs, key);
        ck_assert_msg(a && b && a->kind == b->kind && a->bytes == b->bytes, "%s differs", key);
        ck_assert_msg(memcmp(a->data, b->data, a->bytes) == 0, "%s differs", key);
    }
    const hone_gguf_value *a, *b;
    ck_ok(hone_gguf_get_array(&a, ours, "tokenizer.ggml.scores", HONE_GGUF_F32));
    ck_ok(hone_gguf_get_array(&b, theirs, "tokenizer.ggml.scores", HONE_GGUF_F32));
    for (uint64_t i = 0; i < a->count; i++) {
        double x = (double)hone_gguf_array_f32(a, i), y = (double)hone_gguf_array_f32(b, i);
        ck_assert_msg(x == y, "score %d is %g and %g", (int)i, x, y); /* 0 is -0 */
    }
    hone_gguf_close(ours);
    hone_gguf_close(theirs);
}
END_TEST

/* --- values: GGUF to folder --- */

static const char *const vocabs[] = {
    "vocab/ggml-vocab-gpt-2.gguf",
    "vocab/ggml-vocab-qwen2.gguf",
    "vocab/ggml-vocab-starcoder.gguf",
    "vocab/ggml-vocab-llama-spm.gguf",
    "vocab/llama3/ggml-vocab-llama-bpe.gguf",
    "stories260K/stories260K-f32.gguf",
};

static void ck_same_on_inp(const hone_tokenizer *a, const hone_tokenizer *b, const char *path) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    hone_buf text = {0};
    ck_ok(hone_file_get(&text, path));
    for (const char *at = text.data; at;) {
        const char *end = strstr(at, separator);
        ck_same_ids(a, b, at, end ? (size_t)(end - at) : strlen(at));
        at = end ? end + strlen(separator) : NULL;
    }
    hone_buf_free(&text);
}

START_TEST(to_folder_gives_same_ids) {
    const char *path = hone_test_data(vocabs[_i]);
    if (!path) return;
    hone_gguf *gguf;
    hone_tokenizer *plain, *turned;
    ck_ok(hone_gguf_open(&gguf, path));
    ck_ok(hone_tokenizer_load_gguf(&plain, gguf));
    ck_ok(hone_tokenizer_to_folder(gguf, folder));
    ck_ok(hone_tokenizer_load_folder(&turned, folder));
    hone_gguf_close(gguf);
    ck_same_specials(plain, turned);
    ck_same_on_odd_texts(plain, turned);
    ck_same_vocabulary(plain, turned);
    ck_same_on_text(plain, turned, hone_test_data("text/tinyshakespeare.txt"));
    ck_same_on_inp(plain, turned, hone_test_data("vocab/ggml-vocab-gpt-2.gguf.inp"));
    hone_tokenizer_free(turned);
    hone_tokenizer_free(plain);
}
END_TEST

/* --- errors --- */

static void edited(const char *edit) {
    char path[256];
    json_t *root, *change;
    snprintf(path, sizeof path, "%s/models/grouped-tied/tokenizer.json", HONE_TEST_FIXTURES);
    ck_ok(hone_json_load(&root, path));
    ck_ok(hone_json_parse(&change, edit, strlen(edit), "edit"));
    json_object_update_recursive(root, change);
    ck_ok(hone_json_save(root, in_folder("tokenizer.json")));
    json_decref(change);
    json_decref(root);
}

typedef struct bad_tokenizer {
    const char *edit;
    int64_t vocabulary;
    const char *message;
} bad_tokenizer;

static const bad_tokenizer bad_tokenizers[] = {
    {"{}", 300, "has token 383, but the model has 300 tokens"},
    {"{\"normalizer\": {\"type\": \"NFKC\"}}", 384, "normalizer: NFKC cannot be expressed"},
    {"{\"pre_tokenizer\": {\"add_prefix_space\": true}}", 384, "ByteLevel with add_prefix_space"},
    {"{\"model\": {\"ignore_merges\": true}}", 384, "this way to split text (or to ignore merges)"},
    {"{\"pre_tokenizer\": {\"type\": \"Whitespace\"}}", 384,
     "a BPE without byte_fallback and without ByteLevel"},
};

START_TEST(to_gguf_what_gguf_cannot_say_is_refused_by_name) {
    const bad_tokenizer *bad = &bad_tokenizers[_i];
    edited(bad->edit);
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_writer_new(&writer));
    hone_status status = hone_tokenizer_to_gguf(writer, folder, bad->vocabulary);
    ck_assert_int_ne(status, HONE_OK);
    ck_assert_msg(strstr(hone_fail_message(), bad->message), "%s", hone_fail_message());
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "tokenizer.json"));
    hone_gguf_writer_free(writer);
}
END_TEST

/* Merges of a byte-fallback BPE that were trained, not made from scores. */
START_TEST(to_gguf_merges_that_are_no_scores_are_refused) {
    static const char text[] =
        "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": "
        "null, \"post_processor\": null, \"decoder\": null, \"model\": {\"type\": \"BPE\", "
        "\"byte_fallback\": true, \"fuse_unk\": true, \"unk_token\": \"?\", \"vocab\": {\"?\": 0, "
        "\"a\": 1, \"b\": 2, \"ab\": 3, \"ba\": 4, \"aba\": 5}, \"merges\": [[\"a\", \"b\"], "
        "[\"b\", \"a\"], [\"ab\", \"a\"]%s]}}";
    static const char *const rests[] = {"", ", [\"a\", \"ba\"]"};
    char json[1024];
    for (int i = 0; i < 2; i++) {
        snprintf(json, sizeof json, text, rests[i]);
        ck_ok(hone_file_put(in_folder("tokenizer.json"), json, strlen(json)));
        hone_gguf_writer *writer;
        ck_ok(hone_gguf_writer_new(&writer));
        hone_status status = hone_tokenizer_to_gguf(writer, folder, 6);
        if (i == 0)
            ck_fails(status, HONE_ERR_UNSUPPORTED, "token 5 can be made of two tokens in 2");
        if (i == 1) ck_ok(status);
        hone_gguf_writer_free(writer);
    }
}
END_TEST

START_TEST(to_folder_scores_that_tie_are_refused) {
    const hone_gguf_string tokens[] = {{"<unk>", 5}, {"a", 1}, {"b", 1}, {"ab", 2}, {"ba", 2}};
    const float scores[] = {0, 0, 0, -1, -1};
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_gguf_set_string(writer, "tokenizer.ggml.model", "llama", 5));
    ck_ok(hone_gguf_set_strings(writer, "tokenizer.ggml.tokens", tokens, 5));
    ck_ok(hone_gguf_set_array(writer, "tokenizer.ggml.scores", HONE_GGUF_F32, scores, 5));
    ck_ok(hone_gguf_begin(writer, in_folder("tied.gguf")));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, in_folder("tied.gguf")));
    ck_fails(hone_tokenizer_to_folder(gguf, folder), HONE_ERR_UNSUPPORTED, "have the same score");
    ck_assert(!hone_path_exists(in_folder("tokenizer.json")));
    hone_gguf_close(gguf);
}
END_TEST

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

int main(void) {
    Suite *suite = suite_create("tokenizer_export");
    TCase *values = tcase_create("values"), *errors = tcase_create("errors");
    tcase_add_checked_fixture(values, make_folder, remove_folder);
    tcase_add_checked_fixture(errors, make_folder, remove_folder);
    tcase_set_timeout(values, 120);
    tcase_add_loop_test(values, to_gguf_fixture_gives_same_ids, 0, COUNT(fixtures));
    tcase_add_loop_test(values, to_gguf_real_tokenizer_gives_same_ids, 0, COUNT(sources));
    tcase_add_test(values, to_gguf_stories_equals_llama_cpps_converter);
    tcase_add_loop_test(values, to_folder_gives_same_ids, 0, COUNT(vocabs));
    tcase_add_loop_test(errors, to_gguf_what_gguf_cannot_say_is_refused_by_name, 0,
                        COUNT(bad_tokenizers));
    tcase_add_test(errors, to_gguf_merges_that_are_no_scores_are_refused);
    tcase_add_test(errors, to_folder_scores_that_tie_are_refused);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
