/*
 * Models: descriptions from config.json and GGUF, weights from every form of a trained model, generation, and refusals.
 */
#include <math.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "model/generate.h"
#include "tests/support.h"

static hone_device device;

static void open_device(void) {
    ck_ok(hone_device_open_cpu(&device));
}

/* Mean loss of predicting ids[1..] one after the other. */
static double mean_loss(hone_model *model, const hone_adapter *adapter, const int32_t *ids,
                        int64_t count) {
    int32_t positions[512], rows[512];
    for (int32_t i = 0; i < count; i++) positions[i] = rows[i] = i;
    hone_segment segment = {0, (int32_t)count, 0, (int32_t)count};
    hone_tokens tokens = {.count = count,
                          .ids = ids,
                          .positions = positions,
                          .segment_count = 1,
                          .segments = &segment,
                          .longest_q = count,
                          .longest_k = count};
    hone_forward forward = {.model = model, .adapter = adapter, .tokens = &tokens};
    double sum = 0;
    hone_loss_call call = {.rows = rows, .targets = ids + 1, .count = count - 1, .sum = &sum};
    hone_tape *tape;
    ck_ok(hone_model_rope(model, count));
    ck_ok(hone_tape_new(&tape, &device));
    hone_tape_plan(tape, false);
    ck_ok(hone_transformer_loss(tape, &forward, &call));
    ck_ok(hone_tape_plan_done(tape));
    ck_ok(hone_tape_reserve(tape));
    hone_tape_begin(tape);
    ck_ok(hone_transformer_loss(tape, &forward, &call));
    hone_tape_free(tape);
    return sum / (double)(count - 1);
}

static int64_t read_ids(int32_t ids[512], const json_t *list) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) ids[i] = (int32_t)json_integer_value(item);
    return (int64_t)json_array_size(list);
}

/* Forms of the same trained model, and how far their rounding may move the loss. */
static const struct {
    const char *path;
    double tolerance;
} forms[] = {
    {"stories260K/hf", 1e-5},
    {"stories260K/hf/model.safetensors", 1e-5},
    {"stories260K/stories260K-f32.gguf", 1e-5},
    {"stories260K/stories260K-f16.gguf", 1e-3},
    {"stories260K/stories260K-bf16.gguf", 5e-3},
    {"stories260K/stories260K-q8_0.gguf", 5e-3},
};
enum { FORMS = sizeof forms / sizeof *forms };

START_TEST(model_every_form_gives_the_published_loss) {
    const char *path = hone_test_data("stories260K/expected.json");
    if (!path) return;
    json_t *expected;
    ck_ok(hone_json_load(&expected, path));
    open_device();
    hone_model *model;
    ck_ok(hone_model_open(&model, hone_test_data(forms[_i].path), &device));
    static const char *const texts[] = {"lily", "shakespeare"};
    for (int t = 0; t < 2; t++) {
        const json_t *entry = json_object_get(json_object_get(expected, "base"), texts[t]);
        int32_t ids[512];
        int64_t count = read_ids(ids, json_object_get(entry, "ids"));
        double wanted = json_number_value(json_object_get(entry, "mean_nll"));
        double found = mean_loss(model, NULL, ids, count);
        ck_assert_msg(fabs(found - wanted) <= forms[_i].tolerance, "%s, %s: %.9f instead of %.9f",
                      forms[_i].path, texts[t], found, wanted);
    }
    hone_model_close(model);
    json_decref(expected);
}
END_TEST

