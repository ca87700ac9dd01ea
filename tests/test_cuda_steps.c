/*
 * Whole training steps on a GPU beside the CPU: every family, every base type and every way of taking a step; what is
 * exported and said there. On an emulated GPU (tests/cuda/fake_cudart.h), or on a real one in a build with CUDA.
 */
#include "formats/gguf_writer.h"
#include "formats/quantize.h"
#include "model/generate.h"
#include "model/merge.h"
#include "tests/cuda/device_support.h"
#include "train/device_batch.h"

enum { TOKENS = 9, FIRST = 5, RANK = 3 };

/* How a step is taken. */
typedef struct way {
    const char *name;
    hone_recompute recompute;
    bool bf16_activations, dropout, full, int8, bf16;
    hone_attention_kind attention; /* of the GPU; the processor's is exact */
} way;

/* A model on a device, what is trained of it, and a batch of two documents. */
typedef struct stepper {
    hone_device device;
    hone_model *model;
    hone_adapter *adapter; /* NULL: all is trained */
    hone_params *params;
    hone_device_batch batch;
    hone_buffer key; /* of dropout */
    hone_tape *tape;
    hone_forward forward;
    double loss;
    float *grads; /* owned, on the host */
} stepper;

static void load_batch(hone_device_batch *batch, const hone_device *device, int64_t vocabulary) {
    int32_t ids[TOKENS], positions[TOKENS], row[TOKENS], target[TOKENS];
    uint32_t records[TOKENS];
    int32_t begin[] = {0, FIRST}, length[] = {FIRST, TOKENS - FIRST};
    int64_t rows = 0;
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)((3 + i * 37) % vocabulary);
        positions[i] = i < FIRST ? i : i - FIRST;
        records[i] = i < FIRST ? 4 : 7;
    }
    for (int32_t i = 1; i < TOKENS; i++) {
        if (i == FIRST || i == 2) continue;
        row[rows] = i - 1;
        target[rows++] = ids[i];
    }
    hone_batch host = {.tokens = TOKENS,
                       .ids = ids,
                       .positions = positions,
                       .records = records,
                       .documents = 2,
                       .document_begin = begin,
                       .document_length = length,
                       .rows = rows,
                       .row = row,
                       .target = target};
    ck_ok(hone_device_batch_new(batch, device, TOKENS, FIRST));
    ck_ok(hone_device_batch_load(batch, &host));
    batch->loss.weight = 1.0 / (double)rows;
}

/* New factors, of which B is not left at zero: every gradient is then something. */
static void draw_adapter(stepper *s) {
    ck_ok(hone_adapter_new(&s->adapter, s->model, 0x7f, RANK, 2 * RANK, 1));
    for (size_t i = 0; i < s->adapter->params.count; i++) {
        const hone_param *param = &s->adapter->params.items[i];
        if (!strstr(param->name, "lora_B")) continue;
        int64_t n = hone_tensor_count(param->tensor);
        float *values = hone_alloc((size_t)n, sizeof *values);
        for (int64_t k = 0; k < n; k++) values[k] = 0.01f * (float)(k * 7 % 11 - 5);
        ck_ok(hone_device_copy_in(&s->device, param->tensor->data, values,
                                  (size_t)n * sizeof *values));
        hone_free(values);
    }
}

static void build(stepper *s) {
    ck_ok(hone_transformer_loss(s->tape, &s->forward, &s->batch.loss));
    ck_ok(hone_tape_backward(s->tape));
}

static void open_stepper(stepper *s, const char *path, const way *how) {
    ck_ok(hone_model_open(&s->model, path, &s->device));
    if (how->full) {
        ck_ok(hone_model_train_all(s->model));
        s->params = &s->model->params;
    } else {
        draw_adapter(s);
        s->params = &s->adapter->params;
    }
    if (how->int8) ck_ok(hone_model_int8(s->model, s->model->arch.layers));
    hone_model_bf16(s->model, how->bf16);
    hone_model_attention(s->model, how->attention);
    load_batch(&s->batch, &s->device, s->model->arch.vocabulary);
    const uint64_t key = 0x123456789abcdef;
    ck_ok(hone_buffer_new(&s->key, &s->device, sizeof key));
    ck_ok(hone_device_copy_in(&s->device, s->key.base, &key, sizeof key));
    if (s->adapter && how->dropout) s->adapter->dropout = 0.25;
    s->forward = (hone_forward){.model = s->model,
                                .adapter = s->adapter,
                                .tokens = &s->batch.tokens,
                                .dropout_key = how->dropout ? s->key.base : NULL,
                                .recompute = how->recompute,
                                .bf16_activations = how->bf16_activations};
    ck_ok(hone_model_rope(s->model, TOKENS));
    ck_ok(hone_tape_new(&s->tape, &s->device));
}

