#include <assert.h>

#include "autograd/ops.h"

static hone_status shape(hone_tape *tape, hone_node *node) {
    node->rounds_grads = 1u << 1; /* that of a block's branch */
    return hone_node_output(tape, node, 0, "residual", node->in[0]->shape[0],
                            node->in[0]->shape[1]);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    pass->kernels->add(node->out[0]->data, node->in[0]->data, node->in[1]->data,
                       hone_tensor_count(node->out[0]));
}

static void backward(const hone_node *node, const hone_pass *pass) {
    hone_node_pass_grad(node, pass, 1);
    hone_node_pass_grad(node, pass, 0);
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    if (out->phase != HONE_BACKWARD) return;
    out->bytes =
        hone_node_pass_grad_bytes(node, pass, 0) + hone_node_pass_grad_bytes(node, pass, 1);
}

const hone_op hone_op_add = {
    .name = "add",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .work = work,
    .steals = true,
};

hone_status hone_add(hone_tensor **y, hone_tape *tape, hone_tensor *a, hone_tensor *b) {
    assert(hone_tensor_count(a) == hone_tensor_count(b) && a != b);
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_add, (hone_tensor *[4]){a, b}, NULL, 0));
    *y = node->out[0];
    return HONE_OK;
}
