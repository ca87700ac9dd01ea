/* Attention by cuDNN, on the fake: against the reference, and what hone asks of the library. */
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"
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
    (void)hone_fail(HONE_ERR_USAGE, "something else");
    ck_assert(!hone_attention_cudnn_serves(shape)); /* the answer is kept */
    ck_assert_ptr_nonnull(strstr(hone_attention_cudnn_reason(), "attention backward, its sums in"));
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

START_TEST(device_closed_gives_the_library_back) {
    hone_device device;
    hone_attention_shape shape = shape_of(&grouped);
    for (int i = 0; i < 2; i++) {
        ck_ok(hone_device_open_cuda(&device, 0));
        ck_assert(hone_attention_cudnn_serves(shape));
        ck_assert_ptr_eq(fake_cudnn_state()->stream, hone_cuda_stream());
        ck_assert(fake_cudnn_state()->live > 0);
        hone_device_close(&device);
        ck_assert_int_eq(fake_cudnn_state()->live, 0);
    }
}
END_TEST

/* A shape that was not asked about, and is not served, is no fault of the program's: it says so. */
START_TEST(pass_of_a_shape_that_is_not_served_is_kept_as_failure) {
    problem p = problem_new(&grouped);
    open_device();
    fake_cudnn_state()->no_backward = true;
    hone_buffer room = workspace_new(hone_attention_workspace_cudnn(p.shape, 40, 40, true));
    hone_attention_bwd_cudnn(p.dq, p.dk, p.dv, p.do_, p.q, p.k, p.v, p.o, p.lse, p.segments,
                             p.shape, room.base);
    ck_fails(hone_cuda_products_status(), HONE_ERR_UNSUPPORTED, "no kernel for attention backward");
    hone_buffer_free(&room);
    problem_free(&p);
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

int main(void) {
    Suite *suite = suite_create("cuda_attention");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, cudnn_matches_reference, 0, CASES);
    tcase_add_test(values, cudnn_repeated_creates_no_plan_and_gives_same_bits);
    tcase_add_loop_test(values, cudnn_in_any_number_of_calls_gives_the_same, 0, 3);
    tcase_add_test(values, cudnn_without_lse_gives_the_same);
    tcase_add_test(values, workspace_grows_with_the_shape);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, serves_says_why_not);
    tcase_add_test(errors, serves_without_the_library_says_no);
    tcase_add_test(errors, device_closed_gives_the_library_back);
    tcase_add_test(errors, pass_of_a_shape_that_is_not_served_is_kept_as_failure);
    tcase_add_test(errors, plans_are_bounded);
    tcase_add_test(errors, failure_is_kept_with_its_shape);
    tcase_add_loop_test(errors, failed_allocation_leaks_nothing, 1, 30);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
