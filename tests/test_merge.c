/*
 * Whole models out: every form reads back as the model that went in, merged or not.
 */
#include "formats/gguf_writer.h"
#include "formats/json.h"
#include "formats/safetensors_writer.h"
#include "model/merge.h"
#include "tests/model_support.h"

static const hone_export_options own = {0};

static hone_export_options as(hone_dtype type) {
    return (hone_export_options){.file_type = hone_file_type_of(type)};
}

typedef struct sample {
    int32_t ids[1024];
    uint8_t mask[1024];
    int64_t count;
    double base, lora; /* PyTorch's losses */
} sample;

static void read_sample(sample *out, const char *model) {
    char path[512];
    json_t *expected;
    int32_t mask[1024];
    snprintf(path, sizeof path, "%s/expected.json", model);
    ck_ok(hone_json_load(&expected, path));
    out->count = read_ids(out->ids, 1024, json_object_get(expected, "ids"));
    read_ids(mask, 1024, json_object_get(expected, "mask"));
    for (int64_t i = 0; i < out->count; i++) out->mask[i] = (uint8_t)mask[i];
    out->base = json_number_value(json_object_get(expected, "base_loss"));
    out->lora = json_number_value(json_object_get(expected, "lora_loss"));
    json_decref(expected);
}

static double loss_of(const char *path, const sample *s) {
    hone_model *model = open_model(path);
    double loss = mean_nll(model, NULL, s->ids, s->mask, s->count);
    hone_model_close(model);
    return loss;
}

/* --- values: fixtures, merged, in every form --- */

static const char *const fixtures[] = {"models/grouped-tied", "models/llama3-rope",
                                       "models/sharded-bf16", "models/untied-odd"};

START_TEST(export_merged_fixture_has_the_adapted_loss) {
    char path[512];
    snprintf(path, sizeof path, "%s", test_fixture(fixtures[_i]));
    sample s;
    read_sample(&s, path);
    hone_model *model = open_model(path);
    hone_adapter *adapter = open_adapter(model, test_text(path, "adapter"));
    hone_export_options f32 = as(HONE_F32);
    ck_ok(hone_model_export_gguf(model, adapter, test_path("merged.gguf"), &f32));
    ck_ok(hone_model_export_safetensors(model, adapter, test_path("merged"), &f32));
    ck_ok(hone_model_export_gguf(model, NULL, test_path("base.gguf"), &own));
    ck_ok(hone_model_export_safetensors(model, NULL, test_path("base"), &own));
    ck_assert(fabs(s.base - s.lora) > 0.01);
    ck_assert_double_eq_tol(loss_of(test_path("merged.gguf"), &s), s.lora, 1e-5);
    ck_assert_double_eq_tol(loss_of(test_path("merged"), &s), s.lora, 1e-5);
    ck_assert_double_eq_tol(loss_of(test_path("base.gguf"), &s), s.base, 1e-5);
    ck_assert_double_eq_tol(loss_of(test_path("base"), &s), s.base, 1e-5);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* From the GGUF that was made of it, back to a folder, with the adapter read for either order of rows. */
START_TEST(export_there_and_back_gives_the_same_tensors) {
    char path[512];
    snprintf(path, sizeof path, "%s", test_fixture(fixtures[_i]));
    sample s;
    read_sample(&s, path);
    hone_model *model = open_model(path);
    ck_ok(hone_model_export_gguf(model, NULL, test_path("base.gguf"), &own));
    hone_model *turned = open_model(test_path("base.gguf"));
    ck_ok(hone_model_export_safetensors(turned, NULL, test_path("back"), &own));
    hone_model *back = open_model(test_path("back"));
    ck_assert_int_eq(back->arch.tied, model->arch.tied);
    ck_assert_uint_eq(back->weight_count, model->weight_count);
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_tensor *a = model->weights[i].tensor, *b = back->weights[i].tensor;
        ck_assert_int_eq(a->dtype, b->dtype);
        size_t bytes = (size_t)a->shape[0] * hone_dtype_row_bytes(a->dtype, a->shape[1]);
        ck_assert_mem_eq(a->data, b->data, bytes);
    }
    hone_adapter *adapter = open_adapter(turned, test_text(path, "adapter"));
    hone_export_options f32 = as(HONE_F32);
    ck_ok(hone_model_export_safetensors(turned, adapter, test_path("merged"), &f32));
    ck_assert_double_eq_tol(loss_of(test_path("merged"), &s), s.lora, 1e-5);
    hone_adapter_free(adapter);
    hone_model_close(back);
    hone_model_close(turned);
    hone_model_close(model);
}
END_TEST

