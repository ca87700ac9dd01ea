/* Packing: every sample once, bins never too full, the order a function of seed and epoch, better than first fit. */
#include "base/alloc.h"
#include "base/philox.h"
#include "data/batch.h"
#include "data/packing.h"
#include "data/permutation.h"
#include "tests/data_support.h"

/* Lengths drawn from a seed: mostly short, some as long as a bin. */
typedef struct lengths {
    uint64_t seed;
    int32_t most;
    int64_t left_out; /* every n-th sample; 0: none */
    int64_t calls;
} lengths;

static int32_t length_at(const lengths *l, int64_t index) {
    if (l->left_out && index % l->left_out == 0) return 0;
    hone_philox r = hone_philox_draw(l->seed, (uint32_t)index, 0, 0, 0);
    int32_t most = r.word[1] % 8 == 0 ? l->most : (l->most + 3) / 4;
    return 1 + (int32_t)(r.word[0] % (uint32_t)most);
}

static hone_status give_length(int32_t *out, void *context, int64_t index) {
    lengths *l = context;
    l->calls++;
    *out = length_at(l, index);
    return HONE_OK;
}

static hone_packing *pack(lengths *l, int64_t count, int64_t seq_len, uint64_t seed) {
    hone_packing *packing;
    ck_ok(hone_packing_new(&packing, give_length, l, count, seq_len, seed));
    return packing;
}

static const struct {
    int64_t count, seq_len, left_out;
} shapes[] = {
    {1, 1, 0},      {1, 7, 0},       {2, 1, 0},       {63, 64, 0},     {1000, 65, 0},
    {1000, 512, 3}, {5000, 4097, 0}, {65536, 128, 0}, {65537, 128, 0}, {200001, 300, 10},
};

START_TEST(bins_of_an_epoch_hold_every_sample_once) {
    int64_t count = shapes[_i].count;
    int64_t seq_len = shapes[_i].seq_len;
    lengths l = {.seed = 5, .most = (int32_t)seq_len, .left_out = shapes[_i].left_out};
    hone_packing *packing = pack(&l, count, seq_len, 11);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        char *seen = hone_alloc((size_t)count, 1);
        int64_t samples = 0;
        int64_t tokens = 0;
        for (int64_t i = 0; i < hone_packing_bins(packing); i++) {
            hone_bin bin;
            ck_ok(hone_packing_bin(&bin, packing, epoch, i));
            ck_assert_int_gt(bin.count, 0);
            int64_t sum = 0;
            for (int64_t k = 0; k < bin.count; k++) {
                ck_assert_int_eq(seen[bin.samples[k]]++, 0);
                sum += length_at(&l, bin.samples[k]);
            }
            ck_assert_int_le(sum, seq_len);
            ck_assert_int_eq(sum, bin.tokens);
            samples += bin.count;
            tokens += sum;
        }
        int64_t wanted = 0;
        for (int64_t i = 0; i < count; i++) wanted += length_at(&l, i) > 0;
        ck_assert_int_eq(samples, wanted);
        ck_assert_int_eq(samples, hone_packing_samples(packing));
        ck_assert_int_eq(tokens, hone_packing_tokens(packing));
        hone_free(seen);
    }
    hone_packing_free(packing);
}
END_TEST

/* A bin begins with the longest sample left and is filled with the fullest set that is found; so there is at most a
 * percent more of them than the tokens would fill. */
START_TEST(bins_of_short_samples_are_nearly_full) {
    lengths l = {.seed = 7, .most = 512};
    hone_packing *packing = pack(&l, 20000, 512, 1);
    int64_t least = (hone_packing_tokens(packing) + 511) / 512;
    ck_assert_int_le(hone_packing_bins(packing), least + least / 100 + 1);
    hone_packing_free(packing);
}
END_TEST

