/*
 * Adapters in MLX-LM's form: read, written, and refused.
 */
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "model/adapter_mlx.h"
#include "model/adapter_peft.h"
#include "tests/model_support.h"

#define MODEL "models/grouped-tied"

/* Factors that are all different; two ranks and two scales unless `even`. */
static hone_adapter *make_adapter(const hone_model *model, bool even) {
    hone_adapter *adapter;
    ck_ok(hone_adapter_new_empty(&adapter, model));
    hone_adapter_declare(adapter, 0, HONE_ROLE_Q, 3, 2.0);
    hone_adapter_declare(adapter, 1, HONE_ROLE_Q, 3, 2.0);
    hone_adapter_declare(adapter, 1, HONE_ROLE_DOWN, even ? 3 : 1, even ? 2.0 : 3.5);
    ck_ok(hone_adapter_allocate(adapter));
    float *values = adapter->params.values.base;
    for (int64_t i = 0; i < adapter->params.elements; i++) {
        values[i] = (float)sin((double)(i + 1)) * 0.1f;
    }
    return adapter;
}

static double loss_of(hone_model *model, const hone_adapter *adapter) {
    static const int32_t ids[] = {1, 40, 300, 17, 5, 260, 90, 33, 12, 400};
    return mean_nll(model, adapter, ids, NULL, 10);
}

START_TEST(write_mlx_even_reads_back_bit_for_bit) {
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = make_adapter(model, true);
    adapter->dropout = 0.25;
    ck_ok(hone_adapter_write_mlx(adapter, test_path("mlx"), NULL));
    hone_adapter *back = open_adapter(model, test_path("mlx"));
    ck_assert_int_eq(back->params.elements, adapter->params.elements);
    size_t bytes = (size_t)adapter->params.elements * sizeof(float);
    ck_assert_int_eq(memcmp(back->params.values.base, adapter->params.values.base, bytes), 0);
    ck_assert_double_eq(hone_adapter_pair(back, 1, HONE_ROLE_DOWN)->scale, 2);
    ck_assert_double_eq(back->dropout, 0.25);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_mlx_uneven_pads_and_folds_without_a_difference) {
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = make_adapter(model, false);
    ck_ok(hone_adapter_write_mlx(adapter, test_path("mlx"), NULL));
    hone_adapter *back = open_adapter(model, test_path("mlx"));
    const hone_lora_pair *padded = hone_adapter_pair(back, 1, HONE_ROLE_DOWN);
    ck_assert_int_eq(padded->rank, 3);
    ck_assert_double_eq(padded->scale, 1);
    ck_assert_double_eq_tol(loss_of(model, back), loss_of(model, adapter), 1e-6);
    ck_assert(fabs(loss_of(model, back) - loss_of(model, NULL)) > 1e-4);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_mlx_records_what_it_was_trained_with) {
    static const char one[] = "1111111111111111111111111111111111111111111111111111111111111111";
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = make_adapter(model, true), *back;
    ck_ok(
        hone_adapter_write_mlx(adapter, test_path("mlx"), &(hone_adapter_info){.base_hash = one}));
    hone_adapter_info other = {.base_hash = "2"};
    ck_ok(hone_adapter_open(&back, model, test_path("mlx"), &other));
    ck_assert_str_eq(back->doubts.other_base, one);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* --- errors --- */

typedef struct wrong {
    const char *config, *message;
} wrong;

static const wrong wrong_list[] = {
    {"[]", "not a JSON object"},
    {"{\"fine_tune_type\": \"dora\"}", "DoRA is not supported"},
    {"{\"fine_tune_type\": \"full\"}", "whole weights"},
    {"{\"num_layers\": 1}", "by key num_layers of the config the first adapted one is 1"},
    {"{\"lora_parameters\": {\"rank\": 4}}", "has rank 3, but the config's lora_parameters say 4"},
    {"{\"lora_parameters\": {\"scale\": \"2\"}}", "scale"},
    {"{\"lora_parameters\": {\"dropout\": 1}}", "dropout at least 0 and below 1"},
};

START_TEST(open_mlx_wrong_config_is_named) {
    const wrong *one = &wrong_list[_i];
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter = make_adapter(model, true), *back;
    ck_ok(hone_adapter_write_mlx(adapter, test_path("mlx"), NULL));
    ck_ok(hone_file_put(test_path("mlx/adapter_config.json"), one->config, strlen(one->config)));
    hone_status status = hone_adapter_open(&back, model, test_path("mlx"), NULL);
    ck_assert_int_ne(status, HONE_OK);
    ck_assert_msg(strstr(hone_fail_message(), one->message), "%s", hone_fail_message());
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

static const char *const wrong_tensors[][2] = {
    {"model.layers.0.self_attn.q_proj.m", "DoRA is not supported"},
    {"model.embed_tokens.lora_a", "LoRA on embeddings is not supported"},
    {"lm_head.lora_b", "LoRA on the output head is not supported"},
    {"model.layers.0.self_attn.q_proj.weight", "is not a LoRA factor"},
    {"model.layers.9.self_attn.q_proj.lora_a", "is for layer 9"},
    {"model.layers.0.self_attn.q_proj.lora_a", "expected ["},
};

START_TEST(open_mlx_wrong_tensor_is_named) {
    static const float values[4];
    static const int64_t shape[2] = {2, 2};
    ck_ok(hone_dir_make(test_path("bad")));
    ck_ok(hone_file_put(test_path("bad/adapter_config.json"), "{}", 2));
    hone_safetensors_writer *writer;
    ck_ok(hone_safetensors_writer_new(&writer));
    const char *b = "model.layers.0.self_attn.q_proj.lora_b";
    ck_ok(hone_safetensors_add_tensor(writer, wrong_tensors[_i][0], HONE_F32, 2, shape));
    ck_ok(hone_safetensors_add_tensor(writer, b, HONE_F32, 2, shape));
    ck_ok(hone_safetensors_begin(writer, test_path("bad/adapters.safetensors")));
    for (int i = 0; i < 2; i++) ck_ok(hone_safetensors_data(writer, values, sizeof values));
    ck_ok(hone_safetensors_commit(writer));
    hone_safetensors_writer_free(writer);
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter;
    ck_assert_int_ne(hone_adapter_open(&adapter, model, test_path("bad"), NULL), HONE_OK);
    ck_assert_msg(strstr(hone_fail_message(), wrong_tensors[_i][1]), "%s", hone_fail_message());
    hone_model_close(model);
}
END_TEST

START_TEST(write_mlx_nothing_adapted_is_refused) {
    hone_model *model = open_model(test_fixture(MODEL));
    hone_adapter *adapter;
    ck_ok(hone_adapter_new_empty(&adapter, model));
    ck_fails(hone_adapter_write_mlx(adapter, test_path("mlx"), NULL), HONE_ERR_USAGE, "no layer");
    ck_assert(!hone_path_exists(test_path("mlx")));
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

int main(void) {
    Suite *suite = suite_create("adapters_mlx");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_test(values, write_mlx_even_reads_back_bit_for_bit);
    tcase_add_test(values, write_mlx_uneven_pads_and_folds_without_a_difference);
    tcase_add_test(values, write_mlx_records_what_it_was_trained_with);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_loop_test(errors, open_mlx_wrong_config_is_named, 0, COUNT(wrong_list));
    tcase_add_loop_test(errors, open_mlx_wrong_tensor_is_named, 0, COUNT(wrong_tensors));
    tcase_add_test(errors, write_mlx_nothing_adapted_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
