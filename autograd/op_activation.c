#include <assert.h>

#include "autograd/ops.h"

typedef struct activation_attributes {
    hone_activation_kind kind;
} activation_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_tensor *x = node->in[0];
    node->saved_in = 1u;
    return hone_node_output(tape, node, 0, "activation", x->shape[0], x->shape[1]);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const activation_attributes *a = (const void *)node->attributes;
    pass->kernels->activation_fwd(node->out[0]->data, node->in[0]->data,
                                  hone_tensor_count(node->out[0]), a->kind);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const activation_attributes *a = (const void *)node->attributes;
    const hone_tensor *x = node->in[0];
    assert(pass->beta[0] == 0);
    pass->kernels->activation_bwd(x->grad->data, node->out[0]->grad->data, x->data,
                                  hone_tensor_count(x), a->kind);
}

const hone_op hone_op_activation = {
    .name = "activation",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
    .cheap = true,
    .rounds = true,
};

hone_status hone_activation(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                            hone_activation_kind kind) {
    activation_attributes a = {kind};
    hone_node *node;
    HONE_TRY(
        hone_tape_record(&node, tape, &hone_op_activation, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