START_TEST(generator_greedy_gives_the_published_tokens) {
    const char *path = hone_test_data("stories260K/expected.json");
    if (!path) return;
    json_t *expected;
    ck_ok(hone_json_load(&expected, path));
    open_device();
    hone_model *model;
    ck_ok(hone_model_open(&model, hone_test_data("stories260K/stories260K-f32.gguf"), &device));
    int32_t wanted[512];
    int64_t count =
        read_ids(wanted, json_object_get(json_object_get(expected, "base"), "greedy_from_bos_64"));
    hone_generator *generator;
    ck_ok(hone_generator_new(&generator, model, NULL, count));
    const hone_sampling greedy = {.top_p = 1};
    ck_ok(hone_generator_feed(generator, wanted, 1));
    for (int64_t i = 1; i < count; i++) {
        int32_t id;
        ck_ok(hone_generator_choose(&id, generator, &greedy));
        ck_assert_int_eq(id, wanted[i]);
        ck_ok(hone_generator_feed(generator, &id, 1));
    }
    ck_fails(hone_generator_feed(generator, wanted, 1), HONE_ERR_DATA, "room for 0 more");
    /* The whole text at once leaves the same logits as token after token. */
    float last[512];
    memcpy(last, hone_generator_logits(generator), sizeof last);
    hone_generator_rewind(generator, 0);
    ck_ok(hone_generator_feed(generator, wanted, count));
    for (int i = 0; i < 512; i++) {
        ck_assert(fabsf(last[i] - hone_generator_logits(generator)[i]) <= 1e-4f);
    }
    hone_generator_free(generator);
    hone_model_close(model);
    json_decref(expected);
}
END_TEST

START_TEST(rows_to_gguf_and_back_is_the_identity) {
    enum { HEADS = 3, SIZE = 6 };
    int32_t hf[HEADS * SIZE], gguf[HEADS * SIZE], again[HEADS * SIZE];
    for (int i = 0; i < HEADS * SIZE; i++) hf[i] = i;
    hone_rows_to_gguf(gguf, hf, HEADS, SIZE, sizeof *hf);
    ck_assert_int_eq(gguf[0], 0);
    ck_assert_int_eq(gguf[1], 3); /* the second half's first stands beside the first half's */
    ck_assert_int_eq(gguf[2], 1);
    hone_rows_to_hf(again, gguf, HEADS, SIZE, sizeof *hf);
    ck_assert_mem_eq(again, hf, sizeof hf);
}
END_TEST

#define CONFIG(rest)                                                                               \
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64, "                  \
    "\"num_attention_heads\": 8, \"intermediate_size\": 172, \"vocab_size\": 512" rest "}"

static hone_status parse_config(hone_arch *out, const char *text) {
    json_t *config;
    ck_ok(hone_json_parse(&config, text, strlen(text), "config.json"));
    hone_status status = hone_arch_from_config(out, config, "config.json");
    json_decref(config);
    return status;
}

START_TEST(arch_config_defaults_are_those_of_transformers) {
    hone_arch arch;
    ck_ok(parse_config(&arch, CONFIG("")));
    ck_assert_int_eq(arch.kv_heads, 8);
    ck_assert_int_eq(arch.head_size, 8);
    ck_assert_double_eq(arch.rope[HONE_ROPE_GLOBAL].theta, 10000);
    ck_assert_double_eq(arch.norm_epsilon, 1e-6);
    ck_assert(!arch.tied && !arch.rope_interleaved);
    ck_assert_int_eq(hone_arch_parameters(&arch),
                     2 * 512 * 64 + 64 + 2 * (4 * 64 * 64 + 3 * 64 * 172 + 2 * 64));
}
END_TEST

