/* Attention by cuDNN, on the fake: against the reference, what the fake refuses, and what hone asks of it. */
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_graphs.h"
#include "kernels/cuda/products.h"
#include "tests/cuda/fake_cudnn.h"
#include "tests/kernel_support.h"

/* Documents packed one after the other, the first token at `lead`. */
typedef struct attention_case {
    int64_t heads, kv_heads, head_size;
    int32_t lead;
    int32_t lengths[20]; /* until 0 */
    int64_t window;
} attention_case;

static const attention_case cases[] = {
    {1, 1, 8, 0, {1}, 0},
    {1, 1, 8, 0, {5, 1, 3}, 0},
    {2, 1, 16, 3, {16, 17, 15}, 0},
    {4, 2, 8, 0, {127, 128, 129, 1}, 0},
    {8, 4, 8, 0, {130, 2, 31}, 0},
    {3, 1, 80, 1, {100, 33}, 0},
    {9, 3, 64, 0, {157, 70, 129}, 0},
    {2, 2, 64, 0, {300}, 0},
    {14, 2, 64, 0, {120}, 0},
    {4, 4, 96, 0, {97, 20}, 0},
    {2, 1, 256, 0, {70, 1}, 0},
    /* more documents than a call takes */
    {2, 1, 8, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 0},
    /* windows of one key, odd, beside tiles, as long as the document and longer */
    {2, 1, 16, 3, {16, 17, 15}, 1},
    {1, 1, 8, 0, {5, 1, 33, 40}, 7},
    {4, 2, 8, 0, {200, 127, 129}, 127},
    {4, 2, 8, 0, {200, 2, 130}, 129},
    {2, 2, 64, 0, {150, 20}, 150},
    {2, 2, 64, 0, {150, 20}, 1000},
};
enum { CASES = sizeof cases / sizeof cases[0] };

typedef struct problem {
    hone_segment segments[20];
    hone_attention_shape shape;
    int64_t q_size, kv_size, lse_size;
    float *q, *k, *v, *do_, *o, *lse, *dq, *dk, *dv;
} problem;

static hone_attention_shape shape_of(const attention_case *c) {
    return (hone_attention_shape){.heads = c->heads,
                                  .kv_heads = c->kv_heads,
                                  .head_size = c->head_size,
                                  .scale = 1.0 / sqrt((double)c->head_size),
                                  .window = c->window};
}

static float *rounded_new(int64_t n, uint32_t seed, float factor) {
    float *x = floats_new(n, seed);
    for (int64_t i = 0; i < n; i++) x[i] = hone_bf16_to_f32(hone_bf16_from_f32(x[i] * factor));
    return x;
}

static problem problem_new(const attention_case *c) {
    problem p = {.shape = shape_of(c)};
    int32_t at = c->lead;
    for (int i = 0; i < 20 && c->lengths[i]; i++) {
        p.segments[i] = (hone_segment){at, c->lengths[i], at, c->lengths[i]};
        at += c->lengths[i];
        if (c->lengths[i] > p.shape.longest) p.shape.longest = c->lengths[i];
        p.shape.segments++;
    }
    p.shape.tokens = at;
    p.q_size = at * c->heads * c->head_size;
    p.kv_size = at * c->kv_heads * c->head_size;
    p.lse_size = at * c->heads;
    p.q = rounded_new(p.q_size, 1, 4.0f); /* so that softmax is not flat */
    p.k = rounded_new(p.kv_size, 2, 1.0f);
    p.v = rounded_new(p.kv_size, 3, 1.0f);
    p.do_ = rounded_new(p.q_size, 4, 1.0f);
    p.o = floats_new(p.q_size, 5);
    p.lse = floats_new(p.lse_size, 6);
    p.dq = floats_new(p.q_size, 7);
    p.dk = floats_new(p.kv_size, 8);
    p.dv = floats_new(p.kv_size, 9);
    return p;
}

static void problem_free(problem *p) {
    float *all[] = {p->q, p->k, p->v, p->do_, p->o, p->lse, p->dq, p->dk, p->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) hone_free(all[i]);
}

