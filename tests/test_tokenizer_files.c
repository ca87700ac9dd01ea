#include "base/alloc.h"
#include "base/file.h"
#include "formats/gguf_writer.h"
#include "tests/support.h"
#include "text/tokenizer.h"

#define SEEDS HONE_TEST_FIXTURES "/../fuzz/corpus/tokenizer/"

/* --- tokenizer.json with one fault --- */

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<e>\":3}"
#define AROUND                                                                                     \
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"<e>\",3],\"sep\":[\"b\",1]}"
#define CLS_SEP "{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",1]}"
#define MODEL   "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\"]}"

typedef struct bad_file {
    const char *json;
    hone_status status;
    const char *message; /* part of it */
} bad_file;

static const bad_file bad_files[] = {
    {"{", HONE_ERR_FORMAT, "bad.json"},
    {"[1]", HONE_ERR_FORMAT, "bad.json: array"},
    {"{}", HONE_ERR_FORMAT, "model"},
    {"{\"model\":{\"type\":\"Char\"}}", HONE_ERR_UNSUPPORTED, "'Char' is not known"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"x\"},\"merges\":[]}}", HONE_ERR_FORMAT,
     "model.vocab: the id of 'a' is string"},
    {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", HONE_ERR_FORMAT, "same id 0"},
    {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", HONE_ERR_FORMAT, "the id -1"},
    {"{\"model\":{\"vocab\":{\"a\":2000000000},\"merges\":[]}}", HONE_ERR_FORMAT, "out of range"},
    {"{\"model\":{\"type\":\"BPE\"," VOCAB "}}", HONE_ERR_FORMAT, "merges"},
    {"{\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", HONE_ERR_FORMAT, "model.merges[0] is no pair"},
    {"{\"model\":{" VOCAB ",\"merges\":[\"a b\",\"b a\"]}}", HONE_ERR_FORMAT, "model.merges[1]"},
    {"{\"model\":{" VOCAB ",\"merges\":[],\"unk_token\":\"<u>\"}}", HONE_ERR_FORMAT,
     "unk_token '<u>'"},
    {"{\"model\":{" VOCAB ",\"merges\":[],\"dropout\":0.1}}", HONE_ERR_UNSUPPORTED, "dropout"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5],[\"b\"]]}}", HONE_ERR_FORMAT,
     "model.vocab[1] is no token with its score"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5]],\"unk_id\":1}}", HONE_ERR_FORMAT,
     "unk_id"},
    {"{\"model\":{\"type\":\"WordPiece\"," VOCAB "}}", HONE_ERR_FORMAT,
     "continuing_subword_prefix"},
    {"{\"model\":{\"type\":\"WordLevel\"," VOCAB "}}", HONE_ERR_FORMAT, "unk_token"},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"?\"}}",
     HONE_ERR_FORMAT, "precompiled_charsmap is no base64"},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}}",
     HONE_ERR_FORMAT, "no table of replacements"},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Latin\"}}", HONE_ERR_UNSUPPORTED,
     "normalizer: the component 'Latin' is not known"},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Foo\"}]}}",
     HONE_ERR_UNSUPPORTED, "'Foo' is not known"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Jieba\"}}", HONE_ERR_UNSUPPORTED,
     "pre_tokenizer: the component 'Jieba' is not known"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"ab\"}}",
     HONE_ERR_FORMAT, "'delimiter' must be one character"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}}", HONE_ERR_FORMAT,
     "length"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}}",
     HONE_ERR_UNSUPPORTED, "a group that is not closed"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?<=a+)b\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}}",
     HONE_ERR_UNSUPPORTED, "does not compile"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\\\\Kb\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}}",
     HONE_ERR_UNSUPPORTED, "byte 1: \\K is not supported"},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},"
     "\"behavior\":\"Sideways\",\"invert\":false}}",
     HONE_ERR_UNSUPPORTED, "behavior 'Sideways'"},
    {"{" MODEL ",\"post_processor\":{\"type\":\"Foo\"}}", HONE_ERR_UNSUPPORTED,
     "post_processor: the component 'Foo' is not known"},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
     "[{\"SpecialToken\":{\"id\":\"<e>\"}}],\"special_tokens\":{}}}",
     HONE_ERR_FORMAT, "special_tokens lacks the ids of '<e>'"},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
     "[{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}],"
     "\"special_tokens\":{\"<e>\":{\"ids\":[9]}}}}",
     HONE_ERR_FORMAT, "there is no token 9"},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],"
     "\"special_tokens\":{}}}",
     HONE_ERR_UNSUPPORTED, "single 'without the text' is not supported"},
    {"{" MODEL ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[" CLS_SEP "," CLS_SEP
     "]}}",
     HONE_ERR_UNSUPPORTED, "a second part that adds tokens, 'BertProcessing'"},
    {"{" MODEL ",\"decoder\":{\"type\":\"Foo\"}}", HONE_ERR_UNSUPPORTED,
     "decoder: the component 'Foo' is not known"},
    {"{" MODEL ",\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"\"}}", HONE_ERR_UNSUPPORTED,
     "BPEDecoder with the suffix ''"},
    {"{" MODEL ",\"added_tokens\":[{\"id\":1,\"content\":\"<x>\"}]}", HONE_ERR_FORMAT,
     "'<x>' has the id 1 of 'b'"},
    {"{" MODEL ",\"added_tokens\":[{\"id\":7}]}", HONE_ERR_FORMAT, "lacks its 'content'"},
};

