/*
 * Every operation's gradient against central differences, in double precision, signs included; and what the tape
 * promises: recomputation changes no bit, planned memory is shared safely, a shorter step fits the plan.
 */
#include <math.h>

#include "autograd/layout.h"
#include "autograd/ops.h"
#include "base/alloc.h"
#include "base/philox.h"
#include "tests/support.h"

_Static_assert(sizeof(hone_real) == sizeof(double), "this suite is built in double precision");

enum { LEAVES = 12 };

/* A function of leaves to be differentiated: builds its graph on the tape, ending in a loss. */
typedef struct problem {
    hone_tensor leaf[LEAVES];
    int leaves;
    double *zeros; /* as large as the largest leaf */
    hone_tape *tape;
    hone_device device;
    hone_tensor *(*build)(struct problem *); /* gives the last tensor */
    double *weights;                         /* of the elements of the result in the loss */
    double loss, factor;                     /* the gradient is that of factor * loss */
    hone_keep keep;
    /* shapes and constants that builders use */
    int64_t T, C, O, R, H, K, D, V;
    const hone_segment *segments;
    int64_t segment_count, max_len;
    double rate, softcap;
    int64_t window;
    bool interleaved;
    hone_activation_kind kind;
    int32_t ids[64], positions[64], rows[64], targets[64];
    uint32_t records[64];
    uint64_t key;
    double cosine[64 * 64], sine[64 * 64];
} problem;

static double noise(uint32_t stream, uint32_t i) {
    return 2.0 * (double)hone_uniform(hone_philox_draw(7, i, stream, 0, 0).word[0]) - 1.0;
}

static hone_tensor *add_leaf(problem *p, int64_t rows, int64_t columns) {
    int i = p->leaves++;
    int64_t n = rows * columns;
    double *data = hone_alloc((size_t)n, sizeof *data);
    for (int64_t j = 0; j < n; j++) data[j] = noise((uint32_t)i, (uint32_t)j);
    p->leaf[i] = hone_tensor_over("leaf", HONE_REAL, rows, columns, data);
    hone_tensor *grad = hone_alloc(1, sizeof *grad);
    *grad = hone_tensor_over("leaf gradient", HONE_REAL, rows, columns,
                             hone_alloc((size_t)n, sizeof(double)));
    p->leaf[i].grad = grad;
    p->leaf[i].needs_grad = true;
    return &p->leaf[i];
}

/* The sum of weights[i] x[i]: a loss whose gradient is the weights. */
static hone_status dot_shape(hone_tape *tape, hone_node *node) {
    return hone_node_output(tape, node, 0, "dot", 1, 1);
}

static void dot_forward(const hone_node *node, const hone_pass *pass) {
    (void)pass;
    problem *p;
    memcpy(&p, node->attributes, sizeof p);
    const double *x = node->in[0]->data;
    p->loss = 0;
    for (int64_t i = 0; i < hone_tensor_count(node->in[0]); i++) p->loss += p->weights[i] * x[i];
}

static void dot_backward(const hone_node *node, const hone_pass *pass) {
    problem *p;
    memcpy(&p, node->attributes, sizeof p);
    double *dx = node->in[0]->grad->data;
    for (int64_t i = 0; i < hone_tensor_count(node->in[0]); i++) {
        dx[i] = p->weights[i] + (pass->beta[0] > 0 ? dx[i] : 0);
    }
}

static const hone_op op_dot = {
    .name = "dot",
    .shape = dot_shape,
    .forward = dot_forward,
    .backward = dot_backward,
    .is_loss = true,
};

/* A leaf as a tensor of the tape, so that operations may work in place on it. */
static hone_tensor *on_tape(problem *p, int i) {
    static hone_tensor zero;
    zero = p->leaf[i];
    zero.data = p->zeros;
    zero.needs_grad = false;
    zero.grad = NULL;
    hone_tensor *y;
    ck_ok(hone_add(&y, p->tape, &p->leaf[i], &zero));
    return y;
}

static void step(problem *p, bool backward) {
    hone_tensor *end = p->build(p);
    if (end) {
        hone_node *node;
        ck_ok(hone_tape_record(&node, p->tape, &op_dot, (hone_tensor *[4]){end}, &p, sizeof p));
    }
    if (backward) ck_ok(hone_tape_backward(p->tape));
}

static double evaluate(problem *p) {
    hone_tape_begin(p->tape);
    step(p, false);
    return p->loss;
}

