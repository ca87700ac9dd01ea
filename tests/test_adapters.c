#include "formats/gguf_writer.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "model/adapter_gguf.h"
#include "model/adapter_peft.h"
#include "model/lora.h"
#include "tests/model_support.h"

static const char hash_one[] = "1111111111111111111111111111111111111111111111111111111111111111";
static const char hash_two[] = "2222222222222222222222222222222222222222222222222222222222222222";

static hone_model *small_model(void) {
    return open_model(test_fixture("models/grouped-tied"));
}

static const char *small_adapter(void) {
    return test_fixture("models/grouped-tied/adapter");
}

/* Every rank, scale and factor the same, the values within `tolerance`. */
static void ck_same(const hone_adapter *a, const hone_adapter *b, double tolerance) {
    ck_assert_uint_eq(a->params.count, b->params.count);
    size_t pairs = (size_t)a->model->arch.layers * HONE_LINEARS;
    for (size_t i = 0; i < pairs; i++) {
        ck_assert_int_eq(a->pairs[i].rank, b->pairs[i].rank);
        ck_assert_double_eq_tol(a->pairs[i].scale, b->pairs[i].scale, 1e-6);
    }
    ck_assert_int_eq(a->params.elements, b->params.elements);
    const float *x = a->params.values.base, *y = b->params.values.base;
    for (int64_t i = 0; i < a->params.elements; i++) {
        ck_assert(fabs((double)x[i] - (double)y[i]) <= tolerance);
    }
}

/* Factors that are all different, with ranks and scales that differ by layer. */
static hone_adapter *uneven_adapter(const hone_model *model) {
    hone_adapter *adapter;
    ck_ok(hone_adapter_new_empty(&adapter, model));
    hone_adapter_declare(adapter, 0, HONE_ROLE_Q, 3, 2.0);
    hone_adapter_declare(adapter, 1, HONE_ROLE_Q, 3, 2.0);
    hone_adapter_declare(adapter, 0, HONE_ROLE_K, 2, 0.75);
    hone_adapter_declare(adapter, 1, HONE_ROLE_DOWN, 1, 3.5);
    ck_ok(hone_adapter_allocate(adapter));
    float *values = adapter->params.values.base;
    for (int64_t i = 0; i < adapter->params.elements; i++) {
        values[i] = (float)sin((double)(i + 1)) * 0.1f;
    }
    return adapter;
}

/* --- values: adapters of other programs --- */

typedef struct honoured {
    const char *file, *expected;
} honoured;

static const honoured honoured_list[] = {
    {"stories260K/adapters/lora-r4", "lora-r4"},
    {"stories260K/adapters/rslora-r8-attn", "rslora-r8-attn"},
    {"stories260K/adapters/lora-pattern", "lora-pattern"},
    {"stories260K/adapters/lora-r4.gguf", "lora-r4"},
};

static void ck_losses(hone_model *model, const hone_adapter *adapter, const json_t *expected) {
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)expected, text, value) {
        if (!json_is_object(value)) continue;
        int32_t ids[1024];
        int64_t count = read_ids(ids, 1024, json_object_get(value, "ids"));
        double want = json_number_value(json_object_get(value, "mean_nll"));
        ck_assert_double_eq_tol(mean_nll(model, adapter, ids, NULL, count), want, 1e-5);
    }
}

START_TEST(adapter_open_others_adapters_gives_their_loss) {
    static const char *const bases[] = {"stories260K/hf", "stories260K/stories260K-f32.gguf"};
    const char *path = hone_test_data("stories260K/expected.json");
    if (!path) return;
    json_t *expected;
    ck_ok(hone_json_load(&expected, path));
    const honoured *one = &honoured_list[_i / 2];
    hone_model *model = open_model(hone_test_data(bases[_i % 2]));
    hone_adapter *adapter = open_adapter(model, hone_test_data(one->file));
    ck_losses(model, NULL, json_object_get(expected, "base"));
    ck_losses(model, adapter, json_object_get(expected, one->expected));
    hone_adapter_free(adapter);
    hone_model_close(model);
    json_decref(expected);
}
END_TEST

