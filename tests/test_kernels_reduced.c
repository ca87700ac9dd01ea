/* Products of operands that are rounded: every level against the reference. */
#include "kernels/fp8.h"
#include "kernels/ref/ref.h"
#include "tests/product_support.h"

/* --- fp8 --- */

static const hone_fp8_format formats[] = {HONE_E4M3, HONE_E5M2};

/* By the tables of the specification. */
static double fp8_value(int code, hone_fp8_format format) {
    int fraction = format == HONE_E4M3 ? 3 : 2, bias = format == HONE_E4M3 ? 7 : 15;
    int exponent = (code & 0x7f) >> fraction, last = (code & 0x7f) & ((1 << fraction) - 1);
    double one = exponent == 0 ? 0 : 1, size = one + ldexp(last, -fraction);
    double value = ldexp(size, (exponent == 0 ? 1 : exponent) - bias);
    if (format == HONE_E4M3 && (code & 0x7f) == 0x7f) value = (double)NAN;
    if (format == HONE_E5M2 && exponent == 31) value = last == 0 ? (double)INFINITY : (double)NAN;
    return code & 0x80 ? -value : value;
}

START_TEST(fp8_every_code_has_its_value_and_comes_back) {
    for (int code = 0; code < 256; code++) {
        double wanted = fp8_value(code, formats[_i]);
        float found = hone_fp8_to_f32((uint8_t)code, formats[_i]);
        if (isnan(wanted)) {
            ck_assert(isnan(found));
            ck_assert(isnan(hone_fp8_to_f32(hone_fp8_from_f32(found, formats[_i]), formats[_i])));
            continue;
        }
        ck_assert((double)found == wanted && !!signbit(found) == code >> 7);
        ck_assert_int_eq(hone_fp8_from_f32(found, formats[_i]), code);
    }
    ck_assert(hone_fp8_to_f32(0x7e, HONE_E4M3) == 448 && hone_fp8_to_f32(1, HONE_E4M3) == 0x1p-9f);
    ck_assert(hone_fp8_to_f32(0x7b, HONE_E5M2) == 57344 &&
              hone_fp8_to_f32(1, HONE_E5M2) == 0x1p-16f);
}
END_TEST

/* Between two neighbours: halfway to the even one, else to the nearer one. */
START_TEST(fp8_rounds_to_nearest_even) {
    hone_fp8_format format = formats[_i];
    int largest = format == HONE_E4M3 ? 0x7e : 0x7b;
    for (int code = 0; code < largest; code++) {
        float low = hone_fp8_to_f32((uint8_t)code, format);
        float high = hone_fp8_to_f32((uint8_t)(code + 1), format), half = (low + high) / 2;
        for (int sign = 0; sign < 2; sign++) {
            float by = sign ? -1 : 1;
            int even = code + code % 2 + 0x80 * sign;
            ck_assert_int_eq(hone_fp8_from_f32(by * half, format), even);
            ck_assert_int_eq(hone_fp8_from_f32(by * nextafterf(half, low), format),
                             code + 0x80 * sign);
            ck_assert_int_eq(hone_fp8_from_f32(by * nextafterf(half, high), format),
                             code + 1 + 0x80 * sign);
        }
    }
    float beyond[] = {hone_fp8_to_f32((uint8_t)largest, format) * 1.01f, 1e9f, 3e38f};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(hone_fp8_from_f32(beyond[i], format), largest);
        ck_assert_int_eq(hone_fp8_from_f32(-beyond[i], format), largest + 0x80);
    }
    float infinite = hone_fp8_to_f32(hone_fp8_from_f32(INFINITY, format), format);
    ck_assert(format == HONE_E4M3 ? isnan(infinite) : infinite > 1e30f);
    ck_assert_int_eq(hone_fp8_from_f32(1e-30f, format), 0);
}
END_TEST

START_TEST(fp8_scale_brings_the_largest_near_the_end) {
    hone_fp8_format format = formats[_i];
    float end = format == HONE_E4M3 ? 448 : 57344;
    for (float largest = 1e-30f; largest < 1e30f; largest *= 1.01f) {
        int exponent;
        float scale = hone_fp8_scale(largest, format);
        ck_assert(frexpf(scale, &exponent) == 0.5f);
        ck_assert(largest * scale <= end && 2 * largest * scale > end);
    }
    ck_assert(hone_fp8_scale(end, format) == 1 && hone_fp8_scale(2 * end, format) == 0.5f);
    ck_assert(hone_fp8_scale(nextafterf(end, 1e9f), format) == 0.5f);
    const float odd[] = {0, INFINITY, NAN};
    for (int i = 0; i < 3; i++) ck_assert(hone_fp8_scale(odd[i], format) == 1);
    ck_assert(isfinite(1 / hone_fp8_scale(1e-42f, format)));
}
END_TEST

/* --- Products --- */

/* Odd sizes, beside those of tiles and panels; the last two have several slabs. */
static const linear_case linears[] = {
    {1, 1, 1},     {3, 32, 40},     {11, 33, 65},   {12, 64, 32},
    {25, 131, 97}, {29, 1056, 331}, {9, 4099, 140},
};
enum { LINEARS = sizeof linears / sizeof linears[0] };

/* In fp8 where both sides are multiples of 16. */
static const linear_case fp8_linears[] = {
    {1, 16, 16}, {3, 32, 48}, {11, 33, 64}, {12, 64, 31}, {5, 1056, 336}, {3, 4096, 144},
};
enum { FP8_LINEARS = sizeof fp8_linears / sizeof fp8_linears[0] };

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

static void check_passes(hone_precision precision, const linear_case cases[], int at) {
    linear_case l = cases[at / DTYPES];
    hone_dtype type = dtypes[at % DTYPES];
    if (type == HONE_Q8_0 && l.in % 32 != 0) return;
    for (int way = 0; way < 4; way++)
        check_pass(precision, l, type, way < 2 ? 0.0f : 1.0f, way % 2);
}

START_TEST(bf16_every_level_matches_reference) {
    check_passes(HONE_PRODUCTS_BF16, linears, _i);
}
END_TEST

START_TEST(tf32_every_level_matches_reference) {
    check_passes(HONE_PRODUCTS_TF32, linears, _i);
}
END_TEST

START_TEST(fp8_every_level_matches_reference) {
    check_passes(HONE_PRODUCTS_FP8, fp8_linears, _i);
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
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, fp8_every_code_has_its_value_and_comes_back, 0, 2);
    tcase_add_loop_test(values, fp8_rounds_to_nearest_even, 0, 2);
    tcase_add_loop_test(values, fp8_scale_brings_the_largest_near_the_end, 0, 2);
    suite_add_tcase(suite, values);
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, bf16_every_level_matches_reference, 0, DTYPES * LINEARS);
    tcase_add_loop_test(backends, tf32_every_level_matches_reference, 0, DTYPES * LINEARS);
    tcase_add_loop_test(backends, fp8_every_level_matches_reference, 0, DTYPES * FP8_LINEARS);
    tcase_add_loop_test(backends, operands_are_rounded_to_nearest_even, 0, 2);
    tcase_add_test(backends, bf16_of_a_token_does_not_depend_on_others);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
