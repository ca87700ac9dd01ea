#include <assert.h>

#include "autograd/ops.h"

typedef struct softcap_attributes {
    double cap;
} softcap_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    node->saved_out = 1u; /* the slope follows from the result */
    return hone_node_output_in_place(tape, node, "capped");
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const softcap_attributes *a = (const void *)node->attributes;
    hone_real *x = node->out[0]->data;
    pass->kernels->softcap_fwd(x, x, hone_tensor_count(node->out[0]), a->cap);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const softcap_attributes *a = (const void *)node->attributes;
    const hone_tensor *y = node->out[0];
    pass->kernels->softcap_bwd(y->grad->data, y->grad->data, y->data, hone_tensor_count(y), a->cap);
    hone_node_pass_grad(node, pass, 0);
}

const hone_op hone_op_softcap = {
    .name = "softcap",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
};

hone_status hone_softcap(hone_tensor **y, hone_tape *tape, hone_tensor *x, double cap) {
    assert(cap > 0);
    softcap_attributes a = {cap};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_softcap, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