START_TEST(adapter_open_fixture_gives_pytorch_loss) {
    json_t *expected;
    ck_ok(hone_json_load(&expected, test_fixture("models/grouped-tied/expected.json")));
    int32_t ids[1024], mask32[1024];
    uint8_t mask[1024];
    int64_t count = read_ids(ids, 1024, json_object_get(expected, "ids"));
    read_ids(mask32, 1024, json_object_get(expected, "mask"));
    for (int64_t i = 0; i < count; i++) mask[i] = (uint8_t)mask32[i];
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter());
    double want = json_number_value(json_object_get(expected, "lora_loss"));
    ck_assert_double_eq_tol(mean_nll(model, adapter, ids, mask, count), want, 1e-5);
    hone_adapter_free(adapter);
    hone_model_close(model);
    json_decref(expected);
}
END_TEST

/* --- values: what is written is read back --- */

START_TEST(write_peft_uneven_reads_back) {
    hone_model *model = small_model();
    hone_adapter *adapter = uneven_adapter(model);
    adapter->dropout = 0.25;
    hone_adapter_info info = {.base_hash = hash_one, .chat_template = "chatml"};
    ck_ok(hone_adapter_write_peft(adapter, test_path("peft"), &info));
    hone_adapter *back;
    ck_ok(hone_adapter_open(&back, model, test_path("peft"),
                            &(hone_adapter_info){.base_hash = hash_one}));
    ck_same(adapter, back, 0);
    ck_assert_double_eq(back->dropout, 0.25);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_gguf_uneven_folds_scale_into_b) {
    hone_model *model = small_model();
    hone_adapter *adapter = uneven_adapter(model);
    ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), NULL));
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, test_path("a.gguf")));
    ck_assert_ptr_null(hone_gguf_find(gguf, "adapter.lora.alpha"));
    hone_gguf_close(gguf);
    hone_adapter *back = open_adapter(model, test_path("a.gguf"));
    for (int64_t i = 0; i < model->arch.layers * HONE_LINEARS; i++) {
        const hone_lora_pair *old = &adapter->pairs[i], *new = &back->pairs[i];
        if (old->rank == 0) continue;
        ck_assert_double_eq(new->scale, 1);
        for (int64_t j = 0; j < hone_tensor_count(&old->b); j++) {
            double folded = (double)((float *)old->b.data)[j] * old->scale;
            ck_assert_double_eq_tol((double)((float *)new->b.data)[j], folded, 1e-7);
        }
    }
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_gguf_one_alpha_keeps_factors) {
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter());
    ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), NULL));
    hone_adapter *back = open_adapter(model, test_path("a.gguf"));
    ck_same(adapter, back, 0);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_all_ranks_unlike_reads_back_as_patterns) {
    hone_model *model = small_model();
    hone_adapter *adapter;
    ck_ok(hone_adapter_new_empty(&adapter, model));
    for (int64_t l = 0; l < model->arch.layers; l++) {
        hone_adapter_declare(adapter, l, HONE_ROLE_V, 1 + l, 1.0 / 3);
    }
    ck_ok(hone_adapter_allocate(adapter));
    ck_ok(hone_adapter_write_peft(adapter, test_path("peft"), NULL));
    hone_adapter *back = open_adapter(model, test_path("peft"));
    ck_same(adapter, back, 0);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_twice_gives_same_bytes) {
    hone_model *model = small_model();
    hone_adapter *adapter = uneven_adapter(model);
    hone_adapter_info info = {.base_hash = hash_one};
    const char *const files[] = {"adapter_config.json", "adapter_model.safetensors"};
    char digest[3][2][HONE_SHA256_TEXT];
    for (int i = 0; i < 2; i++) {
        ck_ok(hone_adapter_write_peft(adapter, test_path("peft"), &info));
        ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), &info));
        for (int f = 0; f < 2; f++) {
            ck_ok(hone_sha256_file(digest[f][i], test_text(test_path("peft"), files[f])));
        }
        ck_ok(hone_sha256_file(digest[2][i], test_path("a.gguf")));
    }
    for (int f = 0; f < 3; f++) ck_assert_str_eq(digest[f][0], digest[f][1]);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(write_from_gguf_base_turns_rows_to_hf) {
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_model *hf = open_model(path);
    hone_model *gguf = open_model(hone_test_data("stories260K/stories260K-f32.gguf"));
    hone_adapter *plain = open_adapter(hf, hone_test_data("stories260K/adapters/lora-r4"));
    hone_adapter *turned = open_adapter(gguf, hone_test_data("stories260K/adapters/lora-r4"));
    ck_ok(hone_adapter_write_peft(turned, test_path("peft"), NULL));
    ck_ok(hone_adapter_write_gguf(turned, test_path("a.gguf"), NULL));
    hone_adapter *back = open_adapter(hf, test_path("peft"));
    ck_same(plain, back, 0);
    hone_adapter_free(back);
    back = open_adapter(hf, test_path("a.gguf"));
    ck_same(plain, back, 0);
    hone_adapter_free(back);
    hone_adapter_free(turned);
    hone_adapter_free(plain);
    hone_model_close(gguf);
    hone_model_close(hf);
}
END_TEST

