#include "formats/quantize.h"

#include <math.h>

#include "base/alloc.h"
#include "formats/gguf.h"
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

/* --- errors --- */

static const struct {
    hone_dtype type;
    float value;
} unheld[] = {
    {HONE_F16, NAN},         {HONE_F16, 65520.0f}, {HONE_F16, -INFINITY}, {HONE_BF16, NAN},
    {HONE_BF16, 3.4028e38f}, {HONE_Q8_0, NAN},     {HONE_Q8_0, INFINITY}, {HONE_Q8_0, -8.4e6f},
};

START_TEST(quantize_value_beyond_the_type_names_row_and_column) {
    float in[2 * 64] = {0};
    unsigned char out[2 * 64 * 4];
    in[64 + 40] = unheld[_i].value;
    ck_fails(hone_quantize(out, unheld[_i].type, in, 2, 64), HONE_ERR_NUMERIC, "row 1, column 40");
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