typedef struct rounding {
    hone_dtype type;
    double tolerance;
} rounding;

static const rounding roundings[] = {{HONE_F16, 5e-3}, {HONE_BF16, 2e-2}, {HONE_Q8_0, 5e-2}};

START_TEST(export_rounded_is_near) {
    char path[512];
    snprintf(path, sizeof path, "%s", test_fixture("models/llama3-rope"));
    sample s;
    read_sample(&s, path);
    hone_model *model = open_model(path);
    hone_adapter *adapter = open_adapter(model, test_text(path, "adapter"));
    hone_export_options options = as(roundings[_i].type);
    ck_ok(hone_model_export_gguf(model, adapter, test_path("merged.gguf"), &options));
    ck_assert_double_eq_tol(loss_of(test_path("merged.gguf"), &s), s.lora, roundings[_i].tolerance);
    if (roundings[_i].type != HONE_Q8_0) {
        ck_ok(hone_model_export_safetensors(model, adapter, test_path("merged"), &options));
        ck_assert_double_eq_tol(loss_of(test_path("merged"), &s), s.lora, roundings[_i].tolerance);
    }
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(export_twice_gives_same_bytes) {
    hone_model *model = open_model(test_fixture("models/grouped-tied"));
    hone_adapter *adapter = open_adapter(model, test_fixture("models/grouped-tied/adapter"));
    char digest[3][2][HONE_SHA256_TEXT];
    hone_export_options q8_0 = as(HONE_Q8_0);
    for (int i = 0; i < 2; i++) {
        ck_ok(hone_model_export_gguf(model, adapter, test_path("a.gguf"), &q8_0));
        ck_ok(hone_model_export_safetensors(model, adapter, test_path("a"), &own));
        ck_ok(hone_sha256_file(digest[0][i], test_path("a.gguf")));
        ck_ok(hone_sha256_file(digest[1][i], test_path("a/model.safetensors")));
        ck_ok(hone_sha256_file(digest[2][i], test_path("a/config.json")));
    }
    for (int i = 0; i < 3; i++) ck_assert_str_eq(digest[i][0], digest[i][1]);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* --- values: models trained in full, or from scratch --- */

START_TEST(export_model_from_scratch_takes_a_tokenizer_along) {
    const char *folder = test_fixture("models/grouped-tied");
    hone_model *model;
    sample s;
    read_sample(&s, folder);
    ck_ok(hone_model_create(&model, test_text(folder, "config.json"), &test_device, 7));
    double loss = mean_nll(model, NULL, s.ids, s.mask, s.count);
    hone_export_options options = {.tokenizer_path = folder, .name = "fresh"};
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &options));
    ck_ok(hone_model_export_safetensors(model, NULL, test_path("a"), &options));
    ck_assert_double_eq_tol(loss_of(test_path("a.gguf"), &s), loss, 1e-5);
    ck_assert_double_eq_tol(loss_of(test_path("a"), &s), loss, 1e-5);
    /* and the tokenizer of a GGUF */
    options.tokenizer_path = test_path("a.gguf");
    ck_ok(hone_model_export_gguf(model, NULL, test_path("b.gguf"), &options));
    ck_ok(hone_model_export_safetensors(model, NULL, test_path("b"), &options));
    hone_tokenizer *tokenizer;
    ck_ok(hone_model_tokenizer(&tokenizer, test_path("b")));
    ck_assert_int_eq(hone_tokenizer_find(tokenizer, "<|im_end|>"), 383);
    hone_tokenizer_free(tokenizer);
    hone_model_close(model);
}
END_TEST

