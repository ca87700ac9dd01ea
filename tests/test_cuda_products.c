/* Products on a GPU: what hone asks of cuBLASLt. */
#include "base/alloc.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/product_support.h"

/* One call of each kind, with fixed memory. */
typedef struct operands {
    float *x, *y, *t, *factor, *dx;
    void *w;
    hone_buffer space;
    hone_low_rank low;
} operands;

enum { TOKENS = 9, IN = 64, OUT = 144, RANK = 3 };

static operands operands_new(hone_dtype type) {
    operands o = {
        .x = floats_new(TOKENS * IN, 1),
        .y = floats_new(TOKENS * OUT, 2),
        .t = floats_new(TOKENS * RANK, 3),
        .factor = floats_new(OUT * RANK, 4),
        .dx = floats_new(TOKENS * IN, 5),
        .w = weights_new(type, IN * OUT, 6),
    };
    size_t bytes =
        hone_reduced_workspace_cuda(type, HONE_PRODUCTS_BF16, TOKENS, IN, OUT, RANK, true);
    size_t others = hone_linear_workspace_cuda(type, IN, OUT, RANK);
    o.space = workspace_new(bytes > others ? bytes : others);
    o.low = (hone_low_rank){o.t, o.factor, RANK, 0.5};
    return o;
}

static void operands_free(operands *o) {
    void *all[] = {o->x, o->y, o->t, o->factor, o->dx, o->w};
    for (int i = 0; i < 6; i++) hone_free(all[i]);
    hone_buffer_free(&o->space);
}

/* A step: every kind of product by cuBLASLt, forward and backward. What LoRA's come to does not matter: both factors and
 * their gradients share memory. */
static void run_step(const hone_kernels *k, const operands *o, hone_dtype type) {
    hone_lora_shape lora = {TOKENS, IN, OUT, RANK, 0.5, true};
    void *space = o->space.base;
    k->gemm(o->y, o->x, o->x, TOKENS, TOKENS, IN, false, true, IN, IN, TOKENS, 1, 0);
    k->linear_fwd(o->y, o->x, o->w, type, &o->low, TOKENS, IN, OUT, 0, space);
    k->linear_bwd(o->dx, o->y, o->w, type, &o->low, TOKENS, IN, OUT, 1, space);
    for (hone_precision p = HONE_PRODUCTS_TF32; p < HONE_PRECISIONS; p++) {
        k->reduced_fwd(o->y, o->x, o->w, type, p, &o->low, TOKENS, IN, OUT, 0, space);
        k->reduced_bwd(o->dx, o->y, o->w, type, p, &o->low, TOKENS, IN, OUT, 1, space);
    }
    k->lora_fwd(o->t, o->x, o->factor, lora, space);
    k->lora_bwd(o->t, o->factor, o->factor, o->y, o->x, o->t, o->factor, lora, space);
}

START_TEST(products_repeated_create_nothing) {
    const hone_kernels *k = hone_kernels_emulated();
    const fake_cublaslt *state = fake_cublaslt_state();
    hone_dtype type = dtypes[_i];
    operands o = operands_new(type);
    int64_t before = state->created;
    run_step(k, &o, type);
    ck_ok(hone_emulated_status());
    int64_t created = state->created, live = state->live, matmuls = state->matmuls;
    ck_assert_int_gt(created, before);
    run_step(k, &o, type);
    ck_ok(hone_emulated_status());
    ck_assert_int_eq(state->created, created);
    ck_assert_int_eq(state->live, live);
    ck_assert_int_gt(state->matmuls, matmuls);
    ck_assert_ptr_eq(state->stream, hone_cuda_stream());
    operands_free(&o);
    hone_cuda_products_close();
    ck_assert_int_eq(state->live, 0);
}
END_TEST

/* One row by one column of `terms`. */
static void dot(const hone_kernels *k, int64_t terms) {
    static float y, ones[2 * HONE_CUDA_MOST_PLANS];
    for (int64_t i = 0; i < terms; i++) ones[i] = 1;
    k->gemm(&y, ones, ones, 1, 1, terms, false, true, terms, terms, 1, 1, 0);
    ck_assert(y == (float)terms);
}

START_TEST(plans_unused_for_longest_are_let_go) {
    const hone_kernels *k = hone_kernels_emulated();
    const fake_cublaslt *state = fake_cublaslt_state();
    enum { MOST = HONE_CUDA_MOST_PLANS };
    for (int64_t n = 1; n <= MOST; n++) dot(k, n);
    int64_t live = state->live, created = state->created;
    dot(k, 1); /* now that of 2 is the oldest */
    ck_assert_int_eq(state->created, created);
    for (int64_t n = MOST + 1; n <= MOST + 10; n++) dot(k, n);
    ck_assert_int_eq(state->live, live);
    created = state->created;
    dot(k, 1);
    dot(k, MOST + 10);
    dot(k, 12);
    ck_assert_int_eq(state->created, created);
    dot(k, 11);
    ck_assert_int_gt(state->created, created);
    ck_assert_int_eq(state->live, live);
    ck_ok(hone_emulated_status());
    hone_cuda_products_close();
    ck_assert_int_eq(state->live, 0);
}
END_TEST

