/* The reference kernels on numbers worked out by hand, and devices and buffers. */
#include <math.h>
#include <stdint.h>

#include "base/philox.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/device.h"
#include "tests/support.h"

static const float LN3 = 1.09861229f;

static void expect(const float *found, const float *expected, int n) {
    for (int i = 0; i < n; i++) {
        ck_assert_msg(fabsf(found[i] - expected[i]) <= 2e-7f * fmaxf(1.0f, fabsf(expected[i])),
                      "element %d: %.9g, expected %.9g", i, (double)found[i], (double)expected[i]);
    }
}

START_TEST(gemm_two_by_two_gives_product) {
    const hone_kernels *ref = hone_kernels_ref();
    float a[] = {1, 2, 3, 4};
    float b[] = {5, 6, 7, 8};
    float c[4] = {NAN, NAN, NAN, NAN};
    ref->gemm(c, a, b, 2, 2, 2, false, false, 2, 2, 2, 1.0f, 0.0f);
    expect(c, (float[]){19, 22, 43, 50}, 4);
    ref->gemm(c, a, b, 2, 2, 2, true, false, 2, 2, 2, 1.0f, 1.0f); /* + [26 30; 38 44] */
    expect(c, (float[]){45, 52, 81, 94}, 4);
    ref->gemm(c, a, b, 2, 2, 2, false, true, 2, 2, 2, 2.0f, 0.0f); /* 2 [17 23; 39 53] */
    expect(c, (float[]){34, 46, 78, 106}, 4);
}
END_TEST

START_TEST(linear_q8_0_row_gives_scaled_sum) {
    unsigned char w[34];
    uint16_t half = hone_f16_from_f32(0.5f);
    memcpy(w, &half, 2);
    for (int i = 0; i < 32; i++) w[2 + i] = (unsigned char)(i + 1);
    float x[32];
    for (int i = 0; i < 32; i++) x[i] = 1.0f;
    float y = NAN;
    hone_kernels_ref()->linear_fwd(&y, x, w, HONE_Q8_0, NULL, 1, 32, 1, 0.0f, NULL);
    expect(&y, (float[]){264}, 1); /* (1 + … + 32) / 2 */
    float dy = 2.0f;
    hone_kernels_ref()->linear_bwd(x, &dy, w, HONE_Q8_0, NULL, 1, 32, 1, 1.0f, NULL);
    expect(x, (float[]){2, 3, 4}, 3);
}
END_TEST

START_TEST(embedding_repeated_id_sums_gradients) {
    float table[] = {1, 2, 3, 4};
    int32_t ids[] = {1, 0, 1};
    float y[6];
    hone_kernels_ref()->embedding_fwd(y, ids, table, HONE_F32, 3, 2);
    expect(y, (float[]){3, 4, 1, 2, 3, 4}, 6);
    hone_kernels_ref()->embedding_bwd(table, ids, (float[]){10, 20, 30, 40, 50, 60}, 3, 2);
    expect(table, (float[]){31, 42, 63, 84}, 4);
}
END_TEST

START_TEST(rmsnorm_three_four_gives_known_row) {
    float x[] = {3, 4}; /* mean square 12.5 */
    float w[] = {1, 2};
    float y[2];
    float rstd;
    hone_kernels_ref()->rmsnorm_fwd(y, &rstd, x, w, 1, 2, 0.0);
    float r = 0.282842712f;
    expect(&rstd, &r, 1);
    expect(y, (float[]){3 * r, 8 * r}, 2);
    float dw[] = {1, 1};
    float dx[] = {1, 0}; /* in the place of dy; mean(w dy x) is 1.5, rstd^2 0.08 */
    hone_kernels_ref()->rmsnorm_bwd(dx, dw, dx, x, w, &rstd, 1, 2, 0.0f);
    expect(dx, (float[]){0.64f * r, -0.48f * r}, 2);
    expect(dw, (float[]){1 + 3 * r, 1}, 2);
}
END_TEST

