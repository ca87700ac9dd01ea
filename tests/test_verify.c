/*
 * What was exported against what was trained: true exports agree, planted faults are found. The exported files of other
 * programs' making, and those programs themselves, are in tests/interop/test_verify.py.
 */
#include "model/adapter_gguf.h"
#include "model/adapter_peft.h"
#include "model/merge.h"
#include "tests/model_support.h"
#include "train/trainer.h"
#include "train/verify.h"

#define MODEL "models/grouped-tied"

static void set(hone_train_options *o, const char *format, const char *value) {
    char text[600];
    snprintf(text, sizeof text, format, value);
    ck_ok(hone_train_options_assign(o, text, "test"));
}

/* A finished run in the test's folder. */
static const char *finished_run(const char *method) {
    static const char records[] = "{\"question\": \"What is the price?\", \"answer\": \"Two.\"}\n"
                                  "{\"question\": \"And of two?\", \"answer\": \"Three coins.\"}\n"
                                  "{\"text\": \"The last loaf is sold at noon.\"}\n";
    ck_ok(hone_file_put(test_path("records.jsonl"), records, strlen(records)));
    hone_train_options o;
    ck_ok(hone_train_options_default(&o));
    set(&o, "model=%s", test_fixture(MODEL));
    set(&o, "data=%s", test_path("records.jsonl"));
    set(&o, "out=%s", test_path("run"));
    set(&o, "%s", method);
    static const char *const small[] = {"steps=2", "seq_len=96",          "batch_size=1",
                                        "lr=1e-2", "eval_fraction=0.5",   "eval_every=1",
                                        "rank=4",  "checkpoint_minutes=0"};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) set(&o, "%s", small[i]);
    ck_ok(hone_train_options_check(&o));
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false, &(hone_train_observer){0}));
    hone_train_options_free(&o);
    return test_path("run");
}

static hone_verify *verified(const char *adapter, const char *merged) {
    hone_verify_options options = {.model = test_fixture(MODEL),
                                   .adapter = adapter,
                                   .merged = &merged,
                                   .merged_count = merged != NULL,
                                   .tokens = 64,
                                   .continued = 4};
    hone_verify *v;
    ck_ok(hone_verify_open(&v, &options));
    ck_ok(hone_verify_run(v));
    return v;
}

/* Verifies and gives the first check that is not ok; its `what` is "" when all agree. */
static hone_verify_check verify(const char *adapter, const char *merged) {
    hone_verify *v = verified(adapter, merged);
    size_t count;
    const hone_verify_check *checks = hone_verify_checks(v, &count);
    ck_assert_uint_gt(count, 0);
    hone_verify_check first = {.what = ""};
    for (size_t i = count; i-- > 0;) {
        if (!checks[i].ok) first = checks[i];
    }
    ck_assert_int_eq(hone_verify_agrees(v), *first.what == '\0');
    hone_verify_close(v);
    first.file = NULL;
    return first;
}

static void ck_agrees(const char *adapter, const char *merged) {
    hone_verify_check check = verify(adapter, merged);
    ck_assert_msg(*check.what == '\0', "%s: %s", check.what, check.detail);
}

static void ck_differs(const char *adapter, const char *merged, const char *what,
                       const char *detail) {
    hone_verify_check check = verify(adapter, merged);
    ck_assert_str_eq(check.what, what);
    ck_assert_msg(strstr(check.detail, detail) != NULL, "%s", check.detail);
}

START_TEST(verify_run_of_an_adapter_agrees) {
    make_test_folder();
    const char *run = finished_run("method=lora");
    ck_agrees(run, NULL);
    ck_agrees(test_text(run, "adapter"), NULL);
    ck_agrees(test_text(run, "adapter.gguf"), NULL);
    remove_test_folder();
}
END_TEST

START_TEST(verify_run_of_all_weights_agrees) {
    make_test_folder();
    ck_agrees(finished_run("full=true"), NULL);
    remove_test_folder();
}
END_TEST

START_TEST(verify_run_with_best_parameters_compares_with_them) {
    make_test_folder();
    ck_agrees(finished_run("early_stop=1"), NULL);
    remove_test_folder();
}
END_TEST

/* Writes the run's adapter again, changed. */
static void rewrite_adapter(const char *run, void (*change)(hone_adapter *)) {
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = open_adapter(model, run);
    change(adapter);
    ck_ok(hone_adapter_write_gguf(adapter, test_text(run, "adapter.gguf"), NULL));
    hone_adapter_free(adapter);
    hone_model_close(model);
}

static void change_factor(hone_adapter *adapter) {
    hone_lora_pair *pair = hone_adapter_pair(adapter, 1, HONE_ROLE_DOWN);
    ((float *)pair->b.data)[3] += 0.01f;
}

static void double_scales(hone_adapter *adapter) {
    for (int64_t i = 0; i < adapter->model->arch.layers * HONE_LINEARS; i++) {
        adapter->pairs[i].scale *= 2;
    }
}

static void turn_rows(hone_adapter *adapter) {
    const hone_arch *arch = &adapter->model->arch;
    hone_tensor *b = &hone_adapter_pair(adapter, 0, HONE_ROLE_Q)->b;
    size_t row = (size_t)b->shape[1] * sizeof(float), bytes = (size_t)b->shape[0] * row;
    float *copy = hone_alloc(1, bytes);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, b->data, bytes);
    hone_rows_to_gguf(b->data, copy, arch->heads, arch->head_size, row);
    hone_free(copy);
}

