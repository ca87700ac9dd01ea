#include "formats/quantize.h"

#include <math.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "formats/gguf.h"
#include "kernels/ref/ref.h"
#include "tests/support.h"

/* --- values --- */

static const hone_dtype coded[] = {HONE_F16, HONE_BF16, HONE_Q8_0};

START_TEST(quantize_edge_values_give_the_bytes_of_gguf_py) {
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, HONE_TEST_FIXTURES "/formats/kinds.gguf"));
    const hone_gguf_tensor *input = hone_gguf_tensor_find(gguf, "input");
    const hone_gguf_tensor *expected = hone_gguf_tensor_find(gguf, hone_dtype_name(coded[_i]));
    unsigned char *bytes = hone_alloc(expected->bytes, 1);
    ck_ok(hone_quantize(bytes, coded[_i], (const float *)(const void *)input->data, input->rows,
                        input->cols));
    size_t row = expected->bytes / (size_t)input->rows;
    for (size_t r = 0; r < (size_t)input->rows; r++) {
        ck_assert_msg(memcmp(bytes + r * row, expected->data + r * row, row) == 0, "%s, row %zu",
                      hone_dtype_name(coded[_i]), r);
    }
    hone_free(bytes);
    hone_gguf_close(gguf);
}
END_TEST

START_TEST(quantize_f32_copies_any_bits) {
    const float in[] = {NAN, -INFINITY, -0.0f, 1.5f};
    float out[4];
    ck_ok(hone_quantize(out, HONE_F32, in, 2, 2));
    ck_assert_mem_eq(out, in, sizeof in);
}
END_TEST

START_TEST(quantize_no_rows_writes_nothing) {
    char out = 'x';
    ck_ok(hone_quantize(&out, HONE_Q8_0, NULL, 0, 32));
    ck_assert_int_eq(out, 'x');
}
END_TEST

START_TEST(fits_by_block_size) {
    ck_assert(hone_quantize_fits(HONE_Q8_0, 64) && !hone_quantize_fits(HONE_Q8_0, 172));
    ck_assert(hone_quantize_fits(HONE_F16, 172) && !hone_quantize_fits(HONE_I32, 4));
}
END_TEST

/* Largest part of a normal row's energy that may be lost: some 3 % above what is. */
static const struct {
    hone_dtype type;
    double loss;
} searched[] = {
    {HONE_Q4_0, 6.5e-3},   {HONE_Q4_1, 4.9e-3},  {HONE_Q5_0, 1.6e-3},    {HONE_Q5_1, 1.14e-3},
    {HONE_Q8_0, 2.85e-5},  {HONE_Q2_K, 6.9e-2},  {HONE_Q3_K, 2.06e-2},   {HONE_Q4_K, 4.95e-3},
    {HONE_Q5_K, 1.2e-3},   {HONE_Q6_K, 2.82e-4}, {HONE_IQ4_NL, 5.45e-3}, {HONE_IQ4_XS, 5.5e-3},
    {HONE_MXFP4, 1.27e-2},
};
enum { SEARCHED = sizeof searched / sizeof searched[0], COLS = 1024, ROWS = 16 };

static void draw(float *out, int64_t n, float deviation) {
    for (int64_t i = 0; i < n; i++) {
        float sum = 0; /* of twelve uniform numbers: as good as normal here */
        for (uint32_t k = 0; k < 12; k++) {
            sum += hone_uniform(hone_philox_draw(7, (uint32_t)i, k, 0, 0).word[0]);
        }
        out[i] = (sum - 6) * deviation;
    }
}

/* The part of the energy that is lost in the type, there and back. */
static double loss_of(hone_dtype type, const float *in, int64_t rows, int64_t cols) {
    int64_t n = rows * cols;
    unsigned char *bytes = hone_alloc((size_t)n, sizeof(float));
    hone_real *back = hone_alloc((size_t)n, sizeof *back);
    double lost = 0, all = 0;
    ck_ok(hone_quantize(bytes, type, in, rows, cols));
    hone_dequantize_ref(back, bytes, type, n);
    for (int64_t i = 0; i < n; i++) {
        double left = (double)in[i] - (double)back[i];
        lost += left * left;
        all += (double)in[i] * (double)in[i];
    }
    hone_free(bytes);
    hone_free(back);
    return all > 0 ? lost / all : lost;
}

START_TEST(quantize_normal_rows_lose_little) {
    float *in = hone_alloc(ROWS * COLS, sizeof *in);
    draw(in, ROWS * COLS, 0.02f);
    double loss = loss_of(searched[_i].type, in, ROWS, COLS);
    ck_assert_msg(loss <= searched[_i].loss, "%s: %.7f", hone_dtype_name(searched[_i].type), loss);
    hone_free(in);
}
END_TEST