START_TEST(write_gguf_equals_llama_cpps_converter) {
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_model *model = open_model(path);
    hone_adapter *adapter = open_adapter(model, hone_test_data("stories260K/adapters/lora-r4"));
    ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), NULL));
    hone_gguf *ours, *theirs;
    ck_ok(hone_gguf_open(&ours, test_path("a.gguf")));
    ck_ok(hone_gguf_open(&theirs, hone_test_data("stories260K/adapters/lora-r4.gguf")));
    ck_assert_uint_eq(hone_gguf_tensor_count(ours), hone_gguf_tensor_count(theirs));
    for (size_t i = 0; i < hone_gguf_tensor_count(ours); i++) {
        const hone_gguf_tensor *a = hone_gguf_tensor_at(ours, i);
        const hone_gguf_tensor *b = hone_gguf_tensor_find(theirs, a->name);
        ck_assert_ptr_nonnull(b);
        ck_assert_uint_eq(a->bytes, b->bytes);
        ck_assert_mem_eq(a->data, b->data, a->bytes);
    }
    float alpha;
    ck_ok(hone_gguf_get_f32(&alpha, ours, "adapter.lora.alpha"));
    ck_assert(alpha == 8);
    hone_gguf_close(ours);
    hone_gguf_close(theirs);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* --- errors: settings and tensors that cannot be honoured --- */

static void copy_file(const char *to, const char *from) {
    hone_buf content = {0};
    ck_ok(hone_file_get(&content, from));
    ck_ok(hone_file_put(to, content.data, content.length));
    hone_buf_free(&content);
}

/* The fixture's adapter in "peft", its config changed by a JSON object. */
static void edited_config(const char *edit) {
    json_t *config, *changes;
    ck_ok(hone_dir_make(test_path("peft")));
    copy_file(test_path("peft/adapter_model.safetensors"),
              test_text(small_adapter(), "adapter_model.safetensors"));
    ck_ok(hone_json_load(&config, test_text(small_adapter(), "adapter_config.json")));
    ck_ok(hone_json_parse(&changes, edit, strlen(edit), "edit"));
    json_object_update(config, changes);
    ck_ok(hone_json_save(config, test_path("peft/adapter_config.json")));
    json_decref(changes);
    json_decref(config);
}

typedef struct bad_config {
    const char *edit;
    hone_status status;
    const char *message;
} bad_config;