START_TEST(load_bytes_malformed_refused_by_place) {
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        const bad_file *bad = &bad_files[i];
        hone_tokenizer *tokenizer = NULL;
        ck_fails(hone_tokenizer_load_bytes(&tokenizer, bad->json, strlen(bad->json), "bad.json"),
                 bad->status, bad->message);
        ck_assert_ptr_null(tokenizer);
    }
}
END_TEST

START_TEST(load_bytes_cut_anywhere_refused) {
    hone_buf whole = {0};
    ck_ok(hone_file_get(&whole, SEEDS "sentencepiece.json"));
    for (size_t length = 0; length < whole.length; length += 37) {
        hone_tokenizer *tokenizer;
        hone_status status = hone_tokenizer_load_bytes(&tokenizer, whole.data, length, "cut.json");
        ck_assert_int_eq(status, HONE_ERR_FORMAT);
    }
    hone_buf_free(&whole);
}
END_TEST

#define MODELS HONE_TEST_FIXTURES "/../fuzz/corpus/sentencepiece/"

START_TEST(load_spm_cut_anywhere_is_read_or_refused) {
    hone_buf whole = {0};
    ck_ok(hone_file_get(&whole, MODELS "unigram.model"));
    for (size_t length = 0; length < whole.length; length++) {
        hone_tokenizer *tokenizer = NULL;
        hone_status status = hone_tokenizer_load_spm(&tokenizer, whole.data, length, "cut.model");
        ck_assert(status == HONE_OK || status == HONE_ERR_FORMAT);
        if (status != HONE_OK) ck_assert_ptr_nonnull(strstr(hone_fail_message(), "cut.model"));
        hone_tokenizer_free(tokenizer);
    }
    hone_buf_free(&whole);
}
END_TEST

START_TEST(load_spm_of_words_refused_by_name) {
    hone_buf whole = {0};
    hone_tokenizer *tokenizer = NULL;
    ck_ok(hone_file_get(&whole, MODELS "words.model"));
    ck_fails(hone_tokenizer_load_spm(&tokenizer, whole.data, whole.length, "words.model"),
             HONE_ERR_UNSUPPORTED, "trainer_spec.model_type 3 is not supported");
    hone_buf_free(&whole);
}
END_TEST

/* --- Folders --- */

static char folder[] = "/tmp/hone-tokenizer-XXXXXX";

static void put(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_ok(hone_file_put(path, text, strlen(text)));
}

