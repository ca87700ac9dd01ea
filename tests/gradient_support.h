/*
 * What the suites of autograd/ share: functions to be differentiated, in double precision, and central differences of them.
 */
#ifndef HONE_TESTS_GRADIENT_SUPPORT_H
#define HONE_TESTS_GRADIENT_SUPPORT_H

#include <math.h>

#include "autograd/ops.h"
#include "base/alloc.h"
#include "base/philox.h"
#include "tests/support.h"

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
    bool bf16;
    uint32_t adapted; /* blocks of the decoder from this one on have LoRA */
    double *found;    /* what backward reads of the first leaf */
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

static inline double noise(uint32_t stream, uint32_t i) {
    return 2.0 * (double)hone_uniform(hone_philox_draw(7, i, stream, 0, 0).word[0]) - 1.0;
}

static inline hone_tensor *add_leaf(problem *p, int64_t rows, int64_t columns) {
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
static inline hone_status dot_shape(hone_tape *tape, hone_node *node) {
    return hone_node_output(tape, node, 0, "dot", 1, 1);
}

static inline void dot_forward(const hone_node *node, const hone_pass *pass) {
    (void)pass;
    problem *p;
    memcpy(&p, node->attributes, sizeof p);
    const double *x = node->in[0]->data;
    p->loss = 0;
    for (int64_t i = 0; i < hone_tensor_count(node->in[0]); i++) p->loss += p->weights[i] * x[i];
}

static inline void dot_backward(const hone_node *node, const hone_pass *pass) {
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
static inline hone_tensor *on_tape(problem *p, int i) {
    static hone_tensor zero;
    zero = p->leaf[i];
    zero.data = p->zeros;
    zero.needs_grad = false;
    zero.grad = NULL;
    hone_tensor *y;
    ck_ok(hone_add(&y, p->tape, &p->leaf[i], &zero));
    return y;
}

static inline void step(problem *p, bool backward) {
    hone_tensor *end = p->build(p);
    if (end) {
        hone_node *node;
        ck_ok(hone_tape_record(&node, p->tape, &op_dot, (hone_tensor *[4]){end}, &p, sizeof p));
    }
    if (backward) ck_ok(hone_tape_backward(p->tape));
}

static inline double evaluate(problem *p) {
    hone_tape_begin(p->tape);
    step(p, false);
    return p->loss;
}

static inline void open_problem(problem *p) {
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

static inline void close_problem(problem *p) {
    for (int i = 0; i < p->leaves; i++) {
        hone_free(p->leaf[i].grad->data);
        hone_free(p->leaf[i].grad);
        hone_free(p->leaf[i].data);
    }
    hone_free(p->zeros);
    hone_free(p->weights);
    hone_tape_free(p->tape);
}

static inline void compute_gradients(problem *p) {
    hone_tape_plan(p->tape, true);
    step(p, true);
    ck_ok(hone_tape_plan_done(p->tape));
    ck_ok(hone_tape_reserve(p->tape));
    hone_tape_begin(p->tape);
    step(p, true);
}

/* Compares a leaf's gradient with (f(x+h) - f(x-h)) / 2h. */
static inline void check_leaf(problem *p, int i, const double *grad) {
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

static inline void check_gradients(problem *p) {
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

/* Bit i of `wanted`: input i needs a gradient. */
static inline void freeze_others(problem *p, int wanted) {
    for (int i = 0; i < p->leaves; i++) p->leaf[i].needs_grad = wanted >> i & 1;
}

/* Three documents. */
static const hone_segment packed[] = {{0, 1, 0, 1}, {1, 5, 1, 5}, {6, 3, 6, 3}};

#endif