START_TEST(export_model_trained_in_full_has_its_weights) {
    sample s;
    char path[512];
    snprintf(path, sizeof path, "%s", test_fixture("models/sharded-bf16"));
    read_sample(&s, path);
    hone_model *model = open_model(path);
    ck_ok(hone_model_train_all(model));
    float *values = model->params.values.base;
    for (int64_t i = 0; i < model->params.elements; i++) {
        values[i] += 0.01f * (float)sin((double)i);
    }
    double loss = mean_nll(model, NULL, s.ids, s.mask, s.count);
    ck_assert(fabs(loss - s.base) > 1e-3);
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &own));
    ck_ok(hone_model_export_safetensors(model, NULL, test_path("a"), &own));
    ck_assert_double_eq_tol(loss_of(test_path("a.gguf"), &s), loss, 1e-5);
    ck_assert_double_eq_tol(loss_of(test_path("a"), &s), loss, 1e-5);
    hone_model_close(model);
}
END_TEST

/* --- values: against llama.cpp's converter --- */

static void ck_same_value(const hone_gguf *ours, const hone_gguf *theirs, const char *key) {
    const hone_gguf_value *a = hone_gguf_find(ours, key), *b = hone_gguf_find(theirs, key);
    ck_assert_msg(a && b && a->kind == b->kind && a->bytes == b->bytes &&
                      memcmp(a->data, b->data, a->bytes) == 0,
                  "%s differs", key);
}

/* The converter computes the rope factors in f32. */
static void ck_near(const hone_gguf_tensor *a, const hone_gguf_tensor *b) {
    for (uint64_t i = 0; i < a->bytes / sizeof(float); i++) {
        double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
        ck_assert_double_eq_tol(x, y, 2e-6 * y);
    }
}

static void ck_same_tensors(const hone_gguf *ours, const hone_gguf *theirs) {
    ck_assert_uint_eq(hone_gguf_tensor_count(ours), hone_gguf_tensor_count(theirs));
    for (size_t i = 0; i < hone_gguf_tensor_count(ours); i++) {
        const hone_gguf_tensor *a = hone_gguf_tensor_at(ours, i);
        const hone_gguf_tensor *b = hone_gguf_tensor_find(theirs, a->name);
        ck_assert_msg(b != NULL, "%s is not theirs", a->name);
        ck_assert_int_eq(a->n_dims, b->n_dims);
        ck_assert_uint_eq(a->type, b->type);
        ck_assert_mem_eq(a->sizes, b->sizes, sizeof a->sizes);
        ck_assert_uint_eq(a->bytes, b->bytes);
        if (strcmp(a->name, "rope_freqs.weight") == 0) {
            ck_near(a, b);
            continue;
        }
        ck_assert_msg(memcmp(a->data, b->data, a->bytes) == 0, "%s differs", a->name);
    }
}

typedef struct converted {
    hone_dtype type;
    const char *file;
} converted;

static const converted converted_list[] = {
    {HONE_F32, "stories260K/stories260K-f32.gguf"},
    {HONE_F16, "stories260K/stories260K-f16.gguf"},
    {HONE_BF16, "stories260K/stories260K-bf16.gguf"},
    {HONE_Q8_0, "stories260K/stories260K-q8_0.gguf"},
};

/* All keys but general.size_label and those of no consequence: scores' sign of zero, add_sep_token. */
START_TEST(export_gguf_equals_llama_cpps_converter) {
    static const char *const keys[] = {
        "general.architecture",
        "general.type",
        "general.name",
        "general.file_type",
        "general.quantization_version",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.rope.freq_base",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.attention.key_length",
        "llama.attention.value_length",
        "llama.vocab_size",
        "llama.rope.dimension_count",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token",
    };
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_model *model = open_model(path);
    hone_export_options options = {.file_type = hone_file_type_of(converted_list[_i].type),
                                   .name = "stories260K"};
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &options));
    hone_gguf *ours, *theirs;
    ck_ok(hone_gguf_open(&ours, test_path("a.gguf")));
    ck_ok(hone_gguf_open(&theirs, hone_test_data(converted_list[_i].file)));
    ck_same_tensors(ours, theirs);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) ck_same_value(ours, theirs, keys[i]);
    hone_gguf_close(ours);
    hone_gguf_close(theirs);
    hone_model_close(model);
}
END_TEST