START_TEST(verify_changed_adapter_is_named) {
    make_test_folder();
    const char *run = finished_run("method=lora");
    rewrite_adapter(run, change_factor);
    ck_differs(run, NULL, "factors", "lora_B of model.layers.1.mlp.down_proj");
    rewrite_adapter(run, double_scales);
    ck_differs(run, NULL, "factors", "model.layers.0.self_attn.q_proj.weight: scale");
    rewrite_adapter(run, turn_rows);
    ck_differs(run, NULL, "factors", "order of rope pairs");
    remove_test_folder();
}
END_TEST

static void change_factor_a_little(hone_adapter *adapter) {
    hone_lora_pair *pair = hone_adapter_pair(adapter, 1, HONE_ROLE_DOWN);
    for (int64_t i = 0; i < hone_tensor_count(&pair->b); i++)
        ((float *)pair->b.data)[i] *= 1 + 5e-7f;
}

/* The check of that name that ends with a file's. */
static hone_verify_check check_of(const hone_verify *v, const char *file, const char *what) {
    size_t count, length = strlen(file);
    const hone_verify_check *checks = hone_verify_checks(v, &count);
    for (size_t i = 0; i < count; i++) {
        size_t has = strlen(checks[i].file);
        bool is_file = has >= length && strcmp(checks[i].file + has - length, file) == 0;
        if (is_file && strcmp(checks[i].what, what) == 0) return checks[i];
    }
    ck_abort_msg("no check of %s: %s", file, what);
}

/* Results are taken over for the same bits only: near is not the same. */
START_TEST(verify_adapter_of_nearly_the_same_factors_is_computed_with) {
    static const char *const names[] = {"logits", "loss", "greedy text"};
    make_test_folder();
    const char *run = finished_run("method=lora");
    hone_verify *v = verified(run, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hone_verify_check a = check_of(v, "/adapter", names[i]);
        hone_verify_check b = check_of(v, "/adapter.gguf", names[i]);
        ck_assert_str_eq(a.compared, b.compared);
        ck_assert(a.difference == 0 && b.difference == 0 && a.ok && b.ok);
    }
    hone_verify_close(v);
    rewrite_adapter(run, change_factor_a_little);
    v = verified(run, NULL);
    ck_assert(hone_verify_agrees(v));
    ck_assert(check_of(v, "/adapter", "logits").difference == 0);
    ck_assert(check_of(v, "/adapter.gguf", "logits").difference > 0);
    hone_verify_close(v);
    remove_test_folder();
}
END_TEST

static void merge(const char *path, const hone_adapter *adapter, const hone_model *model,
                  hone_dtype type) {
    hone_export_options how = {.file_type = hone_file_type_of(type)};
    ck_ok(hone_model_export_gguf(model, adapter, path, &how));
}

START_TEST(verify_merged_model_is_held_to_its_type) {
    make_test_folder();
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = open_adapter(model, test_fixture(MODEL "/adapter"));
    merge(test_path("f32.gguf"), adapter, model, HONE_F32);
    merge(test_path("f16.gguf"), adapter, model, HONE_F16);
    merge(test_path("bare.gguf"), NULL, model, HONE_F32);
    hone_adapter_free(adapter);
    hone_model_close(model);
    const char *peft = test_fixture(MODEL "/adapter");
    ck_agrees(peft, test_path("f32.gguf"));
    ck_agrees(peft, test_path("f16.gguf"));
    ck_differs(peft, test_path("bare.gguf"), "weights", "model.layers.0.self_attn.q_proj");
    ck_agrees(NULL, test_path("bare.gguf"));
    remove_test_folder();
}
END_TEST

START_TEST(verify_another_model_is_another_architecture) {
    make_test_folder();
    ck_differs(NULL, test_fixture("models/untied-odd"), "architecture", "blocks of width");
    remove_test_folder();
}
END_TEST

static void ck_open_fails(const char *adapter, const char *merged, hone_status code,
                          const char *text) {
    hone_verify_options options = {.model = test_fixture(MODEL),
                                   .adapter = adapter,
                                   .merged = &merged,
                                   .merged_count = merged != NULL,
                                   .tokens = 16,
                                   .continued = 1};
    hone_verify *v;
    ck_fails(hone_verify_open(&v, &options), code, text);
}

START_TEST(verify_open_errors_say_what_is_missing) {
    make_test_folder();
    ck_open_fails(NULL, NULL, HONE_ERR_USAGE, "nothing to compare");
    ck_open_fails(test_fixture(MODEL "/adapter"), NULL, HONE_ERR_USAGE, "nothing to compare");
    ck_open_fails(test_path("nowhere"), NULL, HONE_ERR_IO, "no such adapter");
    ck_open_fails(NULL, test_path("nowhere.gguf"), HONE_ERR_IO, "no such model");
    const char *run = finished_run("method=lora");
    hone_dir_remove(test_text(run, "checkpoints"));
    ck_ok(hone_dir_make(test_text(run, "checkpoints")));
    ck_open_fails(run, NULL, HONE_ERR_DATA, "no checkpoint of the run");
    remove_test_folder();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("verify");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_test(values, verify_run_of_an_adapter_agrees);
    tcase_add_test(values, verify_run_of_all_weights_agrees);
    tcase_add_test(values, verify_run_with_best_parameters_compares_with_them);
    tcase_add_test(values, verify_changed_adapter_is_named);
    tcase_add_test(values, verify_adapter_of_nearly_the_same_factors_is_computed_with);
    tcase_add_test(values, verify_merged_model_is_held_to_its_type);
    tcase_add_test(values, verify_another_model_is_another_architecture);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 60);
    tcase_add_test(errors, verify_open_errors_say_what_is_missing);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