/* Short records of questions and answers, whole and with the part that is held out left out. */
static void check_fill(const hone_samples *samples, hone_split split, int64_t seq_len) {
    hone_loader *loader;
    ck_ok(hone_loader_new(&loader, samples, split, seq_len, 42));
    double room = (double)(hone_loader_bins(loader) * seq_len);
    double full = (double)hone_loader_tokens(loader) / room;
    ck_assert_msg(full > 0.98, "bins of %lld tokens are %.4f full", (long long)seq_len, full);
    hone_loader_free(loader);
}

START_TEST(bins_of_real_short_records_are_98_per_cent_full) {
    const char *found = hone_test_data("instruct/gsm8k-test.jsonl");
    if (!found) return;
    make_test_folder();
    add_file(found);
    hone_datafile *data;
    hone_tokenizer *tokenizer;
    hone_chat_template *chat;
    hone_samples *samples;
    ck_ok(hone_datafile_open(&data, test_path("data.h5")));
    ck_ok(hone_tokenizer_load_folder(&tokenizer, hone_test_data("hf-tokenizers/gpt-2")));
    ck_ok(hone_chat_template_named(&chat, "plain"));
    hone_samples_options options = {.seq_len = 512, .eval_fraction = 0.1};
    ck_ok(hone_samples_open(&samples, data, tokenizer, chat, &options));
    ck_assert_int_eq(hone_samples_count(samples), 1319);
    static const int64_t lengths_of_bins[] = {512, 1024};
    for (int i = 0; i < 2; i++) {
        check_fill(samples, HONE_SPLIT_ALL, lengths_of_bins[i]);
        check_fill(samples, HONE_SPLIT_TRAIN, lengths_of_bins[i]);
    }
    hone_samples_free(samples);
    hone_chat_template_free(chat);
    hone_tokenizer_free(tokenizer);
    hone_datafile_free(data);
    remove_test_folder();
}
END_TEST

static hone_status give_fixed(int32_t *out, void *context, int64_t index) {
    *out = ((const int32_t *)context)[index];
    return HONE_OK;
}

/* Bins of 10, each begun with the longest that is left: 7 takes 3, 6 takes 4, and 2 has the third alone. */
START_TEST(fit_picks_the_fullest_bin_with_room) {
    int32_t fixed[] = {6, 3, 7, 2, 4};
    hone_packing *packing;
    ck_ok(hone_packing_new(&packing, give_fixed, fixed, 5, 10, 1));
    ck_assert_int_eq(hone_packing_bins(packing), 3);
    for (int64_t i = 0; i < 3; i++) {
        hone_bin bin;
        ck_ok(hone_packing_bin(&bin, packing, 0, i));
        if (bin.count == 1) {
            ck_assert_int_eq(bin.samples[0], 3);
        } else {
            ck_assert_int_eq(bin.count, 2);
            ck_assert_int_eq(bin.tokens, 10);
            ck_assert_int_eq(bin.samples[0] + bin.samples[1], bin.samples[0] == 0 ? 4 : 3);
        }
    }
    hone_packing_free(packing);
}
END_TEST

static uint64_t digest(hone_packing *packing, int64_t epoch) {
    uint64_t sum = 1469598103934665603u;
    for (int64_t i = 0; i < hone_packing_bins(packing); i++) {
        hone_bin bin;
        ck_ok(hone_packing_bin(&bin, packing, epoch, i));
        for (int64_t k = 0; k < bin.count; k++)
            sum = (sum ^ (uint64_t)bin.samples[k]) * 1099511628211u;
    }
    return sum;
}

START_TEST(order_follows_from_seed_and_epoch_only) {
    lengths l = {.seed = 9, .most = 100};
    hone_packing *a = pack(&l, 70000, 128, 42);
    hone_packing *b = pack(&l, 70000, 128, 42);
    hone_packing *c = pack(&l, 70000, 128, 43);
    uint64_t first = digest(a, 0);
    ck_assert(first != digest(a, 1));
    ck_assert(first == digest(a, 0));
    ck_assert(digest(b, 1) == digest(a, 1));
    ck_assert(digest(b, 0) == first);
    ck_assert(digest(c, 0) != first);
    hone_packing_free(a);
    hone_packing_free(b);
    hone_packing_free(c);
}
END_TEST

