/* Samples and batches: ids and masks to the token, the length policies, the cache, the cursor. */
#include "data/batch.h"
#include "data/samples.h"
#include "tests/data_support.h"

/* --- a tokenizer with one token a character -------------------------------------------------------------------- */

/* ASCII by the byte-level alphabet (space is U+0120, line end U+010A), no merges; four control tokens. */
static void put_tokenizer(bool add_bos) {
    hone_buf json = {0};
    ck_ok(hone_buf_puts(&json, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{"
                               "\"\\u0120\":0,\"\\u010a\":1"));
    for (int c = 33; c < 127; c++)
        ck_ok(hone_buf_printf(&json, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c));
    ck_ok(hone_buf_puts(&json, "}},\"added_tokens\":["));
    static const char *const specials[] = {"<|im_start|>", "<|im_end|>", "<s>", "</s>"};
    for (int i = 0; i < 4; i++)
        ck_ok(hone_buf_printf(&json,
                              "%s{\"id\":%d,\"content\":\"%s\",\"special\":true,"
                              "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                              "\"normalized\":false}",
                              i ? "," : "", 200 + i, specials[i]));
    ck_ok(hone_buf_puts(&json, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                               "\"add_prefix_space\":false,\"trim_offsets\":true,"
                               "\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"},"
                               "\"post_processor\":"));
    ck_ok(hone_buf_puts(&json, add_bos
                                   ? "{\"type\":\"TemplateProcessing\",\"single\":["
                                     "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
                                     "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
                                     "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[202],"
                                     "\"tokens\":[\"<s>\"]}}}}"
                                   : "null}"));
    ck_ok(hone_dir_make(test_path("tok")));
    put_bytes("tok/tokenizer.json", json.data, json.length);
    hone_buf_free(&json);
    put_file("tok/tokenizer_config.json", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
}

/* Everything a test has open. */
typedef struct bench {
    hone_tokenizer *tokenizer;
    hone_datafile *data;
    hone_samples *samples;
    hone_chat_template *chat;
} bench;

static bench open_bench(const char *tokenizer_folder) {
    bench b = {0};
    ck_ok(hone_tokenizer_load_folder(&b.tokenizer, tokenizer_folder));
    ck_ok(hone_datafile_open(&b.data, test_path("data.h5")));
    return b;
}

static hone_status open_samples(bench *b, const char *chat, hone_samples_options options) {
    hone_samples_free(b->samples);
    b->samples = NULL;
    hone_chat_template_free(b->chat);
    b->chat = NULL;
    if (chat) ck_ok(hone_chat_template_named(&b->chat, chat));
    return hone_samples_open(&b->samples, b->data, b->tokenizer, b->chat, &options);
}

static void close_bench(bench *b) {
    hone_samples_free(b->samples);
    hone_chat_template_free(b->chat);
    hone_datafile_free(b->data);
    hone_tokenizer_free(b->tokenizer);
}

static bench bench_of(const char *jsonl) {
    put_tokenizer(false);
    add_file(put_file("in.jsonl", jsonl));
    return open_bench(test_path("tok"));
}

/* The text of a sample, targets only when `targets`. */
static void check_text(const bench *b, int64_t index, bool targets, const char *want) {
    hone_sample sample = {0};
    hone_buf text = {0};
    ck_ok(hone_samples_read(&sample, b->samples, index));
    for (int32_t i = 0; i < sample.info.length; i++) {
        if (sample.mask[i] || !targets)
            ck_ok(hone_tokenizer_piece(b->tokenizer, &text, sample.ids[i], true));
    }
    ck_assert_str_eq(text.data ? text.data : "", want);
    hone_buf_free(&text);
    hone_sample_free(&sample);
}

/* --- samples --------------------------------------------------------------------------------------------------- */

START_TEST(samples_text_all_but_first_are_targets) {
    bench b = bench_of("{\"text\":\"ab c<s>\"}\n");
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    ck_assert_int_eq(hone_samples_count(b.samples), 1);
    check_text(&b, 0, false, "ab c<s></s>");
    check_text(&b, 0, true, "b c<s></s>");
    hone_sample sample = {0};
    hone_buf text = {0};
    ck_ok(hone_samples_read(&sample, b.samples, 0));
    ck_assert_int_eq(sample.info.length, 8); /* "<s>" in what people wrote is three tokens */
    ck_assert_int_eq(sample.info.supervised, 7);
    ck_ok(hone_samples_text(&text, b.samples, &sample));
    ck_assert_str_eq(text.data, "ab c<s></s>");
    hone_buf_free(&text);
    hone_sample_free(&sample);
    close_bench(&b);
}
END_TEST

START_TEST(samples_text_with_bos_starts_with_it) {
    put_tokenizer(true);
    add_file(put_file("in.txt", "ab"));
    bench b = open_bench(test_path("tok"));
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    check_text(&b, 0, false, "<s>ab</s>");
    check_text(&b, 0, true, "ab</s>");
    close_bench(&b);
}
END_TEST

static const char two_turns[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U1\"},"
    "{\"role\":\"assistant\",\"content\":\"A<|im_end|>1\"},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":\"A2\"}]}\n";

START_TEST(samples_messages_answers_and_end_tokens_are_targets) {
    bench b = bench_of(two_turns);
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){0}));
    check_text(&b, 0, true, "A<|im_end|>1<|im_end|>A2<|im_end|>");
    check_text(&b, 0, false,
               "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
               "<|im_start|>assistant\nA<|im_end|>1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n"
               "<|im_start|>assistant\nA2<|im_end|>\n");
    hone_sample sample = {0};
    ck_ok(hone_samples_read(&sample, b.samples, 0));
    /* "A<|im_end|>1" of a person is 12 characters, then the control token; "A2" and another. */
    ck_assert_int_eq(sample.info.supervised, 12 + 1 + 2 + 1);
    hone_sample_free(&sample);
    ck_ok(open_samples(&b, "plain", (hone_samples_options){0}));
    check_text(&b, 0, false, "S\nU1\nA<|im_end|>1</s>\nU2\nA2</s>");
    ck_ok(open_samples(&b, "llama-2", (hone_samples_options){0}));
    check_text(&b, 0, true, " A<|im_end|>1 </s> A2 </s>");
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){.train_on = HONE_TRAIN_ON_ALL}));
    ck_ok(hone_samples_read(&sample, b.samples, 0));
    ck_assert_int_eq(sample.info.supervised, sample.info.length - 1);
    hone_sample_free(&sample);
    close_bench(&b);
}
END_TEST