START_TEST(rope_quarter_turn_swaps_pairs) {
    float cosine[] = {1, 1, 0, 0}; /* position 1 turns by 90 degrees */
    float sine[] = {0, 0, 1, 1};
    int32_t positions[] = {1};
    float x[] = {1, 2, 3, 4, 5};
    hone_rope_shape shape = {1, 1, 5, 4, false};
    hone_kernels_ref()->rope(x, cosine, sine, positions, shape, false);
    expect(x, (float[]){-3, -4, 1, 2, 5}, 5);
    hone_kernels_ref()->rope(x, cosine, sine, positions, shape, true);
    expect(x, (float[]){1, 2, 3, 4, 5}, 5);
    shape.interleaved = true;
    hone_kernels_ref()->rope(x, cosine, sine, positions, shape, false);
    expect(x, (float[]){-2, 1, -4, 3, 5}, 5);
}
END_TEST

/* One head of size 1: scores of token 1 are 0 and ln 3, so its weights are 1/4 and 3/4. */
START_TEST(attention_two_tokens_weigh_by_softmax) {
    const hone_kernels *ref = hone_kernels_ref();
    float q[] = {1, 1};
    float k[] = {0, LN3};
    float v[] = {1, 5};
    float do_[] = {0, 1};
    hone_segment run = {0, 2, 0, 2};
    hone_attention_shape shape = {
        .segments = 1, .heads = 1, .kv_heads = 1, .head_size = 1, .scale = 1.0};
    double workspace[8];
    ck_assert_uint_le(ref->attention_workspace(shape, 2, 2, true), sizeof workspace);
    ck_assert_uint_le(ref->attention_workspace(shape, 2, 2, false), sizeof workspace);
    float o[2];
    float lse[2];
    ref->attention_fwd(o, lse, q, k, v, &run, shape, workspace);
    expect(o, (float[]){1, 4}, 2);
    expect(lse, (float[]){0, 2 * 0.693147181f}, 2);
    float dq[2];
    float dk[2];
    float dv[2];
    ref->attention_bwd(dq, dk, dv, do_, q, k, v, o, lse, &run, shape, workspace);
    expect(dv, (float[]){0.25f, 0.75f}, 2);
    expect(dk, (float[]){-0.75f, 0.75f}, 2);
    expect(dq, (float[]){0, 0.75f * LN3}, 2);
}
END_TEST

START_TEST(attention_documents_do_not_see_each_other) {
    float q[] = {1, 1};
    float v[] = {3, 7};
    hone_segment runs[] = {{0, 1, 0, 1}, {1, 1, 1, 1}};
    hone_attention_shape shape = {
        .segments = 2, .heads = 1, .kv_heads = 1, .head_size = 1, .scale = 1.0};
    double workspace[8];
    float o[2];
    hone_kernels_ref()->attention_fwd(o, NULL, q, q, v, runs, shape, workspace);
    expect(o, v, 2);
}
END_TEST

START_TEST(gated_silu_sigmoid_three_quarters_gives_product) {
    float gate[] = {0, LN3, -1000};
    float up[] = {5, 2, 3};
    float y[3];
    hone_kernels_ref()->gated_fwd(y, gate, up, 3, HONE_SILU);
    expect(y, (float[]){0, 1.5f * LN3, 0}, 3);
    float dy[] = {1, 1, 1};
    float dup[3];
    hone_kernels_ref()->gated_bwd(dy, dup, dy, gate, up, 3, HONE_SILU);
    expect(dup, (float[]){0, 0.75f * LN3, 0}, 3);
    expect(dy, (float[]){2.5f, 1.5f * (1 + LN3 / 4), 0}, 3);
}
END_TEST

