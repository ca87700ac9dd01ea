/* Graphs for cuDNN: what the fake of the library refuses, and how it is found. */
#include "kernels/cuda/cudnn_graph.h"
#include "tests/cuda/fake_cudnn.h"
#include "tests/kernel_support.h"

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

START_TEST(load_missing_library_says_what_to_install) {
    hone_cudnn library;
    ck_fails(hone_cudnn_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "cannot load cuDNN");
    ck_fails(hone_cudnn_load(&library, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "install cuDNN 9");
    ck_fails(hone_cudnn_load(&library, "libm.so.6"), HONE_ERR_UNSUPPORTED, "lacks cudnnGetVersion");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_cudnn");
    TCase *values = tcase_create("values");
    tcase_add_test(values, fake_makes_what_is_right);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, fake_refuses_mistake, 0, MISTAKES);
    tcase_add_test(errors, load_missing_library_says_what_to_install);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
