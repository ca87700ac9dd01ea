/*
 * Architectures: the spellings of config.json that transformers 4 and 5 write, what GGUF means without saying so, and the
 * published losses of ready-made models of every family.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/gguf_writer.h"
#include "tests/model_support.h"

/* --- Ready-made models --- */

static const char *const ready[] = {
    "llama",        "llama.gguf", "llama3-rope", "llama3-rope.gguf", "mistral",
    "qwen2",        "qwen2.gguf", "qwen3",       "qwen3.gguf",       "smollm3",
    "smollm3.gguf", "gemma2",     "gemma2.gguf", "gemma3",           "gemma3.gguf",
    "phi3",         "phi3.gguf",  "gpt2",
};
enum { READY = sizeof ready / sizeof *ready };

START_TEST(model_ready_made_gives_the_published_loss) {
    const char *folder = hone_test_data("tiny-archs");
    if (!folder) return;
    char name[32];
    json_t *all;
    ck_ok(hone_json_load(&all, test_text(folder, "expected.json")));
    snprintf(name, sizeof name, "%.*s", (int)strcspn(ready[_i], "."), ready[_i]);
    const json_t *expected = json_object_get(all, name);
    int32_t ids[64];
    int64_t count = read_ids(ids, 64, json_object_get(expected, "ids"));
    hone_model *model = open_model(test_text(folder, ready[_i]));
    double wanted = json_number_value(json_object_get(expected, "loss"));
    ck_assert_double_eq_tol(mean_nll(model, NULL, ids, NULL, count), wanted, 1e-5);
    hone_adapter *adapter;
    ck_ok(hone_adapter_new(&adapter, model, 0x7f, 4, 8, 1));
    ck_assert_double_eq_tol(mean_nll(model, adapter, ids, NULL, count), wanted, 1e-5);
    hone_adapter_free(adapter);
    ck_ok(hone_model_train_all(model));
    ck_assert_double_eq_tol(mean_nll(model, NULL, ids, NULL, count), wanted, 1e-5);
    hone_model_close(model);
    json_decref(all);
}
END_TEST

/* --- Spellings --- */

static hone_arch parse(const char *text) {
    json_t *config;
    hone_arch arch;
    ck_ok(hone_json_parse(&config, text, strlen(text), "config.json"));
    ck_ok(hone_arch_from_config(&arch, config, "config.json"));
    json_decref(config);
    return arch;
}

#define SIZES                                                                                      \
    "\"num_hidden_layers\": 7, \"hidden_size\": 64, \"num_attention_heads\": 4, "                  \
    "\"num_key_value_heads\": 2, \"intermediate_size\": 96, \"vocab_size\": 512, "                 \
    "\"max_position_embeddings\": 256"

/* The same model, as transformers 4 and as 5 writes it. */
static const struct {
    const char *old, *new;
} spellings[] = {
    {"{\"model_type\": \"llama\", \"rope_theta\": 5e5, \"rope_scaling\": {\"type\": \"linear\", "
     "\"factor\": 4}, " SIZES "}",
     "{\"model_type\": \"llama\", \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": "
     "\"linear\", \"factor\": 4}, " SIZES "}"},
    {"{\"model_type\": \"gemma3_text\", \"head_dim\": 32, \"rope_theta\": 1e6, "
     "\"rope_local_base_freq\": 2e4, \"sliding_window\": 16, \"sliding_window_pattern\": 6, "
     "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}, " SIZES "}",
     "{\"model_type\": \"gemma3_text\", \"head_dim\": 32, \"sliding_window\": 16, "
     "\"layer_types\": [\"sliding_attention\", \"sliding_attention\", \"sliding_attention\", "
     "\"sliding_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"], "
     "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e6, \"rope_type\": \"linear\", "
     "\"factor\": 8}, \"sliding_attention\": {\"rope_theta\": 2e4, \"rope_type\": "
     "\"default\"}}, " SIZES "}"},
    {"{\"model_type\": \"phi3\", \"partial_rotary_factor\": 0.5, "
     "\"original_max_position_embeddings\": 64, \"rope_scaling\": {\"type\": \"su\", "
     "\"short_factor\": [1, 1, 2, 2], \"long_factor\": [1, 2, 3, 4]}, " SIZES "}",
     "{\"model_type\": \"phi3\", \"original_max_position_embeddings\": 64, \"rope_parameters\": "
     "{\"partial_rotary_factor\": 0.5, \"rope_theta\": 1e4, \"rope_type\": \"longrope\", "
     "\"short_factor\": [1, 1, 2, 2], \"long_factor\": [1, 2, 3, 4]}, " SIZES "}"},
    {"{\"model_type\": \"qwen2\", \"use_sliding_window\": true, \"sliding_window\": 16, "
     "\"max_window_layers\": 5, " SIZES "}",
     "{\"model_type\": \"qwen2\", \"use_sliding_window\": true, \"sliding_window\": 16, "
     "\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\", "
     "\"full_attention\", \"full_attention\", \"sliding_attention\", \"sliding_attention\"], " SIZES
     "}"},
    {"{\"model_type\": \"smollm3\", " SIZES "}",
     "{\"model_type\": \"smollm3\", \"no_rope_layers\": [1, 1, 1, 0, 1, 1, 1], " SIZES "}"},
    {"{\"model_type\": \"gemma2\", \"head_dim\": 32, \"query_pre_attn_scalar\": 16, "
     "\"sliding_window\": 16, \"attn_logit_softcapping\": null, " SIZES "}",
     "{\"model_type\": \"gemma2\", \"head_dim\": 32, \"query_pre_attn_scalar\": 16, "
     "\"sliding_window\": 16, \"attn_logit_softcapping\": null, \"layer_types\": "
     "[\"sliding_attention\", \"full_attention\", \"sliding_attention\", \"full_attention\", "
     "\"sliding_attention\", \"full_attention\", \"sliding_attention\"], " SIZES "}"},
};
enum { SPELLINGS = sizeof spellings / sizeof *spellings };