START_TEST(cross_entropy_two_logits_give_loss_and_gradient) {
    float logits[] = {0, LN3};
    int32_t target = 0;
    float loss;
    const double weight = 0.5;
    hone_kernels_ref()->cross_entropy(&loss, logits, &target, 1, 2, &weight, 0.0,
                                      HONE_LOSS_GRADIENT);
    expect(&loss, (float[]){2 * 0.693147181f}, 1);
    expect(logits, (float[]){-0.375f, 0.375f}, 2);
}
END_TEST

START_TEST(gelu_one_gives_published_value) {
    float x[] = {1, -1, 0};
    float y[3];
    hone_kernels_ref()->activation_fwd(y, x, 3, HONE_GELU_TANH);
    expect(y, (float[]){0.841191990f, -0.158808009f, 0}, 3); /* torch, approximate='tanh' */
    float up[] = {2, 2, 2};
    hone_kernels_ref()->gated_fwd(y, x, up, 3, HONE_GELU_TANH);
    expect(y, (float[]){2 * 0.841191990f, 2 * -0.158808009f, 0}, 3);
}
END_TEST

/* Two elements are mean -+ their deviation: the normalised row is (-1, 1), and no change of x moves it. */
START_TEST(layernorm_two_elements_give_signs) {
    float x[] = {3, 7};
    float w[] = {2, 3};
    float b[] = {10, 20};
    float y[2];
    float statistics[2];
    hone_kernels_ref()->layernorm_fwd(y, statistics, x, w, b, 1, 2, 0.0);
    expect(y, (float[]){8, 23}, 2);
    expect(statistics, (float[]){5, 0.5f}, 2);
    float dw[] = {1, 1};
    float db[] = {1, 1};
    float dx[] = {4, 5}; /* in the place of dy */
    hone_kernels_ref()->layernorm_bwd(dx, dw, db, dx, x, w, statistics, 1, 2, 0.0f);
    expect(dx, (float[]){0, 0}, 2);
    expect(dw, (float[]){-3, 6}, 2);
    expect(db, (float[]){5, 6}, 2);
}
END_TEST

/* tanh(ln(3) / 2) is 1/2: the capped logits are 0 and ln 3 / 2. */
START_TEST(softcap_two_logits_give_loss_and_gradient) {
    float cap = LN3;
    float logits[] = {0, LN3 * LN3 / 2};
    int32_t target = 0;
    float loss;
    const double weight = 1;
    hone_kernels_ref()->cross_entropy(&loss, logits, &target, 1, 2, &weight, (double)cap,
                                      HONE_LOSS_GRADIENT);
    float root = 1.73205081f; /* e^(ln 3 / 2) */
    expect(&loss, (float[]){logf(1 + root)}, 1);
    expect(logits, (float[]){1 / (1 + root) - 1, root / (1 + root) * 0.75f}, 2);
}
END_TEST

START_TEST(attention_window_of_one_copies_values) {
    float q[] = {1, 2, 3};
    float v[] = {3, 7, -1};
    hone_segment run = {0, 3, 0, 3};
    hone_attention_shape shape = {
        .segments = 1, .heads = 1, .kv_heads = 1, .head_size = 1, .scale = 1.0, .window = 1};
    double workspace[8];
    float o[3];
    hone_kernels_ref()->attention_fwd(o, NULL, q, q, v, &run, shape, workspace);
    expect(o, v, 3);
    shape.window = 2; /* scores of token 2 are 6 and 9, capped at 3 tanh(2) and 3 tanh(3) */
    shape.softcap = 3.0;
    hone_kernels_ref()->attention_fwd(o, NULL, q, q, v, &run, shape, workspace);
    double weight = 1.0 / (1.0 + exp(3.0 * (tanh(2.0) - tanh(3.0))));
    expect(o + 2, (float[]){(float)(7.0 - 8.0 * weight)}, 1);
}
END_TEST