static void run_ref(problem *p) {
    const hone_kernels *ref = hone_kernels_ref();
    int64_t longest = p->shape.longest;
    hone_buffer workspace =
        workspace_new(ref->attention_workspace(p->shape, longest, longest, true) +
                      ref->attention_workspace(p->shape, longest, longest, false));
    ref->attention_fwd(p->o, p->lse, p->q, p->k, p->v, p->segments, p->shape, workspace.base);
    ref->attention_bwd(p->dq, p->dk, p->dv, p->do_, p->q, p->k, p->v, p->o, p->lse, p->segments,
                       p->shape, workspace.base);
    hone_buffer_free(&workspace);
}

/* A workspace between two guards. */
static hone_buffer guarded_new(size_t bytes) {
    hone_buffer room = workspace_new(bytes + 128);
    memset(room.base, 0x5a, bytes + 128);
    return room;
}

static void guarded_free(hone_buffer *room, size_t bytes) {
    for (int i = 0; i < 64; i++) ck_assert_int_eq(((char *)room->base)[i], 0x5a);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(((char *)room->base)[64 + bytes + (size_t)i], 0x5a);
    hone_buffer_free(room);
}

static void run_cudnn(problem *p) {
    int64_t longest = p->shape.longest;
    ck_assert_msg(hone_attention_cudnn_serves(p->shape), "%s", hone_attention_cudnn_reason());
    size_t bytes = hone_attention_workspace_cudnn(p->shape, longest, longest, false);
    hone_buffer room = guarded_new(bytes);
    hone_attention_fwd_cudnn(p->o, p->lse, p->q, p->k, p->v, p->segments, p->shape,
                             (char *)room.base + 64);
    guarded_free(&room, bytes);
    bytes = hone_attention_workspace_cudnn(p->shape, longest, longest, true);
    room = guarded_new(bytes);
    hone_attention_bwd_cudnn(p->dq, p->dk, p->dv, p->do_, p->q, p->k, p->v, p->o, p->lse,
                             p->segments, p->shape, (char *)room.base + 64);
    guarded_free(&room, bytes);
    ck_ok(hone_emulated_status());
}

static void open_device(void) {
    (void)hone_kernels_emulated();
}

/* Inputs are numbers of bf16 already; probabilities and outputs are rounded to it. */
START_TEST(cudnn_matches_reference) {
    problem expected = problem_new(&cases[_i]), found = problem_new(&cases[_i]);
    open_device();
    run_ref(&expected);
    run_cudnn(&found);
    expect_close(found.lse, expected.lse, found.lse_size, 1e-5, 1.0, "lse");
    expect_close(found.o, expected.o, found.q_size, 1e-2, 1.0, "o");
    expect_close(found.dq, expected.dq, found.q_size, 4e-2, 1.0, "dq");
    expect_close(found.dk, expected.dk, found.kv_size, 4e-2, 1.0, "dk");
    expect_close(found.dv, expected.dv, found.kv_size, 4e-2, 1.0, "dv");
    problem_free(&found);
    problem_free(&expected);
}
END_TEST

/* --- What hone asks of the library --- */

static const attention_case grouped = {4, 2, 8, 1, {40, 3, 20}, 9};

START_TEST(cudnn_repeated_creates_no_plan_and_gives_same_bits) {
    problem first = problem_new(&grouped), second = problem_new(&grouped);
    open_device();
    run_cudnn(&first);
    int64_t plans = fake_cudnn_state()->plans;
    int64_t live = fake_cudnn_state()->live;
    run_cudnn(&second);
    ck_assert_int_eq(fake_cudnn_state()->plans, plans);
    ck_assert_int_eq(fake_cudnn_state()->live, live);
    ck_assert_mem_eq(first.o, second.o, (size_t)first.q_size * 4);
    ck_assert_mem_eq(first.dq, second.dq, (size_t)first.q_size * 4);
    ck_assert_mem_eq(first.dk, second.dk, (size_t)first.kv_size * 4);
    problem_free(&first);
    problem_free(&second);
}
END_TEST

