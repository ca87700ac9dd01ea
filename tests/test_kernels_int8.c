/* Products in int8: every level against the reference, and both against the products in f32 that they stand for. */
#include "kernels/ref/ref.h"
#include "tests/kernel_support.h"

enum { BLOCK = HONE_INT8_BLOCK, TILE = HONE_INT8_TILE };

typedef struct int8_case {
    int64_t tokens, in, out, rank;
} int8_case;

/* Beside the sizes of tiles (12), panels (32) and blocks (64); the last two have several slabs. */
static const int8_case cases[] = {
    {1, 1, 1, 0},    {1, 64, 64, 1},    {11, 63, 65, 3},    {12, 64, 32, 16},
    {13, 65, 31, 8}, {25, 130, 97, 16}, {40, 8192, 260, 4}, {13, 300, 8200, 0},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* A weight with factors, scales and an int8 copy, made by a table; to be freed with one_free. */
typedef struct one {
    hone_int8_weight w;
    float *source, *row_factor, *column_factor, *scale;
    int8_t *q;
} one;

static one one_new(const hone_kernels *table, int64_t out, int64_t in) {
    one o = {.source = floats_new(out * in, 3)};
    o.row_factor = floats_new(out, 0);
    o.column_factor = floats_new(in, 0);
    o.scale = floats_new(hone_int8_blocks(out) * hone_int8_blocks(in), 0);
    o.q = hone_alloc((size_t)(out * in), 1);
    for (int64_t i = 0; i < in; i += 5) /* columns and rows of other sizes */
        for (int64_t r = 0; r < out; r++) o.source[r * in + i] *= 64.0f;
    for (int64_t r = 0; r < out; r += 7)
        for (int64_t i = 0; i < in; i++) o.source[r * in + i] /= 100.0f;
    o.w = (hone_int8_weight){
        .out = out,
        .in = in,
        .source = o.source,
        .type = HONE_F32,
        .row_factor = o.row_factor,
        .column_factor = o.column_factor,
        .q = o.q,
        .block_scale = o.scale,
    };
    table->int8_column_factors(o.column_factor, &o.w);
    table->int8_row_factors(o.row_factor, &o.w);
    table->int8_quantize_weight(o.q, o.scale, &o.w, 0, out);
    return o;
}

static void one_free(one *o) {
    float *all[] = {o->source, o->row_factor, o->column_factor, o->scale};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
    hone_free(o->q);
}

START_TEST(weight_every_level_equals_reference) {
    int8_case c = cases[_i];
    one expected = one_new(hone_kernels_ref(), c.out, c.in);
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (!table) continue;
        one found = one_new(table, c.out, c.in);
        expect_close(found.column_factor, expected.column_factor, c.in, 0, 0, "column factor");
        expect_close(found.row_factor, expected.row_factor, c.out, 0, 0, "row factor");
        expect_close(found.scale, expected.scale, hone_int8_blocks(c.out) * hone_int8_blocks(c.in),
                     0, 0, "scale");
        ck_assert(memcmp(found.q, expected.q, (size_t)(c.out * c.in)) == 0);
        one_free(&found);
    }
    one_free(&expected);
}
END_TEST

/* The factors leave every column of one size, and in every row an element that takes the whole range. */
START_TEST(weight_columns_of_other_sizes_are_balanced) {
    enum { OUT = 96, IN = 128 };
    one o = one_new(hone_kernels_ref(), OUT, IN);
    for (int64_t i = 0; i < IN; i++) {
        double squares = 0;
        float largest = 0;
        for (int64_t r = 0; r < OUT; r++) {
            double q = o.q[r * IN + i];
            squares += q * q;
            largest = fmaxf(largest, fabsf(o.source[r * IN + i]));
        }
        ck_assert(o.column_factor[i] == largest);
        ck_each(sqrt(squares / OUT) > 40, "column %lld: %g", (long long)i, sqrt(squares / OUT));
    }
    for (int64_t r = 0; r < OUT; r++) {
        int largest = 0;
        for (int64_t i = 0; i < IN; i++)
            largest = abs(o.q[r * IN + i]) > largest ? abs(o.q[r * IN + i]) : largest;
        ck_each(largest == 127, "row %lld: %d", (long long)r, largest);
    }
    one_free(&o);
}
END_TEST