/* Algorithms are chosen for the alignment that there is, however odd. */
START_TEST(gemm_any_alignment_gives_the_same) {
    const hone_kernels *k = hone_kernels_emulated();
    const fake_cublaslt *state = fake_cublaslt_state();
    hone_buffer a = workspace_new(4096), b = workspace_new(4096), c = workspace_new(4096);
    int64_t created = 0;
    for (int offset = 0; offset < 8; offset++) {
        float *x = (float *)a.base + offset, *w = (float *)b.base + 3 * offset % 8;
        float *y = (float *)c.base + 5 * offset % 8;
        for (int i = 0; i < 6; i++) {
            x[i] = (float)i;
            w[i] = (float)(i * i);
        }
        k->gemm(y, x, w, 2, 2, 3, false, true, 3, 3, 2, 1, 0);
        ck_ok(hone_emulated_status());
        ck_assert(y[0] == 9 && y[1] == 66 && y[2] == 24 && y[3] == 216);
        if (offset == 1) ck_assert_int_gt(state->created, created);
        created = state->created;
    }
    hone_buffer_free(&a);
    hone_buffer_free(&b);
    hone_buffer_free(&c);
}
END_TEST

START_TEST(gemm_without_terms_scales_the_output) {
    const hone_kernels *k = hone_kernels_emulated();
    float c[2][3] = {{1, 2, 99}, {3, 4, 99}}, x[1] = {0};
    k->gemm(&c[0][0], x, x, 2, 2, 0, false, false, 1, 2, 3, 1, 0.5f);
    ck_assert(c[0][0] == 0.5f && c[0][1] == 1 && c[1][0] == 1.5f && c[1][1] == 2);
    c[0][0] = NAN;
    k->gemm(&c[0][0], x, x, 2, 2, 0, false, false, 1, 2, 3, 1, 0);
    ck_assert(c[0][0] == 0 && c[0][1] == 0 && c[1][0] == 0 && c[1][1] == 0);
    ck_assert(c[0][2] == 99 && c[1][2] == 99);
    k->gemm(&c[0][0], x, x, 0, 2, 5, false, false, 5, 2, 3, 1, 0);
    k->gemm(&c[0][0], x, x, 2, 0, 5, false, false, 5, 2, 3, 1, 0);
    ck_assert_int_eq(fake_cublaslt_state()->matmuls, 0);
    ck_ok(hone_emulated_status());
}
END_TEST

/* A pass in any precision, with a weight in f32. */
static void pass(const hone_kernels *k, float *y, const float *x, const float *w,
                 const hone_low_rank *low, hone_precision precision, bool backward, linear_case l,
                 float beta) {
    bool exact = precision == HONE_PRODUCTS_F32;
    hone_buffer space = workspace_new(
        exact ? k->linear_workspace(HONE_F32, l.in, l.out, 0)
              : k->reduced_workspace(HONE_F32, precision, l.tokens, l.in, l.out, 0, backward));
    if (exact)
        (backward ? k->linear_bwd : k->linear_fwd)(y, x, w, HONE_F32, low, l.tokens, l.in, l.out,
                                                   beta, space.base);
    else
        (backward ? k->reduced_bwd : k->reduced_fwd)(y, x, w, HONE_F32, precision, low, l.tokens,
                                                     l.in, l.out, beta, space.base);
    hone_buffer_free(&space);
}

/* Passes over no tokens, and over a weight without rows. */
START_TEST(passes_without_anything_leave_what_beta_says) {
    const hone_kernels *k = hone_kernels_emulated();
    float y[6], x[6] = {0}, w[9] = {0};
    for (int i = 0; i < 2 * HONE_PRECISIONS; i++) {
        hone_precision precision = (hone_precision)(i / 2);
        bool backward = i % 2;
        int64_t in = backward ? 3 : 0, out = backward ? 0 : 3;
        for (int e = 0; e < 6; e++) y[e] = 2;
        pass(k, y, x, w, NULL, precision, backward, (linear_case){0, 3, 3}, 0);
        pass(k, y, x, w, NULL, precision, backward, (linear_case){2, in, out}, 1);
        for (int e = 0; e < 6; e++) ck_assert(y[e] == 2);
        pass(k, y, x, w, NULL, precision, backward, (linear_case){2, in, out}, 0);
        for (int e = 0; e < 6; e++) ck_assert(y[e] == 0);
    }
    ck_ok(hone_emulated_status());
}
END_TEST