START_TEST(samples_too_long_follow_the_policy) {
    bench b = bench_of("{\"text\":\"abcdefghij\"}\n{\"text\":\"xyz\"}\n{\"text\":\"0123456\"}\n");
    hone_samples_options options = {.seq_len = 5};
    ck_fails(open_samples(&b, NULL, options), HONE_ERR_DATA,
             "2 of 3 records are longer than 5 tokens; the longest, record 0, has 11");
    options.overlong = HONE_OVERLONG_TRUNCATE;
    ck_ok(open_samples(&b, NULL, options));
    ck_assert_int_eq(hone_samples_count(b.samples), 3);
    check_text(&b, 0, false, "abcde");
    check_text(&b, 1, false, "xyz</s>");
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->truncated, 2);
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->longest, 11);
    options.overlong = HONE_OVERLONG_DROP;
    ck_ok(open_samples(&b, NULL, options));
    ck_assert_int_eq(hone_samples_count(b.samples), 1);
    check_text(&b, 0, false, "xyz</s>");
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->dropped, 2);
    options.overlong = HONE_OVERLONG_SPLIT;
    ck_ok(open_samples(&b, NULL, options));
    static const char *const pieces[] = {"abcde", "efghi", "ij</s>", "xyz</s>", "01234", "456</s>"};
    static const char *const targets[] = {"bcde", "fghi", "j</s>", "yz</s>", "1234", "56</s>"};
    ck_assert_int_eq(hone_samples_count(b.samples), 6);
    for (int64_t i = 0; i < 6; i++) {
        check_text(&b, i, false, pieces[i]);
        check_text(&b, i, true, targets[i]);
    }
    hone_sample_info info;
    ck_ok(hone_samples_info(&info, b.samples, 2));
    ck_assert_int_eq(info.record, 0);
    ck_assert_int_eq(info.part, 2);
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->split, 2);
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->supervised, 10 + 3 + 7);
    close_bench(&b);
}
END_TEST

