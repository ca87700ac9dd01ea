/* Products of operands that are rounded: every level against the reference. */
#include "kernels/ref/ref.h"
#include "tests/product_support.h"

/* Odd sizes, beside those of tiles and panels; the last two have several slabs. */
static const linear_case linears[] = {
    {1, 1, 1},     {3, 32, 40},     {11, 33, 65},   {12, 64, 32},
    {25, 131, 97}, {29, 1056, 331}, {9, 4099, 140},
};
enum { LINEARS = sizeof linears / sizeof linears[0] };

/* The table of a level that takes a precision, or NULL. */
static const hone_kernels *precise_table(int level, hone_precision precision) {
    const hone_kernels *table = level_table(level);
    return table && hone_precisions_have(table->precisions, precision) ? table : NULL;
}

/* A pass at every level. */
static void check_pass(hone_precision precision, linear_case l, hone_dtype type, float beta,
                       bool backward) {
    const hone_kernels *ref = hone_kernels_ref();
    int64_t inputs = backward ? l.out : l.in, outputs = backward ? l.in : l.out;
    void *w = weights_new(type, l.in * l.out, 6);
    float *sizes = floats_new(l.in * l.out, 7);
    ref->dequantize(sizes, w, type, l.in * l.out);
    magnitudes(sizes, l.in * l.out);
    product p = product_new(l, inputs, outputs, beta),
            sized = product_new(l, inputs, outputs, beta);
    (backward ? ref->reduced_bwd : ref->reduced_fwd)(p.expected, p.input, w, type, precision,
                                                     &p.low, l.tokens, l.in, l.out, beta, NULL);
    product_sizes(&sized, l, inputs, outputs);
    (backward ? ref->linear_bwd : ref->linear_fwd)(sized.size, sized.input, sizes, HONE_F32,
                                                   &sized.low, l.tokens, l.in, l.out, beta, NULL);
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = precise_table(level, precision);
        if (!table) continue;
        hone_buffer space = workspace_new(
            table->reduced_workspace(type, precision, l.tokens, l.in, l.out, 3, backward));
        float *found = floats_copy(p.output, p.n);
        (backward ? table->reduced_bwd : table->reduced_fwd)(
            found, p.input, w, type, precision, &p.low, l.tokens, l.in, l.out, beta, space.base);
        expect_product(found, p.expected, sized.size, p.n, hone_precision_name(precision));
        hone_free(found);
        hone_buffer_free(&space);
    }
    expect_no_refusal();
    product_free(&sized);
    product_free(&p);
    hone_free(sizes);
    hone_free(w);
}

static void check_passes(hone_precision precision, int at) {
    linear_case l = linears[at / DTYPES];
    hone_dtype type = dtypes[at % DTYPES];
    if (type == HONE_Q8_0 && l.in % 32 != 0) return;
    for (int way = 0; way < 4; way++)
        check_pass(precision, l, type, way < 2 ? 0.0f : 1.0f, way % 2);
}

START_TEST(bf16_every_level_matches_reference) {
    check_passes(HONE_PRODUCTS_BF16, _i);
}
END_TEST

START_TEST(tf32_every_level_matches_reference) {
    check_passes(HONE_PRODUCTS_TF32, _i);
}
END_TEST

/* Ties go to even; what is below half a step is lost before the product, and a NaN is not. */
static void check_rounding(const hone_kernels *table, int64_t chosen) {
    enum { TOKENS = 2, IN = 3 };
    hone_precision precision = (hone_precision)chosen;
    if (!hone_precisions_have(table->precisions, precision)) return;
    const float step = precision == HONE_PRODUCTS_BF16 ? 0x1p-7f : 0x1p-10f,
                w[IN] = {1, 1 + step / 2, 1 + 3 * step / 2};
    const float x[TOKENS * IN] = {1 + step / 4, 256, 65536, NAN, 1, 1};
    float y[TOKENS];
    hone_buffer space =
        workspace_new(table->reduced_workspace(HONE_F32, precision, TOKENS, IN, 1, 0, false));
    table->reduced_fwd(y, x, w, HONE_F32, precision, NULL, TOKENS, IN, 1, 0, space.base);
    ck_assert(y[0] == 1 + 256 + 65536 * (1 + 2 * step));
    ck_assert(isnan(y[1]));
    hone_buffer_free(&space);
}

static const hone_precision rounding[] = {HONE_PRODUCTS_TF32, HONE_PRODUCTS_BF16};

START_TEST(operands_are_rounded_to_nearest_even) {
    check_rounding(hone_kernels_ref(), rounding[_i]);
    at_every_level(check_rounding, rounding[_i]);
}
END_TEST

/* Alone or beside others, and by any number of threads, a token gives the same bits. (A GPU's library may well choose another
 * algorithm for another number of tokens.) */
static void check_tokens(const hone_kernels *table, int64_t tokens) {
    enum { IN = 200, OUT = 70 };
    float *x = floats_new(tokens * IN, 4), *w = floats_new(OUT * IN, 5);
    float *all = floats_new(tokens * OUT, 0), alone[OUT];
    for (int threads = 1; threads <= 3; threads += 2) {
        hone_threads_set(threads);
        hone_buffer space = workspace_new(
            table->reduced_workspace(HONE_F32, HONE_PRODUCTS_BF16, tokens, IN, OUT, 0, false));
        if (threads == 1)
            table->reduced_fwd(all, x, w, HONE_F32, HONE_PRODUCTS_BF16, NULL, tokens, IN, OUT, 0,
                               space.base);
        for (int64_t t = 0; t < tokens; t++) {
            table->reduced_fwd(alone, x + t * IN, w, HONE_F32, HONE_PRODUCTS_BF16, NULL, 1, IN, OUT,
                               0, space.base);
            ck_assert(memcmp(alone, all + t * OUT, sizeof alone) == 0);
        }
        hone_buffer_free(&space);
    }
    hone_threads_set(0);
    float *made[] = {x, w, all};
    for (int i = 0; i < 3; i++) hone_free(made[i]);
}

START_TEST(bf16_of_a_token_does_not_depend_on_others) {
    at_every_cpu_level(check_tokens, 26);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_reduced");
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, bf16_every_level_matches_reference, 0, DTYPES * LINEARS);
    tcase_add_loop_test(backends, tf32_every_level_matches_reference, 0, DTYPES * LINEARS);
    tcase_add_loop_test(backends, operands_are_rounded_to_nearest_even, 0, 2);
    tcase_add_test(backends, bf16_of_a_token_does_not_depend_on_others);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