/* Rows and columns of zeros, and of next to nothing, have the factor 1 and stay zeros. */
START_TEST(weight_without_anything_to_scale_is_zero) {
    float source[3 * 2] = {0, 0, 1e-35f, 0, -1e-38f, 0}, row_factor[3], column_factor[2], scale[1];
    int8_t q[3 * 2];
    hone_int8_weight w = {.out = 3, .in = 2, .source = source, .type = HONE_F32};
    w.row_factor = row_factor;
    w.column_factor = column_factor;
    for (int level = -1; level < LEVELS; level++) {
        const hone_kernels *table = level < 0 ? hone_kernels_ref() : level_table(level);
        if (!table) continue;
        table->int8_column_factors(column_factor, &w);
        table->int8_row_factors(row_factor, &w);
        for (int i = 0; i < 2; i++) ck_assert(column_factor[i] == 1.0f);
        for (int i = 0; i < 3; i++) ck_assert(row_factor[i] == 1.0f);
        table->int8_quantize_weight(q, scale, &w, 0, 3);
        ck_assert(isfinite(scale[0]) && scale[0] < 1e-30f);
        for (int i = 0; i < 6; i += 2) ck_assert(q[i + 1] == 0);
    }
}
END_TEST

/* Activations with a few that stand far out. */
static float *activations_new(int64_t tokens, int64_t width, uint32_t seed) {
    float *x = floats_new(tokens * width, seed);
    for (int64_t t = 0; t < tokens; t += 13) x[t * width + t % width] = 300.0f;
    return x;
}

typedef struct quantised {
    hone_buffer memory;
    hone_int8_rows rows;
    size_t bytes;
} quantised;

static quantised quantised_new(const hone_kernels *table, const float *x, const float *factor,
                               int64_t tokens, int64_t width) {
    quantised q = {.bytes = hone_int8_rows_bytes(tokens, width)};
    q.memory = workspace_new(q.bytes);
    hone_int8_counts counts = {3, 5};
    table->int8_quantize(q.memory.base, &counts, x, factor, tokens, width);
    q.rows = hone_int8_rows_view(q.memory.base, tokens, width);
    int64_t blocks = hone_int8_blocks(width), marked = 0;
    for (int64_t i = 0; i < hone_int8_tiles(tokens) * blocks; i++) marked += q.rows.marked[i];
    ck_assert_int_eq(counts.blocks, 3 + tokens * blocks);
    ck_assert_int_eq(counts.marked, 5 + marked);
    return q;
}

START_TEST(quantize_every_level_equals_reference) {
    int8_case c = cases[_i];
    float *x = activations_new(c.tokens, c.in, 4), *factor = floats_new(c.in, 5);
    quantised expected = quantised_new(hone_kernels_ref(), x, factor, c.tokens, c.in);
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (!table) continue;
        quantised found = quantised_new(table, x, factor, c.tokens, c.in);
        ck_assert(memcmp(found.memory.base, expected.memory.base, expected.bytes) == 0);
        hone_buffer_free(&found.memory);
    }
    hone_buffer_free(&expected.memory);
    hone_free(factor);
    hone_free(x);
}
END_TEST

static bool has_residual(const hone_int8_rows *rows, int64_t row) {
    for (int64_t i = 0; i < BLOCK; i++)
        if (rows->residual[row * BLOCK + i]) return true;
    return false;
}

/* What a quantised element stands for is within half a step of it; half a 254th where its block has an outlier. */
START_TEST(quantize_elements_are_within_half_a_step) {
    enum { TOKENS = 30, WIDTH = 200 };
    float *x = activations_new(TOKENS, WIDTH, 4), *factor = floats_new(WIDTH, 5);
    quantised q = quantised_new(hone_kernels_ref(), x, factor, TOKENS, WIDTH);
    int64_t marked = 0;
    for (int64_t t = 0; t < TOKENS; t++) {
        for (int64_t i = 0; i < WIDTH; i++) {
            int64_t block = t / TILE * hone_int8_blocks(WIDTH) + i / BLOCK;
            int64_t row = block * TILE + t % TILE;
            double scale = (double)q.rows.scale[row];
            double value = q.rows.q[row * BLOCK + i % BLOCK], step = 1;
            if (q.rows.marked[block] && has_residual(&q.rows, row)) {
                value += q.rows.residual[row * BLOCK + i % BLOCK] / 254.0;
                step = 1 / 254.0;
                marked++;
            }
            double exact = (double)(x[t * WIDTH + i] * factor[i]);
            ck_each(fabs(value * scale - exact) <= 0.501 * step * scale, "token %lld element %lld",
                    (long long)t, (long long)i);
        }
    }
    ck_assert_int_gt(marked, 0);
    ck_assert_int_lt(marked, TOKENS * WIDTH);
    hone_buffer_free(&q.memory);
    hone_free(factor);
    hone_free(x);
}
END_TEST