START_TEST(samples_without_targets_counted_and_left_out) {
    bench b = bench_of("{\"messages\":[{\"role\":\"user\",\"content\":\"U\"}]}\n"
                       "{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},"
                       "{\"role\":\"assistant\",\"content\":\"A\"}]}\n");
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){0}));
    ck_assert_int_eq(hone_samples_count(b.samples), 1);
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->unsupervised, 1);
    ck_assert_int_eq(hone_samples_ledger_of(b.samples)->records, 2);
    close_bench(&b);
}
END_TEST

/* --- the cache ------------------------------------------------------------------------------------------------- */

START_TEST(cache_is_kept_found_again_and_private) {
    bench b = bench_of("{\"text\":\"abc\"}\n");
    hone_samples_options options = {.seq_len = 16};
    ck_ok(open_samples(&b, NULL, options));
    char path[512];
    char key[HONE_SHA256_TEXT];
    snprintf(path, sizeof path, "%s", hone_samples_cache_path(b.samples));
    snprintf(key, sizeof key, "%s", hone_samples_key(b.samples));
    struct stat first;
    struct stat second;
    ck_assert_int_eq(stat(path, &first), 0);
    ck_assert_uint_eq(first.st_mode & 0777, 0600);
    ck_ok(open_samples(&b, NULL, options));
    ck_assert_str_eq(hone_samples_cache_path(b.samples), path);
    ck_assert_int_eq(stat(path, &second), 0);
    ck_assert_uint_eq(first.st_ino, second.st_ino);
    options.eval_fraction = 0.5; /* another split of the same tokens */
    ck_ok(open_samples(&b, NULL, options));
    ck_assert_str_eq(hone_samples_key(b.samples), key);
    options.seq_len = 17;
    ck_ok(open_samples(&b, NULL, options));
    ck_assert_str_ne(hone_samples_key(b.samples), key);
    close_bench(&b);
    add_file(put_file("more.txt", "more"));
    ck_assert(!hone_path_exists(path));
}
END_TEST

START_TEST(cache_cut_short_is_made_again) {
    bench b = bench_of("{\"text\":\"abc\"}\n");
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    char path[512];
    snprintf(path, sizeof path, "%s", hone_samples_cache_path(b.samples));
    hone_samples_free(b.samples);
    b.samples = NULL;
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    for (off_t size = info.st_size - 1; size >= 0; size -= 23) {
        ck_assert_int_eq(truncate(path, size), 0);
        ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
        check_text(&b, 0, false, "abc</s>");
    }
    close_bench(&b);
}
END_TEST

START_TEST(cache_with_a_foreign_id_refused) {
    bench b = bench_of("{\"text\":\"abc\"}\n");
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    char path[512];
    snprintf(path, sizeof path, "%s", hone_samples_cache_path(b.samples));
    hone_buf bytes = {0};
    ck_ok(hone_file_get(&bytes, path));
    uint32_t a = 'a';
    char *at = memmem(bytes.data, bytes.length, &a, sizeof a);
    ck_assert_ptr_nonnull(at);
    at[1] = 0x7f;
    ck_ok(hone_file_put(path, bytes.data, bytes.length));
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    hone_sample sample = {0};
    ck_fails(hone_samples_read(&sample, b.samples, 0), HONE_ERR_FORMAT, "token cache is damaged");
    hone_sample_free(&sample);
    hone_buf_free(&bytes);
    close_bench(&b);
}
END_TEST