static const bad_config bad_configs[] = {
    {"{\"use_dora\": true}", HONE_ERR_UNSUPPORTED, "key use_dora asks for DoRA"},
    {"{\"modules_to_save\": [\"norm\"]}", HONE_ERR_UNSUPPORTED, "key modules_to_save"},
    {"{\"bias\": \"all\"}", HONE_ERR_UNSUPPORTED, "key bias is \"all\""},
    {"{\"lora_bias\": true}", HONE_ERR_UNSUPPORTED, "key lora_bias"},
    {"{\"layer_replication\": [[0, 1]]}", HONE_ERR_UNSUPPORTED, "key layer_replication"},
    {"{\"target_parameters\": [\"a\"]}", HONE_ERR_UNSUPPORTED, "key target_parameters"},
    {"{\"trainable_token_indices\": [1]}", HONE_ERR_UNSUPPORTED, "key trainable_token_indices"},
    {"{\"alora_invocation_tokens\": [1]}", HONE_ERR_UNSUPPORTED, "key alora_invocation_tokens"},
    {"{\"use_qalora\": true}", HONE_ERR_UNSUPPORTED, "key use_qalora"},
    {"{\"use_bdlora\": {\"nblocks\": 2}}", HONE_ERR_UNSUPPORTED, "key use_bdlora"},
    {"{\"loftq_config\": {\"loftq_bits\": 4}}", HONE_ERR_UNSUPPORTED, "key loftq_config"},
    {"{\"of_tomorrow\": 3}", HONE_ERR_UNSUPPORTED, "key of_tomorrow"},
    {"{\"init_lora_weights\": \"pissa\"}", HONE_ERR_UNSUPPORTED,
     "key init_lora_weights is \"pissa\""},
    {"{\"init_lora_weights\": \"olora\"}", HONE_ERR_UNSUPPORTED, "changed base weights"},
    {"{\"peft_type\": \"IA3\"}", HONE_ERR_UNSUPPORTED, "key peft_type is \"IA3\""},
    {"{\"peft_type\": null}", HONE_ERR_FORMAT, "peft_type"},
    {"{\"lora_alpha\": null}", HONE_ERR_FORMAT, "lora_alpha"},
    {"{\"r\": 5}", HONE_ERR_FORMAT, "rank 5, but its factors have rank 4"},
    {"{\"rank_pattern\": {\"q_proj\": 2}}", HONE_ERR_FORMAT, "self_attn.q_proj rank 2"},
    {"{\"alpha_pattern\": {\"(q_proj\": 2}}", HONE_ERR_FORMAT, "is no regular expression"},
    {"{\"alpha_pattern\": {\"q_proj\": \"2\"}}", HONE_ERR_FORMAT, "must have a number"},
};

START_TEST(adapter_open_unhonoured_setting_is_refused_by_name) {
    const bad_config *bad = &bad_configs[_i];
    edited_config(bad->edit);
    hone_model *model = small_model();
    hone_adapter *adapter;
    hone_status status = hone_adapter_open(&adapter, model, test_path("peft"), NULL);
    ck_fails(status, bad->status, bad->message);
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "adapter_config.json"));
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_settings_of_training_only_are_fine) {
    edited_config("{\"init_lora_weights\": \"gaussian\", \"target_modules\": null, "
                  "\"layers_to_transform\": [0], \"eva_config\": {}, "
                  "\"megatron_core\": \"x\", \"peft_version\": \"0.3\"}");
    hone_model *model = small_model();
    hone_adapter_free(open_adapter(model, test_path("peft")));
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_patterns_and_rslora_give_peft_scales) {
    edited_config("{\"use_rslora\": true, \"lora_alpha\": 6, \"alpha_pattern\": "
                  "{\"layers\\\\.1\\\\..*\": 3, \"q_proj\": 5, \"proj\": 7}}");
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, test_path("peft"));
    ck_assert_double_eq(hone_adapter_pair(adapter, 0, HONE_ROLE_Q)->scale, 5.0 / 2);
    ck_assert_double_eq(hone_adapter_pair(adapter, 0, HONE_ROLE_V)->scale, 6.0 / 2);
    ck_assert_double_eq(hone_adapter_pair(adapter, 1, HONE_ROLE_Q)->scale, 3.0 / 2);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* A tensor to put into an adapter file; values are zero. */
typedef struct entry {
    const char *name;
    int64_t shape[2];
} entry;

#define AT(rest) "base_model.model.model.layers." rest

typedef struct bad_tensors {
    entry entries[3];
    hone_status status;
    const char *message;
} bad_tensors;

