#include <math.h>

#include "base/file.h"
#include "support.h"
#include "train/options.h"

static hone_train_options options;

static void setup(void) {
    ck_ok(hone_train_options_default(&options));
}

static void teardown(void) {
    hone_train_options_free(&options);
}

static hone_status parse(const char *yaml) {
    return hone_config_parse(&options, yaml, strlen(yaml), "shop.yaml");
}

static hone_status set(const char *key, const char *value) {
    return hone_train_options_set(&options, key, value, "--set");
}

START_TEST(options_default_suits_a_small_lora_run) {
    ck_assert_int_eq(options.rank, 16);
    ck_assert_double_eq(options.alpha, 32);
    ck_assert_double_eq(options.lr, 2e-4);
    ck_assert_int_eq(options.epochs, 0); /* as many as the data needs */
    ck_assert_uint_eq(options.targets, HONE_TARGET_ALL);
    ck_assert_str_eq(options.template, "auto");
    ck_assert_ptr_null(options.model);
}
END_TEST

START_TEST(options_table_defaults_lie_in_range_and_read_back) {
    size_t count;
    const hone_train_option *list = hone_train_option_list(&count);
    for (size_t i = 0; i < count; i++) {
        hone_buf text = {0};
        ck_ok(hone_train_option_format(&text, &options, &list[i]));
        ck_assert_ptr_nonnull(list[i].text);
        ck_ok(hone_train_options_set(&options, list[i].key, text.data, "default"));
        hone_buf_free(&text);
    }
}
END_TEST

START_TEST(options_set_each_type_takes_its_spelling) {
    ck_ok(set("model", "a b.gguf"));
    ck_assert_str_eq(options.model, "a b.gguf");
    ck_ok(set("rank", "8"));
    ck_assert_int_eq(options.rank, 8);
    ck_ok(set("lr", "1e-3"));
    ck_assert_double_eq(options.lr, 1e-3);
    ck_ok(set("full", "true"));
    ck_assert(options.full);
    ck_ok(set("schedule", "linear"));
    ck_assert_int_eq(options.schedule, HONE_SCHEDULE_LINEAR);
    ck_ok(set("targets", "q, v,down"));
    ck_assert_uint_eq(options.targets, HONE_TARGET_Q | HONE_TARGET_V | HONE_TARGET_DOWN);
    ck_ok(set("targets", "all"));
    ck_assert_uint_eq(options.targets, HONE_TARGET_ALL);
    ck_ok(hone_train_options_assign(&options, "out=runs/a=b", "--set"));
    ck_assert_str_eq(options.out, "runs/a=b");
    ck_ok(set("out", ""));
    ck_assert_ptr_null(options.out);
}
END_TEST

static const struct {
    const char *text;
    int64_t bytes;
} sizes[] = {
    {"0", 0},
    {"1024", 1024},
    {"1K", 1024},
    {"6G", INT64_C(6) << 30},
    {"6GiB", INT64_C(6) << 30},
    {"1.5g", INT64_C(3) << 29},
    {"512MB", INT64_C(512) << 20},
    {"2T", INT64_C(2) << 40},
};

START_TEST(options_set_memory_reads_suffixes) {
    ck_ok(set("memory", sizes[_i].text));
    ck_assert_int_eq(options.memory, sizes[_i].bytes);
}
END_TEST

static const struct {
    const char *key, *value, *message;
} wrong[] = {
    {"rank", "0", "--set: rank = \"0\": must be at least 1 and at most 4096"},
    {"rank", "x", "rank = \"x\": must be a whole number"},
    {"rank", "8.5", "must be a whole number"},
    {"rank", " 8", "must be a whole number"},
    {"rank", "99999999999999999999999", "must be at least 1"},
    {"lr", "0", "lr = \"0\": must be above 0 and at most 10"},
    {"lr", "nan", "must be above 0"},
    {"lr", "fast", "must be a number"},
    {"dropout", "1", "must be at least 0 and below 1"},
    {"full", "yes", "must be true or false"},
    {"compute", "fp4", "compute = \"fp4\": must be one of auto, f32, tf32, bf16, fp8, int8"},
    {"attention", "flash", "attention = \"flash\": must be one of auto, exact, own, cudnn"},
    {"method", "dora", "method = \"dora\": must be lora"},
    {"targets", "q,x", "must be a list of one of q, k, v, o, gate, up, down"},
    {"targets", "", "must be a list of"},
    {"memory", "6X", "must be a size"},
    {"memory", "-1", "must be a size"},
    {"model", "\xff.x", "is not UTF-8"},
    {"lerning", "1", "unknown key \"lerning\""},
    {"batchsize", "1", "did you mean \"batch_size\"?"},
    {"learn_rate", "1", "unknown key \"learn_rate\""},
};