static void check_same(const hone_arch *a, const hone_arch *b) {
    ck_assert_ptr_eq(a->family, b->family);
    ck_assert_int_eq(a->rotated, b->rotated);
    ck_assert_int_eq(a->window, b->window);
    ck_assert_double_eq(a->attention_scale, b->attention_scale);
    ck_assert_double_eq(a->attention_softcap, b->attention_softcap);
    ck_assert_mem_eq(a->layer, b->layer, sizeof a->layer);
    for (int i = 0; i < HONE_ROPES; i++) {
        const hone_rotary *x = &a->rope[i], *y = &b->rope[i];
        ck_assert_double_eq(x->theta, y->theta);
        ck_assert_int_eq(x->scaling, y->scaling);
        ck_assert_double_eq(x->attention_factor, y->attention_factor);
        float one[HONE_MOST_ROTATED / 2], other[HONE_MOST_ROTATED / 2];
        hone_rope_frequencies(one, x, a->rotated, 256);
        hone_rope_frequencies(other, y, b->rotated, 256);
        ck_assert_mem_eq(one, other, (size_t)a->rotated / 2 * sizeof *one);
    }
}

START_TEST(arch_config_old_and_new_spelling_are_the_same) {
    hone_arch old = parse(spellings[_i].old), new = parse(spellings[_i].new);
    check_same(&old, &new);
}
END_TEST

/* What hone writes, it reads back as the same. */
START_TEST(arch_config_written_is_read_back) {
    hone_arch arch = parse(spellings[_i].new), back;
    json_t *config;
    ck_ok(hone_arch_to_config(&config, &arch, "float32", 1, 2));
    ck_ok(hone_arch_from_config(&back, config, "config.json"));
    check_same(&arch, &back);
    json_decref(config);
}
END_TEST

START_TEST(arch_config_values_of_the_families) {
    hone_arch gemma3 = parse(spellings[1].old), phi3 = parse(spellings[2].old);
    ck_assert_int_eq(gemma3.layer[4], HONE_LAYER_LOCAL);
    ck_assert_int_eq(gemma3.layer[5], 0);
    ck_assert_int_eq(hone_arch_rope_table(&gemma3, 4, 10), 1);
    ck_assert_int_eq(hone_arch_rope_table(&gemma3, 5, 1000), 0);
    ck_assert_int_eq(hone_arch_rope_table(&phi3, 0, 64), 0);
    ck_assert_int_eq(hone_arch_rope_table(&phi3, 0, 65), 1);
    ck_assert_double_eq(gemma3.embedding_scale, 8);
    ck_assert_int_eq(phi3.rotated, 8);
    ck_assert_double_eq_tol(phi3.rope[0].attention_factor, sqrt(1 + log(4) / log(64)), 1e-12);
    float frequencies[4];
    hone_rope_frequencies(frequencies, &phi3.rope[0], 8, 64); /* short texts */
    ck_assert_double_eq_tol((double)frequencies[2], (double)(0.01f / 2), 1e-8);
    hone_rope_frequencies(frequencies, &phi3.rope[0], 8, 65);
    ck_assert_double_eq_tol((double)frequencies[2], (double)(0.01f / 3), 1e-8);
}
END_TEST

