/* Quantised weights of every type: their values, and products with them. */
#include <ctype.h>

#include "base/alloc.h"
#include "formats/gguf.h"
#include "kernels/kernels.h"
#include "tests/support.h"

static const hone_dtype types[] = {
    HONE_F16,  HONE_BF16, HONE_Q8_0, HONE_Q4_0, HONE_Q4_1,   HONE_Q5_0,   HONE_Q5_1,  HONE_Q2_K,
    HONE_Q3_K, HONE_Q4_K, HONE_Q5_K, HONE_Q6_K, HONE_IQ4_NL, HONE_IQ4_XS, HONE_MXFP4,
};
enum { TYPES = sizeof types / sizeof types[0] };

/* The fixture holds a tensor of each type, and beside it what the gguf package makes of it, as "<type>.f32". */
START_TEST(dequantize_file_of_gguf_package_gives_its_bits) {
    const char *path = hone_test_data("quant/quant-types.gguf");
    if (!path) return;
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, path));
    for (int i = 0; i < TYPES; i++) {
        const char *type = hone_dtype_name(types[i]);
        char name[32];
        snprintf(name, sizeof name, "%s", type);
        for (char *c = name; *c; c++) *c = (char)toupper(*c);
        const hone_gguf_tensor *tensor = hone_gguf_tensor_find(gguf, name);
        strcat(name, ".f32");
        const hone_gguf_tensor *expected = hone_gguf_tensor_find(gguf, name);
        ck_assert_msg(tensor && expected, "no %s", name);
        ck_assert_uint_eq(tensor->type, types[i]);
        int64_t n = tensor->rows * tensor->cols;
        float *found = hone_alloc((size_t)n, sizeof *found);
        hone_kernels_ref()->dequantize(found, tensor->data, types[i], n);
        ck_assert_msg(memcmp(found, expected->data, (size_t)n * 4) == 0, "%s", type);
        hone_free(found);
    }
    hone_gguf_close(gguf);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quantised");
    TCase *values = tcase_create("values");
    tcase_add_test(values, dequantize_file_of_gguf_package_gives_its_bits);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
