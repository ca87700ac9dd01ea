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
    for (int i = 0; i < 64; i++) ck_assert_int_eq(((char *)room->base)[64 + bytes + (size_t)i], 0x5a);
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

int main(void) {
    Suite *suite = suite_create("cuda_attention");
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, cudnn_matches_reference, 0, CASES);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
