/*
 * Whole training steps on a GPU beside the CPU: every family, every base type and every way of taking a step; what is
 * exported and said there. On an emulated GPU (tests/cuda/fake_cudart.h), or on a real one in a build with CUDA.
 */
#include "formats/gguf_writer.h"
#include "formats/quantize.h"
#include "kernels/cuda/products.h"
#include "model/generate.h"
#include "model/merge.h"
#include "tests/cuda/merged_files.h"
#include "tests/cuda/oracle.h"
#include "tests/cuda/step_support.h"
#include "train/memory.h"

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

/* Where a rounding falls the other way, much more is off than 1e-5; and it does where a GPU rounds to TF32 in another way
 * than to the nearest number, which is its own affair. Attention on tensor cores rounds four operands and two results to
 * 2^-8, in each block and both passes, and scores err by as much of what they sum; products round what is off by that. */
static double near(const way *how) {
    bool rounded = how->int8 || how->precision != HONE_PRODUCTS_F32;
    if (how->attention != HONE_ATTENTION_EXACT) return rounded ? 1.0 / 16 : 1.0 / 32;
#ifdef HONE_CUDA
    if (how->precision == HONE_PRODUCTS_FP8) return 1.0 / 8; /* whose sums a GPU rounds, too */
    return rounded ? 3e-2 : 1e-5;
#else
    if (how->precision == HONE_PRODUCTS_BF16) return 1.0 / 256; /* one element of a gate */
    return rounded ? 1e-3 : 1e-5;
#endif
}

/* Steps on both. A real GPU may have to do without a way. */
static bool take_both(stepper *wanted, stepper *found, const char *path, const way *how) {
    open_stepper(wanted, path, how);
    open_stepper(found, path, how);
    const char *why = hone_model_lacks_attention(found->model, how->attention);
#ifndef HONE_CUDA
    ck_assert_msg(!why, "%s %s: %s", path, how->name, why);
#endif
    if (why) {
        printf("SKIP %s %s: %s\n", path, how->name, why);
        return false;
    }
    take_step(wanted);
    take_step(found);
    return true;
}

static void check_steps(const char *path, const way *how) {
    stepper wanted = {0}, found = {0};
    open_oracle(&wanted.device);
    open_cuda(&found.device);
    if (!take_both(&wanted, &found, path, how)) {
        close_stepper(&wanted);
        close_stepper(&found);
        return;
    }
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
    if (data)
        check_steps(test_text(data, families[_i]),
                    &(way){.name = "lora", .dropout = _i % 2, .padded = _i / 2 % 2});
}
END_TEST

static const way ways[] = {
    {.name = "recomputed", .recompute = HONE_RECOMPUTE_FULL, .dropout = true},
    {.name = "int8", .int8 = true},
    {.name = "own attention", .precision = HONE_PRODUCTS_BF16, .attention = HONE_ATTENTION_OWN},
    {.name = "cuDNN's attention",
     .precision = HONE_PRODUCTS_BF16,
     .attention = HONE_ATTENTION_CUDNN},
    {.name = "fp8", .precision = HONE_PRODUCTS_FP8},
    {.name = "dropout", .dropout = true},
    {.name = "full", .full = true},
    {.name = "bf16", .precision = HONE_PRODUCTS_BF16},
    {.name = "own attention, recomputed",
     .recompute = HONE_RECOMPUTE_FULL,
     .attention = HONE_ATTENTION_OWN},
    {.name = "recomputed attention", .recompute = HONE_RECOMPUTE_ATTENTION},
    {.name = "full, recomputed", .full = true, .recompute = HONE_RECOMPUTE_SELECTIVE},
    {.name = "bf16, recomputed", .recompute = HONE_RECOMPUTE_FULL, .precision = HONE_PRODUCTS_BF16},
    {.name = "bf16, in part",
     .recompute = HONE_RECOMPUTE_SELECTIVE,
     .precision = HONE_PRODUCTS_BF16},
    {.name = "bf16, dropout", .dropout = true, .precision = HONE_PRODUCTS_BF16},
    {.name = "bf16, full", .full = true, .precision = HONE_PRODUCTS_BF16},
    {.name = "tf32", .precision = HONE_PRODUCTS_TF32},
};
enum { WAYS = sizeof ways / sizeof *ways };
/* The first are replayed, too; fewer with the sanitizers, which make emulated kernels several times as slow. */
#ifdef __SANITIZE_ADDRESS__
enum { REPLAYED = 2 };
#else
enum { REPLAYED = 5 };
#endif