/* Any number of calls that documents and heads are cut into gives the same. */
START_TEST(cudnn_in_any_number_of_calls_gives_the_same) {
    problem whole = problem_new(&grouped), parts = problem_new(&grouped);
    open_device();
    (void)hone_attention_cudnn_open();
    hone_attention_cudnn_size((size_t)1 << 30);
    run_cudnn(&whole);
    int64_t once = fake_cudnn_state()->runs;
    static const struct {
        size_t bytes;
        int calls;
    } sizes[] = {{0, 6}, {(size_t)1 << 18, 4}, {(size_t)3 << 18, 2}};
    hone_attention_cudnn_size(sizes[_i].bytes);
    run_cudnn(&parts);
    ck_assert_int_eq(once, 2);
    ck_assert_int_eq(fake_cudnn_state()->runs, once + 1 + sizes[_i].calls);
    ck_assert_mem_eq(whole.o, parts.o, (size_t)whole.q_size * 4);
    ck_assert_mem_eq(whole.dq, parts.dq, (size_t)whole.q_size * 4);
    ck_assert_mem_eq(whole.dk, parts.dk, (size_t)whole.kv_size * 4);
    ck_assert_mem_eq(whole.dv, parts.dv, (size_t)whole.kv_size * 4);
    problem_free(&whole);
    problem_free(&parts);
}
END_TEST

START_TEST(cudnn_without_lse_gives_the_same) {
    problem p = problem_new(&grouped);
    open_device();
    run_cudnn(&p);
    float *o = floats_copy(p.o, p.q_size);
    size_t bytes = hone_attention_workspace_cudnn(p.shape, 40, 40, false);
    hone_buffer room = guarded_new(bytes);
    hone_attention_fwd_cudnn(p.dq, NULL, p.q, p.k, p.v, p.segments, p.shape,
                             (char *)room.base + 64);
    guarded_free(&room, bytes);
    int64_t lead = grouped.lead * grouped.heads * grouped.head_size;
    ck_assert_mem_eq(p.dq + lead, o + lead, (size_t)(p.q_size - lead) * 4);
    hone_free(o);
    problem_free(&p);
}
END_TEST

/* A workspace that was planned for the longest documents holds that of a batch of shorter ones. */
START_TEST(workspace_grows_with_the_shape) {
    open_device();
    (void)hone_attention_cudnn_open();
    hone_attention_shape shape = shape_of(&cases[7]);
    shape.tokens = 3000;
    shape.segments = 3000;
    size_t last = 0;
    for (shape.longest = 1; shape.longest <= 3000; shape.longest += 37) {
        size_t bytes = hone_attention_workspace_cudnn(shape, shape.longest, shape.longest, true);
        ck_assert(bytes >= last);
        last = bytes;
    }
}
END_TEST

START_TEST(serves_says_why_not) {
    open_device();
    hone_attention_shape shape = shape_of(&grouped);
    shape.longest = 40;
    shape.softcap = 5;
    ck_assert(!hone_attention_cudnn_serves(shape));
    ck_assert_ptr_nonnull(strstr(hone_attention_cudnn_reason(), "cap on scores"));
    shape.softcap = 0;
    shape.head_size = 12;
    ck_assert(!hone_attention_cudnn_serves(shape));
    ck_assert_ptr_nonnull(strstr(hone_attention_cudnn_reason(), "multiple of 8"));
    shape.head_size = 16;
    fake_cudnn_state()->no_backward = true;
    ck_assert(!hone_attention_cudnn_serves(shape));
    ck_assert_ptr_nonnull(strstr(hone_attention_cudnn_reason(), "attention backward, its sums in"));
    fake_cudnn_state()->no_backward = false;
    ck_assert(!hone_attention_cudnn_serves(shape)); /* the answer is kept */
    shape.head_size = 24;
    ck_assert(hone_attention_cudnn_serves(shape));
}
END_TEST

START_TEST(serves_without_the_library_says_no) {
    open_device();
    hone_attention_shape shape = shape_of(&grouped);
    fake_cudnn_state()->missing = true;
    ck_assert(!hone_attention_cudnn_serves(shape));
    ck_assert_str_eq(hone_attention_cudnn_reason(), "cannot load cuDNN");
    hone_attention_cudnn_close();
    fake_cudnn_state()->missing = false;
    fake_cudnn_state()->to_return = CUDNN_STATUS_NOT_INITIALIZED;
    ck_assert(!hone_attention_cudnn_serves(shape));
    ck_assert_str_eq(hone_attention_cudnn_reason(),
                     "cuDNN does not start: CUDNN_STATUS_NOT_INITIALIZED");
    hone_attention_cudnn_close();
    ck_assert(hone_attention_cudnn_serves(shape));
    hone_attention_cudnn_close();
    ck_assert_int_eq(fake_cudnn_state()->live, 0);
}
END_TEST