START_TEST(export_llama3_rope_equals_llama_cpps_converter) {
    const char *path = hone_test_data("tiny-archs/llama3-rope");
    if (!path) return;
    hone_model *model = open_model(path);
    hone_export_options options = {.file_type = hone_file_type_of(HONE_F32)};
    options.tokenizer_path = test_path("tokenizer.gguf");
    hone_buf tokenizer = {0};
    ck_ok(hone_file_get(&tokenizer, hone_test_data("tiny-archs/llama3-rope.gguf")));
    ck_ok(hone_file_put(options.tokenizer_path, tokenizer.data, tokenizer.length));
    hone_buf_free(&tokenizer);
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &options));
    hone_gguf *ours, *theirs;
    ck_ok(hone_gguf_open(&ours, test_path("a.gguf")));
    ck_ok(hone_gguf_open(&theirs, hone_test_data("tiny-archs/llama3-rope.gguf")));
    ck_same_tensors(ours, theirs);
    ck_same_value(ours, theirs, "tokenizer.ggml.scores");
    hone_gguf_close(ours);
    hone_gguf_close(theirs);
    hone_model_close(model);
}
END_TEST

START_TEST(export_gguf_at_own_types_keeps_file) {
    const char *path = hone_test_data(converted_list[_i].file);
    if (!path) return;
    hone_model *model = open_model(path);
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &own));
    hone_gguf *ours;
    ck_ok(hone_gguf_open(&ours, test_path("a.gguf")));
    ck_same_tensors(ours, model->gguf);
    ck_assert_uint_eq(hone_gguf_key_count(ours), hone_gguf_key_count(model->gguf));
    for (size_t i = 0; i < hone_gguf_key_count(ours); i++) {
        char key[128];
        hone_gguf_string name = hone_gguf_key_at(ours, i)->key;
        snprintf(key, sizeof key, "%.*s", (int)name.length, name.data);
        ck_same_value(ours, model->gguf, key);
    }
    hone_gguf_close(ours);
    hone_model_close(model);
}
END_TEST

START_TEST(export_quantised_base_to_folder_is_dequantised) {
    const char *path = hone_test_data("stories260K/stories260K-q8_0.gguf");
    if (!path) return;
    hone_model *model = open_model(path);
    ck_ok(hone_model_export_safetensors(model, NULL, test_path("a"), &own));
    int32_t ids[] = {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426};
    double want = mean_nll(model, NULL, ids, NULL, 16);
    hone_model *plain = open_model(test_path("a"));
    ck_assert_int_eq(plain->outer[HONE_OUTER_EMBEDDING].dtype, HONE_F32);
    ck_assert_double_eq_tol(mean_nll(plain, NULL, ids, NULL, 16), want, 1e-5);
    hone_model_close(plain);
    hone_model_close(model);
}
END_TEST

/* --- errors --- */

START_TEST(export_type_that_a_folder_cannot_have_is_refused) {
    hone_model *model = open_model(test_fixture("models/grouped-tied"));
    hone_export_options q8_0 = as(HONE_Q8_0);
    ck_fails(hone_model_export_safetensors(model, NULL, test_path("a"), &q8_0), HONE_ERR_USAGE,
             "q8_0 cannot be written (supported: f32, f16, bf16)");
    ck_assert(!hone_path_exists(test_path("a")));
    hone_model_close(model);
}
END_TEST