static const char *const fixtures[] = {"grouped-tied", "untied-odd", "llama3-rope", "sharded-bf16"};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

START_TEST(step_in_every_way_is_that_of_the_cpu) {
    way how = ways[_i];
    check_steps(test_text(test_fixture("models"), fixtures[_i % FIXTURES]), &how);
    how.padded = true;
    check_steps(test_text(test_fixture("models"), fixtures[_i % FIXTURES]), &how);
}
END_TEST

/* --- Steps of many passes --- */

/* Texts of the same shape, and now and then of another one; gradients of all add up. */
static void take_passes(stepper *s, bool records) {
    enum { PASSES = 6 };
    hone_passes passes = {0};
    hone_passes_record(&passes, &s->device);
    begin_step(s);
    for (int32_t i = 0; i < PASSES; i++) {
        load_texts(&s->batch, s->model->arch.vocabulary, i, i % 3 == 2 ? 1 : 2);
        ck_ok(hone_passes_run(records ? &passes : NULL, s->tape, &s->forward, &s->batch.loss));
    }
    end_step(s);
    ck_assert_uint_eq(passes.count, records ? 2 : 0);
    for (size_t i = 0; i < passes.count; i++) ck_assert_ptr_nonnull(passes.shapes[i].recording);
    hone_passes_free(&passes);
}

START_TEST(step_of_replayed_passes_has_the_bits_of_one_that_is_not_recorded) {
    hone_device device;
    stepper told = {0}, replayed = {0};
    way how = ways[_i];
    how.padded = true;
    open_cuda(&device);
    told.device = replayed.device = device;
    /* That one has heads that cuDNN takes. */
    const char *fixture = test_text(test_fixture("models"), fixtures[how.attention ? 2 : 0]);
    open_stepper(&told, fixture, &how);
    take_passes(&told, false);
    open_stepper(&replayed, fixture, &how);
    take_passes(&replayed, true);
    ck_assert(told.loss == replayed.loss && isfinite(told.loss));
    ck_assert_mem_eq(told.grads, replayed.grads,
                     (size_t)told.params->elements * sizeof *told.grads);
    close_model(&told);
    close_model(&replayed);
    hone_device_close(&device);
}
END_TEST

/* --- Offloading --- */

static void take_step_of(stepper *s, const char *path, const way *how, bool offload) {
    open_stepper(s, path, how);
    s->forward.offload = offload;
    take_step(s);
}

static const way kept[] = {
    {.name = "all"},
    {.name = "bf16", .bf16_activations = true, .dropout = true},
    {.name = "selective, bf16", .recompute = HONE_RECOMPUTE_SELECTIVE, .bf16_activations = true},
    {.name = "attention again", .recompute = HONE_RECOMPUTE_ATTENTION, .full = true},
    {.name = "inputs", .recompute = HONE_RECOMPUTE_FULL, .dropout = true},
};
enum { KEPT = sizeof kept / sizeof *kept };

/* On the fenced device copies are made as late as they may be, or as early: one that is not waited for shows, and one that
 * finds its place in use. */
START_TEST(step_offloaded_takes_less_and_has_the_same_bits) {
    const char *path = test_text(test_fixture("models"), fixtures[_i / 2 % 2]);
    const way *how = &kept[_i / 2];
#ifndef HONE_CUDA
    fake_cudart_settings.early = _i % 2;
#endif
    stepper plain = {0}, away = {0};
    open_cuda(&plain.device);
    take_step_of(&plain, path, how, false);
    away.device = plain.device;
    take_step_of(&away, path, how, true);
    ck_assert_uint_eq(hone_tape_host_bytes(plain.tape), 0);
    ck_assert_uint_gt(hone_tape_host_bytes(away.tape), 0);
    ck_assert_uint_le(hone_tape_bytes(away.tape), hone_tape_bytes(plain.tape));
    ck_assert(away.loss == plain.loss);
    ck_assert_mem_eq(away.grads, plain.grads, plain.params->grads.bytes);
    close_model(&plain);
    close_stepper(&away);
}
END_TEST

