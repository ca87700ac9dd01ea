/* Products on a GPU: what the fake of cuBLASLt refuses, and what hone asks of it. */
#include "base/alloc.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/product_support.h"

/* --- the fake --- */

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

static _Alignas(256) float a_room[64], b_room[64], c_room[64], d_room[64];
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
static void scale_of_f32(call *c) {
    static const float one = 1, *scale = &one;
    ck_assert(fake.desc_set(c->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &scale, sizeof scale) ==
              CUBLAS_STATUS_SUCCESS);
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

/* --- hone's products --- */

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
    tcase_add_loop_test(values, fake_multiplies_by_columns, 0, 2);
    tcase_add_test(values, fake_transposes_operands);
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
    tcase_add_loop_test(errors, fake_refuses_mistake, 0, MISTAKES);
    tcase_add_test(errors, fake_refuses_attributes_of_wrong_size);
    tcase_add_test(errors, fake_counts_what_is_not_destroyed);
    tcase_add_loop_test(errors, failure_is_kept_with_its_shape, 0, 2);
    tcase_add_loop_test(errors, failed_allocation_is_kept_and_leaks_nothing, 1, 8);
    tcase_add_test(errors, open_without_a_gpu_says_so);
    tcase_add_test(errors, load_missing_library_says_what_to_install);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