/* grouped-tied: width 48, key and value width 24 (checked by the test). */
static const bad_tensors bad_tensor_list[] = {
    {{{AT("0.self_attn.q_proj.lora_A.weight"), {2, 48}}},
     HONE_ERR_FORMAT,
     "has no other half (its lora_B is missing)"},
    {{{AT("0.self_attn.q_proj.lora_B.weight"), {48, 2}}},
     HONE_ERR_FORMAT,
     "has no other half (its lora_A is missing)"},
    {{{AT("0.self_attn.q_proj.lora_A.weight"), {2, 47}},
      {AT("0.self_attn.q_proj.lora_B.weight"), {48, 2}}},
     HONE_ERR_FORMAT,
     "has shape [2, 47], expected [2, 48]"},
    {{{AT("0.self_attn.k_proj.lora_A.weight"), {2, 48}},
      {AT("0.self_attn.k_proj.lora_B.weight"), {48, 2}}},
     HONE_ERR_FORMAT,
     "has shape [48, 2], expected [24, 2]"},
    {{{AT("0.self_attn.q_proj.lora_A.weight"), {2, 48}},
      {AT("0.self_attn.q_proj.lora_A.default.weight"), {2, 48}}},
     HONE_ERR_FORMAT,
     "are the same factor"},
    {{{AT("9.self_attn.q_proj.lora_A.weight"), {2, 48}}}, HONE_ERR_FORMAT, "is for layer 9"},
    {{{AT("00.self_attn.q_proj.lora_A.weight"), {2, 48}}},
     HONE_ERR_UNSUPPORTED,
     "is not a LoRA factor"},
    {{{AT("0.self_attn.q_proj.lora_magnitude_vector"), {48, 1}}},
     HONE_ERR_UNSUPPORTED,
     "DoRA is not supported"},
    {{{"base_model.model.model.embed_tokens.lora_embedding_A", {2, 400}}},
     HONE_ERR_UNSUPPORTED,
     "LoRA on embeddings is not supported"},
    {{{"base_model.model.model.embed_tokens.base_layer.weight", {2, 48}}},
     HONE_ERR_UNSUPPORTED,
     "base weights of its own"},
    {{{"base_model.model.lm_head.lora_A.weight", {2, 48}}},
     HONE_ERR_UNSUPPORTED,
     "lm_head.lora_A.weight: a changed output head"},
    {{{"base_model.model.model.norm.weight", {48, 1}}},
     HONE_ERR_UNSUPPORTED,
     "norms trained in full"},
    {{{AT("0.self_attn.q_proj.lora_B.bias"), {48, 1}}}, HONE_ERR_UNSUPPORTED, "trained biases"},
    {{{"model.layers.0.self_attn.q_proj.lora_A.weight", {2, 48}}},
     HONE_ERR_UNSUPPORTED,
     "is not a LoRA factor"},
    {{{NULL, {0, 0}}}, HONE_ERR_FORMAT, "holds no LoRA factors"},
};

static void write_entries(const entry *entries, size_t count) {
    static const float zeros[1 << 16];
    hone_safetensors_writer *writer;
    ck_ok(hone_dir_make(test_path("peft")));
    copy_file(test_path("peft/adapter_config.json"),
              test_text(small_adapter(), "adapter_config.json"));
    ck_ok(hone_safetensors_writer_new(&writer));
    for (size_t i = 0; i < count && entries[i].name; i++) {
        ck_ok(hone_safetensors_add_tensor(writer, entries[i].name, HONE_F32, 2, entries[i].shape));
    }
    ck_ok(hone_safetensors_begin(writer, test_path("peft/adapter_model.safetensors")));
    for (size_t i = 0; i < count && entries[i].name; i++) {
        size_t bytes = (size_t)(entries[i].shape[0] * entries[i].shape[1]) * sizeof(float);
        ck_ok(hone_safetensors_data(writer, zeros, bytes));
    }
    ck_ok(hone_safetensors_commit(writer));
    hone_safetensors_writer_free(writer);
}

