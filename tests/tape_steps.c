/*
 * What the tape promises, in double precision: gradients go through a whole decoder and no further than wanted, recomputation
 * changes no bit, planned memory is shared safely, values kept in bf16 are only rounded.
 */
#include "autograd/layout.h"
#include "tests/gradient_support.h"

_Static_assert(sizeof(hone_real) == sizeof(double), "this suite is built in double precision");

enum { KEEPS = HONE_KEEP_NOTHING + 1 };

/* Two decoder blocks with LoRA and dropout, from embedding to loss. */
static hone_tensor *build_block(problem *p, hone_tensor *x, uint32_t module) {
    hone_dropout dropout = {&p->key, p->records, p->positions, module, p->rate};
    hone_lora lora = {&p->leaf[6], &p->leaf[7], 2, dropout};
    hone_attention_call call = {packed, {3, 2, 1, 4, 0.5, .window = 4, .softcap = 2.0}, 5, 5};
    hone_rope_shape q_shape = {9, 2, 4, 4, false}, k_shape = {9, 1, 4, 4, false};
    hone_tensor *h, *q, *k, *v, *o, *y, *g, *u;
    hone_tape_keep(p->tape, p->keep);
    ck_ok(hone_rmsnorm(&h, p->tape, x, &p->leaf[1], 1e-5, HONE_NOT_ROUNDED));
    ck_ok(hone_linear(&q, p->tape, h, &p->leaf[2], module >= p->adapted ? &lora : NULL, NULL));
    ck_ok(hone_linear(&k, p->tape, h, &p->leaf[3], NULL, NULL));
    ck_ok(hone_linear(&v, p->tape, h, &p->leaf[3], NULL, NULL));
    ck_ok(hone_rope(&q, p->tape, q, p->cosine, p->sine, p->positions, q_shape));
    ck_ok(hone_rope(&k, p->tape, k, p->cosine, p->sine, p->positions, k_shape));
    ck_ok(hone_attention(&o, p->tape, q, k, v, &call));
    ck_ok(hone_linear(&y, p->tape, o, &p->leaf[2], NULL, NULL));
    ck_ok(hone_add(&x, p->tape, x, y));
    ck_ok(hone_rmsnorm(&h, p->tape, x, &p->leaf[1], 1e-5, HONE_NOT_ROUNDED));
    ck_ok(hone_linear(&g, p->tape, h, &p->leaf[4], NULL, NULL));
    ck_ok(hone_linear(&u, p->tape, h, &p->leaf[4], NULL, NULL));
    ck_ok(hone_gated(&u, p->tape, g, u, HONE_SILU, HONE_NOT_ROUNDED));
    ck_ok(hone_linear(&y, p->tape, u, &p->leaf[5], NULL, NULL));
    hone_tape_keep(p->tape, HONE_KEEP_ALL);
    ck_ok(hone_add(&x, p->tape, x, y));
    return x;
}

static hone_tensor *build_decoder(problem *p) {
    hone_tensor *x;
    hone_tape_keep_bf16(p->tape, p->bf16);
    ck_ok(hone_embedding(&x, p->tape, &p->leaf[0], p->ids, 9));
    x = build_block(p, x, 0);
    x = build_block(p, x, 1);
    ck_ok(hone_rmsnorm(&x, p->tape, x, &p->leaf[1], 1e-5, HONE_NOT_ROUNDED));
    return x;
}

static void open_decoder(problem *p) {
    open_problem(p);
    add_leaf(p, 5, 8);
    add_leaf(p, 8, 1);
    add_leaf(p, 8, 8);
    add_leaf(p, 4, 8);
    add_leaf(p, 11, 8);
    add_leaf(p, 8, 11);
    add_leaf(p, 2, 8);
    add_leaf(p, 8, 2);
    p->rate = 0.3;
    p->build = build_decoder;
}