/* More shapes than are kept. */
START_TEST(plans_are_bounded) {
    open_device();
    hone_attention_shape shape = shape_of(&grouped);
    for (shape.head_size = 8; shape.head_size <= 8 * 10; shape.head_size += 8)
        ck_assert(hone_attention_cudnn_serves(shape));
    int64_t live = fake_cudnn_state()->live;
    for (; shape.head_size <= 8 * 16; shape.head_size += 8)
        ck_assert(hone_attention_cudnn_serves(shape));
    int64_t most = fake_cudnn_state()->live;
    ck_assert(most > live);
    for (; shape.head_size <= 8 * 40; shape.head_size += 8)
        ck_assert(hone_attention_cudnn_serves(shape));
    ck_assert_int_eq(fake_cudnn_state()->live, most);
}
END_TEST

START_TEST(failure_is_kept_with_its_shape) {
    problem p = problem_new(&grouped);
    open_device();
    ck_assert(hone_attention_cudnn_serves(p.shape));
    size_t bytes = hone_attention_workspace_cudnn(p.shape, 40, 40, false);
    hone_buffer room = workspace_new(bytes);
    fake_cudnn_state()->to_return_of_run = CUDNN_STATUS_EXECUTION_FAILED;
    hone_attention_fwd_cudnn(p.o, p.lse, p.q, p.k, p.v, p.segments, p.shape, room.base);
    ck_fails(hone_cuda_products_status(), HONE_ERR_UNSUPPORTED, "CUDNN_STATUS_EXECUTION_FAILED");
    ck_fails(hone_cuda_products_status(), HONE_ERR_UNSUPPORTED, "forward of 4 heads of 8 elements");
    hone_buffer_free(&room);
    problem_free(&p);
}
END_TEST

START_TEST(failed_allocation_leaks_nothing) {
    open_device();
    hone_attention_shape shape = shape_of(&grouped);
    hone_alloc_fail_at(_i);
    bool served = hone_attention_cudnn_serves(shape);
    hone_alloc_fail_at(0);
    ck_assert(!served);
    hone_attention_cudnn_close();
    ck_assert_int_eq(fake_cudnn_state()->live, 0);
}
END_TEST

START_TEST(load_missing_library_says_what_to_install) {
    hone_cudnn library;
    ck_fails(hone_cudnn_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "cannot load cuDNN");
    ck_fails(hone_cudnn_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "install cuDNN 9");
    ck_fails(hone_cudnn_load(&library, "libm.so.6"), HONE_ERR_UNSUPPORTED, "lacks cudnnGetVersion");
}
END_TEST

/* --- What the fake refuses --- */

typedef cudnnBackendDescriptor_t descriptor;

static hone_cudnn fake;

static descriptor made(cudnnBackendDescriptorType_t type) {
    descriptor d = NULL;
    ck_assert(fake.descriptor_create(type, &d) == CUDNN_STATUS_SUCCESS);
    return d;
}

static cudnnStatus_t set_int(descriptor d, cudnnBackendAttributeName_t name, int64_t value) {
    return fake.attribute_set(d, name, CUDNN_TYPE_INT64, 1, &value);
}

