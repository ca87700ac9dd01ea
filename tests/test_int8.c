/*
 * Models whose frozen products are taken in int8 or bf16: every form of weight, loss and gradients beside those in f32, and
 * what happens without memory.
 */
#include "model/merge.h"
#include "tests/model_support.h"

enum { TOKENS = 40, RANK = 4 };

/* The loss of one text of TOKENS ids, and the gradients of the adapter's factors. */
typedef struct step {
    double loss;
    float *grads;
} step;

static void record(hone_tape *tape, const hone_forward *forward, const hone_loss_call *call) {
    ck_ok(hone_transformer_loss(tape, forward, call));
    ck_ok(hone_tape_backward(tape));
}

static step take_step(hone_model *model, const hone_adapter *adapter) {
    int32_t ids[TOKENS + 1], positions[TOKENS];
    for (int32_t i = 0; i <= TOKENS; i++) ids[i] = 3 + i * 37 % 300;
    for (int32_t i = 0; i < TOKENS; i++) positions[i] = i;
    hone_segment segment = {0, TOKENS, 0, TOKENS};
    hone_tokens tokens = {.count = TOKENS,
                          .ids = ids,
                          .positions = positions,
                          .segment_count = 1,
                          .segments = &segment,
                          .longest_q = TOKENS,
                          .longest_k = TOKENS};
    hone_forward forward = {.model = model, .adapter = adapter, .tokens = &tokens};
    step s = {0};
    const double weight = 1.0 / TOKENS;
    hone_loss_call call = {
        .rows = positions, .targets = ids + 1, .count = TOKENS, .weight = &weight, .sum = &s.loss};
    hone_tape *tape;
    ck_ok(hone_model_rope(model, TOKENS));
    ck_ok(hone_tape_new(&tape, &test_device));
    hone_tape_plan(tape, true);
    record(tape, &forward, &call);
    ck_ok(hone_tape_plan_done(tape));
    ck_ok(hone_tape_reserve(tape));
    const hone_params *params = &adapter->params;
    ck_ok(hone_device_zero(&test_device, params->grads.base, params->grads.bytes));
    hone_tape_begin(tape);
    record(tape, &forward, &call);
    hone_tape_free(tape);
    s.grads = hone_alloc((size_t)params->elements, sizeof *s.grads);
    memcpy(s.grads, params->grads.base, (size_t)params->elements * sizeof *s.grads);
    return s;
}

/* New factors, of which B is not left at zero: every gradient is then something. */
static hone_adapter *drawn_adapter(hone_model *model) {
    hone_adapter *adapter;
    ck_ok(hone_adapter_new(&adapter, model, 0x7f, RANK, 2 * RANK, 1));
    for (size_t i = 0; i < adapter->params.count; i++) {
        const hone_param *param = &adapter->params.items[i];
        float *values = param->tensor->data;
        if (!strstr(param->name, "lora_B")) continue;
        for (int64_t k = 0; k < hone_tensor_count(param->tensor); k++)
            values[k] = 0.01f * (float)(k * 7 % 11 - 5);
    }
    return adapter;
}

static double cosine(const float *a, const float *b, int64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static void check_step(hone_model *model, const hone_adapter *adapter, const step *exact,
                       double least) {
    const char *path = model->path;
    step found = take_step(model, adapter);
    ck_assert_msg(found.loss != exact->loss, "%s: the loss is that of f32", path);
    ck_assert_msg(fabs(found.loss - exact->loss) <= 0.005 * exact->loss,
                  "%s: loss %g instead of %g", path, found.loss / TOKENS, exact->loss / TOKENS);
    for (size_t i = 0; i < adapter->params.count; i++) {
        const hone_param *param = &adapter->params.items[i];
        int64_t at =
            (const float *)param->tensor->grad->data - (const float *)adapter->params.grads.base;
        double near = cosine(found.grads + at, exact->grads + at, hone_tensor_count(param->tensor));
        ck_assert_msg(near >= least, "%s: cosine %g of %s", path, near, param->name);
    }
    hone_free(found.grads);
}

static void check_near_f32(const char *path, double least) {
    hone_model *model = open_model(path);
    hone_adapter *adapter = drawn_adapter(model);
    step exact = take_step(model, adapter);
    ck_ok(hone_model_int8(model, model->arch.layers));
    check_step(model, adapter, &exact, least);
    ck_assert_int_gt(model->int8_counts->blocks, 0);
    hone_model_int8_free(model);
    ck_ok(hone_model_precision(model, HONE_PRODUCTS_BF16));
    check_step(model, adapter, &exact, least);
    hone_free(exact.grads);
    hone_adapter_free(adapter);
    hone_model_close(model);
}

static const char *const fixtures[] = {"grouped-tied", "untied-odd", "llama3-rope", "sharded-bf16"};

START_TEST(step_of_fixture_is_near_f32) {
    check_near_f32(test_text(test_fixture("models"), fixtures[_i]), 0.99);
}
END_TEST

/* Biases, fused projections, norms on both sides, caps of scores and logits, weights stored the other way round. */
static const char *const families[] = {"qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"};

START_TEST(step_of_every_family_is_near_f32) {
    const char *folder = hone_test_data("tiny-archs");
    if (folder) check_near_f32(test_text(folder, families[_i]), 0.99);
}
END_TEST

/* Types of a byte or more for a weight are copied, smaller ones taken from the file slab by slab. */
static const struct {
    hone_dtype type;
    bool copied;
} types[] = {{HONE_F16, true}, {HONE_Q8_0, true}, {HONE_Q4_0, false}, {HONE_Q5_0, false}};
enum { TYPES = sizeof types / sizeof *types };

START_TEST(step_of_quantised_base_is_near_f32) {
    const char *folder = hone_test_data("tiny-archs"), *path = test_path("base.gguf");
    if (!folder) return;
    hone_model *model = open_model(test_text(folder, "llama.gguf"));
    hone_export_options as = {.file_type = hone_file_type_of(types[_i].type)};
    ck_ok(hone_model_export_gguf(model, NULL, path, &as));
    hone_model_close(model);
    check_near_f32(path, 0.99);
    model = open_model(path);
    ck_ok(hone_model_int8(model, model->arch.layers));
    for (int64_t l = 0; l < model->arch.layers; l++) {
        const hone_tensor *w = &model->layers[l].weight[HONE_ROLE_LINEAR];
        ck_assert_int_eq(w->dtype, types[_i].type);
        ck_assert(w->int8 && (w->int8->q != NULL) == types[_i].copied);
    }
    hone_model_close(model);
}
END_TEST

START_TEST(int8_without_memory_fails_with_a_message) {
    for (int64_t n = 1; n < 20; n++) {
        hone_model *model = open_model(test_fixture("models/grouped-tied"));
        hone_alloc_fail_at(n);
        hone_status status = hone_model_int8(model, model->arch.layers);
        hone_alloc_fail_at(0);
        if (status != HONE_OK) ck_fails(status, HONE_ERR_MEMORY, "memory");
        hone_model_close(model);
        if (status == HONE_OK) {
            ck_assert_int_gt(n, 1);
            return;
        }
    }
    ck_abort_msg("it never had enough");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("int8");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    tcase_add_loop_test(values, step_of_fixture_is_near_f32, 0, 4);
    tcase_add_loop_test(values, step_of_every_family_is_near_f32, 0, 6);
    tcase_add_loop_test(values, step_of_quantised_base_is_near_f32, 0, TYPES);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_test(errors, int8_without_memory_fails_with_a_message);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