START_TEST(options_set_wrong_value_is_refused_by_name) {
    ck_fails(set(wrong[_i].key, wrong[_i].value), HONE_ERR_USAGE, wrong[_i].message);
}
END_TEST

START_TEST(options_assign_without_equals_is_refused) {
    ck_fails(hone_train_options_assign(&options, "rank", "--set"), HONE_ERR_USAGE, "key=value");
}
END_TEST

START_TEST(config_parse_flat_mapping_sets_keys) {
    ck_ok(parse("# a shop\nmodel: base.gguf\nrank: 8\ntargets: [q, v]\nlr: 1.0e-3\nfull: false\n"
                "memory: 6G\ntemplate: \"chatml\"\nadapter: null\nout: 123\n"));
    ck_assert_str_eq(options.model, "base.gguf");
    ck_assert_int_eq(options.rank, 8);
    ck_assert_uint_eq(options.targets, HONE_TARGET_Q | HONE_TARGET_V);
    ck_assert_int_eq(options.memory, INT64_C(6) << 30);
    ck_assert_str_eq(options.template, "chatml");
    ck_assert_str_eq(options.out, "123");
    ck_assert_ptr_null(options.adapter);
    ck_ok(parse(""));
    ck_ok(parse("# nothing\n"));
}
END_TEST

static const struct {
    const char *yaml, *message;
} bad_yaml[] = {
    {"rank: 8\nrnak: 4\n", "shop.yaml:2: unknown key \"rnak\"; did you mean \"rank\"?"},
    {"rank: 8\n\nrank: 4\n", "shop.yaml:3: the key \"rank\" stands here a second time"},
    {"lora:\n  rank: 8\n", "shop.yaml:1: unknown key \"lora\""},
    {"rank:\n  value: 8\n", "shop.yaml:1: rank takes a value, not a nested mapping"},
    {"rank: [8]\n", "shop.yaml:1: rank takes one value, not a list"},
    {"lr: 1e-3\nrank: \"8\"\n", "shop.yaml:2: rank = \"8\": a quoted text where a number"},
    {"full: 'true'\n", "a quoted text where a true or false is needed"},
    {"rank: eight\n", "shop.yaml:1: rank = \"eight\": must be a whole number"},
    {"rank:\n", "shop.yaml:1: rank has no value"},
    {"targets: [q, [v]]\n", "shop.yaml:1: a list may hold plain words only"},
    {"targets: []\n", "shop.yaml:1: targets"},
    {"- rank\n", "shop.yaml:1: a config is a list of `key: value` lines"},
    {"rank: 8\n---\nrank: 8\n", "a second document"},
    {"a: *b\n", "shop.yaml:1:"},
    {"rank: &x 8\nalpha: *x\n", "shop.yaml:2: anchors and aliases"},
    {"targets: [q\n", "not YAML"},
    {"model: \"a\\0b\"\n", "shop.yaml:1: a zero byte"},
    {"model: \xff\n", "not YAML"},
    {"? [a]\n: b\n", "shop.yaml:1: a key must be a word"},
    {"plan: {a: 1}\nplan: {b: 1}\n", "shop.yaml:2: the key \"plan\""},
};

START_TEST(config_parse_wrong_file_is_refused_by_line) {
    ck_fails(parse(bad_yaml[_i].yaml), HONE_ERR_USAGE, bad_yaml[_i].message);
}
END_TEST

START_TEST(config_load_missing_file_is_a_usage_error) {
    ck_fails(hone_config_load(&options, "/nowhere/shop.yaml"), HONE_ERR_USAGE,
             "/nowhere/shop.yaml: cannot open");
}
END_TEST