/* Weights of the product's own dtype that begin anywhere: used where they lie, or copied. */
START_TEST(weight_at_any_address_gives_the_same) {
    const hone_kernels *k = hone_kernels_emulated(), *ref = hone_kernels_ref();
    static const int offsets[] = {0, 1, 2, 4, 8, 16};
    hone_dtype type = _i % 2 ? HONE_BF16 : HONE_F32;
    int offset = offsets[_i / 2];
    operands o = operands_new(type);
    size_t bytes = hone_dtype_row_bytes(type, IN * OUT);
    hone_buffer room = workspace_new(bytes + 64);
    char *w = (char *)room.base + offset;
    memcpy(w, o.w, bytes);
    float *found = floats_new(TOKENS * OUT, 0), *expected = floats_new(TOKENS * OUT, 0);
    k->linear_fwd(found, o.x, w, type, NULL, TOKENS, IN, OUT, 0, o.space.base);
    ref->linear_fwd(expected, o.x, w, type, NULL, TOKENS, IN, OUT, 0, NULL);
    expect_close(found, expected, TOKENS * OUT, 1e-6, 1.0, "linear_fwd");
    for (hone_precision p = HONE_PRODUCTS_TF32; p < HONE_PRECISIONS; p++) {
        k->reduced_fwd(found, o.x, w, type, p, NULL, TOKENS, IN, OUT, 0, o.space.base);
        ref->reduced_fwd(expected, o.x, w, type, p, NULL, TOKENS, IN, OUT, 0, NULL);
        expect_close(found, expected, TOKENS * OUT, 1e-6, 1.0, hone_precision_name(p));
    }
    ck_ok(hone_emulated_status());
    hone_free(found);
    hone_free(expected);
    hone_buffer_free(&room);
    operands_free(&o);
}
END_TEST

/* One element of each factor, a quarter of a step of TF32 above 1. */
START_TEST(factors_are_rounded_where_that_is_said) {
    const hone_kernels *k = hone_kernels_emulated();
    const float above = 1 + 0x1p-12f, zero = 0;
    hone_lora_shape shape = {1, 1, 1, 1, 1, _i == 1};
    hone_buffer space = workspace_new(k->lora_workspace(shape));
    float t, dt, da = 0, db = 0, one = _i == 1 ? 1 : above;
    k->lora_fwd(&t, &above, &(float){1}, shape, space.base);
    k->lora_bwd(&dt, &da, &db, &above, &above, &(float){1}, &(float){1}, shape, space.base);
    ck_assert(t == one && dt == one && db == one && da == one * one);
    hone_low_rank low = {&above, &(float){1}, 1, 1};
    for (hone_precision p = HONE_PRODUCTS_F32; p < HONE_PRECISIONS; p++) {
        for (int backward = 0; backward < 2; backward++) {
            float y = 0;
            pass(k, &y, &zero, &zero, &low, p, backward, (linear_case){1, 1, 1}, 0);
            ck_assert(y == (p == HONE_PRODUCTS_F32 ? above : 1));
        }
    }
    ck_ok(hone_emulated_status());
    hone_buffer_free(&space);
}
END_TEST

/* The second call by a plan has its scales elsewhere, and others. */
START_TEST(fp8_scales_are_those_of_the_call) {
    const hone_kernels *k = hone_kernels_emulated(), *ref = hone_kernels_ref();
    enum { ROWS = 3, SIDE = 32 };
    const hone_precision fp8 = HONE_PRODUCTS_FP8;
    float x[ROWS * SIDE], w[SIDE * SIDE], y[ROWS * SIDE], expected[ROWS * SIDE];
    size_t bytes = k->reduced_workspace(HONE_F32, fp8, ROWS, SIDE, SIDE, 0, false);
    hone_buffer spaces[] = {workspace_new(bytes), workspace_new(bytes)};
    int64_t created = 0;
    for (int i = 0; i < SIDE * SIDE; i++) w[i] = (float)(i * 7 % 31) - 15;
    for (int turn = 0; turn < 2; turn++) {
        float size = turn ? 1e5f : 1e-5f;
        for (int i = 0; i < ROWS * SIDE; i++) x[i] = (float)(i * 5 % 23 - 11) * size;
        k->reduced_fwd(y, x, w, HONE_F32, fp8, NULL, ROWS, SIDE, SIDE, 0, spaces[turn].base);
        ref->reduced_fwd(expected, x, w, HONE_F32, fp8, NULL, ROWS, SIDE, SIDE, 0, NULL);
        expect_close(y, expected, ROWS * SIDE, 1e-6, (double)size, "fp8");
        if (turn == 1) ck_assert_int_eq(fake_cublaslt_state()->created, created);
        created = fake_cublaslt_state()->created;
    }
    ck_ok(hone_emulated_status());
    for (int i = 0; i < 2; i++) hone_buffer_free(&spaces[i]);
}
END_TEST

