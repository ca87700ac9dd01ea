/* Activations, biases, scales, caps and layernorm: every level of the CPU table against the reference. */
#include "tests/kernel_support.h"

/* Beside the sizes of vectors, and beside what one thread takes. */
static const int64_t lengths[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 1000, 16387};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

static const hone_activation_kind kinds[] = {HONE_SILU, HONE_GELU_TANH};
/* Magnitudes below which errors count absolutely: gelu's left tail cancels inside its exponent. */
static const double tails[] = {1e-30, 1e-2};

static float *activation_inputs(int64_t n) {
    float *x = floats_new(n, 1);
    for (int64_t i = 0; i < n; i++) x[i] *= i % 3 ? 12.0f : 120.0f;
    return x;
}

static void check_gated(const hone_kernels *table, int64_t number) {
    const hone_kernels *ref = hone_kernels_ref();
    int64_t n = lengths[number / 2];
    hone_activation_kind kind = kinds[number % 2];
    double tail = tails[number % 2];
    float *gate = activation_inputs(n);
    float *up = floats_new(n, 2);
    float *dy = floats_new(n, 3);
    float *y = floats_new(n, 4);
    float *expected = floats_new(n, 5);
    float *expected2 = floats_new(n, 6);
    table->gated_fwd(y, gate, up, n, kind);
    ref->gated_fwd(expected, gate, up, n, kind);
    expect_close(y, expected, n, 2e-6, tail, "gated_fwd");
    ref->gated_bwd(expected, expected2, dy, gate, up, n, kind);
    for (int place = 0; place < 3; place++) { /* dgate over dy, gate, up; dup over the next */
        float *in[] = {floats_copy(dy, n), floats_copy(gate, n), floats_copy(up, n)};
        table->gated_bwd(in[place], in[(place + 1) % 3], in[0], in[1], in[2], n, kind);
        expect_close(in[place], expected, n, 1e-5, fmax(tail, 1e-3), "dgate");
        expect_close(in[(place + 1) % 3], expected2, n, 2e-6, tail, "dup");
        for (int i = 0; i < 3; i++) hone_free(in[i]);
    }
    float *all[] = {gate, up, dy, y, expected, expected2};
    for (int i = 0; i < 6; i++) hone_free(all[i]);
}

START_TEST(gated_every_level_matches_reference) {
    at_every_level(check_gated, _i);
}
END_TEST

static void check_activation(const hone_kernels *table, int64_t number) {
    const hone_kernels *ref = hone_kernels_ref();
    int64_t n = lengths[number / 2];
    hone_activation_kind kind = kinds[number % 2];
    double tail = tails[number % 2];
    float *x = activation_inputs(n);
    float *dy = floats_new(n, 3);
    float *y = floats_new(n, 4);
    float *expected = floats_new(n, 5);
    table->activation_fwd(y, x, n, kind);
    ref->activation_fwd(expected, x, n, kind);
    expect_close(y, expected, n, 2e-6, tail, "activation_fwd");
    ref->activation_bwd(expected, dy, x, n, kind);
    float guard = dy[n] = 7.0f;
    table->activation_bwd(dy, dy, x, n, kind);
    expect_close(dy, expected, n, 1e-5, fmax(tail, 1e-3), "dx");
    ck_assert(dy[n] == guard);
    table->activation_fwd(x, x, n, kind);
    expect_close(x, y, n, 0.0, 0.0, "in place");
    float *all[] = {x, dy, y, expected};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

START_TEST(activation_every_level_matches_reference) {
    at_every_level(check_activation, _i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels, pointwise");
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, gated_every_level_matches_reference, 0, 2 * LENGTHS);
    tcase_add_loop_test(backends, activation_every_level_matches_reference, 0, 2 * LENGTHS);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