/* As the files of the larger Gemma 3 models have it. */
START_TEST(arch_config_of_a_text_part_is_filled_up) {
    hone_arch a =
        parse("{\"model_type\": \"gemma3\", \"tie_word_embeddings\": false, \"text_config\": {"
              "\"hidden_size\": 2560, \"intermediate_size\": 10240, "
              "\"model_type\": \"gemma3_text\", \"num_hidden_layers\": 34, "
              "\"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
              "\"sliding_window\": 1024}, \"vision_config\": {\"hidden_size\": 1152}}");
    const int64_t found[] = {a.layers,    a.width,        a.heads,      a.kv_heads,
                             a.head_size, a.feed_forward, a.vocabulary, a.context,
                             a.window,    a.layer[0],     a.layer[5]};
    const int64_t wanted[] = {34, 2560, 8, 4, 256, 10240, 262208, 131072, 1024, HONE_LAYER_LOCAL,
                              0};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) ck_assert_int_eq(found[i], wanted[i]);
    ck_assert_int_eq(a.rope[HONE_ROPE_GLOBAL].scaling, HONE_ROPE_LINEAR);
    ck_assert_double_eq(a.rope[HONE_ROPE_GLOBAL].theta, 1e6);
    ck_assert_double_eq(a.rope[HONE_ROPE_LOCAL].theta, 1e4);
    ck_assert_double_eq(a.attention_scale, 1.0 / 16);
    ck_assert(!a.tied); /* which the whole says, not its text part */
    hone_arch usual = parse("{\"model_type\": \"gemma3\", \"text_config\": {}}");
    ck_assert_int_eq(usual.layers, 26);
    ck_assert_int_eq(usual.width, 2304);
    ck_assert_int_eq(usual.feed_forward, 9216);
    ck_assert(usual.tied);
}
END_TEST

START_TEST(arch_config_without_a_text_part_refused) {
    static const char *const cases[][2] = {
        {"{\"model_type\": \"gemma3\"}", "text_config"},
        {"{\"model_type\": \"gemma3\", \"text_config\": 7}", "text_config"},
        {"{\"model_type\": \"gemma3\", \"text_config\": {\"model_type\": \"gemma4_text\"}}",
         "\"gemma4_text\" is not supported (supported: gemma3_text)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config;
        hone_arch arch;
        ck_ok(hone_json_parse(&config, cases[i][0], strlen(cases[i][0]), "config.json"));
        hone_status status = hone_arch_from_config(&arch, config, "config.json");
        ck_assert_int_ne(status, HONE_OK);
        ck_assert_msg(strstr(hone_fail_message(), cases[i][1]), "%s", hone_fail_message());
        json_decref(config);
    }
}
END_TEST

/* What transformers takes for granted when config.json does not say it. */
START_TEST(arch_config_what_is_left_out_is_as_in_transformers) {
    hone_arch qwen2 = parse("{\"model_type\": \"qwen2\", \"sliding_window\": 16, "
                            "\"max_window_layers\": 1, " SIZES "}");
    ck_assert_int_eq(qwen2.window, 0);
    ck_assert_int_eq(qwen2.layer[6], 0);
    hone_arch late = parse("{\"model_type\": \"qwen3\", \"sliding_window\": 16, "
                           "\"use_sliding_window\": true, \"num_hidden_layers\": 30, "
                           "\"hidden_size\": 64, \"num_attention_heads\": 4, "
                           "\"intermediate_size\": 96, \"vocab_size\": 512}");
    ck_assert_int_eq(late.layer[27], 0);
    ck_assert_int_eq(late.layer[28], HONE_LAYER_LOCAL);
    hone_arch smollm3 = parse("{\"model_type\": \"smollm3\", \"sliding_window\": 16, " SIZES "}");
    ck_assert_int_eq(smollm3.window, 0);
    hone_arch gemma2 = parse("{\"model_type\": \"gemma2\", \"head_dim\": 32, " SIZES "}");
    ck_assert_double_eq(gemma2.attention_scale, 1.0 / 16);
    ck_assert_int_eq(gemma2.window, 4096);
}
END_TEST

START_TEST(arch_dynamic_scaling_begins_beyond_the_context) {
    hone_arch arch = parse("{\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": "
                           "\"dynamic\", \"factor\": 2}, " SIZES "}");
    float within[8], beyond[8], plain[8];
    hone_rope_frequencies(within, &arch.rope[0], 16, 256);
    hone_rope_frequencies(beyond, &arch.rope[0], 16, 512);
    arch.rope[0].scaling = HONE_ROPE_PLAIN;
    hone_rope_frequencies(plain, &arch.rope[0], 16, 512);
    ck_assert_mem_eq(within, plain, sizeof plain);
    /* theta grows by (2 * 2 - 1)^(16/14) */
    double theta = 10000 * pow(3, 16.0 / 14);
    ck_assert_double_eq_tol((double)beyond[7], (double)((float)pow(theta, -14.0 / 16)), 1e-9);
    ck_assert_double_eq((double)beyond[0], 1);
}
END_TEST

/* The tied fixture, whose file has no head, with another "tie_word_embeddings"; NULL leaves the key out. */
static hone_status open_retold(hone_model **out, json_t *tied) {
    json_t *config;
    ck_ok(hone_json_load(&config, test_fixture("models/grouped-tied/config.json")));
    ck_assert_int_eq(json_object_del(config, "tie_word_embeddings"), 0);
    if (tied) json_object_set_new(config, "tie_word_embeddings", tied);
    ck_assert_int_eq(json_dump_file(config, test_path("config.json"), 0), 0);
    json_decref(config);
    char *weights = realpath(test_fixture("models/grouped-tied/model.safetensors"), NULL);
    int made = symlink(weights, test_path("model.safetensors"));
    ck_assert(made == 0 || errno == EEXIST);
    free(weights);
    return hone_model_open(out, test_folder, &test_device);
}

START_TEST(model_open_missing_head_is_a_tied_one_unless_said_otherwise) {
    hone_model *model;
    ck_ok(open_retold(&model, NULL));
    ck_assert(model->arch.tied);
    hone_model_close(model);
    ck_fails(open_retold(&model, json_false()), HONE_ERR_FORMAT, "lm_head.weight is missing");
}
END_TEST

/* --- GGUF metadata --- */

/* A GGUF that says `config` and, once read_back, is gone. */
static hone_gguf_writer *describe(const char *config) {
    hone_gguf_writer *writer;
    hone_arch arch = parse(config);
    ck_ok(hone_arch_fits_gguf(&arch, "config.json"));
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_arch_to_gguf(writer, &arch));
    return writer;
}