static void take_step(stepper *s) {
    hone_tape_plan(s->tape, true);
    build(s);
    ck_ok(hone_tape_plan_done(s->tape));
    ck_ok(hone_tape_reserve(s->tape));
    ck_ok(hone_device_zero(&s->device, s->params->grads.base, s->params->grads.bytes));
    hone_tape_begin(s->tape);
    build(s);
    ck_ok(hone_device_batch_loss(&s->loss, &s->batch));
    s->grads = hone_alloc((size_t)s->params->elements, sizeof *s->grads);
    ck_ok(
        hone_device_copy_out(&s->device, s->grads, s->params->grads.base, s->params->grads.bytes));
}

static void close_model(stepper *s) {
    hone_tape_free(s->tape);
    hone_buffer_free(&s->key);
    hone_device_batch_free(&s->batch);
    hone_adapter_free(s->adapter);
    hone_model_close(s->model);
    hone_free(s->grads);
}

static void close_stepper(stepper *s) {
    close_model(s);
    hone_device_close(&s->device);
}

/* Largest difference of the gradients of a parameter by their norm there, over all parameters. */
static double distance(const stepper *found, const stepper *wanted) {
    double most = 0;
    int64_t at = 0;
    for (size_t i = 0; i < wanted->params->count; i++) {
        int64_t n = hone_tensor_count(wanted->params->items[i].tensor);
        double apart = 0, norm = 0;
        for (int64_t end = at + n; at < end; at++) {
            double g = (double)wanted->grads[at], d = (double)found->grads[at] - g;
            apart += d * d;
            norm += g * g;
        }
        ck_assert_msg(norm > 0 || apart == 0, "no gradient of %s", wanted->params->items[i].name);
        if (norm > 0) most = fmax(most, sqrt(apart / norm));
    }
    return most;
}

/* Where a rounding to int8 falls the other way, much more is off than that. Attention on tensor cores rounds four operands and
 * two results to 2^-8, in each block and both passes, and scores err by as much of what they sum. */
static double near(const way *how) {
    if (how->attention != HONE_ATTENTION_EXACT) return 1.0 / 32;
    return how->int8 || how->bf16 ? 1e-3 : 1e-5;
}

static void check_steps(const char *path, const way *how) {
    stepper wanted = {0}, found = {0};
    hone_device_open_ref(&wanted.device);
    open_cuda(&found.device);
    open_stepper(&wanted, path, how);
    open_stepper(&found, path, how);
    take_step(&wanted);
    take_step(&found);
    ck_assert_msg(fabs(found.loss - wanted.loss) <= near(how) * wanted.loss,
                  "%s %s: loss %.9g instead of %.9g", path, how->name, found.loss, wanted.loss);
    double apart = distance(&found, &wanted);
    ck_assert_msg(apart <= near(how), "%s %s: gradients are %g apart", path, how->name, apart);
    close_stepper(&wanted);
    close_stepper(&found);
}

static const char *const families[] = {
    "llama", "llama.gguf", "llama3-rope", "mistral",     "mistral.gguf",
    "qwen2", "qwen3",      "smollm3",     "gemma2",      "gemma3",
    "phi3",  "gpt2",       "qwen2.gguf",  "gemma3.gguf", "phi3.gguf",
};
enum { FAMILIES = sizeof families / sizeof *families };

START_TEST(step_of_every_family_is_that_of_the_cpu) {
    const char *data = hone_test_data("tiny-archs");
    if (data) check_steps(test_text(data, families[_i]), &(way){.name = "lora", .dropout = _i % 2});
}
END_TEST

static const way ways[] = {
    {.name = "dropout", .dropout = true},
    {.name = "recomputed", .recompute = HONE_RECOMPUTE_FULL, .dropout = true},
    {.name = "full", .full = true},
    {.name = "int8", .int8 = true},
    {.name = "bf16", .bf16 = true},
    {.name = "own attention", .bf16 = true, .attention = HONE_ATTENTION_OWN},
    {.name = "own attention, recomputed",
     .recompute = HONE_RECOMPUTE_FULL,
     .attention = HONE_ATTENTION_OWN},
    {.name = "recomputed attention", .recompute = HONE_RECOMPUTE_ATTENTION},
    {.name = "full, recomputed", .full = true, .recompute = HONE_RECOMPUTE_SELECTIVE},
};
enum { WAYS = sizeof ways / sizeof *ways };