START_TEST(dropout_half_keeps_what_philox_says) {
    enum { WIDTH = 64 };
    uint64_t key = 42;
    uint32_t record = 7;
    int32_t position = 3;
    float x[WIDTH];
    float y[WIDTH];
    for (int i = 0; i < WIDTH; i++) x[i] = (float)(i + 1);
    hone_dropout draw = {&key, &record, &position, 9, 0.5};
    hone_kernels_ref()->dropout(y, x, draw, 1, WIDTH, 0.0f);
    for (uint32_t i = 0; i < WIDTH; i++) {
        hone_philox words = hone_philox_draw(42, i / 4, 3, 7, 9);
        bool kept = words.word[i % 4] >= 0x80000000u;
        ck_assert(y[i] == (kept ? 2.0f * x[i] : 0.0f));
    }
}
END_TEST

START_TEST(adamw_first_step_moves_by_learning_rate) {
    hone_adamw_step step = {0.1f, 0.5f, 1.0f - 0.9f, 1.0f - 0.999f, 0.9f, 0.999f, 0.0f};
    float p = 1.0f;
    float grad = 2.0f; /* 1 after clipping; both corrected moments are 1 */
    float m = 0.0f;
    float v = 0.0f;
    hone_kernels_ref()->adamw(&p, &grad, &m, &v, 1, &step, 0.01);
    expect(&p, (float[]){1.0f - 0.1f * 1.01f}, 1);
    expect(&m, (float[]){0.1f}, 1);
    expect(&v, (float[]){0.001f}, 1);
}
END_TEST

START_TEST(sum_small_beside_large_is_kept) {
    float x[] = {16777216.0f, 1.0f, 1.0f, -16777216.0f};
    double found = 0.5;
    hone_kernels_ref()->sum(&found, x, 4);
    ck_assert(found == 2.5);
    hone_kernels_ref()->sum_squares(&found, x + 1, 2);
    ck_assert(found == 2.0);
}
END_TEST

/* Over the range where the result is a normal number, in steps of the bits; then the edges. */
START_TEST(vf_exp_whole_range_within_two_ulp) {
    for (uint32_t bits = 0; bits < 0x42b00000u; bits += 1009) { /* up to 88 */
        float x = hone_f32_from_bits(bits | (bits % 2 ? 0x80000000u : 0u));
        double expected = exp((double)x);
        if (expected < 0x1p-126) continue;
        double ulp = ldexp(1.0, ilogb(expected) - 23);
        double error = fabs((double)vf_exp(vf_set(x))[0] - expected);
        ck_each(error <= 1.5 * ulp, "exp(%.9g): %.2f ulp", (double)x, error / ulp);
    }
    ck_assert(vf_exp(vf_set(-INFINITY))[0] == 0.0f);
    ck_assert(vf_exp(vf_set(-200.0f))[0] == 0.0f);
    ck_assert(vf_exp(vf_set(0.0f))[0] == 1.0f);
    ck_assert(isinf(vf_exp(vf_set(INFINITY))[0]));
    ck_assert(isinf(vf_exp(vf_set(89.0f))[0]));
    ck_assert(isnan(vf_exp(vf_set(NAN))[0]));
    ck_assert(fabsf(vf_exp(vf_set(-100.0f))[0] - expf(-100.0f)) <= 0x1p-149f);
}
END_TEST

START_TEST(vf_tanh_whole_range_within_two_ulp) {
    for (uint32_t bits = 0; bits < 0x41200000u; bits += 1009) { /* up to 10 */
        float x = hone_f32_from_bits(bits | (bits % 2 ? 0x80000000u : 0u));
        double expected = tanh((double)x);
        double ulp = ldexp(1.0, ilogb(fmax(fabs(expected), 0x1p-126)) - 23);
        double error = fabs((double)vf_tanh(vf_set(x))[0] - expected);
        ck_each(error <= 2.0 * ulp, "tanh(%.9g): %.2f ulp", (double)x, error / ulp);
    }
    ck_assert(vf_tanh(vf_set(-INFINITY))[0] == -1.0f);
    ck_assert(vf_tanh(vf_set(INFINITY))[0] == 1.0f);
    ck_assert(isnan(vf_tanh(vf_set(NAN))[0]));
}
END_TEST