/* Alone or beside others, a token gives the same bits. */
START_TEST(product_of_a_token_does_not_depend_on_others) {
    enum { TOKENS = 30, IN = 200, OUT = 70 };
    one o = one_new(hone_kernels_ref(), OUT, IN);
    float *x = activations_new(TOKENS, IN, 4), all[TOKENS * OUT], alone[OUT];
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (!table) continue;
        hone_buffer space = workspace_new(table->int8_workspace(&o.w, 0));
        quantised q = quantised_new(table, x, o.column_factor, TOKENS, IN);
        table->int8_fwd(all, q.memory.base, &o.w, NULL, TOKENS, 0, space.base);
        hone_buffer_free(&q.memory);
        for (int64_t t = 0; t < TOKENS; t++) {
            q = quantised_new(table, x + t * IN, o.column_factor, 1, IN);
            table->int8_fwd(alone, q.memory.base, &o.w, NULL, 1, 0, space.base);
            ck_assert(memcmp(alone, all + t * OUT, sizeof alone) == 0);
            hone_buffer_free(&q.memory);
        }
        hone_buffer_free(&space);
    }
    hone_free(x);
    one_free(&o);
}
END_TEST

START_TEST(quantize_not_a_number_shows_in_the_product) {
    one o = one_new(hone_kernels_ref(), 8, 64);
    float *x = floats_new(2 * 64, 1), y[16];
    x[64 + 9] = NAN;
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (!table) continue;
        quantised q = quantised_new(table, x, o.column_factor, 2, 64);
        hone_buffer space = workspace_new(table->int8_workspace(&o.w, 0));
        table->int8_fwd(y, q.memory.base, &o.w, NULL, 2, 0, space.base);
        for (int i = 0; i < 8; i++) ck_assert(isfinite(y[i]) && isnan(y[8 + i]));
        hone_buffer_free(&space);
        hone_buffer_free(&q.memory);
    }
    hone_free(x);
    one_free(&o);
}
END_TEST

typedef void (*product_fn)(float *y, const void *rows, const hone_int8_weight *w,
                           const hone_low_rank *low, int64_t tokens, float beta, void *workspace);

/* Of the largest shapes the emulator multiplies half: without a copy when it adds, with one when it overwrites. */
static bool takes_long(int number, int8_case c, float beta) {
    return number / 2 == CPU_LEVELS && c.in * c.out > 1000000 && (number % 2 == 1) != (beta != 0);
}

/* Either pass at every level, with and without an int8 copy, against the reference. */
static void check_pass(int8_case c, bool forward, float beta) {
    one o = one_new(hone_kernels_ref(), c.out, c.in);
    int64_t width = forward ? c.in : c.out, columns = forward ? c.out : c.in;
    float *x = activations_new(c.tokens, width, 4), *start = floats_new(c.tokens * columns, 6);
    float *t = tf32_floats_new(c.tokens * c.rank, 7);
    float *factor = tf32_floats_new(columns * c.rank, 8);
    hone_low_rank low = {t, factor, c.rank, 0.25};
    const hone_low_rank *used = c.rank ? &low : NULL;
    quantised q = quantised_new(hone_kernels_ref(), x, forward ? o.column_factor : o.row_factor,
                                c.tokens, width);
    float *expected = floats_copy(start, c.tokens * columns);
    const hone_kernels *ref = hone_kernels_ref();
    (forward ? ref->int8_fwd : ref->int8_bwd)(expected, q.memory.base, &o.w, used, c.tokens, beta,
                                              NULL);
    double largest = 0;
    for (int64_t i = 0; i < c.tokens * columns; i++)
        largest = fmax(largest, fabs((double)expected[i]));
    for (int number = 0; number < 2 * LEVELS; number++) {
        const hone_kernels *table = level_table(number / 2);
        if (!table || takes_long(number, c, beta)) continue;
        hone_int8_weight w = o.w;
        if (number % 2) w.q = NULL, w.block_scale = NULL;
        hone_buffer space = workspace_new(table->int8_workspace(&w, c.rank));
        float *found = floats_copy(start, c.tokens * columns);
        if (beta == 0)
            for (int64_t i = 0; i < c.tokens * columns; i++) found[i] = NAN;
        product_fn run = forward ? table->int8_fwd : table->int8_bwd;
        run(found, q.memory.base, &w, used, c.tokens, beta, space.base);
        expect_close(found, expected, c.tokens * columns, 1e-5, largest, forward ? "fwd" : "bwd");
        hone_free(found);
        hone_buffer_free(&space);
    }
    expect_no_refusal();
    float *all[] = {x, start, t, factor, expected};
    for (int i = 0; i < 5; i++) hone_free(all[i]);
    hone_buffer_free(&q.memory);
    one_free(&o);
}