static const char *const fixtures[] = {"grouped-tied", "untied-odd", "llama3-rope", "sharded-bf16"};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

START_TEST(step_in_every_way_is_that_of_the_cpu) {
    check_steps(test_text(test_fixture("models"), fixtures[_i % FIXTURES]), &ways[_i]);
}
END_TEST

/* --- Base types --- */

/* A Llama whose rows are whole blocks of every type. */
static const char wide[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 256, "
    "\"num_attention_heads\": %d, \"num_key_value_heads\": 1, \"intermediate_size\": 256, "
    "\"vocab_size\": 384, \"max_position_embeddings\": 64, \"tie_word_embeddings\": false}";

/* Its 256 elements are those of so many heads. */
static void write_wide(const char *path, int heads) {
    hone_model *model;
    hone_buf text = {0};
    const char *config = test_path("config.json");
    ck_ok(hone_buf_printf(&text, wide, heads));
    hone_export_options as = {.tokenizer_path = test_fixture("models/grouped-tied"),
                              .name = "wide"};
    ck_ok(hone_file_put(config, text.data, text.length));
    ck_ok(hone_model_create(&model, config, &test_device, 7));
    hone_buf_free(&text);
    ck_ok(hone_model_export_gguf(model, NULL, path, &as));
    hone_model_close(model);
}

static const hone_dtype types[] = {
    HONE_F16,  HONE_BF16, HONE_Q4_0, HONE_Q4_1, HONE_Q5_0,   HONE_Q5_1,   HONE_Q8_0,  HONE_Q2_K,
    HONE_Q3_K, HONE_Q4_K, HONE_Q5_K, HONE_Q6_K, HONE_IQ4_NL, HONE_IQ4_XS, HONE_MXFP4,
};
enum { TYPES = sizeof types / sizeof *types };

static void write_matrix(hone_gguf_writer *writer, const hone_gguf_tensor *t, hone_dtype type) {
    size_t bytes = (size_t)t->rows * hone_dtype_row_bytes(type, t->cols);
    void *blocks = hone_alloc(1, bytes);
    ck_assert_uint_eq(t->type, HONE_F32);
    ck_ok(hone_quantize(blocks, type, (const float *)t->data, t->rows, t->cols));
    ck_ok(hone_gguf_data(writer, blocks, bytes));
    hone_free(blocks);
}

/* The same file with matrices of another type. */
static void write_typed(const char *path, const char *from, hone_dtype type) {
    hone_gguf *gguf;
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_open(&gguf, from));
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_gguf_set_all(writer, gguf));
    size_t count = hone_gguf_tensor_count(gguf);
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *t = hone_gguf_tensor_at(gguf, i);
        uint32_t number = t->n_dims > 1 ? (uint32_t)type : t->type;
        ck_ok(hone_gguf_add_tensor(writer, t->name, number, t->n_dims, t->sizes));
    }
    ck_ok(hone_gguf_begin(writer, path));
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *t = hone_gguf_tensor_at(gguf, i);
        if (t->n_dims > 1) {
            write_matrix(writer, t, type);
        } else {
            ck_ok(hone_gguf_data(writer, t->data, t->bytes));
        }
    }
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_gguf_close(gguf);
}

START_TEST(step_of_every_base_type_is_that_of_the_cpu) {
    write_wide(test_path("wide.gguf"), 2);
    write_typed(test_path("typed.gguf"), test_path("wide.gguf"), types[_i]);
    check_steps(test_path("typed.gguf"), &(way){.name = "typed"});
}
END_TEST

START_TEST(step_of_a_plain_base_is_that_of_the_cpu) {
    write_wide(test_path("wide.gguf"), 2);
    check_steps(test_path("wide.gguf"), &(way){.name = "f32"});
}
END_TEST

/* Of 256 elements, and of each number that is a half of that before. */
START_TEST(step_with_own_attention_to_heads_of_every_size_is_that_of_the_cpu) {
    write_wide(test_path("wide.gguf"), 1 << _i);
    check_steps(test_path("wide.gguf"), &(way){.name = "own", .attention = HONE_ATTENTION_OWN});
}
END_TEST

