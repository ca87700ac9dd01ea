#include "autograd/ops.h"

typedef struct scale_attributes {
    double factor;
} scale_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    return hone_node_output_in_place(tape, node, "scaled");
}

static void scale(hone_real *x, const hone_node *node, const hone_pass *pass) {
    const scale_attributes *a = (const void *)node->attributes;
    pass->kernels->scale(x, x, hone_tensor_count(node->out[0]), a->factor);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    scale(node->out[0]->data, node, pass);
}

/* The gradient is scaled where it lies. */
static void backward(const hone_node *node, const hone_pass *pass) {
    scale(node->out[0]->grad->data, node, pass);
    hone_node_pass_grad(node, pass, 0);
}

const hone_op hone_op_scale = {
    .name = "scale",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
};

hone_status hone_scale(hone_tensor **y, hone_tape *tape, hone_tensor *x, double factor) {
    scale_attributes a = {factor};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_scale, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
