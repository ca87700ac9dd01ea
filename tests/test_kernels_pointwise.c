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
    at_every_f32_level(check_gated, _i);
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
    at_every_f32_level(check_activation, _i);
}
END_TEST

static void check_scale(const hone_kernels *table, int64_t n) {
    float *x = floats_new(n, 1);
    float *expected = floats_new(n, 2);
    hone_kernels_ref()->scale(expected, x, n, -0.3);
    float guard = x[n] = 7.0f;
    table->scale(x, x, n, -0.3);
    expect_close(x, expected, n, 2e-7, 1e-30, "scale");
    ck_assert(x[n] == guard);
    hone_free(x);
    hone_free(expected);
}

START_TEST(scale_every_level_matches_reference) {
    at_every_f32_level(check_scale, lengths[_i]);
}
END_TEST

static void check_softcap(const hone_kernels *table, int64_t n) {
    const hone_kernels *ref = hone_kernels_ref();
    float *x = activation_inputs(n);
    for (int64_t i = 0; i < n; i += 2) x[i] *= 0.01f;
    float *expected = floats_new(n, 2);
    float *dy = floats_new(n, 3);
    ref->softcap_fwd(expected, x, n, 30.0);
    float guard = x[n] = dy[n] = 7.0f;
    table->softcap_fwd(x, x, n, 30.0);
    expect_close(x, expected, n, 5e-7, 1e-30, "softcap_fwd");
    ref->softcap_bwd(expected, dy, x, n, 30.0);
    table->softcap_bwd(dy, dy, x, n, 30.0);
    expect_close(dy, expected, n, 1e-6, 1.0, "softcap_bwd");
    ck_assert(x[n] == guard && dy[n] == guard);
    float *all[] = {x, expected, dy};
    for (int i = 0; i < 3; i++) hone_free(all[i]);
}

START_TEST(softcap_every_level_matches_reference) {
    at_every_f32_level(check_softcap, lengths[_i]);
}
END_TEST

/* Rows below and above what is shared out. */
static const int64_t tokens[] = {1, 37, 65};
enum { TOKENS = sizeof tokens / sizeof tokens[0] };
static const int64_t widths[] = {1, 7, 8, 12, 16, 17, 63, 65, 576};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