static void make_folder(void) {
    strcpy(folder, "/tmp/hone-tokenizer-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void drop_folder(void) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "config.json",
                                        "generation_config.json", "t.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

START_TEST(load_folder_configs_set_bos_eos_and_ends) {
    hone_tokenizer *tokenizer;
    hone_encoding out = {0};
    hone_encode_options options = {.add_special = true};
    put("tokenizer.json", "{" MODEL "," AROUND "}");
    put("tokenizer_config.json",
        "{\"bos_token\":{\"content\":\"<e>\"},\"eos_token\":\"<n>\",\"add_bos_token\":false,"
        "\"added_tokens_decoder\":{\"4\":{\"content\":\"<n>\","
        "\"special\":true}}}");
    put("generation_config.json", "{\"eos_token_id\":[4,2]}");
    ck_ok(hone_tokenizer_load_folder(&tokenizer, folder));
    ck_assert_int_eq(hone_tokenizer_size(tokenizer), 5);
    ck_assert_int_eq(hone_tokenizer_bos(tokenizer), 3);
    ck_assert_int_eq(hone_tokenizer_eos(tokenizer), 4);
    ck_assert(hone_tokenizer_adds_bos(tokenizer) && !hone_tokenizer_adds_eos(tokenizer));
    ck_assert(hone_tokenizer_ends(tokenizer, 4) && hone_tokenizer_ends(tokenizer, 2));
    ck_assert(!hone_tokenizer_ends(tokenizer, 0));
    ck_ok(hone_tokenizer_encode(tokenizer, &out, "ab", 2, &options));
    ck_assert_uint_eq(out.count, 3);
    ck_assert_int_eq(out.ids[0], 3);
    ck_assert_int_eq(out.ids[1], 2);
    ck_assert_int_eq(out.ids[2], 1);
    ck_assert_uint_eq(out.spans[2].begin, 2);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(load_folder_faulty_configs_named) {
    hone_tokenizer *tokenizer;
    ck_fails(hone_tokenizer_load_folder(&tokenizer, folder), HONE_ERR_IO, "tokenizer.json");
    put("tokenizer.json", "{" MODEL "}");
    put("tokenizer_config.json", "{\"bos_token\":\"<nope>\"}");
    ck_fails(hone_tokenizer_load_folder(&tokenizer, folder), HONE_ERR_FORMAT, "'<nope>'");
    put("tokenizer_config.json", "{\"eos_token\":7}");
    ck_fails(hone_tokenizer_load_folder(&tokenizer, folder), HONE_ERR_FORMAT,
             "tokenizer_config.json: 'eos_token'");
    put("tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}");
    ck_fails(hone_tokenizer_load_folder(&tokenizer, folder), HONE_ERR_FORMAT, "'x' is no token id");
    put("tokenizer_config.json", "{}");
    put("config.json", "{\"eos_token_id\":\"x\"}");
    ck_fails(hone_tokenizer_load_folder(&tokenizer, folder), HONE_ERR_FORMAT,
             "config.json: eos_token_id");
}
END_TEST

/* --- GGUF --- */

#define KEY(name) "tokenizer.ggml." name

typedef enum gguf_fault {
    MODEL_UNKNOWN,
    PRE_UNKNOWN,
    MERGES_ABSENT,
    NO_TOKENS,
    FEW_TYPES,
    MERGE_ALONE,
    NO_SCORES,
    FEW_SCORES,
    NAN_SCORE,
    BOS_OUTSIDE,
    FAULTS,
} gguf_fault;

static const struct {
    hone_status status;
    const char *message;
} gguf_faults[FAULTS] = {
    [MODEL_UNKNOWN] = {HONE_ERR_UNSUPPORTED, "the tokenizer 'bert' is not known; known are gpt2"},
    [PRE_UNKNOWN] = {HONE_ERR_UNSUPPORTED,
                     "the pre-tokenizer 'nope' is not known; known are gpt-2"},
    [MERGES_ABSENT] = {HONE_ERR_FORMAT, KEY("merges")},
    [NO_TOKENS] = {HONE_ERR_FORMAT, KEY("tokens")},
    [FEW_TYPES] = {HONE_ERR_FORMAT, KEY("token_type") ": 1 types for 3 tokens"},
    [MERGE_ALONE] = {HONE_ERR_FORMAT, KEY("merges") "[0] is no pair"},
    [NO_SCORES] = {HONE_ERR_FORMAT, KEY("scores")},
    [FEW_SCORES] = {HONE_ERR_FORMAT, KEY("scores") ": 1 scores for 3 tokens"},
    [NAN_SCORE] = {HONE_ERR_FORMAT, KEY("scores") "[1] is NaN"},
    [BOS_OUTSIDE] = {HONE_ERR_FORMAT, KEY("bos_token_id")},
};

static void write_text(hone_gguf_writer *writer, const char *key, const char *text) {
    ck_ok(hone_gguf_set_string(writer, key, text, strlen(text)));
}

static void write_faulty(const char *path, gguf_fault fault) {
    hone_gguf_writer *writer;
    bool spm = fault == NO_SCORES || fault == FEW_SCORES || fault == NAN_SCORE;
    hone_gguf_string tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}};
    hone_gguf_string merges[] = {{"a b", fault == MERGE_ALONE ? 1 : 3}};
    int32_t types[] = {1, 1, 1};
    float scores[] = {0.0f, fault == NAN_SCORE ? __builtin_nanf("") : -1.0f, -2.0f};
    ck_ok(hone_gguf_writer_new(&writer));
    write_text(writer, KEY("model"), fault == MODEL_UNKNOWN ? "bert" : spm ? "llama" : "gpt2");
    /* without a name the old default holds, as in llama.cpp */
    if (fault != FAULTS) write_text(writer, KEY("pre"), fault == PRE_UNKNOWN ? "nope" : "qwen2");
    if (fault != NO_TOKENS) ck_ok(hone_gguf_set_strings(writer, KEY("tokens"), tokens, 3));
    ck_ok(hone_gguf_set_array(writer, KEY("token_type"), HONE_GGUF_I32, types,
                              fault == FEW_TYPES ? 1 : 3));
    if (!spm && fault != MERGES_ABSENT) {
        ck_ok(hone_gguf_set_strings(writer, KEY("merges"), merges, 1));
    }
    if (spm && fault != NO_SCORES) {
        ck_ok(hone_gguf_set_array(writer, KEY("scores"), HONE_GGUF_F32, scores,
                                  fault == FEW_SCORES ? 1 : 3));
    }
    ck_ok(hone_gguf_set_u32(writer, KEY("bos_token_id"), fault == BOS_OUTSIDE ? 3 : 1));
    ck_ok(hone_gguf_begin(writer, path));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
}

START_TEST(load_gguf_faulty_metadata_named) {
    char path[128];
    snprintf(path, sizeof path, "%s/t.gguf", folder);
    for (int fault = 0; fault <= FAULTS; fault++) { /* the last one has none */
        hone_gguf *gguf;
        hone_tokenizer *tokenizer = NULL;
        write_faulty(path, (gguf_fault)fault);
        ck_ok(hone_gguf_open(&gguf, path));
        if (fault == FAULTS) {
            ck_ok(hone_tokenizer_load_gguf(&tokenizer, gguf));
        } else {
            ck_fails(hone_tokenizer_load_gguf(&tokenizer, gguf), gguf_faults[fault].status,
                     gguf_faults[fault].message);
            ck_assert_ptr_nonnull(strstr(hone_fail_message(), "t.gguf"));
        }
        hone_tokenizer_free(tokenizer);
        hone_gguf_close(gguf);
    }
}
END_TEST

/* --- Memory --- */

static hone_status load_and_encode(const char *path) {
    hone_tokenizer *tokenizer;
    hone_encoding out = {0};
    hone_encode_options options = {.add_special = true, .parse_special = true};
    HONE_TRY(hone_tokenizer_load_json(&tokenizer, path));
    const char *text =
        "hello e\xcc\x81 \xff <|strip|> word hellohellohellohellohellohellohellohello";
    hone_status status = hone_tokenizer_encode(tokenizer, &out, text, strlen(text), &options);
    hone_encoding_free(&out);
    hone_tokenizer_free(tokenizer);
    return status;
}

START_TEST(load_and_encode_out_of_memory_anywhere_fails_clean) {
    static const char *const names[] = {SEEDS "byte-level.json", SEEDS "sentencepiece.json",
                                        SEEDS "parts.json"};
    for (int i = 0; i < 3; i++) {
        int refused = 0;
        for (int n = 1; n <= 300; n++) { /* a regular expression without JIT code still works */
            hone_alloc_fail_at(n);
            hone_status status = load_and_encode(names[i]);
            ck_assert_msg(status == HONE_OK || status == HONE_ERR_MEMORY, "allocation %d: %s", n,
                          hone_fail_message());
            if (status != HONE_OK) refused++;
        }
        hone_alloc_fail_at(0);
        ck_assert_int_gt(refused, 20);
        ck_assert_int_lt(refused, 300);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizer files");
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 60);
    tcase_add_checked_fixture(errors, make_folder, drop_folder);
    tcase_add_test(errors, load_bytes_malformed_refused_by_place);
    tcase_add_test(errors, load_bytes_cut_anywhere_refused);
    tcase_add_test(errors, load_spm_cut_anywhere_is_read_or_refused);
    tcase_add_test(errors, load_spm_of_words_refused_by_name);
    tcase_add_test(errors, load_folder_configs_set_bos_eos_and_ends);
    tcase_add_test(errors, load_folder_faulty_configs_named);
    tcase_add_test(errors, load_gguf_faulty_metadata_named);
    tcase_add_test(errors, load_and_encode_out_of_memory_anywhere_fails_clean);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