/* Each does one thing that is wrong; the fake's last answer is that. */
static cudnnStatus_t unknown_kind(void) {
    descriptor d;
    return fake.descriptor_create((cudnnBackendDescriptorType_t)999, &d);
}
static cudnnStatus_t unknown_attribute(void) {
    return set_int(made(CUDNN_BACKEND_TENSOR_DESCRIPTOR), CUDNN_ATTR_POINTWISE_AXIS, 2);
}
static cudnnStatus_t wrong_type(void) {
    int32_t uid = 1;
    return fake.attribute_set(made(CUDNN_BACKEND_TENSOR_DESCRIPTOR), CUDNN_ATTR_TENSOR_UNIQUE_ID,
                              CUDNN_TYPE_DATA_TYPE, 1, &uid);
}
static cudnnStatus_t wrong_count(void) {
    int64_t dims[3] = {1, 2, 3};
    return fake.attribute_set(made(CUDNN_BACKEND_TENSOR_DESCRIPTOR), CUDNN_ATTR_TENSOR_DIMENSIONS,
                              CUDNN_TYPE_INT64, 3, dims);
}
static cudnnStatus_t no_elements(void) {
    return fake.attribute_set(made(CUDNN_BACKEND_TENSOR_DESCRIPTOR), CUDNN_ATTR_TENSOR_UNIQUE_ID,
                              CUDNN_TYPE_INT64, 1, NULL);
}
static cudnnStatus_t set_twice(void) {
    descriptor d = made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    (void)set_int(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1);
    return set_int(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1);
}
static cudnnStatus_t missing_attribute(void) {
    descriptor d = made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    (void)set_int(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1);
    return fake.descriptor_finalize(d);
}
static descriptor finished_product(void) {
    descriptor d = made(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    ck_assert(fake.attribute_set(d, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) ==
              CUDNN_STATUS_SUCCESS);
    ck_assert(fake.descriptor_finalize(d) == CUDNN_STATUS_SUCCESS);
    return d;
}
static cudnnStatus_t set_after_finalising(void) {
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    return fake.attribute_set(finished_product(), CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
                              1, &type);
}
static cudnnStatus_t finalised_twice(void) {
    return fake.descriptor_finalize(finished_product());
}
static cudnnStatus_t refers_to_unfinished(void) {
    descriptor d = made(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    return fake.attribute_set(made(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR),
                              CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                              &d);
}
static cudnnStatus_t refers_to_another_kind(void) {
    descriptor d = finished_product();
    return fake.attribute_set(made(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR),
                              CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                              &d);
}
static cudnnStatus_t refers_to_destroyed(void) {
    descriptor d = finished_product();
    (void)fake.descriptor_destroy(d);
    return fake.attribute_set(made(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR),
                              CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                              &d);
}
static cudnnStatus_t destroyed_twice(void) {
    descriptor d = finished_product();
    (void)fake.descriptor_destroy(d);
    return fake.descriptor_destroy(d);
}
static cudnnStatus_t asked_before_finalising(void) {
    int64_t count, bytes;
    return fake.attribute_get(made(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR),
                              CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                              &bytes);
}
static cudnnStatus_t no_handle(void) {
    cudnnHandle_t none = NULL;
    return fake.attribute_set(made(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
                              CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &none);
}

/* Whole graphs: a product and what is wrong beside it. */
static hone_cudnn_graph graph;

static hone_cudnn_tensor at(cudnnDataType_t type, hone_cudnn_shape shape, int64_t uid,
                            int64_t alignment) {
    return hone_cudnn_tensor_at(&graph, type, shape,
                                (hone_cudnn_place){.uid = uid, .alignment = alignment});
}
static hone_cudnn_tensor matrix(int64_t uid, int64_t rows, int64_t columns) {
    return at(CUDNN_DATA_FLOAT, hone_cudnn_dense(1, 1, rows, columns), uid, 4);
}
static cudnnStatus_t size_of_none(void) {
    (void)matrix(1, 0, 2);
    return graph.status;
}
static cudnnStatus_t lacking_alignment(void) {
    (void)at(CUDNN_DATA_INT64, hone_cudnn_dense(1, 1, 2, 2), 1, 4);
    return graph.status;
}
static cudnnStatus_t virtual_by_value(void) {
    (void)hone_cudnn_tensor_at(&graph, CUDNN_DATA_FLOAT, hone_cudnn_dense(1, 1, 1, 1),
                               (hone_cudnn_place){.by_value = true});
    return graph.status;
}
static cudnnStatus_t too_few_offsets(void) {
    hone_cudnn_tensor offsets = at(CUDNN_DATA_INT64, hone_cudnn_dense(2, 1, 1, 1), 1, 8);
    (void)hone_cudnn_tensor_at(&graph, CUDNN_DATA_FLOAT, hone_cudnn_dense(2, 1, 1, 1),
                               (hone_cudnn_place){.uid = 2, .alignment = 4, .ragged = &offsets});
    return graph.status;
}
static cudnnStatus_t product_that_does_not_fit(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), b = matrix(2, 4, 5), y = matrix(3, 2, 5);
    hone_cudnn_product(&graph, &y, &a, &b, (hone_cudnn_lengths){0});
    return graph.status;
}
static cudnnStatus_t lengths_that_are_floats(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), b = matrix(2, 3, 5), y = matrix(3, 2, 5);
    hone_cudnn_tensor length = matrix(4, 1, 1);
    hone_cudnn_product(&graph, &y, &a, &b, (hone_cudnn_lengths){.m = &length});
    return graph.status;
}
static cudnnStatus_t too_many_operands(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3);
    (void)hone_cudnn_pointwise(&graph, CUDNN_POINTWISE_EXP, &a, &a, NULL);
    return graph.status;
}
static cudnnStatus_t choice_that_is_a_float(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3);
    (void)hone_cudnn_pointwise(&graph, CUDNN_POINTWISE_BINARY_SELECT, &a, &a, &a);
    return graph.status;
}
static cudnnStatus_t truth_that_is_a_float(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(2, 2, 3);
    hone_cudnn_pointwise_into(&graph, &y, CUDNN_POINTWISE_CMP_LT, &a, &a, NULL);
    return graph.status;
}
static cudnnStatus_t elements_that_do_not_fit(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), b = matrix(2, 2, 2);
    (void)hone_cudnn_pointwise(&graph, CUDNN_POINTWISE_ADD, &a, &b, NULL);
    return graph.status;
}
static cudnnStatus_t reduction_to_more(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(2, 2, 4);
    hone_cudnn_reduce(&graph, &y, CUDNN_REDUCE_TENSOR_ADD, &a);
    return graph.status;
}
static cudnnStatus_t reshape_that_turns_nothing(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(2, 3, 2);
    hone_cudnn_reshape(&graph, &y, &a);
    return graph.status;
}
static cudnnStatus_t plan_of_it(void) {
    hone_cudnn_plan plan;
    hone_status status = hone_cudnn_plan_make(&plan, &graph, "a test");
    ck_assert_int_eq(status, HONE_ERR_UNSUPPORTED);
    return graph.status;
}
static cudnnStatus_t read_before_written(void) {
    hone_cudnn_tensor a = hone_cudnn_inner(&graph, CUDNN_DATA_FLOAT, hone_cudnn_dense(1, 1, 2, 2));
    (void)hone_cudnn_pointwise(&graph, CUDNN_POINTWISE_EXP, &a, NULL, NULL);
    return plan_of_it();
}
static cudnnStatus_t written_twice(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(2, 2, 3);
    hone_cudnn_pointwise_into(&graph, &y, CUDNN_POINTWISE_EXP, &a, NULL, NULL);
    hone_cudnn_pointwise_into(&graph, &y, CUDNN_POINTWISE_LOG, &a, NULL, NULL);
    return plan_of_it();
}
static cudnnStatus_t one_uid_for_two(void) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(1, 2, 3);
    hone_cudnn_pointwise_into(&graph, &y, CUDNN_POINTWISE_EXP, &a, NULL, NULL);
    return plan_of_it();
}