START_TEST(adapter_open_bad_tensor_is_refused_by_name) {
    const bad_tensors *bad = &bad_tensor_list[_i];
    write_entries(bad->entries, 3);
    hone_model *model = small_model();
    ck_assert_int_eq(model->arch.width, 48);
    ck_assert_int_eq(model->arch.kv_heads * model->arch.head_size, 24);
    hone_adapter *adapter;
    hone_status status = hone_adapter_open(&adapter, model, test_path("peft"), NULL);
    ck_fails(status, bad->status, bad->message);
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "adapter_model.safetensors"));
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_key_with_adapter_name_is_read) {
    const entry entries[] = {
        {AT("0.self_attn.q_proj.lora_A.default.weight"), {4, 48}},
        {AT("0.self_attn.q_proj.lora_B.default.weight"), {48, 4}},
    };
    write_entries(entries, 2);
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, test_path("peft"));
    ck_assert_uint_eq(adapter->params.count, 2);
    ck_assert_int_eq(hone_adapter_pair(adapter, 0, HONE_ROLE_Q)->rank, 4);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

/* --- errors: GGUF --- */

typedef struct bad_gguf {
    const char *key, *value; /* a text set beside the good ones; or a tensor's name */
    bool tensor;
    const char *message;
} bad_gguf;

static const bad_gguf bad_gguf_list[] = {
    {"general.architecture", "qwen2", false,
     "key general.architecture is \"qwen2\", expected \"llama\""},
    {"general.type", "model", false, "key general.type is \"model\", expected \"adapter\""},
    {"adapter.type", "dora", false, "key adapter.type is \"dora\""},
    {"adapter.alora.invocation_tokens", "x", false,
     "key adapter.alora.invocation_tokens is not supported"},
    {"token_embd.weight.lora_a", NULL, true, "LoRA on embeddings is not supported"},
    {"output.weight.lora_a", NULL, true, "LoRA on the output head is not supported"},
    {"blk.0.attn_norm.weight", NULL, true, "norms trained in full"},
    {"output_norm.weight", NULL, true, "norms trained in full"},
    {"blk.0.attn_output.weight", NULL, true, "blk.0.attn_output.weight is not a LoRA factor"},
    {"blk.0.attn_q.weight.lora_a", NULL, true, "has no other half"},
};

static hone_status set_text(hone_gguf_writer *writer, const char *key, const char *text) {
    return hone_gguf_set_string(writer, key, text, strlen(text));
}

START_TEST(adapter_open_bad_gguf_is_refused_by_name) {
    static const float zeros[96];
    const bad_gguf *bad = &bad_gguf_list[_i];
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(set_text(writer, "general.architecture", "llama"));
    ck_ok(set_text(writer, "general.type", "adapter"));
    ck_ok(set_text(writer, "adapter.type", "lora"));
    if (!bad->tensor) ck_ok(set_text(writer, bad->key, bad->value));
    if (bad->tensor) {
        int64_t sizes[2] = {48, 2};
        ck_ok(hone_gguf_add_tensor(writer, bad->key, HONE_F32, 2, sizes));
    }
    ck_ok(hone_gguf_begin(writer, test_path("bad.gguf")));
    if (bad->tensor) ck_ok(hone_gguf_data(writer, zeros, sizeof zeros));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_model *model = small_model();
    hone_adapter *adapter;
    hone_status status = hone_adapter_open(&adapter, model, test_path("bad.gguf"), NULL);
    ck_assert_int_ne(status, HONE_OK);
    ck_assert_msg(strstr(hone_fail_message(), bad->message) != NULL, "%s", hone_fail_message());
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "bad.gguf"));
    hone_model_close(model);
}
END_TEST

/* --- errors: the base, and the path --- */