START_TEST(decoder_two_blocks_grad_matches) {
    problem p;
    open_decoder(&p);
    p.keep = (hone_keep)_i;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

START_TEST(decoder_recomputed_gives_the_same_bits) {
    problem plain, again;
    open_decoder(&plain);
    open_decoder(&again);
    again.keep = (hone_keep)_i;
    compute_gradients(&plain);
    compute_gradients(&again);
    ck_assert(plain.loss == again.loss);
    ck_assert(hone_tape_bytes(again.tape) < hone_tape_bytes(plain.tape));
    for (int i = 0; i < plain.leaves; i++) {
        size_t bytes = (size_t)hone_tensor_count(&plain.leaf[i]) * sizeof(double);
        ck_assert_mem_eq(plain.leaf[i].grad->data, again.leaf[i].grad->data, bytes);
    }
    close_problem(&plain);
    close_problem(&again);
}
END_TEST

static double distance(const hone_tensor *a, const hone_tensor *b) {
    const double *x = a->data, *y = b->data;
    double wrong = 0, size = 0;
    for (int64_t i = 0; i < hone_tensor_count(a); i++) {
        wrong += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
    }
    return sqrt(wrong / size);
}

/* A number in bf16 is off by 2^-9 of it at most; gradients, by little more. */
START_TEST(decoder_kept_in_bf16_differs_by_rounding_only) {
    problem plain, rounded;
    open_decoder(&plain);
    open_decoder(&rounded);
    plain.keep = rounded.keep = (hone_keep)_i;
    rounded.bf16 = true;
    compute_gradients(&plain);
    compute_gradients(&rounded);
    ck_assert(plain.loss == rounded.loss);
    ck_assert_uint_lt(hone_tape_bytes(rounded.tape), hone_tape_bytes(plain.tape));
    double most = 0;
    for (int i = 0; i < plain.leaves; i++) {
        double off = distance(rounded.leaf[i].grad, plain.leaf[i].grad);
        ck_assert_msg(off <= 0.01, "leaf %d: %g", i, off);
        most = fmax(most, off);
    }
    ck_assert_double_gt(most, 1e-5);
    close_problem(&plain);
    close_problem(&rounded);
}
END_TEST

static hone_status peek_shape(hone_tape *tape, hone_node *node) {
    node->saved_in = 1;
    return hone_node_output(tape, node, 0, "peek", node->in[0]->shape[0], node->in[0]->shape[1]);
}

static void peek_forward(const hone_node *node, const hone_pass *pass) {
    pass->kernels->copy(node->out[0]->data, node->in[0]->data, hone_tensor_count(node->in[0]));
}

static void peek_backward(const hone_node *node, const hone_pass *pass) {
    problem *p;
    memcpy(&p, node->attributes, sizeof p);
    pass->kernels->copy(p->found, node->in[0]->data, hone_tensor_count(node->in[0]));
    hone_node_pass_grad(node, pass, 0);
}

static const hone_op op_peek = {
    .name = "peek",
    .shape = peek_shape,
    .forward = peek_forward,
    .backward = peek_backward,
    .rounds = true,
};

static hone_tensor *build_peek(problem *p) {
    hone_tape_keep_bf16(p->tape, p->bf16);
    hone_node *node;
    hone_tensor *x = on_tape(p, 0);
    ck_ok(hone_tape_record(&node, p->tape, &op_peek, (hone_tensor *[4]){x}, &p, sizeof p));
    return node->out[0];
}

START_TEST(values_kept_in_bf16_are_those_rounded) {
    problem p;
    open_problem(&p);
    add_leaf(&p, 7, 9);
    double found[7 * 9], *x = p.leaf[0].data;
    p.found = found;
    p.bf16 = _i;
    p.build = build_peek;
    compute_gradients(&p);
    for (int i = 0; i < 7 * 9; i++) {
        double rounded = (double)hone_bf16_to_f32(hone_bf16_from_f32((float)x[i]));
        ck_assert(rounded != x[i]);
        ck_assert(found[i] == (p.bf16 ? rounded : x[i]));
    }
    close_problem(&p);
}
END_TEST

enum { MOST = 64 };
static hone_work seen[MOST]; /* backward */
static int seen_count;

static void note_backward(void *context, const hone_work *work) {
    (void)context;
    if (work->phase != HONE_BACKWARD) return;
    ck_assert_int_lt(seen_count, MOST);
    seen[seen_count++] = *work;
}

/* A step of which the factors alone are trained, in blocks from `adapted` on; gives the bytes it needs. */
static size_t run_adapted(uint32_t adapted) {
    enum { FACTORS = 1 << 6 | 1 << 7 };
    problem p;
    open_decoder(&p);
    freeze_others(&p, FACTORS);
    p.adapted = adapted;
    seen_count = 0;
    hone_tape_observe(p.tape, (hone_observer){.passed = note_backward});
    compute_gradients(&p);
    size_t bytes = hone_tape_bytes(p.tape);
    close_problem(&p);
    return bytes;
}

START_TEST(backward_ends_at_the_lowest_adapted_layer) {
    /* What is above the blocks; the last one's MLP, up before gate; its attention, of k and v nothing. */
    static const char *const wanted[] = {"dot",       "rmsnorm", "add",     "linear", "gated",
                                         "linear",    "linear",  "rmsnorm", "add",    "linear",
                                         "attention", "rope",    "lora"};
    enum { WANTED = sizeof wanted / sizeof *wanted };
    size_t both = run_adapted(0);
    ck_assert_int_gt(seen_count, 2 * WANTED - 2);
    ck_assert_uint_lt(run_adapted(1), both);
    ck_assert_int_eq(seen_count, WANTED + 1);
    for (int i = 0; i < WANTED; i++) ck_assert_str_eq(seen[i].name, wanted[i]);
    ck_assert_str_eq(seen[WANTED].name,
                     "linear"); /* q's own product, of which nobody wants the gradient */
    ck_assert_double_eq(seen[WANTED].flops, 0);
}
END_TEST

START_TEST(layout_blocks_that_live_together_never_overlap) {
    hone_layout layout = {0};
    size_t live[64] = {0};
    for (int64_t clock = 0; clock < 64; clock++) {
        uint32_t bytes = hone_philox_draw(1, (uint32_t)clock, 0, 0, 0).word[0] % 5000;
        ck_ok(hone_layout_add(&layout, "block", bytes, clock));
        hone_layout_touch(&layout, (size_t)clock, clock + bytes % 17);
    }
    ck_ok(hone_layout_solve(&layout));
    for (size_t i = 0; i < layout.count; i++) {
        const hone_block *a = &layout.blocks[i];
        ck_assert_uint_le(a->offset + a->bytes, layout.bytes);
        for (int64_t t = a->first; t <= a->last && t < 64; t++) live[t] += a->bytes;
        for (size_t j = 0; j < i; j++) {
            const hone_block *b = &layout.blocks[j];
            if (a->first > b->last || b->first > a->last) continue;
            ck_assert(a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset);
        }
    }
    size_t most = 0;
    for (int t = 0; t < 64; t++) most = live[t] > most ? live[t] : most;
    ck_assert_uint_le(layout.bytes, most + most / 4);
    hone_layout_free(&layout);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tape");
    TCase *grad = tcase_create("grad");
    tcase_set_timeout(grad, 120);
    tcase_add_loop_test(grad, decoder_two_blocks_grad_matches, 0, KEEPS);
    suite_add_tcase(suite, grad);
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, decoder_recomputed_gives_the_same_bits, 1, KEEPS);
    tcase_add_loop_test(values, values_kept_in_bf16_are_those_rounded, 0, 2);
    tcase_add_loop_test(values, decoder_kept_in_bf16_differs_by_rounding_only, 0, KEEPS);
    tcase_add_test(values, backward_ends_at_the_lowest_adapted_layer);
    tcase_add_test(values, layout_blocks_that_live_together_never_overlap);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