/* Runs y = exp(a), with one thing wrong. */
typedef struct run {
    int64_t uids[3], count;
    void *addresses[3], *workspace;
    cudnnHandle_t handle;
} run;

static _Alignas(16) float a_room[8], y_room[8], workspace_room[2048];

static cudnnStatus_t run_with(void (*spoil)(run *r)) {
    hone_cudnn_tensor a = matrix(1, 2, 3), y = matrix(2, 2, 3);
    hone_cudnn_plan plan;
    hone_cudnn_pointwise_into(&graph, &y, CUDNN_POINTWISE_EXP, &a, NULL, NULL);
    ck_ok(hone_cudnn_plan_make(&plan, &graph, "a test"));
    run r = {{1, 2, 3}, 2, {a_room, y_room, a_room}, workspace_room, graph.target.handle};
    spoil(&r);
    hone_cudnn_target target = {.library = &fake, .handle = r.handle};
    return hone_cudnn_run(&target, &plan, r.uids, r.addresses, r.count, r.workspace);
}
static void nothing(run *r) {
    (void)r;
}
static void one_missing(run *r) {
    r->count = 1;
}
static void one_too_many(run *r) {
    r->count = 3;
}
static void null_address(run *r) {
    r->addresses[1] = NULL;
}
static void address_off(run *r) {
    r->addresses[0] = (char *)r->addresses[0] + 2;
}
static void without_workspace(run *r) {
    r->workspace = NULL;
}
static void another_handle(run *r) {
    ck_assert(fake.create(&r->handle) == CUDNN_STATUS_SUCCESS);
}
static cudnnStatus_t run_missing(void) {
    return run_with(one_missing);
}
static cudnnStatus_t run_too_many(void) {
    return run_with(one_too_many);
}
static cudnnStatus_t run_null(void) {
    return run_with(null_address);
}
static cudnnStatus_t run_off(void) {
    return run_with(address_off);
}
static cudnnStatus_t run_without_workspace(void) {
    return run_with(without_workspace);
}
static cudnnStatus_t run_of_another_handle(void) {
    return run_with(another_handle);
}