START_TEST(slab_holds_whole_blocks) {
    hone_cuda_products_sizes(1000 * 100, 0);
    ck_assert_int_eq(hone_cuda_slab_rows(5000, 1000), 64);
    ck_assert_int_eq(hone_cuda_slab_rows(5000, 500), 192);
    ck_assert_int_eq(hone_cuda_slab_rows(150, 500), 150);
    ck_assert_int_eq(hone_cuda_slab_rows(5000, 100000), 64);
    ck_assert_int_eq(hone_cuda_slab_rows(10, 100000), 10);
    ck_assert_int_eq(hone_cuda_slab_rows(10, 0), 10);
}
END_TEST

/* --- errors --- */

static void small_gemm(const hone_kernels *k, float *y) {
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    k->gemm(y, x, x, 2, 2, 3, false, true, 3, 3, 2, 1, 0);
}

START_TEST(failure_is_kept_with_its_shape) {
    const hone_kernels *k = hone_kernels_emulated();
    fake_cublaslt *state = fake_cublaslt_state();
    float y[4] = {0};
    if (_i == 1) small_gemm(k, y); /* then it is the product that fails, not the choice */
    state->to_return = CUBLAS_STATUS_EXECUTION_FAILED;
    small_gemm(k, y);
    small_gemm(k, y);
    ck_fails(hone_cuda_products_status(), HONE_ERR_UNSUPPORTED, "CUBLAS_STATUS_EXECUTION_FAILED");
    ck_fails(hone_cuda_products_status(), HONE_ERR_UNSUPPORTED,
             "f32 of [2,3] and [3,2], b transposed, with strides 3, 3, 2");
    ck_assert_ptr_nonnull(
        strstr(hone_fail_message(), _i == 1 ? "cublasLtMatmul" : "no algorithm of cuBLASLt"));
    ck_assert(y[0] == 14 && y[1] == 32 && y[3] == 77); /* later ones are made all the same */
    hone_cuda_products_close();
    ck_assert_int_eq(state->live, 0);
    hone_cublaslt library = fake_cublaslt_functions();
    ck_ok(hone_cuda_products_open(&library));
    ck_ok(hone_cuda_products_status());
    hone_cuda_products_close();
}
END_TEST

START_TEST(failed_allocation_is_kept_and_leaks_nothing) {
    const hone_kernels *k = hone_kernels_emulated();
    float y[4];
    hone_alloc_fail_at(_i);
    small_gemm(k, y);
    hone_alloc_fail_at(0);
    ck_fails(hone_cuda_products_status(), _i == 1 ? HONE_ERR_MEMORY : HONE_ERR_UNSUPPORTED, "");
    hone_cuda_products_close();
    ck_assert_int_eq(fake_cublaslt_state()->live, 0);
}
END_TEST

START_TEST(open_without_a_gpu_says_so) {
    hone_cublaslt library = fake_cublaslt_functions();
    fake_cublaslt_state()->to_return = CUBLAS_STATUS_NOT_INITIALIZED;
    ck_fails(hone_cuda_products_open(&library), HONE_ERR_UNSUPPORTED,
             "cuBLASLt does not start: CUBLAS_STATUS_NOT_INITIALIZED");
    hone_cuda_products_close();
    ck_assert_int_eq(fake_cublaslt_state()->live, 0);
}
END_TEST

START_TEST(load_missing_library_says_what_to_install) {
    hone_cublaslt library;
    ck_fails(hone_cublaslt_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "cannot load cuBLASLt");
    ck_fails(hone_cublaslt_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "install the cuBLAS of CUDA 13");
    ck_fails(hone_cublaslt_load(&library, "libm.so.6"), HONE_ERR_UNSUPPORTED,
             "lacks cublasLtGetVersion");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_products");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, products_repeated_create_nothing, 0, DTYPES);
    tcase_add_test(values, plans_unused_for_longest_are_let_go);
    tcase_add_test(values, gemm_any_alignment_gives_the_same);
    tcase_add_test(values, gemm_without_terms_scales_the_output);
    tcase_add_test(values, passes_without_anything_leave_what_beta_says);
    tcase_add_loop_test(values, weight_at_any_address_gives_the_same, 0, 12);
    tcase_add_loop_test(values, factors_are_rounded_where_that_is_said, 0, 2);
    tcase_add_test(values, fp8_scales_are_those_of_the_call);
    tcase_add_test(values, slab_holds_whole_blocks);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, failure_is_kept_with_its_shape, 0, 2);
    tcase_add_loop_test(errors, failed_allocation_is_kept_and_leaks_nothing, 1, 8);
    tcase_add_test(errors, open_without_a_gpu_says_so);
    tcase_add_test(errors, load_missing_library_says_what_to_install);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