/* Of matrices in f32 a quarter stays, and their scales; back in f32 a step is what it was. */
START_TEST(step_in_int8_needs_no_other_copy_of_a_weight) {
    stepper s = {0};
    const char *path = test_text(test_fixture("models"), fixtures[1 + 2 * _i]);
    open_cuda(&s.device);
    open_stepper(&s, path, &(way){.name = "f32"});
    take_step(&s);
    double loss = s.loss;
    int64_t before = hone_device_used(&s.device).now, whole = hone_model_weight_bytes(s.model);
    ck_ok(hone_model_int8(s.model, s.model->arch.layers));
    int64_t after = hone_device_used(&s.device).now;
    int64_t copies = (int64_t)s.model->int8_memory.bytes;
    ck_assert_int_lt(after, before);
    ck_assert_int_le(before - after, whole - copies);
    for (size_t i = 0; i < s.model->weight_count; i++) {
        const hone_weight *w = &s.model->weights[i];
        ck_assert_int_eq(hone_model_int8_replaces(s.model, w),
                         !s.model->own[i].base && !hone_weight_is_vector(w));
    }
    hone_free(s.grads);
    take_step(&s);
    ck_assert(s.loss != loss && fabs(s.loss - loss) < 1e-2 * loss);
    ck_ok(hone_model_whole(s.model));
    hone_free(s.grads);
    take_step(&s);
    ck_assert(s.loss == loss);
    ck_assert_int_eq(hone_device_used(&s.device).now, before);
    close_stepper(&s);
}
END_TEST