/* On another base, which is told, the vocabularies decide; on the same one the tokenizers. */
START_TEST(adapter_open_other_base_is_told_unless_ids_differ) {
    static const struct {
        hone_adapter_info use;
        const char *message, *told;
    } uses[] = {
        {{.base_hash = hash_two}, NULL, hash_one},
        {{NULL, hash_two, hash_two, hash_one, NULL, NULL, NULL}, NULL, hash_one},
        {{NULL, hash_two, hash_one, hash_two, NULL, NULL, NULL}, "vocabulary of hash", NULL},
        {{NULL, hash_one, hash_two, hash_one, NULL, NULL, NULL}, "tokenizer of hash", NULL},
        {{NULL, hash_one, hash_one, hash_one, NULL, NULL, NULL}, NULL, ""},
    };
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter()), *back;
    hone_adapter_info info = {NULL, hash_one, hash_one, hash_one, NULL, NULL, NULL};
    ck_ok(hone_adapter_write_peft(adapter, test_path("peft"), &info));
    ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), &info));
    for (size_t i = 0; i < 2 * (sizeof uses / sizeof *uses); i++) {
        const char *path = test_path(i % 2 ? "peft" : "a.gguf"), *message = uses[i / 2].message;
        hone_status status = hone_adapter_open(&back, model, path, &uses[i / 2].use);
        if (message) {
            ck_fails(status, HONE_ERR_DATA, message);
            continue;
        }
        ck_ok(status);
        ck_assert_str_eq(back->doubts.other_base, uses[i / 2].told);
        hone_adapter_free(back);
    }
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_other_tokenizer_is_refused_and_template_told) {
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter()), *back;
    hone_adapter_info info = {.tokenizer_hash = hash_one, .template_hash = hash_one};
    ck_ok(hone_adapter_write_peft(adapter, test_path("peft"), &info));
    ck_ok(hone_adapter_write_gguf(adapter, test_path("a.gguf"), &info));
    const char *const paths[] = {"peft", "a.gguf"};
    for (int i = 0; i < 2; i++) {
        hone_adapter_info other = {.tokenizer_hash = hash_two};
        ck_fails(hone_adapter_open(&back, model, test_path(paths[i]), &other), HONE_ERR_DATA,
                 "tokenizer");
        ck_assert_ptr_nonnull(strstr(hone_fail_message(), hash_two));
        ck_ok(hone_adapter_open(&back, model, test_path(paths[i]), &info));
        ck_assert(!back->doubts.other_template);
        hone_adapter_free(back);
        other = (hone_adapter_info){.tokenizer_hash = hash_one, .template_hash = hash_two};
        ck_ok(hone_adapter_open(&back, model, test_path(paths[i]), &other));
        ck_assert(back->doubts.other_template);
        hone_adapter_free(back);
    }
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_run_folder_reads_its_adapter) {
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter());
    ck_ok(hone_dir_make(test_path("run")));
    ck_ok(hone_adapter_write_peft(adapter, test_path("run/adapter"), NULL));
    hone_adapter *back = open_adapter(model, test_path("run"));
    ck_same(adapter, back, 0);
    hone_adapter_free(back);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_path_without_adapter_says_what_to_give) {
    hone_model *model = small_model();
    hone_adapter *adapter;
    ck_fails(hone_adapter_open(&adapter, model, test_path("none"), NULL), HONE_ERR_IO,
             "no such adapter");
    ck_fails(hone_adapter_open(&adapter, model, test_folder, NULL), HONE_ERR_FORMAT,
             "no adapter_config.json in it");
    ck_ok(hone_file_put(test_path("run.yaml"), "", 0));
    ck_fails(hone_adapter_open(&adapter, model, test_folder, NULL), HONE_ERR_DATA,
             "the run has no adapter yet");
    ck_ok(hone_dir_make(test_path("model")));
    ck_fails(hone_adapter_open(&adapter, model, test_folder, NULL), HONE_ERR_USAGE,
             "holds a whole model");
    ck_ok(hone_file_put(test_path("adapters.safetensors"), "", 0));
    ck_fails(hone_adapter_open(&adapter, model, test_folder, NULL), HONE_ERR_IO,
             "adapter_config.json");
    ck_assert_int_eq(unlink(test_path("adapters.safetensors")), 0);
    ck_fails(hone_adapter_open(&adapter, model, test_path("run.yaml"), NULL), HONE_ERR_UNSUPPORTED,
             "not an adapter");
    copy_file(test_path("adapter_config.json"), test_text(small_adapter(), "adapter_config.json"));
    ck_fails(hone_adapter_open(&adapter, model, test_folder, NULL), HONE_ERR_FORMAT,
             "adapter_model.bin is not read");
    hone_model_close(model);
}
END_TEST

typedef struct refused {
    const char *file, *message;
} refused;