static const struct {
    cudnnStatus_t (*make)(void);
    const char *complaint;
} mistakes[] = {
    {unknown_kind, "no descriptor of kind"},
    {unknown_attribute, "has no attribute"},
    {wrong_type, "is of type"},
    {wrong_count, "with 3 elements"},
    {no_elements, "with 1 elements"},
    {set_twice, "set twice"},
    {missing_attribute, "lacks attribute"},
    {set_after_finalising, "set after finalising"},
    {finalised_twice, "nothing to finalise"},
    {refers_to_unfinished, "refers to no finalised"},
    {refers_to_another_kind, "refers to no finalised"},
    {refers_to_destroyed, "refers to no finalised"},
    {destroyed_twice, "what is destroyed is none"},
    {asked_before_finalising, "no finalised descriptor"},
    {no_handle, "no handle"},
    {size_of_none, "below 1"},
    {lacking_alignment, "which its elements lack"},
    {virtual_by_value, "both virtual and by value"},
    {too_few_offsets, "2 offsets for a batch of 2"},
    {product_that_does_not_fit, "product of sizes"},
    {lengths_that_are_floats, "lengths that do not fit"},
    {too_many_operands, "too many operands"},
    {choice_that_is_a_float, "no truth value"},
    {truth_that_is_a_float, "gives elements of type"},
    {elements_that_do_not_fit, "on sizes that do not fit"},
    {reduction_to_more, "reduction to sizes"},
    {reshape_that_turns_nothing, "turns no matrix"},
    {read_before_written, "that nothing wrote"},
    {written_twice, "written twice"},
    {one_uid_for_two, "two tensors of one uid"},
    {run_missing, "tensor 2 has no address"},
    {run_too_many, "3 addresses for 2 tensors"},
    {run_null, "tensor 2 has no address"},
    {run_off, "not aligned to 4 bytes"},
    {run_without_workspace, "no workspace"},
    {run_of_another_handle, "for another handle"},
};
enum { MISTAKES = sizeof mistakes / sizeof mistakes[0] };

static void start_fake(void) {
    fake = fake_cudnn_functions();
    graph = (hone_cudnn_graph){.target = {.library = &fake}};
    ck_assert(fake.create(&graph.target.handle) == CUDNN_STATUS_SUCCESS);
}

START_TEST(fake_refuses_mistake) {
    start_fake();
    ck_assert(mistakes[_i].make() != CUDNN_STATUS_SUCCESS);
    const char *complaint = fake_cudnn_state()->complaint;
    ck_assert_msg(strstr(complaint, mistakes[_i].complaint), "%s", complaint);
}
END_TEST

START_TEST(fake_makes_what_is_right) {
    start_fake();
    float expected[6];
    for (int i = 0; i < 6; i++) a_room[i] = (float)i;
    for (int i = 0; i < 6; i++) expected[i] = expf((float)i);
    ck_assert(run_with(nothing) == CUDNN_STATUS_SUCCESS);
    expect_close(y_room, expected, 6, 1e-6, 1.0, "y");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_attention");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, cudnn_matches_reference, 0, CASES);
    tcase_add_test(values, cudnn_repeated_creates_no_plan_and_gives_same_bits);
    tcase_add_loop_test(values, cudnn_in_any_number_of_calls_gives_the_same, 0, 3);
    tcase_add_test(values, cudnn_without_lse_gives_the_same);
    tcase_add_test(values, workspace_grows_with_the_shape);
    tcase_add_test(values, fake_makes_what_is_right);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, fake_refuses_mistake, 0, MISTAKES);
    tcase_add_test(errors, serves_says_why_not);
    tcase_add_test(errors, serves_without_the_library_says_no);
    tcase_add_test(errors, plans_are_bounded);
    tcase_add_test(errors, failure_is_kept_with_its_shape);
    tcase_add_loop_test(errors, failed_allocation_leaks_nothing, 1, 30);
    tcase_add_test(errors, load_missing_library_says_what_to_install);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
