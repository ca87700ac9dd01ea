#include <assert.h>

#include "autograd/ops.h"

typedef struct layernorm_attributes {
    double epsilon;
} layernorm_attributes;

enum { IN_X, IN_W, IN_B };
enum { OUT_Y, OUT_STATISTICS };

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_tensor *x = node->in[IN_X];
    node->saved_in = 1u << IN_X | 1u << IN_W;
    node->saved_out = 1u << OUT_STATISTICS;
    HONE_TRY(hone_node_output(tape, node, OUT_Y, "norm", x->shape[0], x->shape[1]));
    return hone_node_output(tape, node, OUT_STATISTICS, "norm statistics", x->shape[0], 2);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const layernorm_attributes *a = (const void *)node->attributes;
    const hone_tensor *x = node->in[IN_X];
    pass->kernels->layernorm_fwd(node->out[OUT_Y]->data, node->out[OUT_STATISTICS]->data, x->data,
                                 node->in[IN_W]->data, node->in[IN_B]->data, x->shape[0],
                                 x->shape[1], a->epsilon);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W], *b = node->in[IN_B];
    const hone_tensor *dy = node->out[OUT_Y]->grad;
    /* Where only w or b is trained, dx goes where dy lies and is dropped. */
    void *dx = x->needs_grad ? x->grad->data : dy->data;
    pass->kernels->layernorm_bwd(dx, w->needs_grad ? w->grad->data : NULL,
                                 b->needs_grad ? b->grad->data : NULL, dy->data, x->data, w->data,
                                 node->out[OUT_STATISTICS]->data, x->shape[0], x->shape[1],
                                 x->needs_grad ? pass->beta[IN_X] : 0);
}

const hone_op hone_op_layernorm = {
    .name = "layernorm",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
    .cheap = true,
    .rounds = true,
};

hone_status hone_layernorm(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                           hone_tensor *b, double epsilon) {
    assert(w->dtype == HONE_REAL && hone_tensor_count(w) == x->shape[1]);
    assert(b->dtype == HONE_REAL && hone_tensor_count(b) == x->shape[1]);
    layernorm_attributes a = {epsilon};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_layernorm, (hone_tensor *[4]){x, w, b}, &a,
                              sizeof a));
    *y = node->out[OUT_Y];
    return HONE_OK;
}