static void check_bias(const hone_kernels *table, int64_t number) {
    int64_t rows = tokens[number % TOKENS];
    int64_t width = widths[number / TOKENS];
    float *x = floats_new(rows * width, 1);
    float *b = floats_new(width, 2);
    float *expected = floats_new(rows * width, 3);
    float *expected_b = floats_copy(b, width);
    hone_kernels_ref()->bias_fwd(expected, x, b, rows, width);
    table->bias_fwd(x, x, b, rows, width);
    expect_close(x, expected, rows * width, 0.0, 0.0, "bias_fwd");
    hone_kernels_ref()->bias_bwd(expected_b, x, rows, width);
    table->bias_bwd(b, x, rows, width);
    expect_close(b, expected_b, width, 1e-5, 10.0, "bias_bwd");
    float *all[] = {x, b, expected, expected_b};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

/* Halves between two neighbours, and what is no number. */
static void check_bf16(const hone_kernels *table, int64_t n) {
    float *x = floats_new(n, 11);
    static const uint32_t odd[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x7f800000,
                                   0xff7fffff, 0x7f800001, 0x00000001, 0x80000000};
    enum { ODD = sizeof odd / sizeof odd[0] };
    for (int64_t i = 0; i < n; i++)
        if (i % 3 == 0) x[i] = hone_f32_from_bits(odd[i / 3 % ODD]);
    uint16_t own[80], expected[80];
    table->to_bf16(own, x, n);
    hone_kernels_ref()->to_bf16(expected, x, n);
    ck_assert_mem_eq(own, expected, (size_t)n * sizeof *own);
    hone_free(x);
}

START_TEST(bf16_every_level_equals_reference) {
    at_every_f32_level(check_bf16, _i);
}
END_TEST

START_TEST(bias_every_level_matches_reference) {
    at_every_f32_level(check_bias, _i);
}
END_TEST

typedef struct layernorm_run {
    float *y, *statistics, *dx, *dw, *db;
} layernorm_run;

static layernorm_run run_layernorm(const hone_kernels *table, float *in[4], const float *statistics,
                                   int64_t rows, int64_t width, float beta) {
    layernorm_run r = {floats_new(rows * width, 5), floats_new(rows * 2, 6),
                       floats_new(rows * width, 7), floats_new(width, 8), floats_new(width, 9)};
    if (beta == 0.0f) { /* dx in the place of dy */
        hone_free(r.dx);
        r.dx = floats_copy(in[3], rows * width);
    }
    table->layernorm_fwd(r.y, r.statistics, in[0], in[1], in[2], rows, width, 1e-5);
    table->layernorm_bwd(r.dx, r.dw, r.db, beta == 0.0f ? r.dx : in[3], in[0], in[1],
                         statistics ? statistics : r.statistics, rows, width, beta);
    return r;
}

static void layernorm_run_free(layernorm_run *r) {
    float *all[] = {r->y, r->statistics, r->dx, r->dw, r->db};
    for (int i = 0; i < 5; i++) hone_free(all[i]);
}

/* A mean far from zero, which a variance by E[x^2] - mean^2 would not survive. */
static void compare_layernorm(const hone_kernels *table, int64_t rows, int64_t width, float beta) {
    float *in[] = {floats_new(rows * width, 1), floats_new(width, 2), floats_new(width, 3),
                   floats_new(rows * width, 4)};
    for (int64_t i = 0; i < rows * width; i++) in[0][i] += 8.0f;
    layernorm_run expected = run_layernorm(hone_kernels_ref(), in, NULL, rows, width, beta);
    layernorm_run found = run_layernorm(table, in, expected.statistics, rows, width, beta);
    double steep = width == 1 ? 300.0 : 10.0; /* one element: rstd is 1 / sqrt(epsilon) */
    expect_close(found.y, expected.y, rows * width, 1e-5, 1.0, "layernorm_fwd");
    expect_close(found.statistics, expected.statistics, rows * 2, 1e-5, 0.0, "statistics");
    expect_close(found.dx, expected.dx, rows * width, 1e-5, steep, "dx");
    expect_close(found.dw, expected.dw, width, 1e-5, 10.0, "dw");
    expect_close(found.db, expected.db, width, 1e-5, 10.0, "db");
    layernorm_run_free(&expected);
    layernorm_run_free(&found);
    for (int i = 0; i < 4; i++) hone_free(in[i]);
}

static void check_layernorm(const hone_kernels *table, int64_t number) {
    compare_layernorm(table, tokens[number % TOKENS], widths[number / TOKENS % WIDTHS],
                      number / TOKENS / WIDTHS ? 1.0f : 0.0f);
}

START_TEST(layernorm_every_level_matches_reference) {
    at_every_f32_level(check_layernorm, _i);
}
END_TEST

static void check_wide_layernorm(const hone_kernels *table, int64_t width) {
    compare_layernorm(table, 2, width, 0.0f);
    compare_layernorm(table, 2, width, 1.0f);
}

START_TEST(layernorm_of_wide_rows_matches_reference) {
    at_every_f32_level(check_wide_layernorm, wide_rows[_i]);
}
END_TEST

/* --- Arrays that begin anywhere --- */

enum { ROWS = 7, WIDTH = 64, SIZE = ROWS * WIDTH, ARRAYS = 5, GIVEN = 11 };

/* Of five arrays, the one of number `which` `by` elements behind where an array of vectors begins. */
typedef struct shifted {
    float *base, *array[ARRAYS];
} shifted;

static shifted shifted_new(int which, int by) {
    shifted s = {.base = floats_new(ARRAYS * (SIZE + 8), 1)};
    for (int i = 0; i < ARRAYS; i++) {
        float *values = floats_new(SIZE, 2 + (uint32_t)i);
        s.array[i] = s.base + (ptrdiff_t)i * (SIZE + 8) + (i == which ? by : 0);
        memcpy(s.array[i], values, SIZE * sizeof *values);
        hone_free(values);
    }
    return s;
}

static int32_t *order_of_rows(void) {
    static int32_t order[ROWS] = {3, 1, 6, 0, 2, 5, 4};
    return order;
}

/* A kernel of those that move several elements at once, on such arrays. */
static void give(const hone_kernels *k, int which, float *const a[ARRAYS]) {
    static uint64_t key = 5;
    static uint32_t records[ROWS];
    static float rstd[2 * ROWS];
    hone_dropout draw = {&key, records, order_of_rows(), 1, 0.5};
    hone_rope_shape rope = {ROWS, 2, WIDTH / 2, WIDTH / 2, which == 4};
    switch (which) {
    case 0:
        k->add(a[0], a[1], a[2], SIZE);
        break;
    case 1:
        k->gated_bwd(a[0], a[1], a[2], a[3], a[4], SIZE, HONE_SILU);
        break;
    case 2:
        k->bias_fwd(a[0], a[1], a[2], ROWS, WIDTH);
        break;
    case 3:
    case 4:
        k->rope(a[0], a[1], a[2], order_of_rows(), rope, false);
        break;
    case 5:
        k->rmsnorm_fwd(a[0], rstd, a[1], a[2], ROWS, WIDTH, 1e-5);
        k->rmsnorm_bwd(a[3], NULL, a[4], a[1], a[2], rstd, ROWS, WIDTH, 1.0f);
        break;
    case 6:
        k->layernorm_fwd(a[0], rstd, a[1], a[2], a[3], ROWS, WIDTH, 1e-5);
        break;
    case 7:
        k->dropout(a[0], a[1], draw, ROWS, WIDTH, 1.0f);
        break;
    case 8:
        k->gather_rows(a[0], a[1], order_of_rows(), ROWS, WIDTH);
        break;
    case 9:
        k->dequantize(a[0], (char *)a[1] + 1, HONE_BF16, SIZE);
        break;
    default:
        k->dequantize(a[0], (char *)a[1] + 1, HONE_Q8_0, SIZE);
    }
}

/* Numbers of an odd address may be no numbers: bits are compared. */
static void check_shifted(const hone_kernels *table, int64_t number) {
    shifted expected = shifted_new(0, 0);
    give(table, (int)number, expected.array);
    for (int which = 0; which < ARRAYS; which++)
        for (int by = 1; by <= 3; by++) {
            shifted found = shifted_new(which, by);
            float behind = found.array[0][SIZE];
            give(table, (int)number, found.array);
            for (int i = 0; i < ARRAYS; i++)
                ck_each(memcmp(found.array[i], expected.array[i], SIZE * sizeof(float)) == 0,
                        "array %d, where %d is shifted by %d", i, which, by);
            ck_assert(found.array[0][SIZE] == behind);
            hone_free(found.base);
        }
    hone_free(expected.base);
}

START_TEST(arrays_that_begin_anywhere_give_the_same_bits) {
    at_every_f32_level(check_shifted, _i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels, pointwise");
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, bf16_every_level_equals_reference, 1, 80);
    tcase_add_loop_test(backends, gated_every_level_matches_reference, 0, 2 * LENGTHS);
    tcase_add_loop_test(backends, activation_every_level_matches_reference, 0, 2 * LENGTHS);
    tcase_add_loop_test(backends, scale_every_level_matches_reference, 0, LENGTHS);
    tcase_add_loop_test(backends, softcap_every_level_matches_reference, 0, LENGTHS);
    tcase_add_loop_test(backends, bias_every_level_matches_reference, 0, TOKENS * WIDTHS);
    tcase_add_loop_test(backends, layernorm_every_level_matches_reference, 0, 2 * TOKENS * WIDTHS);
    tcase_add_loop_test(backends, layernorm_of_wide_rows_matches_reference, 0, WIDE_ROWS);
    tcase_add_loop_test(backends, arrays_that_begin_anywhere_give_the_same_bits, 0, GIVEN);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