START_TEST(no_cache_leaves_nothing_behind) {
    bench b = bench_of("{\"text\":\"abc\"}\n");
    ck_ok(open_samples(&b, NULL, (hone_samples_options){.no_cache = true}));
    check_text(&b, 0, false, "abc</s>");
    ck_assert_str_eq(hone_samples_cache_path(b.samples), "");
    char command[256];
    snprintf(command, sizeof command, "! ls '%s' | grep tokens", test_folder);
    ck_assert_int_eq(system(command), 0);
    close_bench(&b);
}
END_TEST

/* --- batches --------------------------------------------------------------------------------------------------- */

/* `count` conversations of differing lengths. */
static bench bench_of_many(int64_t count) {
    hone_buf text = {0};
    for (int64_t i = 0; i < count; i++)
        ck_ok(hone_buf_printf(&text, "{\"prompt\":\"q%lld\",\"completion\":\"%.*s%lld\"}\n",
                              (long long)i, (int)(i * 7 % 40),
                              "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                              (long long)i));
    bench b = bench_of(text.data);
    hone_buf_free(&text);
    return b;
}

static void check_batch(const hone_batch *batch, const bench *b) {
    int64_t rows = 0;
    int64_t tokens = 0;
    for (int64_t d = 0; d < batch->documents; d++) {
        int32_t begin = batch->document_begin[d];
        int32_t length = batch->document_length[d];
        ck_assert_int_eq(begin, tokens);
        hone_sample sample = {0};
        ck_ok(hone_samples_read(&sample, b->samples, batch->records[begin]));
        ck_assert_int_eq(sample.info.length, length);
        for (int32_t i = 0; i < length; i++) {
            ck_assert_int_eq(batch->ids[begin + i], sample.ids[i]);
            ck_assert_int_eq(batch->positions[begin + i], i);
            ck_assert_uint_eq(batch->records[begin + i], batch->records[begin]);
            if (!sample.mask[i]) continue;
            ck_assert_int_eq(batch->row[rows], begin + i - 1);
            ck_assert_int_eq(batch->target[rows], sample.ids[i]);
            rows++;
        }
        hone_sample_free(&sample);
        tokens += length;
    }
    ck_assert_int_eq(rows, batch->rows);
    ck_assert_int_eq(tokens, batch->tokens);
}

START_TEST(fill_batches_hold_documents_and_rows) {
    bench b = bench_of_many(300);
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){.seq_len = 128}));
    hone_loader *loader;
    ck_ok(hone_loader_new(&loader, b.samples, HONE_SPLIT_ALL, 128, 7));
    int64_t bins = hone_loader_bins(loader);
    hone_batch batch = {0};
    hone_cursor cursor = {0};
    int64_t tokens = 0;
    int64_t rows = 0;
    for (int64_t done = 0; done < bins;) {
        int64_t now = bins - done < 4 ? bins - done : 4;
        hone_loader_counts counts;
        ck_ok(hone_loader_count(&counts, loader, cursor, now));
        ck_ok(hone_loader_fill(&batch, loader, &cursor, now));
        check_batch(&batch, &b);
        ck_assert_int_eq(batch.tokens, counts.tokens);
        ck_assert_int_eq(batch.rows, counts.supervised);
        ck_assert_int_eq(batch.documents, counts.documents);
        ck_assert_int_eq(batch.bins, now);
        ck_assert_int_le(batch.tokens, now * 128);
        tokens += batch.tokens;
        rows += batch.rows;
        done += now;
    }
    ck_assert_int_eq(cursor.epoch, 1);
    ck_assert_int_eq(cursor.bin, 0);
    ck_assert_int_eq(tokens, hone_samples_ledger_of(b.samples)->tokens);
    ck_assert_int_eq(tokens, hone_loader_tokens(loader));
    ck_assert_int_eq(rows, hone_samples_ledger_of(b.samples)->supervised);
    hone_batch_free(&batch);
    hone_loader_free(loader);
    close_bench(&b);
}
END_TEST

