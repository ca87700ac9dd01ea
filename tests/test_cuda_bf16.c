/* Layers in bf16 of rows that lie rounded, with LoRA's factors in the product: as plain loops have it, and bit for bit alike
 * wherever the weight is cut into slabs. */
#include "base/alloc.h"
#include "kernels/cuda/products.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/cuda/oracle_bf16.h"
#include "tests/product_support.h"

typedef struct layer_case {
    int64_t tokens, in, out, rank;
    hone_dtype type;
    bool biased;
    float beta;
    size_t slab; /* bytes of one at most; 0: as it is */
} layer_case;

static const layer_case cases[] = {
    {9, 64, 144, 3, HONE_F32, false, 0, 0},   {9, 64, 144, 8, HONE_BF16, true, 1, 0},
    {5, 32, 96, 16, HONE_F16, true, 0, 0},    {1, 8, 8, 1, HONE_F32, false, 1, 0},
    {7, 17, 31, 5, HONE_F32, true, 1, 0},     {7, 33, 150, 9, HONE_BF16, true, 0, 1},
    {6, 256, 192, 4, HONE_Q4_K, false, 1, 1}, {6, 256, 200, 16, HONE_Q6_K, true, 0, 1},
    {4, 64, 70, 2, HONE_Q8_0, false, 1, 1},   {9, 64, 144, 0, HONE_BF16, true, 1, 0},
    {9, 64, 144, 0, HONE_F32, false, 0, 1},   {3, 256, 130, 0, HONE_Q4_K, true, 1, 1},
    {3, 19, 5, 0, HONE_BF16, false, 1, 0},    {130, 24, 40, 8, HONE_F32, true, 0, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

/* A layer with what goes into a step of it and comes out. */
typedef struct step {
    hone_bf16_linear layer;
    float *x, *dy, *y, *dx, *da, *db;
    uint16_t *x16, *dy16, *t;
    hone_buffer space;
} step;

static uint16_t *rounded_new(int64_t rows, int64_t stride) {
    uint16_t *x = hone_alloc((size_t)(rows * stride) + 1, sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (int64_t i = 0; i < rows * stride; i++) x[i] = 0x7fc0; /* NaN: what nobody has written */
    return x;
}

/* The same numbers each time. */
static step step_new(const layer_case *c, const hone_kernels *k) {
    int64_t x_stride = hone_bf16_stride(c->in, c->rank + 2); /* shared with larger factors */
    step s = {.layer = {.type = c->type,
                        .w = weights_new(c->type, c->in * c->out, 1),
                        .bias = c->biased ? floats_new(c->out, 2) : NULL,
                        .a = floats_new(c->rank * c->in, 3),
                        .b = floats_new(c->rank * c->out, 4),
                        .tokens = c->tokens,
                        .in = c->in,
                        .out = c->out,
                        .rank = c->rank,
                        .scale = 0.75,
                        .x_stride = x_stride,
                        .dy_stride = hone_bf16_stride(c->out, c->rank)},
              .x = floats_new(c->tokens * c->in, 5),
              .dy = floats_new(c->tokens * c->out, 6),
              .y = floats_new(c->tokens * c->out, 7),
              .dx = floats_new(c->tokens * c->in, 8),
              .da = floats_new(c->rank * c->in, 9),
              .db = floats_new(c->rank * c->out, 10)};
    s.x16 = rounded_new(c->tokens, x_stride);
    s.dy16 = rounded_new(c->tokens, s.layer.dy_stride);
    s.t = rounded_new(c->tokens, x_stride - c->in);
    s.space = workspace_new(k->bf16_workspace(&s.layer));
    return s;
}

static void step_free(step *s) {
    const void *all[] = {s->layer.w, s->layer.bias, s->layer.a, s->layer.b, s->x,    s->dy, s->y,
                         s->dx,      s->da,         s->db,      s->x16,     s->dy16, s->t};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) hone_free((void *)(uintptr_t)all[i]);
    hone_buffer_free(&s->space);
}

static void take(step *s, const hone_kernels *k, float beta) {
    const hone_bf16_linear *l = &s->layer;
    k->round_rows(s->x16, s->x, l->tokens, l->in, l->x_stride);
    k->bf16_fwd(s->y, l->rank ? s->t : NULL, s->x16, l, s->space.base);
    k->round_rows(s->dy16, s->dy, l->tokens, l->out, l->dy_stride);
    k->bf16_bwd(s->dx, s->da, s->db, s->dy16, s->x16, s->t, l, beta, s->space.base);
}

START_TEST(layer_is_that_of_plain_loops) {
    const layer_case *c = &cases[_i];
    const hone_kernels *k = hone_kernels_emulated(), plain = with_bf16(*hone_kernels_ref());
    if (c->slab) hone_cuda_products_sizes(c->slab, HONE_CUDA_MATMUL_BYTES);
    step found = step_new(c, k), wanted = step_new(c, &plain);
    take(&found, k, c->beta);
    take(&wanted, &plain, c->beta);
    ck_ok(hone_emulated_status());
    int64_t tokens = c->tokens, in = c->in, out = c->out, rank = c->rank;
    expect_close(found.y, wanted.y, tokens * out, 1e-6, 1.0, "y");
    expect_close(found.dx, wanted.dx, tokens * in, 1e-6, 1.0, "dx");
    expect_close(found.da, wanted.da, rank * in, 1e-6, 1.0, "da");
    expect_close(found.db, wanted.db, rank * out, 1e-6, 1.0, "db");
    hone_cuda_products_sizes(HONE_CUDA_SLAB_BYTES, HONE_CUDA_MATMUL_BYTES);
    step_free(&found);
    step_free(&wanted);
}
END_TEST

/* A bias that begins anywhere gives the same. */
START_TEST(bias_at_any_address_gives_the_same) {
    const layer_case c = {9, 64, 144, 3, HONE_F32, true, 0, 0};
    const hone_kernels *k = hone_kernels_emulated();
    step aligned = step_new(&c, k), beside = step_new(&c, k);
    float *room = floats_new(c.out + 8, 0);
    float *bias = room + (16 - (uintptr_t)room % 16) % 16 / sizeof *room;
    hone_free((void *)(uintptr_t)aligned.layer.bias);
    memcpy(bias, beside.layer.bias, (size_t)c.out * sizeof *bias);
    aligned.layer.bias = bias;
    take(&aligned, k, 0);
    memmove(bias + 1, bias, (size_t)c.out * sizeof *bias);
    hone_free((void *)(uintptr_t)beside.layer.bias);
    beside.layer.bias = bias + 1;
    take(&beside, k, 0);
    ck_ok(hone_emulated_status());
    expect_close(beside.y, aligned.y, c.tokens * c.out, 1e-6, 1.0, "y");
    aligned.layer.bias = beside.layer.bias = NULL;
    hone_free(room);
    step_free(&aligned);
    step_free(&beside);
}
END_TEST

/* Rows in bf16 are those of x, rounded, and nobody has written behind them. */
static void expect_rounded(const uint16_t *y, int64_t stride, const float *x, int64_t rows,
                           int64_t width) {
    for (int64_t i = 0; i < rows * stride; i++) {
        int64_t row = i / stride, column = i % stride;
        uint16_t wanted =
            column < width ? hone_bf16_from_f32(x[row * width + column]) : (uint16_t)0x7fc0;
        ck_assert_uint_eq(y[i], wanted);
    }
}

/* Results in bf16 are those in f32, rounded. */
START_TEST(result_in_bf16_is_the_rounded_one) {
    const layer_case *c = &cases[_i];
    const hone_kernels *k = hone_kernels_emulated();
    step s = step_new(&(layer_case){c->tokens, c->in, c->out, c->rank, c->type, false, 0, 0}, k);
    take(&s, k, 0);
    hone_bf16_linear layer = s.layer;
    layer.y_stride = hone_bf16_stride(c->out, 0) + 8;
    uint16_t *y = rounded_new(c->tokens, layer.y_stride);
    layer.dx_stride = hone_bf16_stride(c->in, 0) + 8;
    uint16_t *dx = rounded_new(c->tokens, layer.dx_stride);
    hone_buffer space = workspace_new(k->bf16_workspace(&layer));
    k->bf16_fwd(y, c->rank ? s.t : NULL, s.x16, &layer, space.base);
    k->bf16_bwd(dx, NULL, NULL, s.dy16, s.x16, s.t, &layer, 0, space.base);
    ck_ok(hone_emulated_status());
    expect_rounded(dx, layer.dx_stride, s.dx, c->tokens, c->in);
    expect_rounded(y, layer.y_stride, s.y, c->tokens, c->out);
    hone_buffer_free(&space);
    hone_free(dx);
    hone_free(y);
    step_free(&s);
}
END_TEST

/* Gate and up in bf16, rows of every alignment: as the reference computes them, rounded. */
START_TEST(gated_rows_in_bf16_are_those_of_the_reference) {
    static const int64_t widths[] = {8, 96, 7, 30}, strides[] = {8, 104, 8, 33};
    enum { ROWS = 9 };
    int64_t width = widths[_i], stride = strides[_i];
    const hone_kernels *k = hone_kernels_emulated(), plain = with_bf16(*hone_kernels_ref());
    float *x = floats_new(ROWS * width, 1), *other = floats_new(ROWS * width, 2);
    uint16_t *gate = rounded_new(ROWS, stride), *up = rounded_new(ROWS, stride);
    uint16_t *found[3], *wanted[3];
    for (int i = 0; i < 3; i++) {
        found[i] = rounded_new(ROWS, stride);
        wanted[i] = rounded_new(ROWS, stride);
    }
    oracle_round_rows(gate, x, ROWS, width, stride);
    oracle_round_rows(up, other, ROWS, width, stride);
    uint16_t *dy = gate; /* as good as any */
    for (int kind = HONE_SILU; kind <= HONE_GELU_TANH; kind++) {
        hone_activation_kind of = (hone_activation_kind)kind;
        k->gated_fwd_bf16(found[0], stride, gate, up, stride, ROWS, width, of);
        k->gated_bwd_bf16(found[1], stride, found[2], stride, dy, stride, gate, up, stride, ROWS,
                          width, of);
        plain.gated_fwd_bf16(wanted[0], stride, gate, up, stride, ROWS, width, of);
        plain.gated_bwd_bf16(wanted[1], stride, wanted[2], stride, dy, stride, gate, up, stride,
                             ROWS, width, of);
        for (int64_t i = 0; i < 3 * ROWS * stride; i++) {
            uint16_t a = found[i / (ROWS * stride)][i % (ROWS * stride)];
            uint16_t b = wanted[i / (ROWS * stride)][i % (ROWS * stride)];
            if (i % stride >= width)
                ck_assert_uint_eq(a, 0x7fc0);
            else
                ck_assert_msg(a - b + 1 <= 2 && a - b + 1 >= 0, "%lld: %x for %x", (long long)i, a,
                              b);
        }
    }
    ck_ok(hone_emulated_status());
    void *all[] = {x,        other,    gate,      up,        found[0],
                   found[1], found[2], wanted[0], wanted[1], wanted[2]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) hone_free(all[i]);
}
END_TEST

/* Factors without a gradient, and a layer whose input has none. */
START_TEST(what_is_not_asked_for_is_not_written) {
    const layer_case c = {9, 64, 144, 3, HONE_F32, false, 0, 0};
    const hone_kernels *k = hone_kernels_emulated();
    step all = step_new(&c, k), some = step_new(&c, k);
    take(&all, k, 0);
    const hone_bf16_linear *l = &some.layer;
    k->round_rows(some.x16, some.x, l->tokens, l->in, l->x_stride);
    k->bf16_fwd(some.y, some.t, some.x16, l, some.space.base);
    k->round_rows(some.dy16, some.dy, l->tokens, l->out, l->dy_stride);
    k->bf16_bwd(_i == 0 ? some.dx : NULL, NULL, _i == 1 ? some.db : NULL, some.dy16, some.x16,
                some.t, l, 0, some.space.base);
    ck_ok(hone_emulated_status());
    if (_i == 0) ck_assert_mem_eq(some.dx, all.dx, (size_t)(c.tokens * c.in) * sizeof(float));
    if (_i == 1) ck_assert_mem_eq(some.db, all.db, (size_t)(c.rank * c.out) * sizeof(float));
    step_free(&all);
    step_free(&some);
}
END_TEST

/* Rows that can be moved 16 bytes at a time, and others: as the reference rounds them, and nothing behind them. */
START_TEST(rows_are_rounded_and_no_more) {
    static const int64_t widths[] = {8, 264, 7, 64, 33}, strides[] = {8, 272, 8, 67, 40};
    enum { ROWS = 5 };
    int64_t width = widths[_i], stride = strides[_i];
    const hone_kernels *k = hone_kernels_emulated();
    float *x = floats_new(ROWS * width, 1);
    uint16_t *y = rounded_new(ROWS, stride);
    k->round_rows(y, x, ROWS, width, stride);
    ck_ok(hone_emulated_status());
    expect_rounded(y, stride, x, ROWS, width);
    hone_free(x);
    hone_free(y);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_bf16");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, layer_is_that_of_plain_loops, 0, CASES);
    tcase_add_test(values, bias_at_any_address_gives_the_same);
    tcase_add_loop_test(values, result_in_bf16_is_the_rounded_one, 0, CASES);
    tcase_add_loop_test(values, gated_rows_in_bf16_are_those_of_the_reference, 0, 4);
    tcase_add_loop_test(values, what_is_not_asked_for_is_not_written, 0, 3);
    tcase_add_loop_test(values, rows_are_rounded_and_no_more, 0, 5);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
