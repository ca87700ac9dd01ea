/* Head and loss on a GPU, in bf16 and otherwise, in one chunk and in several: as the reference has it. */
#include "autograd/ops.h"
#include "base/alloc.h"
#include "tests/cuda/device_support.h"
#include "tests/product_support.h"

typedef struct loss_case {
    int64_t tokens, vocabulary, width;
    hone_dtype type;
    hone_precision precision;
    double softcap;
} loss_case;

/* A vocabulary of three has no room for rounded rows; more than 1,024 tokens are more than a chunk. */
static const loss_case cases[] = {
    {1100, 12, 8, HONE_F32, HONE_PRODUCTS_BF16, 0},
    {1100, 9, 7, HONE_BF16, HONE_PRODUCTS_BF16, 2.5},
    {40, 8200, 16, HONE_F16, HONE_PRODUCTS_BF16, 0},
    {40, 300, 64, HONE_Q8_0, HONE_PRODUCTS_BF16, 0},
    {200, 3, 8, HONE_F32, HONE_PRODUCTS_BF16, 0},
    {1, 1, 8, HONE_BF16, HONE_PRODUCTS_BF16, 0},
    {1100, 12, 8, HONE_F32, HONE_PRODUCTS_F32, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

/* What a step of it leaves on the host. */
typedef struct outcome {
    double loss;
    float *dx;    /* owned, [tokens, width] */
    size_t bytes; /* of the tape */
} outcome;

static void *put(const hone_device *device, hone_buffer *buffer, const void *from, size_t bytes) {
    ck_ok(hone_buffer_new(buffer, device, bytes));
    ck_ok(hone_device_copy_in(device, buffer->base, from, bytes));
    return buffer->base;
}

/* x [2][tokens, width] is added up. */
static void build(hone_tape *tape, hone_tensor x[2], hone_tensor *w, const hone_loss_call *call) {
    hone_tensor *h;
    ck_ok(hone_add(&h, tape, &x[0], &x[1]));
    ck_ok(hone_cross_entropy(NULL, tape, h, w, call));
    ck_ok(hone_tape_backward(tape));
}

static void run(outcome *out, hone_tape *tape, hone_tensor x[2], hone_tensor *w,
                const hone_loss_call *call) {
    hone_tape_plan(tape, true);
    build(tape, x, w, call);
    ck_ok(hone_tape_plan_done(tape));
    ck_ok(hone_tape_reserve(tape));
    hone_tape_begin(tape);
    build(tape, x, w, call);
    out->bytes = hone_tape_bytes(tape);
}

/* Rows in another order than they lie in, every seventh of which predicts nothing. */
static void draw_rows(int32_t *rows, int32_t *targets, const loss_case *c) {
    for (int64_t i = 0; i < c->tokens; i++) {
        rows[i] = (int32_t)(c->tokens - 1 - i);
        targets[i] = i % 7 == 6 ? -1 : (int32_t)(i * 37 % c->vocabulary);
    }
}

enum { X, ZERO, DX, W, ROWS, TARGETS, WEIGHT, SUM, BUFFERS };

static outcome take(const hone_device *device, const loss_case *c) {
    hone_buffer b[BUFFERS] = {{0}};
    int64_t n = c->tokens, count = n * c->width;
    size_t bytes = (size_t)count * sizeof(float), of_rows = (size_t)n * sizeof(int32_t);
    float *values = floats_new(count, 1);
    void *weights = weights_new(c->type, c->vocabulary * c->width, 2);
    int32_t *rows = hone_alloc(2, of_rows), *targets = rows + n;
    const double weight = 0.5, none = 0;
    draw_rows(rows, targets, c);
    ck_ok(hone_buffer_new(&b[ZERO], device, bytes));
    ck_ok(hone_buffer_new(&b[DX], device, bytes));
    hone_tensor x[] = {
        hone_tensor_over("x", HONE_F32, n, c->width, put(device, &b[X], values, bytes)),
        hone_tensor_over("zero", HONE_F32, n, c->width, b[ZERO].base)};
    hone_tensor dx = hone_tensor_over("dx", HONE_F32, n, c->width, b[DX].base);
    hone_tensor w = hone_tensor_over(
        "head", c->type, c->vocabulary, c->width,
        put(device, &b[W], weights, hone_dtype_row_bytes(c->type, c->vocabulary * c->width)));
    w.precision = c->precision;
    x->needs_grad = true;
    x->grad = &dx;
    hone_loss_call call = {.rows = put(device, &b[ROWS], rows, of_rows),
                           .targets = put(device, &b[TARGETS], targets, of_rows),
                           .count = n,
                           .weight = put(device, &b[WEIGHT], &weight, sizeof weight),
                           .softcap = c->softcap,
                           .sum = put(device, &b[SUM], &none, sizeof none)};
    hone_tape *tape;
    outcome out = {.dx = hone_alloc(1, bytes)};
    ck_ok(hone_tape_new(&tape, device));
    run(&out, tape, x, &w, &call);
    ck_ok(hone_device_copy_out(device, &out.loss, call.sum, sizeof out.loss));
    ck_ok(hone_device_copy_out(device, out.dx, dx.data, bytes));
    hone_tape_free(tape);
    for (int i = 0; i < BUFFERS; i++) hone_buffer_free(&b[i]);
    hone_free(values);
    hone_free(weights);
    hone_free(rows);
    return out;
}

/* By their norm. */
static double apart(const float *found, const float *wanted, int64_t n) {
    double off = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)found[i] - (double)wanted[i];
        off += d * d;
        norm += (double)wanted[i] * (double)wanted[i];
    }
    return norm > 0 ? sqrt(off / norm) : off;
}

/* That rounds what it multiplies for itself; now and then a rounding falls the other way. */
START_TEST(loss_and_gradient_are_those_of_the_reference) {
    const loss_case *c = &cases[_i];
    hone_device plain, cuda;
    hone_device_open_ref(&plain);
    open_cuda(&cuda);
    outcome wanted = take(&plain, c), found = take(&cuda, c);
    double off = apart(found.dx, wanted.dx, c->tokens * c->width);
    ck_assert_msg(fabs(found.loss - wanted.loss) <= 1e-6 * wanted.loss, "loss %.9g instead of %.9g",
                  found.loss, wanted.loss);
    ck_assert_msg(off <= (c->precision == HONE_PRODUCTS_F32 ? 1e-6 : 1e-4), "gradients %g apart",
                  off);
    hone_free(wanted.dx);
    hone_free(found.dx);
    hone_device_close(&cuda);
}
END_TEST

/* Logits and their gradient take the same memory; beside them the head's product needs a slab and what cuBLASLt takes, both of
 * 64 KB here, and the tokens' five matrices are small. */
START_TEST(loss_in_bf16_takes_the_memory_of_its_logits) {
    const loss_case c = {64, 16384, 64, HONE_BF16, HONE_PRODUCTS_BF16, 0};
    size_t logits = (size_t)(c.tokens * c.vocabulary) * sizeof(float);
    hone_device cuda;
    open_cuda(&cuda);
    outcome found = take(&cuda, &c);
    ck_assert_uint_ge(found.bytes, logits);
    ck_assert_msg(found.bytes <= logits + (1 << 18), "%zu bytes more", found.bytes - logits);
    hone_free(found.dx);
    hone_device_close(&cuda);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_loss");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, start, stop);
    tcase_set_timeout(values, 60);
    tcase_add_loop_test(values, loss_and_gradient_are_those_of_the_reference, 0, CASES);
    tcase_add_test(values, loss_in_bf16_takes_the_memory_of_its_logits);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