START_TEST(bin_at_any_position_equals_the_walk) {
    lengths l = {.seed = 9, .most = 100};
    hone_packing *walk = pack(&l, 140000, 128, 2);
    hone_packing *jump = pack(&l, 140000, 128, 2);
    int64_t bins = hone_packing_bins(walk);
    int64_t places[] = {bins - 1, 0, bins / 2, 1, bins / 2 + 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        hone_bin want;
        hone_bin got;
        ck_ok(hone_packing_bin(&want, walk, 3, places[i]));
        int64_t first = want.samples[0];
        ck_ok(hone_packing_bin(&got, jump, 3, places[i]));
        ck_assert_int_eq(got.samples[0], first);
        ck_assert_int_eq(got.count, want.count);
    }
    hone_packing_free(walk);
    hone_packing_free(jump);
}
END_TEST

START_TEST(permute_every_size_hits_each_once) {
    static const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 1000, 65537};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s];
        char *seen = hone_alloc(n, 1);
        uint64_t fixed = 0;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t to = hone_permute(i, n, 77, 1);
            ck_assert_uint_lt(to, n);
            ck_assert_int_eq(seen[to]++, 0);
            fixed += to == i;
        }
        if (n >= 1000) ck_assert_uint_lt(fixed, 20);
        hone_free(seen);
    }
}
END_TEST

START_TEST(new_impossible_sizes_refused) {
    lengths l = {.seed = 1, .most = 100};
    hone_packing *packing;
    ck_fails(hone_packing_new(&packing, give_length, &l, 1000, 50, 1), HONE_ERR_DATA,
             "a bin has room for 50");
    ck_assert_ptr_null(packing);
    ck_fails(hone_packing_new(&packing, give_length, &l, 0, 50, 1), HONE_ERR_DATA, "no sample");
    ck_fails(hone_packing_new(&packing, give_length, &l, 10, 0, 1), HONE_ERR_USAGE, "0 tokens");
    l.left_out = 1;
    ck_fails(hone_packing_new(&packing, give_length, &l, 10, 100, 1), HONE_ERR_DATA, "no sample");
    l.left_out = 0;
    packing = pack(&l, 10, 100, 1);
    hone_bin bin;
    ck_fails(hone_packing_bin(&bin, packing, 0, hone_packing_bins(packing)), HONE_ERR_USAGE,
             "has no bin");
    hone_packing_free(packing);
}
END_TEST

START_TEST(new_failing_allocation_reported) {
    for (int64_t n = 1; n < 40; n++) {
        lengths l = {.seed = 1, .most = 100};
        hone_packing *packing;
        hone_alloc_fail_at(n);
        hone_status status = hone_packing_new(&packing, give_length, &l, 100, 100, 1);
        hone_alloc_fail_at(0);
        if (status == HONE_OK) {
            hone_packing_free(packing);
            ck_assert_int_gt(n, 5);
            return;
        }
        ck_assert_int_eq(status, HONE_ERR_MEMORY);
        ck_assert_ptr_null(packing);
    }
    ck_abort_msg("never succeeded");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("packing");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, bins_of_an_epoch_hold_every_sample_once, 0,
                        (int)(sizeof shapes / sizeof *shapes));
    tcase_add_test(values, bins_of_short_samples_are_nearly_full);
    tcase_add_test(values, bins_of_real_short_records_are_98_per_cent_full);
    tcase_add_test(values, fit_picks_the_fullest_bin_with_room);
    tcase_add_test(values, order_follows_from_seed_and_epoch_only);
    tcase_add_test(values, bin_at_any_position_equals_the_walk);
    tcase_add_test(values, permute_every_size_hits_each_once);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, new_impossible_sizes_refused);
    tcase_add_test(errors, new_failing_allocation_reported);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
