/* The fake of cuBLASLt: what it multiplies, and what it refuses. */
#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/support.h"

enum { M = 4, N = 3, K = 5, A_STRIDE = 6, BYTES = 1024, ALIGNED = 16 };

/* D = A B + C in place, with everything as it should be: A [M,K], B [K,N] and C [M,N] by columns. */
typedef struct call {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a_layout, b_layout, c_layout, d_layout;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t results[2];
    const cublasLtMatmulAlgo_t *algo;
    int requested;
    char *a, *b, *c, *d, *workspace;
    size_t bytes;
    const float *alpha, *beta;
} call;

static _Alignas(256) float a_room[64], b_room[64], c_room[256], d_room[64];
static _Alignas(256) char workspace_room[2 * BYTES];
static hone_cublaslt fake;

static cublasLtMatrixLayout_t layout_of(cudaDataType_t type, uint64_t rows, uint64_t columns,
                                        int64_t stride) {
    cublasLtMatrixLayout_t layout = NULL;
    ck_assert(fake.layout_create(&layout, type, rows, columns, stride) == CUBLAS_STATUS_SUCCESS);
    return layout;
}

static void set_alignment(call *c, uint32_t least) {
    for (int i = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
         i <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; i++)
        ck_assert(fake.preference_set(c->preference, (cublasLtMatmulPreferenceAttributes_t)i,
                                      &least, sizeof least) == CUBLAS_STATUS_SUCCESS);
}