START_TEST(fill_from_a_saved_cursor_goes_on_exactly) {
    bench b = bench_of_many(200);
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){.seq_len = 128}));
    hone_loader *one;
    hone_loader *two;
    ck_ok(hone_loader_new(&one, b.samples, HONE_SPLIT_ALL, 128, 7));
    ck_ok(hone_loader_new(&two, b.samples, HONE_SPLIT_ALL, 128, 7));
    hone_batch first = {0};
    hone_batch second = {0};
    hone_cursor cursor = {0};
    hone_cursor skipped = {0};
    for (int64_t step = 0; step < 3 * hone_loader_bins(one) / 5; step++) {
        hone_cursor saved = cursor;
        ck_ok(hone_loader_fill(&first, one, &cursor, 5));
        ck_assert_int_eq(saved.epoch, skipped.epoch);
        ck_assert_int_eq(saved.bin, skipped.bin);
        hone_loader_skip(one, &skipped, 5);
        if (step % 3 != 2) continue;
        ck_ok(hone_loader_fill(&second, two, &saved, 5));
        ck_assert_int_eq(first.tokens, second.tokens);
        ck_assert_mem_eq(first.ids, second.ids, (size_t)first.tokens * sizeof *first.ids);
        ck_assert_int_eq(saved.bin, cursor.bin);
    }
    ck_assert_int_ge(cursor.epoch, 2);
    hone_batch_free(&first);
    hone_batch_free(&second);
    hone_loader_free(one);
    hone_loader_free(two);
    close_bench(&b);
}
END_TEST

START_TEST(splits_are_apart_and_complete) {
    bench b = bench_of_many(400);
    ck_ok(open_samples(&b, "chatml", (hone_samples_options){.seq_len = 128, .eval_fraction = 0.2}));
    hone_loader *train;
    hone_loader *eval;
    ck_ok(hone_loader_new(&train, b.samples, HONE_SPLIT_TRAIN, 128, 7));
    ck_ok(hone_loader_new(&eval, b.samples, HONE_SPLIT_EVAL, 0, 7));
    ck_assert_int_eq(hone_loader_samples(train), hone_samples_split(b.samples, false)->samples);
    ck_assert_int_eq(hone_loader_samples(eval), hone_samples_split(b.samples, true)->samples);
    ck_assert_int_eq(hone_loader_samples(train) + hone_loader_samples(eval), 400);
    ck_assert_int_gt(hone_loader_samples(eval), 40);
    ck_assert_int_eq(hone_loader_seq_len(eval), hone_samples_split(b.samples, true)->longest);
    hone_batch batch = {0};
    hone_cursor cursor = {0};
    ck_ok(hone_loader_fill(&batch, eval, &cursor, hone_loader_bins(eval)));
    for (int64_t t = 0; t < batch.tokens; t++) {
        hone_sample_info info;
        ck_ok(hone_samples_info(&info, b.samples, batch.records[t]));
        ck_assert(info.is_eval);
    }
    hone_batch_free(&batch);
    hone_loader_free(train);
    hone_loader_free(eval);
    close_bench(&b);
}
END_TEST

/* --- the shared model's tokenizer ------------------------------------------------------------------------------ */

START_TEST(samples_of_gsm8k_targets_are_the_answers) {
    const char *shared = hone_test_data("stories260K/hf");
    if (!shared) return;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", shared);
    add_file(hone_test_data("instruct/gsm8k-test.jsonl"));
    bench b = open_bench(folder);
    ck_ok(open_samples(&b, "zephyr", (hone_samples_options){.seq_len = 4096}));
    ck_assert_int_eq(hone_samples_count(b.samples), 1319);
    hone_data_record record = {0};
    hone_sample sample = {0};
    hone_buf text = {0};
    for (int64_t i = 0; i < 1319; i += 50) {
        ck_ok(hone_datafile_read(&record, b.data, i));
        ck_ok(hone_samples_read(&sample, b.samples, i));
        hone_buf_clear(&text);
        for (int32_t k = 0; k < sample.info.length; k++) {
            if (sample.mask[k])
                ck_ok(hone_tokenizer_piece(b.tokenizer, &text, sample.ids[k], true));
        }
        ck_assert_str_eq(text.data + text.length - 4, "</s>");
        text.data[text.length - 4] = '\0';
        const char *last = strstr(text.data, "#### ");
        ck_assert_ptr_nonnull(last);
        ck_assert_ptr_nonnull(strstr(record.json.data, last));
    }
    hone_buf_free(&text);
    hone_buf_free(&record.json);
    hone_sample_free(&sample);
    close_bench(&b);
}
END_TEST