static const char deep[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 12, \"hidden_size\": 64, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"intermediate_size\": 64, "
    "\"vocab_size\": 384, \"max_position_embeddings\": 64, \"tie_word_embeddings\": false}";

/* Of twelve blocks less than half are there at once: that which runs, that which comes and that which goes. What cuBLASLt
 * gets for itself is the same in both. */
START_TEST(step_of_a_deep_model_offloaded_takes_a_part_of_the_memory) {
    size_t bytes[2];
    ck_ok(hone_file_put(test_path("config.json"), deep, strlen(deep)));
    for (int offload = 0; offload < 2; offload++) {
        stepper s = {0};
        open_cuda(&s.device);
        ck_ok(hone_model_create(&s.model, test_path("config.json"), &s.device, 7));
        open_model_of(&s, &(way){.full = true});
        s.forward.offload = offload;
        take_step(&s);
        bytes[offload] = hone_tape_bytes(s.tape) - hone_cuda_matmul_bytes();
        close_stepper(&s);
    }
    ck_assert_msg(2 * bytes[1] < bytes[0], "%zu of %zu bytes", bytes[1], bytes[0]);
}
END_TEST

/* Of all gradients together. */
static double cosine(const stepper *a, const stepper *b) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < a->params->elements; i++) {
        double x = (double)a->grads[i], y = (double)b->grads[i];
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

/* What rounding to fp8 may cost in one step, of a model with random weights, whose loss is that of six tokens. */
START_TEST(step_in_fp8_is_near_that_in_f32) {
    const char *path = test_text(test_fixture("models"), fixtures[_i]);
    stepper exact = {0}, found = {0};
    hone_device_open_ref(&exact.device);
    open_cuda(&found.device);
    open_stepper(&exact, path, &(way){.name = "f32"});
    open_stepper(&found, path, &(way){.name = "fp8", .precision = HONE_PRODUCTS_FP8});
    take_step(&exact);
    take_step(&found);
    double off = fabs(found.loss - exact.loss) / exact.loss, near = cosine(&found, &exact);
    printf("fp8 %s: loss %.2g off, cosine %.4f\n", path, off, near);
    ck_assert_msg(off > 0 && off <= 0.04, "%s: loss %g instead of %g", path, found.loss,
                  exact.loss);
    ck_assert_msg(near >= 0.97, "%s: cosine %g of gradients", path, near);
    close_stepper(&exact);
    close_stepper(&found);
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

/* --- The head's copy in bf16 --- */

/* A model whose head is, or is not, of a type that would be converted for every product. */
static const char *headed(int which) {
    static const hone_dtype of_heads[] = {HONE_F16, HONE_BF16, HONE_Q8_0};
    if (which < 2) return test_text(test_fixture("models"), fixtures[which]); /* in f32 */
    write_wide(test_path("wide.gguf"), 2);
    write_typed(test_path("typed.gguf"), test_path("wide.gguf"), of_heads[which - 2]);
    return test_path("typed.gguf");
}

/* A step has the bits of one whose head is multiplied as it lies, and what the copy says shows. */
static void check_copy_is_read(stepper *s) {
    hone_model *model = s->model;
    stepper again = *s;
    if (model->head_memory.base) {
        ck_ok(hone_device_zero(&s->device, model->head_memory.base, model->head_memory.bytes));
        take_step(&again);
        ck_assert(again.loss != s->loss);
        hone_free(again.grads);
    }
    hone_model_head_free(model);
    take_step(&again);
    ck_assert(s->loss == again.loss && isfinite(s->loss));
    ck_assert_mem_eq(s->grads, again.grads, s->params->grads.bytes);
    hone_free(again.grads);
}

/* It counts among the weights, and is there in bf16 alone. */
START_TEST(step_in_bf16_has_a_copy_of_a_head_that_would_be_converted) {
    stepper s = {0};
    open_cuda(&s.device);
    open_stepper(&s, headed(_i), &(way){.name = "f32"});
    const hone_tensor *head = hone_model_head(s.model);
    int64_t before = hone_device_used(&s.device).now, weights = hone_memory_weights(s.model);
    int64_t copy = _i < 3 ? hone_tensor_count(head) * (int64_t)sizeof(uint16_t) : 0;
    ck_ok(hone_model_precision(s.model, HONE_PRODUCTS_BF16));
    ck_assert_int_eq(hone_device_used(&s.device).now - before, copy);
    ck_assert_int_eq(hone_memory_weights(s.model) - weights, copy);
    ck_assert((hone_model_multiplied_head(s.model) != head) == (copy > 0));
    take_step(&s);
    check_copy_is_read(&s);
    ck_ok(hone_model_precision(s.model, HONE_PRODUCTS_BF16));
    ck_ok(hone_model_precision(s.model, HONE_PRODUCTS_TF32));
    ck_assert_uint_eq(s.model->head_memory.bytes, 0);
    ck_ok(hone_model_precision(s.model, HONE_PRODUCTS_BF16));
    ck_ok(hone_model_int8(s.model, s.model->arch.layers));
    ck_assert_uint_eq(s.model->head_memory.bytes, 0);
    close_stepper(&s);
}
END_TEST

START_TEST(head_that_is_trained_has_no_copy) {
    stepper s = {0};
    open_cuda(&s.device);
    open_stepper(&s, headed(0), &(way){.full = true, .precision = HONE_PRODUCTS_BF16});
    ck_assert_uint_eq(s.model->head_memory.bytes, 0);
    close_stepper(&s);
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
        expect_near_files(test_path("cuda.gguf"), test_path("cpu.gguf"));
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
    tcase_add_loop_test(backends, step_of_replayed_passes_has_the_bits_of_one_that_is_not_recorded,
                        0, REPLAYED);
    tcase_add_loop_test(backends, step_offloaded_takes_less_and_has_the_same_bits, 0, 2 * KEPT);
    tcase_add_loop_test(backends, step_in_int8_needs_no_other_copy_of_a_weight, 0, 2);
    tcase_add_test(backends, step_of_a_deep_model_offloaded_takes_a_part_of_the_memory);
    tcase_add_loop_test(backends, step_in_fp8_is_near_that_in_f32, 0, FIXTURES);
    tcase_add_loop_test(backends, step_of_every_base_type_is_that_of_the_cpu, 0, TYPES);
    tcase_add_test(backends, step_of_a_plain_base_is_that_of_the_cpu);
    tcase_add_loop_test(backends, step_with_own_attention_to_heads_of_every_size_is_that_of_the_cpu,
                        0, 5);
    tcase_add_loop_test(backends, step_in_bf16_has_a_copy_of_a_head_that_would_be_converted, 0, 5);
    tcase_add_test(backends, head_that_is_trained_has_no_copy);
    tcase_add_test(backends, heads_too_large_for_the_device_are_refused);
    tcase_add_test(backends, export_of_an_adapted_model_on_device_is_that_of_the_cpu);
    tcase_add_test(backends, generation_on_device_chooses_the_tokens_of_the_cpu);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
