#include "text/tokenizer.h"

#include "base/alloc.h"
#include "base/file.h"
#include "tests/support.h"

#define SEEDS HONE_TEST_FIXTURES "/../fuzz/corpus/tokenizer/"

/* --- Helpers --- */

static hone_tokenizer *load(const char *name) {
    hone_tokenizer *tokenizer;
    char path[1200];
    snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : SEEDS, name);
    if (!strstr(path, ".gguf")) {
        ck_ok(hone_tokenizer_load_json(&tokenizer, path));
        return tokenizer;
    }
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, path));
    ck_ok(hone_tokenizer_load_gguf(&tokenizer, gguf));
    hone_gguf_close(gguf);
    return tokenizer;
}

static const hone_encode_options plain = {0};
static const hone_encode_options parsed = {.parse_special = true};
static const hone_encode_options whole = {.parse_special = true, .add_special = true};

/* The pieces of a text with bars between, in a static buffer; special tokens in full. */
static const char *pieces(const hone_tokenizer *tokenizer, const char *text, size_t length,
                          const hone_encode_options *options) {
    static char line[4096];
    hone_encoding out = {0};
    hone_buf buf = {0};
    ck_ok(hone_tokenizer_encode(tokenizer, &out, text, length, options));
    for (size_t i = 0; i < out.count; i++) {
        if (i) ck_ok(hone_buf_puts(&buf, "|"));
        ck_ok(hone_tokenizer_piece(tokenizer, &buf, out.ids[i], true));
    }
    snprintf(line, sizeof line, "%s", buf.data ? buf.data : "");
    hone_buf_free(&buf);
    hone_encoding_free(&out);
    return line;
}

#define ck_pieces(tokenizer, text, options, expected)                                              \
    ck_assert_str_eq(pieces(tokenizer, text, strlen(text), options), expected)

/* --- Values --- */