/* --- refusals -------------------------------------------------------------------------------------------------- */

START_TEST(open_what_cannot_be_trained_on_refused) {
    bench b = bench_of("{\"messages\":[{\"role\":\"user\",\"content\":\"U\"}]}\n"
                       "{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},"
                       "{\"role\":\"user\",\"content\":\"V\"}]}\n");
    ck_fails(open_samples(&b, "chatml", (hone_samples_options){0}), HONE_ERR_DATA,
             "in.jsonl: no token of its 2 records is to be learned");
    ck_fails(open_samples(&b, NULL, (hone_samples_options){0}), HONE_ERR_USAGE, "chat template");
    ck_fails(open_samples(&b, "llama-2", (hone_samples_options){0}), HONE_ERR_DATA,
             "message 2 (role \"user\")");
    ck_fails(open_samples(&b, "chatml", (hone_samples_options){.seq_len = 1}), HONE_ERR_USAGE,
             "sequence length");
    ck_fails(open_samples(&b, "chatml", (hone_samples_options){.eval_fraction = 2}), HONE_ERR_USAGE,
             "0 to 1");
    char command[256];
    snprintf(command, sizeof command, "! ls '%s' | grep tokens", test_folder);
    ck_assert_int_eq(system(command), 0);
    close_bench(&b);
}
END_TEST

START_TEST(loader_of_an_empty_split_refused) {
    bench b = bench_of("{\"text\":\"abc\"}\n");
    ck_ok(open_samples(&b, NULL, (hone_samples_options){0}));
    hone_loader *loader;
    ck_fails(hone_loader_new(&loader, b.samples, HONE_SPLIT_EVAL, 0, 1), HONE_ERR_DATA,
             "no record falls into the evaluation split");
    ck_fails(hone_loader_new(&loader, b.samples, HONE_SPLIT_ALL, 2, 1), HONE_ERR_DATA,
             "a bin has room for 2");
    close_bench(&b);
}
END_TEST

START_TEST(policy_names_round_trip) {
    for (int i = 0; i < 4; i++) {
        hone_overlong policy;
        ck_assert(hone_overlong_parse(&policy, hone_overlong_name((hone_overlong)i)));
        ck_assert_int_eq((int)policy, i);
    }
    hone_train_on what;
    ck_assert(hone_train_on_parse(&what, "all"));
    ck_assert_int_eq(what, HONE_TRAIN_ON_ALL);
    ck_assert(!hone_train_on_parse(&what, "users"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("data_samples");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_set_timeout(values, 120);
    tcase_add_test(values, samples_text_all_but_first_are_targets);
    tcase_add_test(values, samples_text_with_bos_starts_with_it);
    tcase_add_test(values, samples_messages_answers_and_end_tokens_are_targets);
    tcase_add_test(values, samples_too_long_follow_the_policy);
    tcase_add_test(values, samples_without_targets_counted_and_left_out);
    tcase_add_test(values, cache_is_kept_found_again_and_private);
    tcase_add_test(values, cache_cut_short_is_made_again);
    tcase_add_test(values, no_cache_leaves_nothing_behind);
    tcase_add_test(values, fill_batches_hold_documents_and_rows);
    tcase_add_test(values, fill_from_a_saved_cursor_goes_on_exactly);
    tcase_add_test(values, splits_are_apart_and_complete);
    tcase_add_test(values, samples_of_gsm8k_targets_are_the_answers);
    tcase_add_test(values, policy_names_round_trip);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_test(errors, cache_with_a_foreign_id_refused);
    tcase_add_test(errors, open_what_cannot_be_trained_on_refused);
    tcase_add_test(errors, loader_of_an_empty_split_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