static hone_status read_back(hone_arch *out, hone_gguf_writer *writer) {
    static const float zeros[64 * 512];
    const char *path = test_path("described.gguf");
    hone_gguf *gguf;
    ck_ok(hone_gguf_add_tensor(writer, "token_embd.weight", HONE_F32, 2, (int64_t[]){64, 512}));
    ck_ok(hone_gguf_begin(writer, path));
    ck_ok(hone_gguf_data(writer, zeros, sizeof zeros));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    ck_ok(hone_gguf_open(&gguf, path));
    hone_status status = hone_arch_from_gguf(out, gguf);
    hone_gguf_close(gguf);
    return status;
}

#define GEMMA3                                                                                     \
    "{\"model_type\": \"gemma3_text\", \"head_dim\": 32, \"query_pre_attn_scalar\": 32, "          \
    "\"sliding_window\": 16, \"final_logit_softcapping\": 20, " SIZES "}"
#define LLAMA   "{\"model_type\": \"llama\", " SIZES "}"
#define GRANITE "{\"model_type\": \"granite\", " SIZES "}"
#define OLMO2   "{\"model_type\": \"olmo2\", " SIZES "}"

START_TEST(arch_gguf_keys_are_read_as_llama_cpp_reads_them) {
    hone_arch arch;
    ck_ok(read_back(&arch, describe(GEMMA3)));
    ck_assert_int_eq(arch.layer[4], HONE_LAYER_LOCAL);
    ck_assert_double_eq(arch.logit_softcap, 20);

    hone_gguf_writer *writer = describe(GEMMA3); /* a Gemma 3 without windows */
    hone_gguf_unset(writer, "gemma3.attention.sliding_window");
    ck_ok(read_back(&arch, writer));
    ck_assert_int_eq(arch.layer[4], 0);

    writer = describe(LLAMA); /* what the oldest converters wrote */
    ck_ok(hone_gguf_set_f32(writer, "llama.rope.scale_linear", 4));
    ck_ok(read_back(&arch, writer));
    ck_assert_int_eq(arch.rope[0].scaling, HONE_ROPE_LINEAR);
    ck_assert_double_eq(arch.rope[0].factor, 4);

    writer = describe(LLAMA);
    ck_ok(hone_gguf_set_f32(writer, "llama.rope.scaling.factor", 0));
    ck_ok(read_back(&arch, writer));
    ck_assert_int_eq(arch.rope[0].scaling, HONE_ROPE_PLAIN);
}
END_TEST

