/* Quantised weights of every type: their values, and products with them at every level of the CPU table. */
#include <ctype.h>

#include "formats/gguf.h"
#include "tests/kernel_support.h"

/* A type and its blocks: where the halves lie that scale a block (-1: none). */
typedef struct coded {
    hone_dtype type;
    int halves[2];
} coded;

static const coded types[] = {
    {HONE_F16, {-1, -1}},   {HONE_BF16, {-1, -1}},  {HONE_Q4_0, {0, -1}},   {HONE_Q4_1, {0, 2}},
    {HONE_Q5_0, {0, -1}},   {HONE_Q5_1, {0, 2}},    {HONE_Q8_0, {0, -1}},   {HONE_Q2_K, {80, 82}},
    {HONE_Q3_K, {108, -1}}, {HONE_Q4_K, {0, 2}},    {HONE_Q5_K, {0, 2}},    {HONE_Q6_K, {208, -1}},
    {HONE_IQ4_NL, {0, -1}}, {HONE_IQ4_XS, {0, -1}}, {HONE_MXFP4, {-1, -1}},
};
enum { PLAIN = 2, TYPES = sizeof types / sizeof types[0] };

/* --- values --- */

/* The fixture holds a tensor of each type, and beside it what the gguf package makes of it, as "<TYPE>.f32". */
START_TEST(dequantize_file_of_gguf_package_gives_its_bits) {
    const char *path = hone_test_data("quant/quant-types.gguf");
    if (!path) return;
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, path));
    char name[32] = "";
    snprintf(name, sizeof name - 4, "%s", hone_dtype_name(types[_i].type));
    for (char *c = name; *c; c++) *c = (char)toupper(*c);
    const hone_gguf_tensor *tensor = hone_gguf_tensor_find(gguf, name);
    strcat(name, ".f32");
    const hone_gguf_tensor *expected = hone_gguf_tensor_find(gguf, name);
    ck_assert_msg(tensor && expected, "no %s", name);
    hone_dtype type;
    ck_ok(hone_gguf_tensor_dtype(&type, gguf, tensor));
    ck_assert_int_eq(type, types[_i].type);
    int64_t n = tensor->rows * tensor->cols;
    float *found = floats_new(n, 1);
    hone_kernels_ref()->dequantize(found, tensor->data, type, n);
    ck_assert_msg(memcmp(found, expected->data, (size_t)n * 4) == 0, "%s", name);
    hone_free(found);
    hone_gguf_close(gguf);
}
END_TEST

/* --- backends --- */

/* n weights in random blocks whose halves are below `largest` in magnitude, subnormal ones among them; to be freed. */
static unsigned char *blocks_new(const coded *c, int64_t n, float largest, uint32_t seed) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)c->type);
    size_t bytes = hone_dtype_row_bytes(c->type, n);
    unsigned char *w = hone_alloc(bytes + 1, 1);
    ck_assert_ptr_nonnull(w);
    for (size_t i = 0; i < bytes; i++)
        w[i] = (unsigned char)hone_philox_draw(seed, (uint32_t)i, 0, 0, 0).word[0];
    size_t width = (size_t)info->bytes;
    for (size_t block = 0; block < bytes / width; block++) {
        unsigned char *at = w + block * width;
        uint32_t word = hone_philox_draw(seed, (uint32_t)block, 1, 0, 0).word[0];
        float scale = largest * (2.0f * hone_uniform(word) - 1.0f);
        if (block % 7 == 0) scale *= 0x1p-16f;
        uint16_t half = hone_f16_from_f32(scale);
        if (c->type == HONE_BF16) half = hone_bf16_from_f32(scale);
        for (int k = 0; k < 2; k++) {
            if (c->halves[k] >= 0) memcpy(at + c->halves[k], &half, 2);
            half ^= (uint16_t)(word & 0x80ff);
        }
        if (c < types + PLAIN) memcpy(at, &half, 2);
        if (c->type == HONE_MXFP4 && largest < 1.0f) at[0] = (unsigned char)(116 + at[0] % 8);
    }
    return w;
}

/* Numbers of elements that end inside of a thread's share, and one large enough for several threads. */
static void check_dequantize(const hone_kernels *table, int64_t number) {
    const coded *c = &types[number];
    const int64_t sizes[] = {256, 768, 60 * 256};
    for (int s = 0; s < 3; s++) {
        unsigned char *w = blocks_new(c, sizes[s], 1000.0f, 3);
        float *found = floats_new(sizes[s], 1);
        float *expected = floats_new(sizes[s], 2);
        table->dequantize(found, w, c->type, sizes[s]);
        hone_kernels_ref()->dequantize(expected, w, c->type, sizes[s]);
        for (int64_t i = 0; i < sizes[s]; i++)
            ck_assert_msg(memcmp(&found[i], &expected[i], 4) == 0, "%s %s: element %d: %a, not %a",
                          table->name, hone_dtype_name(c->type), (int)i, (double)found[i],
                          (double)expected[i]);
        hone_free(w);
        hone_free(found);
        hone_free(expected);
    }
}