/* --- What is made of a model on a device --- */

/* Refused before a weight is made or read, not by an assertion in the first step. */
START_TEST(heads_too_large_for_the_device_are_refused) {
    hone_device device;
    hone_model *model;
    const char *config = test_path("config.json");
    hone_buf text = {0};
    ck_ok(hone_buf_printf(&text, wide, 1));
    *strstr(text.data, "256") = '4';
    ck_ok(hone_file_put(config, text.data, text.length));
    open_cuda(&device);
    ck_fails(
        hone_model_create(&model, config, &device, 7), HONE_ERR_UNSUPPORTED,
        "heads have 456 elements, of which attention on a GPU takes 256 at most; use --device cpu");
    hone_device_close(&device);
    hone_buf_free(&text);
}
END_TEST

START_TEST(export_of_an_adapted_model_on_device_is_that_of_the_cpu) {
    static const char *const names[] = {"untied-odd", "sharded-bf16"};
    stepper cpu = {0}, cuda = {0};
    hone_device_open_ref(&cpu.device);
    open_cuda(&cuda.device);
    for (int i = 0; i < 2; i++) {
        const char *path = test_text(test_fixture("models"), names[i]);
        open_stepper(&cpu, path, &(way){.name = "export"});
        open_stepper(&cuda, path, &(way){.name = "export"});
        hone_export_options as = {.name = "same"};
        ck_ok(hone_model_export_gguf(cpu.model, cpu.adapter, test_path("cpu.gguf"), &as));
        ck_ok(hone_model_export_gguf(cuda.model, cuda.adapter, test_path("cuda.gguf"), &as));
        hone_buf files[2] = {{0}};
        ck_ok(hone_file_get(&files[0], test_path("cpu.gguf")));
        ck_ok(hone_file_get(&files[1], test_path("cuda.gguf")));
        ck_assert_uint_eq(files[0].length, files[1].length);
        ck_assert_mem_eq(files[0].data, files[1].data, files[0].length);
        for (int f = 0; f < 2; f++) hone_buf_free(&files[f]);
        close_model(&cpu);
        close_model(&cuda);
    }
    hone_device_close(&cuda.device);
}
END_TEST

START_TEST(generation_on_device_chooses_the_tokens_of_the_cpu) {
    enum { PROMPT = 4, MORE = 3 };
    const int32_t prompt[PROMPT] = {5, 9, 200, 31};
    const hone_sampling greedy = {.top_p = 1};
    int32_t said[2][MORE];
    hone_device devices[2];
    hone_device_open_ref(&devices[0]);
    open_cuda(&devices[1]);
    for (int d = 0; d < 2; d++) {
        hone_model *model;
        hone_generator *generator;
        ck_ok(hone_model_open(&model, test_fixture("models/grouped-tied"), &devices[d]));
        ck_ok(hone_generator_new(&generator, model, NULL, PROMPT + MORE));
        ck_ok(hone_generator_feed(generator, prompt, PROMPT));
        for (int i = 0; i < MORE; i++) {
            ck_ok(hone_generator_choose(&said[d][i], generator, &greedy));
            ck_ok(hone_generator_feed(generator, &said[d][i], 1));
        }
        hone_generator_free(generator);
        hone_model_close(model);
        hone_device_close(&devices[d]);
    }
    ck_assert_mem_eq(said[0], said[1], sizeof said[0]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_steps");
    TCase *backends = tcase_create("backends");
    tcase_add_checked_fixture(backends, start, stop);
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, step_of_every_family_is_that_of_the_cpu, 0, FAMILIES);
    tcase_add_loop_test(backends, step_in_every_way_is_that_of_the_cpu, 0, WAYS);
    tcase_add_loop_test(backends, step_of_every_base_type_is_that_of_the_cpu, 0, TYPES);
    tcase_add_test(backends, step_of_a_plain_base_is_that_of_the_cpu);
    tcase_add_loop_test(backends, step_with_own_attention_to_heads_of_every_size_is_that_of_the_cpu,
                        0, 5);
    tcase_add_test(backends, heads_too_large_for_the_device_are_refused);
    tcase_add_test(backends, export_of_an_adapted_model_on_device_is_that_of_the_cpu);
    tcase_add_test(backends, generation_on_device_chooses_the_tokens_of_the_cpu);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