START_TEST(buffer_new_holds_zeros_at_page_alignment) {
    hone_device device;
    ck_ok(hone_device_open_cpu(&device));
    ck_assert_str_eq(device.name, "cpu");
    hone_buffer buffer;
    ck_ok(hone_buffer_new(&buffer, &device, (size_t)4 << 30)); /* far more than is touched */
    ck_assert_uint_eq((uintptr_t)buffer.base % 4096, 0);
    float numbers[] = {1, 2, 3};
    float back[4] = {9, 9, 9, 9};
    ck_ok(hone_device_copy_in(&device, buffer.base, numbers, sizeof numbers));
    ck_ok(hone_device_copy_out(&device, back, buffer.base, sizeof back));
    expect(back, (float[]){1, 2, 3, 0}, 4);
    ck_ok(hone_device_zero(&device, buffer.base, sizeof numbers));
    ck_ok(hone_device_copy_out(&device, back, buffer.base, sizeof back));
    expect(back, (float[]){0, 0, 0, 0}, 4);
    hone_buffer_free(&buffer);
    ck_assert_ptr_null(buffer.base);
    hone_buffer_free(&buffer);
    hone_buffer_free(NULL);
}
END_TEST

START_TEST(buffer_new_impossible_size_is_memory_error) {
    hone_device device;
    hone_device_open_ref(&device);
    hone_buffer buffer;
    ck_fails(hone_buffer_new(&buffer, &device, SIZE_MAX / 2), HONE_ERR_MEMORY, "cannot reserve");
    ck_assert_ptr_null(buffer.base);
    ck_ok(hone_buffer_new(&buffer, &device, 0));
    hone_buffer_free(&buffer);
}
END_TEST

START_TEST(device_that_the_build_lacks_is_refused) {
    hone_device device;
    if (strstr(hone_device_choices, "cuda")) return;
    ck_fails(hone_device_open(&device, HONE_DEVICE_CUDA, 0), HONE_ERR_USAGE,
             "this build of hone has no CUDA");
    ck_assert_ptr_null(device.memory);
    ck_ok(hone_device_open(&device, HONE_DEVICE_AUTO, 0));
    ck_assert_int_eq(device.kind, HONE_DEVICE_CPU);
    hone_device_close(&device);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels");
    TCase *values = tcase_create("values");
    tcase_add_test(values, gemm_two_by_two_gives_product);
    tcase_add_test(values, linear_q8_0_row_gives_scaled_sum);
    tcase_add_test(values, embedding_repeated_id_sums_gradients);
    tcase_add_test(values, rmsnorm_three_four_gives_known_row);
    tcase_add_test(values, rope_quarter_turn_swaps_pairs);
    tcase_add_test(values, attention_two_tokens_weigh_by_softmax);
    tcase_add_test(values, attention_documents_do_not_see_each_other);
    tcase_add_test(values, gated_silu_sigmoid_three_quarters_gives_product);
    tcase_add_test(values, cross_entropy_two_logits_give_loss_and_gradient);
    tcase_add_test(values, dropout_half_keeps_what_philox_says);
    tcase_add_test(values, adamw_first_step_moves_by_learning_rate);
    tcase_add_test(values, sum_small_beside_large_is_kept);
    tcase_add_test(values, vf_exp_whole_range_within_two_ulp);
    tcase_add_test(values, vf_tanh_whole_range_within_two_ulp);
    tcase_add_test(values, gelu_one_gives_published_value);
    tcase_add_test(values, layernorm_two_elements_give_signs);
    tcase_add_test(values, softcap_two_logits_give_loss_and_gradient);
    tcase_add_test(values, attention_window_of_one_copies_values);
    tcase_add_test(values, buffer_new_holds_zeros_at_page_alignment);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, buffer_new_impossible_size_is_memory_error);
    tcase_add_test(errors, device_that_the_build_lacks_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