START_TEST(config_format_reads_back_identically) {
    ck_ok(set("model", "M\xc3\xbcller \"x\" \\ \t\xe2\x80\xa8\xef\xbb\xbf: #1.gguf"));
    ck_ok(set("data", "null"));
    ck_ok(set("lr", "0.00012345678901234567"));
    ck_ok(set("epsilon", "1e-300"));
    ck_ok(set("memory", "1000000007"));
    ck_ok(set("targets", "q,down"));
    ck_ok(set("seed", "9007199254740992"));
    const hone_plan_entry plan[] = {{"kernel", "avx512: \"x\"\n\xff"}, {"threads", "2"}};
    hone_buf first = {0};
    hone_buf second = {0};
    ck_ok(hone_config_format(&first, &options, plan, 2));
    hone_train_options again;
    ck_ok(hone_train_options_default(&again));
    ck_ok(hone_config_parse(&again, first.data, first.length, "run.yaml"));
    ck_assert_str_eq(again.model, options.model);
    ck_assert_str_eq(again.data, "null");
    ck_assert(memcmp(&again.lr, &options.lr, sizeof again.lr) == 0);
    ck_ok(hone_config_format(&second, &again, plan, 2));
    ck_assert_str_eq(first.data, second.data);
    hone_train_options_free(&again);
    hone_buf_free(&first);
    hone_buf_free(&second);
}
END_TEST

static const struct {
    const char *set[3];
    const char *message;
} contradictions[] = {
    {{NULL}, "--model is needed"},
    {{"model=m"}, "--data is needed"},
    {{"model=m", "data=d"}, "--out is needed"},
};

START_TEST(options_check_missing_paths_are_named) {
    for (int i = 0; i < 3 && contradictions[_i].set[i]; i++)
        ck_ok(hone_train_options_assign(&options, contradictions[_i].set[i], "--set"));
    ck_fails(hone_train_options_check(&options), HONE_ERR_USAGE, contradictions[_i].message);
}
END_TEST

static const struct {
    const char *set[2];
    const char *message;
} exclusive[] = {
    {{"full=true", "adapter=a"}, "adapter and full exclude each other"},
    {{"from_scratch=c.json", "adapter=a"}, "adapter and from_scratch exclude each other"},
    {{"full=true", "dropout=0.1"}, "dropout acts on adapters only"},
    {{"early_stop=2", "eval_fraction=0"}, "early_stop needs records"},
    {{"template=alpaca", "rank=1"}, "template = \"alpaca\": unknown"},
};

START_TEST(options_check_contradictions_are_refused) {
    ck_ok(set("model", "m"));
    ck_ok(set("data", "d"));
    ck_ok(set("out", "o"));
    ck_ok(hone_train_options_check(&options));
    for (int i = 0; i < 2; i++)
        ck_ok(hone_train_options_assign(&options, exclusive[_i].set[i], "--set"));
    ck_fails(hone_train_options_check(&options), HONE_ERR_USAGE, exclusive[_i].message);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

int main(void) {
    Suite *suite = suite_create("options");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, options_default_suits_a_small_lora_run);
    tcase_add_test(values, options_table_defaults_lie_in_range_and_read_back);
    tcase_add_test(values, options_set_each_type_takes_its_spelling);
    tcase_add_loop_test(values, options_set_memory_reads_suffixes, 0, COUNT(sizes));
    tcase_add_test(values, config_parse_flat_mapping_sets_keys);
    tcase_add_test(values, config_format_reads_back_identically);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_loop_test(errors, options_set_wrong_value_is_refused_by_name, 0, COUNT(wrong));
    tcase_add_test(errors, options_assign_without_equals_is_refused);
    tcase_add_loop_test(errors, config_parse_wrong_file_is_refused_by_line, 0, COUNT(bad_yaml));
    tcase_add_test(errors, config_load_missing_file_is_a_usage_error);
    tcase_add_loop_test(errors, options_check_missing_paths_are_named, 0, COUNT(contradictions));
    tcase_add_loop_test(errors, options_check_contradictions_are_refused, 0, COUNT(exclusive));
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
