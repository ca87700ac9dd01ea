#include <assert.h>

#include "autograd/ops.h"

enum { IN_X, IN_B };

static hone_status shape(hone_tape *tape, hone_node *node) {
    return hone_node_output_in_place(tape, node, "biased");
}

static void forward(const hone_node *node, const hone_pass *pass) {
    hone_real *x = node->out[0]->data;
    pass->kernels->bias_fwd(x, x, node->in[IN_B]->data, node->out[0]->shape[0],
                            node->out[0]->shape[1]);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_tensor *dy = node->out[0]->grad, *b = node->in[IN_B];
    if (b->needs_grad) pass->kernels->bias_bwd(b->grad->data, dy->data, dy->shape[0], dy->shape[1]);
    hone_node_pass_grad(node, pass, IN_X);
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    if (out->phase != HONE_BACKWARD) return;
    const hone_tensor *b = node->in[IN_B];
    out->bytes = hone_node_pass_grad_bytes(node, pass, IN_X);
    if (b->needs_grad)
        out->bytes += hone_tensor_bytes(node->out[0]->grad) + 2 * hone_tensor_bytes(b);
}

const hone_op hone_op_bias = {
    .name = "bias",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .work = work,
    .steals = true,
};

hone_status hone_bias(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *b) {
    assert(b->dtype == HONE_REAL && hone_tensor_count(b) == x->shape[1]);
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_bias, (hone_tensor *[4]){x, b}, NULL, 0));
    *y = node->out[0];
    return HONE_OK;
}