static void check_embedding(const hone_kernels *table, int64_t number) {
    const coded *c = &types[number];
    enum { ROWS = 9, TOKENS = 40, WIDTH = 512 };
    unsigned char *w = blocks_new(c, ROWS * WIDTH, 1.0f, 4);
    float *all = floats_new(ROWS * WIDTH, 1);
    float *y = floats_new(TOKENS * WIDTH, 2);
    int32_t ids[TOKENS];
    for (int t = 0; t < TOKENS; t++) ids[t] = t * 5 % ROWS;
    hone_kernels_ref()->dequantize(all, w, c->type, ROWS * WIDTH);
    table->embedding_fwd(y, ids, w, c->type, TOKENS, WIDTH);
    for (int t = 0; t < TOKENS; t++)
        ck_assert(memcmp(y + t * WIDTH, all + ids[t] * WIDTH, WIDTH * 4) == 0);
    hone_free(w);
    hone_free(all);
    hone_free(y);
}

typedef struct linear_case {
    int64_t tokens, in, out;
} linear_case;

/* Few tokens and many, several panels of rows, rows that end inside of a strip where the type's blocks allow it. */
static const linear_case linears[] = {{1, 256, 33}, {3, 512, 20},  {6, 768, 17},
                                      {9, 256, 40}, {33, 512, 70}, {12, 8192, 140}};
enum { LINEARS = sizeof linears / sizeof linears[0] };

/* Fails where a product differs by more than 1e-5 of the sum of magnitudes of its terms. */
static void expect_product(const float *found, const float *x, const float *w, linear_case l,
                           bool backward, const char *what) {
    const hone_kernels *ref = hone_kernels_ref();
    int64_t in = backward ? l.out : l.in, out = backward ? l.in : l.out;
    int64_t n = l.tokens * out;
    float *expected = floats_new(n, 1), *size = floats_new(n, 1);
    float *x_size = floats_copy(x, l.tokens * in), *w_size = floats_copy(w, l.in * l.out);
    for (int64_t i = 0; i < l.tokens * in; i++) x_size[i] = fabsf(x_size[i]);
    for (int64_t i = 0; i < l.in * l.out; i++) w_size[i] = fabsf(w_size[i]);
    int64_t ldw = l.in;
    ref->gemm(expected, x, w, l.tokens, out, in, false, !backward, in, ldw, out, 1, 0);
    ref->gemm(size, x_size, w_size, l.tokens, out, in, false, !backward, in, ldw, out, 1, 0);
    for (int64_t i = 0; i < n; i++) {
        double apart = fabs((double)found[i] - (double)expected[i]);
        ck_assert_msg(apart <= 1e-5 * (double)size[i], "%s, %d tokens: %g, expected %g", what,
                      (int)l.tokens, (double)found[i], (double)expected[i]);
    }
    float *all[] = {expected, size, x_size, w_size};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

static void check_linear(const hone_kernels *table, int64_t number) {
    const coded *c = &types[number];
    for (int i = 0; i < LINEARS; i++) {
        linear_case l = linears[i];
        /* The largest shape is for panels, which all types share. */
        if (l.in > 768 && c->type != HONE_Q4_K) continue;
        unsigned char *w = blocks_new(c, l.in * l.out, 0.01f, 6);
        float *plain = floats_new(l.in * l.out, 7);
        hone_kernels_ref()->dequantize(plain, w, c->type, l.in * l.out);
        float *x = floats_new(l.tokens * l.in, 8), *y = floats_new(l.tokens * l.out, 9);
        hone_buffer space = workspace_new(table->linear_workspace(c->type, l.in, l.out, 0));
        table->linear_fwd(y, x, w, c->type, NULL, l.tokens, l.in, l.out, 0.0f, space.base);
        expect_product(y, x, plain, l, false, hone_dtype_name(c->type));
        table->linear_bwd(x, y, w, c->type, NULL, l.tokens, l.in, l.out, 0.0f, space.base);
        expect_product(x, y, plain, l, true, hone_dtype_name(c->type));
        hone_buffer_free(&space);
        float *all[] = {plain, x, y};
        for (int k = 0; k < 3; k++) hone_free(all[k]);
        hone_free(w);
    }
}

START_TEST(dequantize_every_level_gives_bits_of_reference) {
    at_every_f32_level(check_dequantize, _i);
}
END_TEST

START_TEST(embedding_every_level_gives_dequantised_rows) {
    at_every_f32_level(check_embedding, _i);
}
END_TEST

START_TEST(linear_every_level_equals_product_with_dequantised) {
    at_every_f32_level(check_linear, _i);
}
END_TEST

START_TEST(linear_reference_equals_product_with_dequantised) {
    check_linear(hone_kernels_ref(), _i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quantised");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, dequantize_file_of_gguf_package_gives_its_bits, 0, TYPES);
    suite_add_tcase(suite, values);
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, dequantize_every_level_gives_bits_of_reference, 0, TYPES);
    tcase_add_loop_test(backends, embedding_every_level_gives_dequantised_rows, 0, TYPES);
    tcase_add_loop_test(backends, linear_every_level_equals_product_with_dequantised, 0, TYPES);
    tcase_add_loop_test(backends, linear_reference_equals_product_with_dequantised, 0, TYPES);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