static const struct {
    const char *config, *message;
} refused[] = {
    {"{\"model_type\": \"mamba\"}",
     "architecture \"mamba\" is not supported (supported: llama, mistral, "},
    {"{}", "model_type"},
    {"[]", "not a JSON object"},
    {CONFIG(", \"hidden_act\": \"gelu\""), "hidden_act \"gelu\""},
    {CONFIG(", \"use_bidirectional_attention\": true"), "use_bidirectional_attention"},
    {CONFIG(", \"layer_types\": [\"full_attention\", \"linear_attention\"]"),
     "\"linear_attention\""},
    {CONFIG(", \"layer_types\": [\"full_attention\"]"), "1 entries for 2 layers"},
    {CONFIG(", \"num_key_value_heads\": 3"), "cannot share 3"},
    {CONFIG(", \"head_dim\": 7"), "odd"},
    {CONFIG(", \"rope_scaling\": {\"type\": \"axial\", \"factor\": 2}"), "\"axial\""},
    {CONFIG(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}"), "factor must be above 0"},
    {CONFIG(", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1], "
            "\"long_factor\": [1]}"),
     "short_factor has 2 numbers, expected 4"},
    {CONFIG(", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 0, 1], "
            "\"long_factor\": [1]}"),
     "number 2 is not above 0"},
    {CONFIG(", \"partial_rotary_factor\": 1.5"), "partial_rotary_factor"},
    {CONFIG(", \"rms_norm_eps\": 0"), "epsilon"},
    {CONFIG(", \"num_key_value_heads\": 16"), "num_key_value_heads"},
    {"{\"model_type\": \"granite\", \"num_hidden_layers\": 2, \"hidden_size\": 64, "
     "\"num_attention_heads\": 8, \"intermediate_size\": 172, \"vocab_size\": 512, "
     "\"logits_scaling\": 0}",
     "scales must be above 0"},
};
enum { REFUSED = sizeof refused / sizeof *refused };

START_TEST(arch_config_unsupported_is_refused_by_name) {
    hone_arch arch;
    hone_status status = parse_config(&arch, refused[_i].config);
    ck_assert(status == HONE_ERR_UNSUPPORTED || status == HONE_ERR_FORMAT);
    ck_assert_msg(strstr(hone_fail_message(), refused[_i].message), "%s", hone_fail_message());
}
END_TEST

START_TEST(model_open_bad_paths_are_refused) {
    open_device();
    hone_model *model;
    ck_fails(hone_model_open(&model, "/nowhere/model.gguf", &device), HONE_ERR_IO, "no such model");
    ck_fails(hone_model_open(&model, "/dev/null", &device), HONE_ERR_UNSUPPORTED,
             "Hugging Face folder");
    ck_fails(hone_model_open(&model, "/tmp", &device), HONE_ERR_IO, "config.json");
}
END_TEST

static bool known(const char *model_type, hone_form form, const char *name) {
    hone_arch arch = hone_arch_of(hone_family_of_config(model_type));
    arch.layers = 13;
    return hone_weight_is_known(&arch, form, name);
}

START_TEST(weight_names_outside_of_the_description_are_unknown) {
    ck_assert(known("llama", HONE_FORM_GGUF, "blk.12.attn_q.weight"));
    ck_assert(known("llama", HONE_FORM_GGUF, "token_embd.weight"));
    ck_assert(known("llama", HONE_FORM_GGUF, "rope_freqs.weight"));
    ck_assert(known("llama", HONE_FORM_HF, "model.layers.0.mlp.down_proj.weight"));
    ck_assert(known("llama", HONE_FORM_HF, "model.layers.0.self_attn.rotary_emb.inv_freq"));
    ck_assert(!known("llama", HONE_FORM_GGUF, "blk.12.attn_q.bias"));
    ck_assert(!known("llama", HONE_FORM_GGUF, "blk.13.attn_q.weight")); /* a block too many */
    ck_assert(!known("llama", HONE_FORM_GGUF, "blk.4294967296.attn_q.weight"));
    ck_assert(!known("llama", HONE_FORM_HF, "model.layers.13.mlp.down_proj.weight"));
    ck_assert(!known("llama", HONE_FORM_GGUF, "blk.attn_q.weight"));
    ck_assert(!known("llama", HONE_FORM_GGUF, "blk.0.attn_q_norm.weight"));
    ck_assert(!known("llama", HONE_FORM_HF, "model.layers.0.self_attn.q_proj.bias"));
    ck_assert(!known("llama", HONE_FORM_HF, "blk.0.attn_q.weight"));
    ck_assert(known("qwen2", HONE_FORM_GGUF, "blk.12.attn_q.bias"));
    ck_assert(!known("qwen2", HONE_FORM_GGUF, "blk.12.attn_output.bias"));
    ck_assert(known("phi3", HONE_FORM_HF, "model.layers.1.self_attn.qkv_proj.weight"));
    ck_assert(!known("phi3", HONE_FORM_HF, "model.layers.1.self_attn.q_proj.weight"));
    ck_assert(known("gpt2", HONE_FORM_HF, "transformer.h.0.attn.bias")); /* the mask */
    ck_assert(known("gpt2", HONE_FORM_HF, "transformer.h.0.attn.c_attn.bias"));
    ck_assert(known("gpt2", HONE_FORM_HF, "transformer.ln_f.bias"));
    ck_assert(known("gpt2", HONE_FORM_HF, "ln_f.bias")); /* as the first files have it */
    ck_assert(!known("llama", HONE_FORM_HF, "layers.0.mlp.down_proj.weight"));
    ck_assert(known("gemma3", HONE_FORM_HF, "model.language_model.layers.0.mlp.up_proj.weight"));
    ck_assert(known("gemma3", HONE_FORM_HF, "language_model.model.layers.0.mlp.up_proj.weight"));
    ck_assert(known("gemma3", HONE_FORM_HF, "language_model.lm_head.weight"));
    ck_assert(known("gemma3", HONE_FORM_HF, "model.vision_tower.head.weight")); /* left out */
    ck_assert(known("gemma3", HONE_FORM_HF, "multi_modal_projector.mm_soft_emb_norm.weight"));
    ck_assert(!known("gemma3", HONE_FORM_HF, "model.layers.0.mlp.up_proj.weight"));
    ck_assert(!known("gemma3_text", HONE_FORM_HF, "model.vision_tower.head.weight"));
}
END_TEST

START_TEST(model_create_same_seed_same_weights) {
    open_device();
    char path[] = "/tmp/hone-config-XXXXXX.json";
    int fd = mkstemps(path, 5);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_ok(hone_file_put(path, CONFIG(", \"tie_word_embeddings\": true"),
                        strlen(CONFIG(", \"tie_word_embeddings\": true"))));
    hone_model *a, *b, *c;
    ck_ok(hone_model_create(&a, path, &device, 5));
    ck_ok(hone_model_create(&b, path, &device, 5));
    ck_ok(hone_model_create(&c, path, &device, 6));
    unlink(path);
    int64_t n = a->params.elements;
    ck_assert_int_eq(n, hone_arch_parameters(&a->arch));
    ck_assert_mem_eq(a->params.values.base, b->params.values.base, (size_t)n * sizeof(float));
    ck_assert_mem_ne(a->params.values.base, c->params.values.base, (size_t)n * sizeof(float));
    double sum = 0, squares = 0;
    const float *w = a->outer[HONE_OUTER_EMBEDDING].data;
    int64_t count = hone_tensor_count(&a->outer[HONE_OUTER_EMBEDDING]);
    for (int64_t i = 0; i < count; i++) {
        sum += (double)w[i];
        squares += (double)w[i] * (double)w[i];
    }
    ck_assert_double_eq_tol(sum / (double)count, 0, 5e-4);
    ck_assert_double_eq_tol(sqrt(squares / (double)count), 0.02, 5e-4);
    hone_model_close(a);
    hone_model_close(b);
    hone_model_close(c);
}
END_TEST

START_TEST(adapter_new_changes_nothing_until_trained) {
    const char *path = hone_test_data("stories260K/hf");
    if (!path) return;
    open_device();
    hone_model *model;
    hone_adapter *adapter;
    ck_ok(hone_model_open(&model, path, &device));
    ck_ok(hone_adapter_new(&adapter, model, 0x7f, 4, 8, 1));
    int32_t ids[] = {1, 403, 407, 261, 378, 432, 383, 286, 261, 376};
    ck_assert(mean_loss(model, NULL, ids, 10) == mean_loss(model, adapter, ids, 10));
    const hone_lora_pair *pair = hone_adapter_pair(adapter, 0, HONE_ROLE_DOWN);
    const float *a = pair->a.data;
    float most = 0;
    for (int64_t i = 0; i < hone_tensor_count(&pair->a); i++) most = fmaxf(most, fabsf(a[i]));
    float bound = 1 / sqrtf(172);
    ck_assert(most <= bound && most > 0.95f * bound);
    ck_assert_double_eq(pair->scale, 2);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("model");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, model_every_form_gives_the_published_loss, 0, FORMS);
    tcase_add_test(values, generator_greedy_gives_the_published_tokens);
    tcase_add_test(values, rows_to_gguf_and_back_is_the_identity);
    tcase_add_test(values, weight_names_outside_of_the_description_are_unknown);
    tcase_add_test(values, arch_config_defaults_are_those_of_transformers);
    tcase_add_test(values, model_create_same_seed_same_weights);
    tcase_add_test(values, adapter_new_changes_nothing_until_trained);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, arch_config_unsupported_is_refused_by_name, 0, REFUSED);
    tcase_add_test(errors, model_open_bad_paths_are_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