static const refused refused_list[] = {
    {"stories260K/adapters/dora-r4", "key use_dora asks for DoRA"},
    {"stories260K/adapters/lora-embed", "embed_tokens"},
    {"stories260K/adapters/lora-save-norm", "key modules_to_save"},
    {"stories260K/adapters/lora-embed.gguf", "LoRA on embeddings is not supported"},
};

START_TEST(adapter_open_others_unhonoured_adapters_are_refused_by_name) {
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_model *model = open_model(path);
    const refused *one = &refused_list[_i];
    hone_adapter *adapter;
    hone_status status = hone_adapter_open(&adapter, model, hone_test_data(one->file), NULL);
    ck_fails(status, HONE_ERR_UNSUPPORTED, one->message);
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_other_models_adapter_is_refused_by_shape) {
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    hone_model *model = open_model(path);
    hone_adapter *adapter;
    hone_status status = hone_adapter_open(&adapter, model, small_adapter(), NULL);
    ck_fails(status, HONE_ERR_FORMAT, "expected");
    hone_model_close(model);
}
END_TEST

START_TEST(adapter_open_and_write_survive_failing_allocations) {
    hone_model *model = small_model();
    hone_adapter *adapter = open_adapter(model, small_adapter()), *back;
    for (int64_t n = 1; n < 400; n++) {
        hone_alloc_fail_at(n);
        hone_status status = hone_adapter_open(&back, model, small_adapter(), NULL);
        hone_alloc_fail_at(0);
        if (status == HONE_OK) {
            hone_adapter_free(back);
            break;
        }
    }
    for (int64_t n = 1; n < 400; n++) {
        hone_alloc_fail_at(n);
        hone_status status = hone_adapter_write_gguf(adapter, test_path("a.gguf"), NULL);
        hone_alloc_fail_at(0);
        if (status == HONE_OK) break;
        ck_assert(!hone_path_exists(test_path("a.gguf.partial")));
    }
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

int main(void) {
    Suite *suite = suite_create("adapters");
    TCase *values = tcase_create("values"), *errors = tcase_create("errors");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_set_timeout(values, 60);
    tcase_set_timeout(errors, 60);
    tcase_add_loop_test(values, adapter_open_others_adapters_gives_their_loss, 0,
                        2 * COUNT(honoured_list));
    tcase_add_test(values, adapter_open_fixture_gives_pytorch_loss);
    tcase_add_test(values, write_peft_uneven_reads_back);
    tcase_add_test(values, write_gguf_uneven_folds_scale_into_b);
    tcase_add_test(values, write_gguf_one_alpha_keeps_factors);
    tcase_add_test(values, write_all_ranks_unlike_reads_back_as_patterns);
    tcase_add_test(values, write_twice_gives_same_bytes);
    tcase_add_test(values, write_from_gguf_base_turns_rows_to_hf);
    tcase_add_test(values, write_gguf_equals_llama_cpps_converter);
    tcase_add_test(values, adapter_open_settings_of_training_only_are_fine);
    tcase_add_test(values, adapter_open_patterns_and_rslora_give_peft_scales);
    tcase_add_test(values, adapter_open_key_with_adapter_name_is_read);
    tcase_add_test(values, adapter_open_run_folder_reads_its_adapter);
    tcase_add_loop_test(errors, adapter_open_unhonoured_setting_is_refused_by_name, 0,
                        COUNT(bad_configs));
    tcase_add_loop_test(errors, adapter_open_bad_tensor_is_refused_by_name, 0,
                        COUNT(bad_tensor_list));
    tcase_add_loop_test(errors, adapter_open_bad_gguf_is_refused_by_name, 0, COUNT(bad_gguf_list));
    tcase_add_test(errors, adapter_open_other_base_is_told_unless_ids_differ);
    tcase_add_test(errors, adapter_open_other_tokenizer_is_refused_and_template_told);
    tcase_add_test(errors, adapter_open_path_without_adapter_says_what_to_give);
    tcase_add_loop_test(errors, adapter_open_others_unhonoured_adapters_are_refused_by_name, 0,
                        COUNT(refused_list));
    tcase_add_test(errors, adapter_open_other_models_adapter_is_refused_by_shape);
    tcase_add_test(errors, adapter_open_and_write_survive_failing_allocations);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