/* In every block type: zeros, one value only, halves of which one is zero, and values that no scale can tell from zero. */
START_TEST(quantize_plain_blocks_come_back) {
    hone_dtype type = searched[_i].type;
    float in[512] = {0};
    ck_assert(loss_of(type, in, 2, 256) == 0);
    for (int i = 0; i < 512; i++) in[i] = 1e-9f;
    ck_assert(loss_of(type, in, 2, 256) <= 1);
    for (int i = 0; i < 512; i++) in[i] = i < 256 ? -0.75f : 0.75f;
    ck_assert(loss_of(type, in, 2, 256) < 1e-2);
    for (int i = 0; i < 512; i++) in[i] = i / 16 % 2 ? 0.0f : 3.0f;
    ck_assert(loss_of(type, in, 2, 256) < 1e-4);
}
END_TEST

START_TEST(quantize_any_threads_give_the_same_bytes) {
    hone_dtype type = searched[_i].type;
    size_t bytes = ROWS * hone_dtype_row_bytes(type, COLS);
    float *in = hone_alloc(ROWS * COLS, sizeof *in);
    char *one = hone_alloc(bytes, 1), *three = hone_alloc(bytes, 1);
    draw(in, ROWS * COLS, 0.02f);
    hone_threads_set(1);
    ck_ok(hone_quantize(one, type, in, ROWS, COLS));
    hone_threads_set(3);
    ck_ok(hone_quantize(three, type, in, ROWS, COLS));
    ck_assert_mem_eq(one, three, bytes);
    hone_free(in);
    hone_free(one);
    hone_free(three);
}
END_TEST

START_TEST(quantize_mxfp4_keeps_the_ends_of_f32) {
    float in[32] = {0x1.8p127f, -0x1p126f, 0x1p-125f};
    ck_assert(loss_of(HONE_MXFP4, in, 1, 32) < 1e-6);
    for (int i = 0; i < 32; i++) in[i] = i % 2 ? -0x1p-128f : 0x1.8p-127f;
    unsigned char bytes[17];
    hone_real back[32];
    ck_ok(hone_quantize(bytes, HONE_MXFP4, in, 1, 32));
    hone_dequantize_ref(back, bytes, HONE_MXFP4, 32);
    for (int i = 0; i < 32; i++) ck_assert(back[i] == in[i]);
}
END_TEST

/* --- errors --- */

static const struct {
    hone_dtype type;
    float value;
} unheld[] = {
    {HONE_F16, NAN},         {HONE_F16, 65520.0f},   {HONE_F16, -INFINITY}, {HONE_BF16, NAN},
    {HONE_BF16, 3.4028e38f}, {HONE_Q8_0, NAN},       {HONE_Q8_0, INFINITY}, {HONE_Q8_0, -8.4e6f},
    {HONE_Q4_0, 1e6f},       {HONE_Q4_1, -1e6f},     {HONE_Q5_0, 2e6f},     {HONE_Q5_1, NAN},
    {HONE_Q2_K, 4e6f},       {HONE_Q3_K, -INFINITY}, {HONE_Q4_K, 1e8f},     {HONE_Q5_K, -5e6f},
    {HONE_Q6_K, 3e8f},       {HONE_IQ4_NL, 9e6f},    {HONE_IQ4_XS, 3.1e8f}, {HONE_MXFP4, 3e38f},
};

START_TEST(quantize_value_beyond_the_type_names_row_and_column) {
    float in[2 * 256] = {0};
    unsigned char out[2 * 256 * 4];
    in[256 + 40] = unheld[_i].value;
    ck_fails(hone_quantize(out, unheld[_i].type, in, 2, 256), HONE_ERR_NUMERIC, "row 1, column 40");
}
END_TEST

START_TEST(quantize_wrong_type_or_width_is_refused) {
    float in[33] = {0};
    unsigned char out[256];
    ck_fails(hone_quantize(out, HONE_I32, in, 1, 33), HONE_ERR_UNSUPPORTED, "i32");
    ck_fails(hone_quantize(out, HONE_Q8_0, in, 1, 33), HONE_ERR_USAGE, "rows of 33 elements");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quantize");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, quantize_edge_values_give_the_bytes_of_gguf_py, 0,
                        (int)(sizeof coded / sizeof coded[0]));
    tcase_add_loop_test(values, quantize_normal_rows_lose_little, 0, SEARCHED);
    tcase_add_loop_test(values, quantize_plain_blocks_come_back, 0, SEARCHED);
    tcase_add_loop_test(values, quantize_any_threads_give_the_same_bytes, 0, SEARCHED);
    tcase_add_test(values, quantize_mxfp4_keeps_the_ends_of_f32);
    tcase_add_test(values, quantize_f32_copies_any_bits);
    tcase_add_test(values, quantize_no_rows_writes_nothing);
    tcase_add_test(values, fits_by_block_size);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, quantize_value_beyond_the_type_names_row_and_column, 0,
                        (int)(sizeof unheld / sizeof unheld[0]));
    tcase_add_test(errors, quantize_wrong_type_or_width_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