static void open_problem(problem *p) {
    memset(p, 0, sizeof *p);
    p->factor = 1;
    hone_device_open_ref(&p->device);
    ck_ok(hone_tape_new(&p->tape, &p->device));
    p->zeros = hone_alloc(1 << 14, sizeof(double));
    p->weights = hone_alloc(1 << 14, sizeof(double));
    for (uint32_t i = 0; i < 1 << 14; i++) p->weights[i] = noise(99, i);
    for (uint32_t i = 0; i < 64; i++) {
        p->positions[i] = (int32_t)(i % 5);
        p->records[i] = i / 5;
        p->ids[i] = (int32_t)(i * 7 % 5);
    }
    for (uint32_t i = 0; i < 64 * 64; i++) {
        p->cosine[i] = cos(0.1 * i);
        p->sine[i] = sin(0.1 * i);
    }
    p->key = 12345;
}

static void close_problem(problem *p) {
    for (int i = 0; i < p->leaves; i++) {
        hone_free(p->leaf[i].grad->data);
        hone_free(p->leaf[i].grad);
        hone_free(p->leaf[i].data);
    }
    hone_free(p->zeros);
    hone_free(p->weights);
    hone_tape_free(p->tape);
}

static void compute_gradients(problem *p) {
    hone_tape_plan(p->tape, true);
    step(p, true);
    ck_ok(hone_tape_plan_done(p->tape));
    ck_ok(hone_tape_reserve(p->tape));
    hone_tape_begin(p->tape);
    step(p, true);
}

/* Compares a leaf's gradient with (f(x+h) - f(x-h)) / 2h. */
static void check_leaf(problem *p, int i, const double *grad) {
    const double h = 1e-5;
    double *x = p->leaf[i].data;
    double wrong = 0, size = 0;
    for (int64_t j = 0; j < hone_tensor_count(&p->leaf[i]); j++) {
        double kept = x[j];
        x[j] = kept + h;
        double up = evaluate(p);
        x[j] = kept - h;
        double down = evaluate(p);
        x[j] = kept;
        double expected = p->factor * (up - down) / (2 * h);
        wrong += (grad[j] - expected) * (grad[j] - expected);
        size += expected * expected;
    }
    ck_assert_msg(size > 0, "leaf %d: no gradient at all", i);
    ck_assert_msg(sqrt(wrong) <= 1e-7 * sqrt(size) + 1e-9, "leaf %d: error %g of %g", i,
                  sqrt(wrong), sqrt(size));
}

static void check_gradients(problem *p) {
    compute_gradients(p);
    double grads[LEAVES][1 << 10]; /* copies: forward passes add to a trainable head's gradient */
    for (int i = 0; i < p->leaves; i++) {
        size_t n = (size_t)hone_tensor_count(&p->leaf[i]);
        ck_assert_uint_le(n, 1 << 10);
        memcpy(grads[i], p->leaf[i].grad->data, n * sizeof(double));
    }
    for (int i = 0; i < p->leaves; i++) {
        if (p->leaf[i].needs_grad) check_leaf(p, i, grads[i]);
    }
}

static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {7, 8, 9}, {8, 15, 16}, {9, 17, 3}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static hone_tensor *build_add(problem *p) {
    hone_tensor *a = on_tape(p, 0), *b = on_tape(p, 1), *y, *z;
    ck_ok(hone_add(&y, p->tape, a, b));
    ck_ok(hone_add(&z, p->tape, a, y)); /* a is used twice: its gradients add up */
    return z;
}