START_TEST(product_every_level_matches_reference) {
    int8_case c = cases[_i / 4];
    check_pass(c, _i & 1, _i & 2 ? 1.0f : 0.0f);
}
END_TEST

START_TEST(product_any_rank_and_threads_match_reference) {
    int8_case c = {25, 130, 97, ranks[_i / 3]};
    hone_threads_set(1 + _i % 3);
    check_pass(c, true, 0.0f);
    check_pass(c, false, 1.0f);
    hone_threads_set(0);
}
END_TEST

/* Against f32: the error of a whole product stays small beside its size, also where a few activations are 64 times
 * the others and the weights that meet them a 64th. */
START_TEST(product_stays_near_f32_with_outliers) {
    enum { TOKENS = 24, IN = 256, OUT = 192 };
    const hone_kernels *ref = hone_kernels_ref();
    one o = one_new(ref, OUT, IN);
    float *x = floats_new(TOKENS * IN, 4);
    for (int64_t i = 0; i < IN; i++) {
        float by = i % 64 == 11 ? 64.0f : 1.0f;
        for (int64_t t = 0; t < TOKENS; t++) x[t * IN + i] *= by;
        for (int64_t r = 0; r < OUT; r++) o.source[r * IN + i] /= by * (i % 5 ? 1.0f : 64.0f);
    }
    ref->int8_column_factors(o.column_factor, &o.w);
    ref->int8_row_factors(o.row_factor, &o.w);
    ref->int8_quantize_weight(o.q, o.scale, &o.w, 0, OUT);
    quantised q = quantised_new(ref, x, o.column_factor, TOKENS, IN);
    float found[TOKENS * OUT], exact[TOKENS * OUT];
    ref->int8_fwd(found, q.memory.base, &o.w, NULL, TOKENS, 0, NULL);
    ref->linear_fwd(exact, x, o.source, HONE_F32, NULL, TOKENS, IN, OUT, 0, NULL);
    double error = 0, size = 0;
    for (int i = 0; i < TOKENS * OUT; i++) {
        double difference = (double)found[i] - (double)exact[i];
        error += difference * difference;
        size += (double)exact[i] * (double)exact[i];
    }
    ck_assert_msg(error <= 0.015 * 0.015 * size, "relative error %g", sqrt(error / size));
    hone_buffer_free(&q.memory);
    hone_free(x);
    one_free(&o);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_int8");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_test(values, weight_columns_of_other_sizes_are_balanced);
    tcase_add_test(values, weight_without_anything_to_scale_is_zero);
    tcase_add_test(values, quantize_elements_are_within_half_a_step);
    tcase_add_test(values, quantize_not_a_number_shows_in_the_product);
    tcase_add_test(values, product_of_a_token_does_not_depend_on_others);
    tcase_add_test(values, product_stays_near_f32_with_outliers);
    suite_add_tcase(suite, values);
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 300);
    tcase_add_loop_test(backends, weight_every_level_equals_reference, 0, CASES);
    tcase_add_loop_test(backends, quantize_every_level_equals_reference, 0, CASES);
    tcase_add_loop_test(backends, product_every_level_matches_reference, 0, 4 * CASES);
    tcase_add_loop_test(backends, product_any_rank_and_threads_match_reference, 0, 3 * RANKS);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