static void set_operation(call *c, cublasLtMatmulDescAttributes_t attribute, int32_t value) {
    ck_assert(fake.desc_set(c->desc, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
}

static void set_types(call *c, cublasComputeType_t compute, cudaDataType_t scale) {
    fake.desc_destroy(c->desc);
    ck_assert(fake.desc_create(&c->desc, compute, scale) == CUBLAS_STATUS_SUCCESS);
}

static call call_new(void) {
    static const float one = 1.0f;
    fake = fake_cublaslt_functions();
    call c = {.requested = 2, .bytes = BYTES, .alpha = &one, .beta = &one};
    ck_assert(fake.create(&c.handle) == CUBLAS_STATUS_SUCCESS);
    ck_assert(fake.desc_create(&c.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    ck_assert(fake.preference_create(&c.preference) == CUBLAS_STATUS_SUCCESS);
    uint64_t bytes = BYTES;
    ck_assert(fake.preference_set(c.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                  sizeof bytes) == CUBLAS_STATUS_SUCCESS);
    set_alignment(&c, ALIGNED);
    c.a_layout = layout_of(CUDA_R_32F, M, K, A_STRIDE);
    c.b_layout = layout_of(CUDA_R_32F, K, N, K);
    c.c_layout = c.d_layout = layout_of(CUDA_R_32F, M, N, M);
    c.a = (char *)a_room;
    c.b = (char *)b_room;
    c.c = c.d = (char *)c_room;
    c.workspace = workspace_room;
    return c;
}

static void call_free(call *c) {
    (void)fake.layout_destroy(c->a_layout);
    (void)fake.layout_destroy(c->b_layout);
    (void)fake.layout_destroy(c->c_layout);
    if (c->d_layout != c->c_layout) (void)fake.layout_destroy(c->d_layout);
    (void)fake.preference_destroy(c->preference);
    (void)fake.desc_destroy(c->desc);
    (void)fake.destroy(c->handle);
}

static cublasStatus_t choose(call *c) {
    int found = 0;
    cublasStatus_t status =
        fake.get_heuristic(c->handle, c->desc, c->a_layout, c->b_layout, c->c_layout, c->d_layout,
                           c->preference, c->requested, c->results, &found);
    if (status == CUBLAS_STATUS_SUCCESS) c->algo = &c->results[found - 1].algo;
    return status;
}

static cublasStatus_t multiply(const call *c) {
    return fake.matmul(c->handle, c->desc, c->alpha, c->a, c->a_layout, c->b, c->b_layout, c->beta,
                       c->c, c->c_layout, c->d, c->d_layout, c->algo, c->workspace, c->bytes,
                       hone_cuda_stream());
}

/* Elements (i, j) of the operands: small whole numbers. */
static float a_at(int i, int j) {
    return (float)(i + 2 * j);
}
static float b_at(int i, int j) {
    return (float)(3 * i - j);
}

static void fill_operands(void) {
    for (int j = 0; j < K; j++)
        for (int i = 0; i < M; i++) a_room[j * A_STRIDE + i] = a_at(i, j);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < K; i++) b_room[j * K + i] = b_at(i, j);
    for (int i = 0; i < M * N; i++) c_room[i] = (float)i;
}

static float expected_at(int i, int j) {
    float sum = (float)(j * M + i);
    for (int l = 0; l < K; l++) sum += a_at(i, l) * b_at(l, j);
    return sum;
}

START_TEST(fake_multiplies_by_columns) {
    call c = call_new();
    fill_operands();
    if (_i == 1) { /* out of place, with another stride */
        c.d = (char *)d_room;
        c.d_layout = layout_of(CUDA_R_32F, M, N, M + 2);
    }
    ck_assert(choose(&c) == CUBLAS_STATUS_SUCCESS);
    ck_assert_msg(multiply(&c) == CUBLAS_STATUS_SUCCESS, "%s", fake_cublaslt_state()->complaint);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < M; i++)
            ck_assert(((float *)(void *)c.d)[j * (_i == 1 ? M + 2 : M) + i] == expected_at(i, j));
    call_free(&c);
    ck_assert_int_eq(fake_cublaslt_state()->live, 0);
}
END_TEST

/* op(A) of A stored [K,M], op(B) of B stored [N,K]. */
START_TEST(fake_transposes_operands) {
    call c = call_new();
    fill_operands();
    fake.layout_destroy(c.a_layout);
    fake.layout_destroy(c.b_layout);
    c.a_layout = layout_of(CUDA_R_32F, K, M, A_STRIDE);
    c.b_layout = layout_of(CUDA_R_32F, N, K, N);
    set_operation(&c, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set_operation(&c, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
    for (int l = 0; l < K; l++) {
        for (int i = 0; i < M; i++) a_room[i * A_STRIDE + l] = a_at(i, l);
        for (int j = 0; j < N; j++) b_room[l * N + j] = b_at(l, j);
    }
    ck_assert(choose(&c) == CUBLAS_STATUS_SUCCESS);
    ck_assert(multiply(&c) == CUBLAS_STATUS_SUCCESS);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < M; i++) ck_assert(c_room[j * M + i] == expected_at(i, j));
    call_free(&c);
}
END_TEST

/* What is wrong with a call, before an algorithm is chosen or after it. */
static void short_stride(call *c) {
    c->a_layout = layout_of(CUDA_R_32F, M, K, M - 1);
}
static void other_contraction(call *c) {
    set_operation(c, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
}
static void other_output(call *c) {
    c->c_layout = c->d_layout = layout_of(CUDA_R_32F, N, M, M);
}
static void c_unlike_d(call *c) {
    c->c = (char *)d_room;
    c->c_layout = layout_of(CUDA_R_32F, M, N + 1, M);
}
static void no_rows(call *c) {
    c->a_layout = layout_of(CUDA_R_32F, 0, K, 1);
}
static void too_many_rows(call *c) {
    c->a_layout = layout_of(CUDA_R_32F, (uint64_t)1 << 31, K, (int64_t)1 << 31);
}
static void one_side_bf16(call *c) {
    c->a_layout = layout_of(CUDA_R_16BF, M, K, A_STRIDE);
}
static void bf16_output(call *c) {
    c->c_layout = c->d_layout = layout_of(CUDA_R_16BF, M, N, M);
}
static void fast_bf16(call *c) {
    set_types(c, CUBLAS_COMPUTE_32F_FAST_16BF, CUDA_R_32F);
}
static void tf32_of_bf16(call *c) {
    set_types(c, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F);
    c->a_layout = layout_of(CUDA_R_16BF, M, K, A_STRIDE);
    c->b_layout = layout_of(CUDA_R_16BF, K, N, K);
}
/* A product of 16 rows, columns and terms in fp8, as it should be. */
enum { WIDE = 16 };
static void set_fp8(call *c) {
    set_operation(c, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    c->a_layout = layout_of(CUDA_R_8F_E4M3, WIDE, WIDE, WIDE);
    c->b_layout = layout_of(CUDA_R_8F_E5M2, WIDE, WIDE, WIDE);
    c->c_layout = c->d_layout = layout_of(CUDA_R_32F, WIDE, WIDE, WIDE);
}
static void fp8_by_rows(call *c) {
    set_fp8(c);
    set_operation(c, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N);
}
static void fp8_gradients_both(call *c) {
    set_fp8(c);
    c->a_layout = layout_of(CUDA_R_8F_E5M2, WIDE, WIDE, WIDE);
}
static void fp8_of_odd_terms(call *c) {
    set_fp8(c);
    c->a_layout = layout_of(CUDA_R_8F_E4M3, WIDE - 1, WIDE, WIDE);
    c->b_layout = layout_of(CUDA_R_8F_E5M2, WIDE - 1, WIDE, WIDE);
}
static void fp8_with_odd_strides(call *c) {
    set_fp8(c);
    c->b_layout = layout_of(CUDA_R_8F_E5M2, WIDE, WIDE, WIDE + 1);
}
static void fp8_at_any_address(call *c) {
    set_fp8(c);
    set_alignment(c, 8);
}
static void set_scale(call *c, const float *scale) {
    ck_assert(fake.desc_set(c->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &scale, sizeof scale) ==
              CUBLAS_STATUS_SUCCESS);
}
static void scale_of_f32(call *c) {
    static const float one = 1;
    set_scale(c, &one);
}
static void other_compute(call *c) {
    set_types(c, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F);
}
static void double_scale(call *c) {
    set_types(c, CUBLAS_COMPUTE_32F, CUDA_R_64F);
}
static void half_an_element(call *c) {
    set_alignment(c, 2);
}
static void none_asked_for(call *c) {
    c->requested = 0;
}
static void no_handle(call *c) {
    c->handle = NULL;
}
static void handle_gone(call *c) {
    fake.destroy(c->handle);
}
static void desc_gone(call *c) {
    fake.desc_destroy(c->desc);
}
static void layout_gone(call *c) {
    fake.layout_destroy(c->b_layout);
}
static void preference_gone(call *c) {
    fake.preference_destroy(c->preference);
}
static void not_a_layout(call *c) {
    c->b_layout = (cublasLtMatrixLayout_t)(void *)c->desc;
}
static void a_off(call *c) {
    c->a += 4;
}
static void d_off(call *c) {
    c->c = c->d += 8;
}
static void b_null(call *c) {
    c->b = NULL;
}
static void small_workspace(call *c) {
    c->bytes--;
}
static void no_workspace(call *c) {
    c->workspace = NULL;
}
static void workspace_off(call *c) {
    c->workspace += 64;
}
static void workspace_on_operand(call *c) {
    c->a = c->workspace + BYTES / 2;
}
static void output_on_operand(call *c) {
    c->c = c->d = c->b + ALIGNED;
}
static void no_alpha(call *c) {
    c->alpha = NULL;
}
static void no_beta(call *c) {
    c->beta = NULL;
}
static void many_alphas(call *c) {
    set_operation(c, CUBLASLT_MATMUL_DESC_POINTER_MODE, CUBLASLT_POINTER_MODE_DEVICE_VECTOR);
}
static void other_stride(call *c) {
    c->c_layout = c->d_layout = layout_of(CUDA_R_32F, M, N, M + 1);
}
static void two_layouts(call *c) {
    c->d_layout = layout_of(CUDA_R_32F, M, N, M);
}
static void no_algorithm(call *c) {
    static const cublasLtMatmulAlgo_t zeros;
    c->algo = &zeros;
}
static void implied_algorithm(call *c) {
    c->algo = NULL;
    c->b += ALIGNED;
}

typedef struct mistake {
    void (*make)(call *c);
    bool after; /* an algorithm was chosen */
    cublasStatus_t status;
    const char *complaint;
} mistake;

static const mistake mistakes[] = {
    {short_stride, false, CUBLAS_STATUS_INVALID_VALUE, "columns of A lie 3 apart, and have 4 rows"},
    {other_contraction, false, CUBLAS_STATUS_INVALID_VALUE, "op(A) has 5 columns, op(B) 3 rows"},
    {other_output, false, CUBLAS_STATUS_INVALID_VALUE, "D is 3 x 4, the product 4 x 3"},
    {c_unlike_d, false, CUBLAS_STATUS_INVALID_VALUE, "C is 4 x 4, D 4 x 3"},
    {no_rows, false, CUBLAS_STATUS_INVALID_VALUE, "A has 0 rows"},
    {too_many_rows, false, CUBLAS_STATUS_NOT_SUPPORTED, "A has 2147483648 rows"},
    {one_side_bf16, false, CUBLAS_STATUS_NOT_SUPPORTED, "operands of types"},
    {bf16_output, false, CUBLAS_STATUS_NOT_SUPPORTED, "operands of types"},
    {fast_bf16, false, CUBLAS_STATUS_NOT_SUPPORTED, "compute type"},
    {tf32_of_bf16, false, CUBLAS_STATUS_NOT_SUPPORTED, "operands of types"},
    {fp8_by_rows, false, CUBLAS_STATUS_NOT_SUPPORTED, "fp8 with A not transposed"},
    {fp8_gradients_both, false, CUBLAS_STATUS_NOT_SUPPORTED, "operands of types 29, 29"},
    {fp8_of_odd_terms, false, CUBLAS_STATUS_NOT_SUPPORTED, "fp8 of 16 rows and 15 terms"},
    {fp8_with_odd_strides, false, CUBLAS_STATUS_NOT_SUPPORTED, "fp8 with columns 16, 17 and 16"},
    {fp8_at_any_address, false, CUBLAS_STATUS_NOT_SUPPORTED, "fp8 with A aligned to 8 bytes"},
    {scale_of_f32, false, CUBLAS_STATUS_INVALID_VALUE, "a scale of what is not fp8"},
    {other_compute, true, CUBLAS_STATUS_INVALID_VALUE, "chosen for another product"},
    {double_scale, false, CUBLAS_STATUS_NOT_SUPPORTED, "compute type"},
    {half_an_element, false, CUBLAS_STATUS_NOT_SUPPORTED, "elements of A that are not aligned"},
    {none_asked_for, false, CUBLAS_STATUS_INVALID_VALUE, "no algorithms asked for"},
    {no_handle, false, CUBLAS_STATUS_NOT_INITIALIZED, "no handle"},
    {handle_gone, false, CUBLAS_STATUS_NOT_INITIALIZED, "no handle"},
    {desc_gone, false, CUBLAS_STATUS_INVALID_VALUE, "no description"},
    {layout_gone, false, CUBLAS_STATUS_INVALID_VALUE, "no layout of B"},
    {preference_gone, false, CUBLAS_STATUS_INVALID_VALUE, "no preference"},
    {not_a_layout, false, CUBLAS_STATUS_INVALID_VALUE, "no layout of B"},
    {handle_gone, true, CUBLAS_STATUS_NOT_INITIALIZED, "no handle"},
    {desc_gone, true, CUBLAS_STATUS_INVALID_VALUE, "no description"},
    {layout_gone, true, CUBLAS_STATUS_INVALID_VALUE, "no layout of B"},
    {a_off, true, CUBLAS_STATUS_INVALID_VALUE, "A is not aligned to the 16 bytes"},
    {d_off, true, CUBLAS_STATUS_INVALID_VALUE, "C is not aligned to the 16 bytes"},
    {b_null, true, CUBLAS_STATUS_INVALID_VALUE, "B is NULL"},
    {small_workspace, true, CUBLAS_STATUS_INVALID_VALUE, "1023 bytes, where 1024 are needed"},
    {no_workspace, true, CUBLAS_STATUS_INVALID_VALUE, "0 bytes, where 1024 are needed"},
    {workspace_off, true, CUBLAS_STATUS_INVALID_VALUE, "workspace is not aligned to 256 bytes"},
    {workspace_on_operand, true, CUBLAS_STATUS_INVALID_VALUE, "the workspace overlaps A"},
    {output_on_operand, true, CUBLAS_STATUS_INVALID_VALUE, "the output overlaps an operand"},
    {no_alpha, true, CUBLAS_STATUS_INVALID_VALUE, "alpha or beta is NULL"},
    {no_beta, true, CUBLAS_STATUS_INVALID_VALUE, "alpha or beta is NULL"},
    {many_alphas, true, CUBLAS_STATUS_NOT_SUPPORTED, "pointer mode 2"},
    {other_stride, true, CUBLAS_STATUS_INVALID_VALUE, "chosen for another product"},
    {two_layouts, true, CUBLAS_STATUS_INVALID_VALUE, "in place, but with two layouts"},
    {no_algorithm, true, CUBLAS_STATUS_INVALID_VALUE, "no algorithm"},
    {implied_algorithm, true, CUBLAS_STATUS_INVALID_VALUE, "B is not aligned to the 256 bytes"},
};
enum { MISTAKES = sizeof mistakes / sizeof mistakes[0] };

START_TEST(fake_refuses_mistake) {
    const mistake *m = &mistakes[_i];
    call c = call_new();
    if (!m->after) m->make(&c);
    cublasStatus_t status = choose(&c);
    if (m->after) {
        ck_assert(status == CUBLAS_STATUS_SUCCESS);
        m->make(&c);
        status = multiply(&c);
    }
    const char *complaint = fake_cublaslt_state()->complaint;
    ck_assert_msg(status == m->status, "status %d: %s", (int)status, complaint);
    ck_assert_msg(strstr(complaint, m->complaint) != NULL, "%s", complaint);
    ck_assert_int_eq(fake_cublaslt_state()->matmuls, 0);
}
END_TEST

/* As the real one, which finds an algorithm for them, and then refuses the product. */
START_TEST(fake_refuses_scales_of_fp8_that_are_not_aligned) {
    static _Alignas(16) const float scales[5] = {1, 1, 1, 1, 1};
    for (int i = 0; i < 5; i++) {
        call c = call_new();
        set_fp8(&c);
        set_scale(&c, &scales[i]);
        ck_assert(choose(&c) == CUBLAS_STATUS_SUCCESS);
        ck_assert(multiply(&c) ==
                  (i % 4 == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED));
    }
    ck_assert_ptr_nonnull(strstr(fake_cublaslt_state()->complaint, "the scale of A"));
}
END_TEST

START_TEST(fake_refuses_attributes_of_wrong_size) {
    call c = call_new();
    int64_t wide = CUBLAS_OP_T;
    uint32_t narrow = 256;
    int32_t op = CUBLAS_OP_C + 1;
    cublasLtMatmulDescAttributes_t trans = CUBLASLT_MATMUL_DESC_TRANSA;
    ck_assert(fake.desc_set(c.desc, trans, &wide, sizeof wide) == CUBLAS_STATUS_INVALID_VALUE);
    ck_assert(fake.desc_set(c.desc, trans, NULL, sizeof op) == CUBLAS_STATUS_INVALID_VALUE);
    ck_assert(fake.desc_set(c.desc, trans, &op, sizeof op) == CUBLAS_STATUS_INVALID_VALUE);
    ck_assert(fake.preference_set(c.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &narrow,
                                  sizeof narrow) == CUBLAS_STATUS_INVALID_VALUE);
    call_free(&c);
}
END_TEST

START_TEST(fake_counts_what_is_not_destroyed) {
    call c = call_new();
    ck_assert_int_eq(fake_cublaslt_state()->live, 6);
    ck_assert(fake.layout_destroy(c.a_layout) == CUBLAS_STATUS_SUCCESS);
    ck_assert(fake.layout_destroy(c.a_layout) == CUBLAS_STATUS_INVALID_VALUE);
    ck_assert_int_eq(fake_cublaslt_state()->live, 5);
    call_free(&c);
    ck_assert_int_eq(fake_cublaslt_state()->live, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_cublaslt");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, fake_multiplies_by_columns, 0, 2);
    tcase_add_test(values, fake_transposes_operands);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, fake_refuses_mistake, 0, MISTAKES);
    tcase_add_test(errors, fake_refuses_scales_of_fp8_that_are_not_aligned);
    tcase_add_test(errors, fake_refuses_attributes_of_wrong_size);
    tcase_add_test(errors, fake_counts_what_is_not_destroyed);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