START_TEST(add_used_twice_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    p.build = build_add;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_embedding(problem *p) {
    hone_tensor *y;
    ck_ok(hone_embedding(&y, p->tape, &p->leaf[0], p->ids, p->T));
    return y;
}

START_TEST(embedding_repeated_ids_grad_matches) {
    problem p;
    open_problem(&p);
    p.T = sizes[_i][0];
    add_leaf(&p, 5, sizes[_i][1]);
    p.build = build_embedding;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_rmsnorm(problem *p) {
    hone_tensor *y, *z, *x = on_tape(p, 0);
    ck_ok(hone_rmsnorm(&y, p->tape, x, &p->leaf[1], 1e-5));
    ck_ok(hone_add(&z, p->tape, x, y)); /* the residual: dx is added to */
    return z;
}

START_TEST(rmsnorm_with_residual_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    add_leaf(&p, sizes[_i][1], 1);
    p.build = build_rmsnorm;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

START_TEST(rmsnorm_of_groups_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1] * sizes[_i][2]);
    add_leaf(&p, sizes[_i][1], 1);
    p.build = build_rmsnorm;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_layernorm(problem *p) {
    hone_tensor *y, *z, *x = on_tape(p, 0);
    ck_ok(hone_layernorm(&y, p->tape, x, &p->leaf[1], &p->leaf[2], 1e-5));
    ck_ok(hone_add(&z, p->tape, x, y));
    return z;
}

/* Bit i of `wanted`: input i needs a gradient. */
static void freeze_others(problem *p, int wanted) {
    for (int i = 0; i < p->leaves; i++) p->leaf[i].needs_grad = wanted >> i & 1;
}

static void check_layernorm(int64_t tokens, int64_t width, int wanted) {
    problem p;
    open_problem(&p);
    add_leaf(&p, tokens, width);
    add_leaf(&p, width, 1);
    add_leaf(&p, width, 1);
    p.build = build_layernorm;
    freeze_others(&p, wanted);
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(layernorm_with_residual_grad_matches) {
    check_layernorm(sizes[_i][0], sizes[_i][1], 7);
}
END_TEST

START_TEST(layernorm_some_inputs_frozen_grad_matches) {
    check_layernorm(3, 5, _i);
}
END_TEST

/* Operations that change x where it lies, one after the other, and the one that keeps its result. */
static hone_tensor *build_in_place(problem *p) {
    hone_tensor *x = on_tape(p, 0);
    hone_tape_keep(p->tape, p->keep);
    if (p->keep == HONE_KEEP_NOTHING) {
        ck_ok(hone_linear(&x, p->tape, x, &p->leaf[2], NULL));
    }
    ck_ok(hone_bias(&x, p->tape, x, &p->leaf[1]));
    ck_ok(hone_scale(&x, p->tape, x, -1.75));
    ck_ok(hone_softcap(&x, p->tape, x, 1.25));
    hone_tape_keep(p->tape, HONE_KEEP_ALL);
    return x;
}

static void check_in_place(int64_t tokens, int64_t width, int wanted, bool recompute) {
    problem p;
    open_problem(&p);
    add_leaf(&p, tokens, width);
    add_leaf(&p, width, 1);
    if (recompute) add_leaf(&p, width, width);
    p.keep = recompute ? HONE_KEEP_NOTHING : HONE_KEEP_ALL;
    p.build = build_in_place;
    freeze_others(&p, wanted);
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(in_place_chain_grad_matches) {
    check_in_place(sizes[_i][0], sizes[_i][1], 7, false);
    check_in_place(sizes[_i][0], sizes[_i][1], 7, true);
}
END_TEST

START_TEST(in_place_chain_some_inputs_frozen_grad_matches) {
    check_in_place(3, 5, _i, true);
    if (_i & 3) check_in_place(3, 5, _i, false);
}
END_TEST

static hone_tensor *build_linear(problem *p) {
    hone_lora lora = {
        &p->leaf[2], &p->leaf[3], 0.7, {&p->key, p->records, p->positions, 3, p->rate}};
    hone_tensor *y, *z, *s, *x = on_tape(p, 0);
    ck_ok(hone_linear(&y, p->tape, x, &p->leaf[1], &lora));
    ck_ok(hone_linear(&z, p->tape, x, &p->leaf[1], NULL)); /* x and w are used twice */
    ck_ok(hone_add(&s, p->tape, y, z));
    return s;
}

static void check_linear(int i, double rate) {
    problem p;
    open_problem(&p);
    p.rate = rate;
    int64_t tokens = sizes[i][0], in = sizes[i][1], out = sizes[i][2], rank = 3;
    add_leaf(&p, tokens, in);
    add_leaf(&p, out, in);
    add_leaf(&p, rank, in);
    add_leaf(&p, out, rank);
    p.build = build_linear;
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(linear_with_lora_grad_matches) {
    check_linear(_i, 0);
}
END_TEST

START_TEST(linear_with_dropout_grad_matches) {
    check_linear(_i + 1, 0.4); /* a single element might be dropped altogether */
}
END_TEST

static hone_tensor *build_rope(problem *p) {
    hone_tensor *y;
    hone_rope_shape shape = {p->T, p->H, p->D, p->D - p->D / 3 / 2 * 2, p->interleaved};
    ck_ok(hone_rope(&y, p->tape, on_tape(p, 0), p->cosine, p->sine, p->positions, shape));
    return y;
}

START_TEST(rope_both_layouts_grad_matches) {
    problem p;
    open_problem(&p);
    p.T = 6;
    p.H = 2;
    p.D = 4 + 2 * (_i / 2);
    p.interleaved = _i % 2;
    add_leaf(&p, p.T, p.H * p.D);
    p.build = build_rope;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_attention(problem *p) {
    hone_attention_call call = {p->segments,
                                {.segments = p->segment_count,
                                 .heads = p->H,
                                 .kv_heads = p->K,
                                 .head_size = p->D,
                                 .scale = 1 / sqrt((double)p->D),
                                 .window = p->window,
                                 .softcap = p->softcap},
                                p->max_len,
                                p->max_len};
    hone_tensor *o, *q = on_tape(p, 0), *k = on_tape(p, 1), *v = on_tape(p, 2);
    ck_ok(hone_attention(&o, p->tape, q, k, v, &call));
    return o;
}

static const hone_segment packed[] = {{0, 1, 0, 1}, {1, 5, 1, 5}, {6, 3, 6, 3}};

static void check_attention(int64_t heads, int64_t kv_heads, int64_t head_size, int64_t window,
                            double softcap) {
    problem p;
    open_problem(&p);
    p.H = heads;
    p.K = kv_heads;
    p.D = head_size;
    p.window = window;
    p.softcap = softcap;
    p.segments = packed;
    p.segment_count = 3;
    p.max_len = 5;
    add_leaf(&p, 9, p.H * p.D);
    add_leaf(&p, 9, p.K * p.D);
    add_leaf(&p, 9, p.K * p.D);
    p.build = build_attention;
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(attention_packed_documents_grad_matches) {
    static const int64_t heads[][3] = {{1, 1, 1}, {2, 1, 3}, {4, 2, 8}, {3, 3, 5}};
    check_attention(heads[_i][0], heads[_i][1], heads[_i][2], 0, 0);
}
END_TEST

START_TEST(attention_window_and_softcap_grad_matches) {
    static const int64_t windows[] = {0, 2, 4, 5, 6};
    check_attention(4, 2, 5, windows[_i], _i % 2 ? 0 : 0.7);
    check_attention(2, 1, 3, windows[_i], 0.4);
}
END_TEST

START_TEST(attention_some_inputs_frozen_grad_matches) {
    problem p;
    open_problem(&p);
    p.H = 2;
    p.K = 1;
    p.D = 3;
    p.segments = packed;
    p.segment_count = 3;
    p.max_len = 5;
    add_leaf(&p, 9, p.H * p.D);
    add_leaf(&p, 9, p.K * p.D);
    add_leaf(&p, 9, p.K * p.D);
    p.build = build_attention;
    freeze_others(&p, _i);
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static const hone_activation_kind kinds[] = {HONE_SILU, HONE_GELU_TANH};

static hone_tensor *build_activation(problem *p) {
    hone_tensor *y;
    ck_ok(hone_activation(&y, p->tape, on_tape(p, 0), p->kind));
    return y;
}

START_TEST(activation_every_kind_grad_matches) {
    problem p;
    open_problem(&p);
    p.kind = kinds[_i % 2];
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    p.build = build_activation;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_gated(problem *p) {
    hone_tensor *y, *gate = on_tape(p, 0), *up = on_tape(p, 1);
    ck_ok(hone_gated(&y, p->tape, gate, up, p->kind));
    return y;
}

START_TEST(gated_every_kind_grad_matches) {
    problem p;
    open_problem(&p);
    p.kind = kinds[_i % 2];
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    p.build = build_gated;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

START_TEST(gated_one_input_frozen_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, 3, 5);
    add_leaf(&p, 3, 5);
    p.build = build_gated;
    freeze_others(&p, _i);
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_gather(problem *p) {
    hone_tensor *y, *x = on_tape(p, 0);
    ck_ok(hone_gather(&y, p->tape, x, p->rows, 3));
    return y;
}

START_TEST(gather_some_rows_grad_matches) {
    problem p;
    open_problem(&p);
    memcpy(p.rows, (int32_t[]){4, 0, 2}, 3 * sizeof(int32_t));
    add_leaf(&p, 5, 7);
    p.build = build_gather;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

/* The loss itself is the function; its gradient is weighted. */
static hone_tensor *build_cross_entropy(problem *p) {
    hone_loss_call call = {p->rows, p->targets, p->T, 0.25, p->softcap, &p->loss};
    hone_tensor *h = on_tape(p, 0);
    ck_ok(hone_cross_entropy(NULL, p->tape, h, &p->leaf[1], &call));
    return NULL;
}

START_TEST(cross_entropy_some_rows_grad_matches) {
    problem p;
    open_problem(&p);
    p.softcap = 0.6 * _i;
    memcpy(p.rows, (int32_t[]){1, 2, 5}, 3 * sizeof(int32_t));
    memcpy(p.targets, (int32_t[]){3, 0, 6}, 3 * sizeof(int32_t));
    p.T = 3;
    add_leaf(&p, 6, 5);
    add_leaf(&p, 7, 5);
    p.build = build_cross_entropy;
    p.factor = 0.25;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

enum { KEEPS = HONE_KEEP_NOTHING + 1 };

/* Two decoder blocks with LoRA and dropout, from embedding to loss. */
static hone_tensor *build_block(problem *p, hone_tensor *x, uint32_t module) {
    hone_dropout dropout = {&p->key, p->records, p->positions, module, p->rate};
    hone_lora lora = {&p->leaf[6], &p->leaf[7], 2, dropout};
    hone_attention_call call = {packed, {3, 2, 1, 4, 0.5, 4, 2.0}, 5, 5};
    hone_rope_shape q_shape = {9, 2, 4, 4, false}, k_shape = {9, 1, 4, 4, false};
    hone_tensor *h, *q, *k, *v, *o, *y, *g, *u;
    hone_tape_keep(p->tape, p->keep);
    ck_ok(hone_rmsnorm(&h, p->tape, x, &p->leaf[1], 1e-5));
    ck_ok(hone_linear(&q, p->tape, h, &p->leaf[2], &lora));
    ck_ok(hone_linear(&k, p->tape, h, &p->leaf[3], NULL));
    ck_ok(hone_linear(&v, p->tape, h, &p->leaf[3], NULL));
    ck_ok(hone_rope(&q, p->tape, q, p->cosine, p->sine, p->positions, q_shape));
    ck_ok(hone_rope(&k, p->tape, k, p->cosine, p->sine, p->positions, k_shape));
    ck_ok(hone_attention(&o, p->tape, q, k, v, &call));
    ck_ok(hone_linear(&y, p->tape, o, &p->leaf[2], NULL));
    ck_ok(hone_add(&x, p->tape, x, y));
    ck_ok(hone_rmsnorm(&h, p->tape, x, &p->leaf[1], 1e-5));
    ck_ok(hone_linear(&g, p->tape, h, &p->leaf[4], NULL));
    ck_ok(hone_linear(&u, p->tape, h, &p->leaf[4], NULL));
    ck_ok(hone_gated(&u, p->tape, g, u, HONE_SILU));
    ck_ok(hone_linear(&y, p->tape, u, &p->leaf[5], NULL));
    hone_tape_keep(p->tape, HONE_KEEP_ALL);
    ck_ok(hone_add(&x, p->tape, x, y));
    return x;
}

static hone_tensor *build_decoder(problem *p) {
    hone_tensor *x;
    ck_ok(hone_embedding(&x, p->tape, &p->leaf[0], p->ids, 9));
    x = build_block(p, x, 0);
    x = build_block(p, x, 1);
    ck_ok(hone_rmsnorm(&x, p->tape, x, &p->leaf[1], 1e-5));
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
    Suite *suite = suite_create("gradients");
    TCase *grad = tcase_create("grad");
    tcase_set_timeout(grad, 120);
    tcase_add_loop_test(grad, add_used_twice_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, embedding_repeated_ids_grad_matches, 3, SIZES);
    tcase_add_loop_test(grad, rmsnorm_with_residual_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, rmsnorm_of_groups_grad_matches, 0, 3);
    tcase_add_loop_test(grad, layernorm_with_residual_grad_matches, 1, SIZES);
    tcase_add_loop_test(grad, layernorm_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_loop_test(grad, in_place_chain_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, linear_with_lora_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, linear_with_dropout_grad_matches, 0, SIZES - 1);
    tcase_add_loop_test(grad, rope_both_layouts_grad_matches, 0, 6);
    tcase_add_loop_test(grad, attention_packed_documents_grad_matches, 0, 4);
    tcase_add_loop_test(grad, attention_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_loop_test(grad, attention_window_and_softcap_grad_matches, 0, 5);
    tcase_add_loop_test(grad, activation_every_kind_grad_matches, 0, 2 * SIZES);
    tcase_add_loop_test(grad, gated_every_kind_grad_matches, 0, 2 * SIZES);
    tcase_add_loop_test(grad, gated_one_input_frozen_grad_matches, 1, 4);
    tcase_add_loop_test(grad, in_place_chain_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_test(grad, gather_some_rows_grad_matches);
    tcase_add_loop_test(grad, cross_entropy_some_rows_grad_matches, 0, 2);
    tcase_add_loop_test(grad, decoder_two_blocks_grad_matches, 0, KEEPS);
    suite_add_tcase(suite, grad);
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, decoder_recomputed_gives_the_same_bits, 1, KEEPS);
    tcase_add_test(values, layout_blocks_that_live_together_never_overlap);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