START_TEST(encode_byte_level_merges_by_rank) {
    hone_tokenizer *tokenizer = load("byte-level.json");
    ck_pieces(tokenizer, "hello wor", &plain, "hello| wor");
    ck_pieces(tokenizer, "hell", &plain, "hell");
    ck_pieces(tokenizer, "xhe", &plain, "x|he");
    ck_pieces(tokenizer, "1234", &plain, "12|3|4");
    ck_pieces(tokenizer, "", &whole, "<|end|>");
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(encode_added_tokens_strip_and_words) {
    hone_tokenizer *tokenizer = load("byte-level.json");
    ck_pieces(tokenizer, "a<|end|>b", &parsed, "a|<|end|>|b");
    ck_pieces(tokenizer, "a<|end|>", &plain, "a|<|||e|n|d|||>");
    ck_pieces(tokenizer, "a <user>", &plain, "a| |<user>");
    ck_pieces(tokenizer, "a  <|strip|> \n b", &parsed, "a|<|strip|>|b");
    ck_pieces(tokenizer, "word words", &plain, "word| wor|d|s");
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(encode_literal_spans_hold_no_control_tokens) {
    hone_tokenizer *tokenizer = load("byte-level.json");
    const char *text = "<|end|><|end|><user>";
    hone_span literal = {7, 20};
    hone_encode_options options = {.parse_special = true, .literal = &literal, .literal_count = 1};
    ck_pieces(tokenizer, text, &options, "<|end|>|<|||e|n|d|||>|<user>");
    literal = (hone_span){6, 7}; /* touches the first by one byte */
    ck_pieces(tokenizer, text, &options, "<|||e|n|d|||>|<|end|>|<user>");
    hone_tokenizer_free(tokenizer);
}
END_TEST

static void check_span(const hone_encoding *out, size_t index, size_t begin, size_t end) {
    ck_assert_uint_lt(index, out->count);
    ck_assert_uint_eq(out->spans[index].begin, begin);
    ck_assert_uint_eq(out->spans[index].end, end);
}

START_TEST(encode_normalised_text_spans_cover_the_input) {
    hone_tokenizer *tokenizer = load("byte-level.json");
    hone_encoding out = {0};
    const char *text = "he"
                       "e\xcc\x81"
                       "ll"; /* he, e with an accent in two characters, ll */
    ck_ok(hone_tokenizer_encode(tokenizer, &out, text, strlen(text), &whole));
    ck_assert_uint_eq(out.count, 4);
    check_span(&out, 0, 0, 0);
    check_span(&out, 1, 0, 2);
    check_span(&out, 2, 2, 5);
    check_span(&out, 3, 5, 7);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(encode_invalid_utf8_reads_as_replaced) {
    hone_tokenizer *tokenizer = load("sentencepiece.json");
    hone_encoding out = {0};
    /* a cut sequence of two bytes and a stray byte: two replacements of three bytes each */
    ck_ok(hone_tokenizer_encode(tokenizer, &out, "h\xe2\x96\xffo", 5, &plain));
    ck_assert_uint_eq(out.count, 9); /* marker, h, 3, 3, o */
    check_span(&out, 0, 0, 0);
    check_span(&out, 2, 1, 3);
    check_span(&out, 4, 1, 3);
    check_span(&out, 5, 3, 4);
    check_span(&out, 8, 4, 5);
    hone_buf text = {0};
    ck_ok(hone_tokenizer_decode(tokenizer, &text, out.ids, out.count, false));
    ck_assert_str_eq(text.data, "h\xef\xbf\xbd\xef\xbf\xbdo");
    hone_buf_free(&text);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(encode_sentencepiece_prefix_and_fallback) {
    for (int i = 0; i < 2; i++) {
        hone_tokenizer *tokenizer = load(i ? "sentencepiece.gguf" : "sentencepiece.json");
        ck_pieces(tokenizer, "hello", &plain, " hello");
        ck_pieces(tokenizer, " hello", &plain, " | hello");
        ck_pieces(tokenizer, "<s>hello w", &parsed, "<s>| hello| w");
        ck_pieces(tokenizer, "\xc3\xa9", &plain, " |\xc3|\xa9");
        ck_pieces(tokenizer, "", &plain, "");
        hone_tokenizer_free(tokenizer);
    }
}
END_TEST

START_TEST(encode_gguf_user_tokens_always_cut) {
    hone_tokenizer *tokenizer = load("byte-level.gguf");
    ck_pieces(tokenizer, "<user>hello<|im_end|>", &plain, "<user>|hello|<|||i|m|_|e|n|d|||>");
    ck_pieces(tokenizer, "hello<|im_end|>", &parsed, "hello|<|im_end|>");
    ck_assert_int_eq(hone_tokenizer_eos(tokenizer), hone_tokenizer_find(tokenizer, "<|im_end|>"));
    ck_assert(hone_tokenizer_ends(tokenizer, hone_tokenizer_eos(tokenizer)));
    ck_assert(!hone_tokenizer_ends(tokenizer, 0));
    ck_assert_int_eq(hone_tokenizer_bos(tokenizer), -1);
    ck_assert(!hone_tokenizer_adds_bos(tokenizer));
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(decode_control_tokens_only_when_special) {
    hone_tokenizer *tokenizer = load("sentencepiece.gguf");
    int32_t ids[] = {1, hone_tokenizer_find(tokenizer, "\xe2\x96\x81hello"), 2};
    hone_buf text = {0};
    ck_assert_int_ge(ids[1], 0);
    ck_ok(hone_tokenizer_decode(tokenizer, &text, ids, 3, false));
    ck_assert_str_eq(text.data, "hello");
    hone_buf_clear(&text);
    ck_ok(hone_tokenizer_decode(tokenizer, &text, ids, 3, true));
    ck_assert_str_eq(text.data, "<s> hello</s>");
    hone_buf_free(&text);
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(encode_long_piece_equals_many_short_ones) {
    /* the heap of long pieces and the scan of short ones take the same pairs */
    hone_tokenizer *tokenizer = load("byte-level.json");
    hone_encoding out = {0};
    hone_buf text = {0};
    for (int i = 0; i < 20000; i++) ck_ok(hone_buf_puts(&text, "hellohe"));
    ck_ok(hone_tokenizer_encode(tokenizer, &out, text.data, text.length, &plain));
    ck_assert_uint_eq(out.count, 40000);
    for (size_t i = 0; i < out.count; i++) {
        size_t begin = i / 2 * 7 + (i % 2 ? 5 : 0);
        check_span(&out, i, begin, begin + (i % 2 ? 2 : 5));
    }
    hone_buf_free(&text);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(vocabulary_hash_sees_tokens_and_no_rules) {
    static const char *const names[] = {"byte-level.json", "ignore-merges.json", "unigram.json"};
    char hashes[3][HONE_SHA256_TEXT];
    for (int i = 0; i < 3; i++) {
        hone_tokenizer *tokenizer = load(names[i]);
        ck_ok(hone_tokenizer_vocabulary_hash(hashes[i], tokenizer));
        hone_tokenizer_free(tokenizer);
    }
    ck_assert_str_eq(hashes[0], hashes[1]);
    ck_assert_str_ne(hashes[0], hashes[2]);
}
END_TEST

START_TEST(hash_equal_files_equal_and_others_not) {
    hone_tokenizer *one = load("byte-level.json");
    hone_tokenizer *same = load("byte-level.json");
    hone_tokenizer *other = load("ignore-merges.json");
    ck_assert_uint_eq(strlen(hone_tokenizer_hash(one)), 64);
    ck_assert_str_eq(hone_tokenizer_hash(one), hone_tokenizer_hash(same));
    ck_assert_str_ne(hone_tokenizer_hash(one), hone_tokenizer_hash(other));
    hone_tokenizer_free(one);
    hone_tokenizer_free(same);
    hone_tokenizer_free(other);
}
END_TEST

/* --- The shared vocabularies: strings and the ids llama.cpp gives them --- */

static const char separator[] = "\n__ggml_vocab_test__\n";

/* The numbers of a line equal the encoding; *line steps over it. */
static void check_line(const hone_encoding *out, char **line, size_t index) {
    for (size_t i = 0; i < out->count; i++) {
        char *end;
        long id = strtol(*line, &end, 10);
        ck_assert_msg(end != *line && id == out->ids[i], "string %zu, token %zu: %ld, not %d",
                      index, i, id, out->ids[i]);
        *line = end;
    }
    *line += strspn(*line, " ");
    ck_assert_msg(**line == '\n' || **line == '\0', "string %zu: too few tokens", index);
    if (**line) (*line)++;
}

static void check_vocabulary(const char *name) {
    hone_buf input = {0};
    hone_buf output = {0};
    hone_encoding out = {0};
    char path[1100];
    hone_tokenizer *tokenizer = load(name);
    snprintf(path, sizeof path, "%s.inp", name);
    ck_ok(hone_file_get(&input, path));
    snprintf(path, sizeof path, "%s.out", name);
    ck_ok(hone_file_get(&output, path));
    char *line = output.data;
    size_t count = 0;
    for (char *text = input.data; *line; count++) {
        char *end = strstr(text, separator);
        ck_assert_ptr_nonnull(end);
        hone_encoding_clear(&out);
        ck_ok(hone_tokenizer_encode(tokenizer, &out, text, (size_t)(end - text), &plain));
        check_line(&out, &line, count);
        text = end + strlen(separator);
    }
    ck_assert_uint_eq(count, 46);
    hone_buf_free(&input);
    hone_buf_free(&output);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
}

static const struct {
    const char *json, *text, *pieces;
} small[] = {
    /* Two cuts of the same pieces differ by the last bit of a sum: scores are read as the tokenizers library does. */
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],"
     "[\"11\",-2.8441370833537682],[\"111111\",-4.176961619561911]]}}",
     "1111111111111111", " 11| 11| 111111| 111111"},
    /* Added white space that the one before it takes is no token. */
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1,"
     "\"content\":\"\\n\\n\",\"lstrip\":true,\"rstrip\":true}]}",
     "a\n\n\n\na", " a| \n\n| a"},
};
enum { SMALL = sizeof small / sizeof *small };

START_TEST(encode_small_vocabulary_as_the_library_does) {
    hone_tokenizer *tokenizer;
    ck_ok(hone_tokenizer_load_bytes(&tokenizer, small[_i].json, strlen(small[_i].json), "small"));
    ck_pieces(tokenizer, small[_i].text, &plain, small[_i].pieces);
    hone_tokenizer_free(tokenizer);
}
END_TEST

static const char *const vocabularies[] = {"gpt-2",     "qwen2", "starcoder", "mpt",
                                           "llama-spm", "phi-3", NULL};

START_TEST(encode_shared_vocabularies_exact) {
    char name[64];
    for (int i = 0; vocabularies[i]; i++) {
        snprintf(name, sizeof name, "vocab/ggml-vocab-%s.gguf", vocabularies[i]);
        const char *path = hone_test_data(name);
        if (!path) return;
        char copy[1024];
        snprintf(copy, sizeof copy, "%s", path);
        check_vocabulary(copy);
    }
}
END_TEST

START_TEST(encode_llama3_vocabulary_exact) {
    const char *path = hone_test_data("vocab/llama3/ggml-vocab-llama-bpe.gguf");
    if (!path) return;
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", path);
    check_vocabulary(copy);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizer");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_test(values, encode_byte_level_merges_by_rank);
    tcase_add_test(values, encode_added_tokens_strip_and_words);
    tcase_add_test(values, encode_literal_spans_hold_no_control_tokens);
    tcase_add_test(values, encode_normalised_text_spans_cover_the_input);
    tcase_add_test(values, encode_invalid_utf8_reads_as_replaced);
    tcase_add_test(values, encode_sentencepiece_prefix_and_fallback);
    tcase_add_test(values, encode_gguf_user_tokens_always_cut);
    tcase_add_test(values, decode_control_tokens_only_when_special);
    tcase_add_test(values, encode_long_piece_equals_many_short_ones);
    tcase_add_test(values, hash_equal_files_equal_and_others_not);
    tcase_add_test(values, vocabulary_hash_sees_tokens_and_no_rules);
    tcase_add_loop_test(values, encode_small_vocabulary_as_the_library_does, 0, SMALL);
    tcase_add_test(values, encode_shared_vocabularies_exact);
    tcase_add_test(values, encode_llama3_vocabulary_exact);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