START_TEST(arch_gguf_settings_of_other_models_are_refused) {
    hone_arch arch;
    hone_gguf_writer *writer = describe(OLMO2);
    ck_ok(hone_gguf_set_u32(writer, "olmo2.attention.sliding_window", 4096));
    ck_fails(read_back(&arch, writer), HONE_ERR_UNSUPPORTED, "olmo2 with a sliding window");

    writer = describe(GEMMA3);
    ck_ok(hone_gguf_set_u32(writer, "gemma3.attention.sliding_window_pattern", 3));
    ck_fails(read_back(&arch, writer), HONE_ERR_UNSUPPORTED, "another pattern of windows");

    writer = describe(GRANITE);
    ck_ok(hone_gguf_set_bool(writer, "granite.rope.scaling.finetuned", false));
    ck_fails(read_back(&arch, writer), HONE_ERR_UNSUPPORTED, "granite with no rope");
}
END_TEST

/* llama.cpp divides by the caps of Gemma 2 always. */
START_TEST(arch_gguf_of_a_gemma2_without_caps_is_refused) {
    hone_arch arch = parse(spellings[5].new);
    ck_fails(hone_arch_fits_gguf(&arch, "config.json"), HONE_ERR_UNSUPPORTED,
             "a scale of their own");
    arch.attention_scale = hone_arch_gguf_scale(&arch);
    ck_fails(hone_arch_fits_gguf(&arch, "config.json"), HONE_ERR_UNSUPPORTED, "or lacks them");
    arch.attention_softcap = 50;
    ck_ok(hone_arch_fits_gguf(&arch, "config.json"));
}
END_TEST

START_TEST(adapter_fused_matrix_is_one_pair_whose_parts_are_rows) {
    const char *path = hone_test_data("tiny-archs/phi3");
    if (!path) return;
    hone_model *model = open_model(path);
    hone_adapter *adapter;
    ck_fails(hone_adapter_new(&adapter, model, 0x1, 4, 8, 1), HONE_ERR_USAGE,
             "q, k and v in one matrix, self_attn.qkv_proj");
    ck_ok(hone_adapter_new(&adapter, model, 0x7, 4, 8, 1));
    ck_assert_uint_eq(adapter->params.count, 4); /* two blocks, A and B */
    ck_assert_str_eq(adapter->params.items[1].name,
                     "model.layers.0.self_attn.qkv_proj.lora_B.weight");
    hone_lora_pair *pair = hone_adapter_pair(adapter, 0, HONE_ROLE_QKV);
    const hone_tensor *v = hone_adapter_part(pair, HONE_ROLE_V);
    ck_assert_int_eq(pair->b.shape[0], 128);
    ck_assert_int_eq(v->shape[0], 32);
    ck_assert_ptr_eq(v->data, (float *)pair->b.data + 96 * 4);
    ck_assert_ptr_eq(v->grad->data, (float *)pair->b.grad->data + 96 * 4);
    hone_adapter_free(adapter);
    hone_model_close(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("architectures");
    TCase *values = tcase_create("values");
    tcase_add_unchecked_fixture(values, make_test_folder, remove_test_folder);
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, model_ready_made_gives_the_published_loss, 0, READY);
    tcase_add_loop_test(values, arch_config_old_and_new_spelling_are_the_same, 0, SPELLINGS);
    tcase_add_loop_test(values, arch_config_written_is_read_back, 0, SPELLINGS);
    tcase_add_test(values, arch_config_values_of_the_families);
    tcase_add_test(values, arch_config_of_a_text_part_is_filled_up);
    tcase_add_test(values, arch_config_without_a_text_part_refused);
    tcase_add_test(values, arch_config_what_is_left_out_is_as_in_transformers);
    tcase_add_test(values, model_open_missing_head_is_a_tied_one_unless_said_otherwise);
    tcase_add_test(values, arch_gguf_keys_are_read_as_llama_cpp_reads_them);
    tcase_add_test(values, arch_gguf_settings_of_other_models_are_refused);
    tcase_add_test(values, arch_gguf_of_a_gemma2_without_caps_is_refused);
    tcase_add_test(values, arch_dynamic_scaling_begins_beyond_the_context);
    tcase_add_test(values, adapter_fused_matrix_is_one_pair_whose_parts_are_rows);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