START_TEST(export_value_beyond_type_names_tensor_and_leaves_nothing) {
    hone_model *model = open_model(test_fixture("models/grouped-tied"));
    hone_adapter *adapter = open_adapter(model, test_fixture("models/grouped-tied/adapter"));
    hone_lora_pair *pair = hone_adapter_pair(adapter, 1, HONE_ROLE_UP);
    for (int64_t i = 0; i < hone_tensor_count(&pair->b); i++) ((float *)pair->b.data)[i] = 1e8f;
    hone_export_options f16 = as(HONE_F16);
    ck_fails(hone_model_export_gguf(model, adapter, test_path("a.gguf"), &f16), HONE_ERR_NUMERIC,
             "tensor model.layers.1.mlp.up_proj.weight as f16");
    ck_assert(!hone_path_exists(test_path("a.gguf")));
    ck_assert(!hone_path_exists(test_path("a.gguf.partial")));
    ck_fails(hone_model_export_safetensors(model, adapter, test_path("a"), &f16), HONE_ERR_NUMERIC,
             "tensor model.layers.1.mlp.up_proj.weight as f16");
    ck_assert(!hone_path_exists(test_path("a/model.safetensors")));
    ck_assert(!hone_path_exists(test_path("a/config.json")));
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(export_gguf_with_unknown_tensor_is_refused) {
    hone_model *model = open_model(test_fixture("models/grouped-tied"));
    ck_ok(hone_model_export_gguf(model, NULL, test_path("a.gguf"), &own));
    hone_model_close(model);
    hone_gguf *gguf;
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_open(&gguf, test_path("a.gguf")));
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_gguf_set_all(writer, gguf));
    size_t count = hone_gguf_tensor_count(gguf);
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *t = hone_gguf_tensor_at(gguf, i);
        ck_ok(hone_gguf_add_tensor(writer, t->name, t->type, t->n_dims, t->sizes));
    }
    int64_t size = 1;
    ck_ok(hone_gguf_add_tensor(writer, "blk.0.attn_sinks", HONE_F32, 1, &size));
    ck_ok(hone_gguf_begin(writer, test_path("b.gguf")));
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *t = hone_gguf_tensor_at(gguf, i);
        ck_ok(hone_gguf_data(writer, t->data, t->bytes));
    }
    ck_ok(hone_gguf_data(writer, &(float){1}, sizeof(float)));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_gguf_close(gguf);
    hone_status status = hone_model_open(&model, test_path("b.gguf"), &test_device);
    if (status == HONE_OK) {
        status = hone_model_export_gguf(model, NULL, test_path("c.gguf"), &own);
        hone_model_close(model);
    }
    ck_fails(status, HONE_ERR_UNSUPPORTED, "blk.0.attn_sinks");
}
END_TEST

START_TEST(export_survives_failing_allocations) {
    hone_model *model = open_model(test_fixture("models/grouped-tied"));
    for (int64_t n = 1; n < 4000; n += 7) {
        hone_alloc_fail_at(n);
        hone_status status = hone_model_export_gguf(model, NULL, test_path("a.gguf"), &own);
        hone_alloc_fail_at(0);
        if (status == HONE_OK) break;
        ck_assert(!hone_path_exists(test_path("a.gguf.partial")));
    }
    hone_model_close(model);
}
END_TEST

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

int main(void) {
    Suite *suite = suite_create("merge");
    TCase *values = tcase_create("values"), *errors = tcase_create("errors");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_set_timeout(values, 60);
    tcase_set_timeout(errors, 60);
    tcase_add_loop_test(values, export_merged_fixture_has_the_adapted_loss, 0, COUNT(fixtures));
    tcase_add_loop_test(values, export_there_and_back_gives_the_same_tensors, 0, COUNT(fixtures));
    tcase_add_loop_test(values, export_rounded_is_near, 0, COUNT(roundings));
    tcase_add_test(values, export_twice_gives_same_bytes);
    tcase_add_test(values, export_model_from_scratch_takes_a_tokenizer_along);
    tcase_add_test(values, export_model_trained_in_full_has_its_weights);
    tcase_add_loop_test(values, export_gguf_equals_llama_cpps_converter, 0, COUNT(converted_list));
    tcase_add_test(values, export_llama3_rope_equals_llama_cpps_converter);
    tcase_add_loop_test(values, export_gguf_at_own_types_keeps_file, 0, COUNT(converted_list));
    tcase_add_test(values, export_quantised_base_to_folder_is_dequantised);
    tcase_add_test(errors, export_type_that_a_folder_cannot_have_is_refused);
    tcase_add_test(errors, export_value_beyond_type_names_tensor_and_leaves_nothing);
    tcase_add_test(errors, export_gguf_with_unknown_tensor_is_refused);
    tcase_add_test(errors, export_survives_failing_allocations);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
