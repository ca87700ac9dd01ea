#include "autograd/ops.h"

typedef struct round_attributes {
    int64_t room;
} round_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    const round_attributes *a = (const void *)node->attributes;
    const hone_tensor *x = node->in[0];
    return hone_node_output_bf16(tape, node, 0, "rounded", x->shape[0], x->shape[1], a->room);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[0], *y = node->out[0];
    pass->kernels->round_rows(y->data, x->data, x->shape[0], x->shape[1], y->stride);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    hone_node_pass_grad(node, pass, 0);
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    if (out->phase == HONE_BACKWARD) out->bytes = hone_node_pass_grad_bytes(node, pass, 0);
}

const hone_op hone_op_round = {
    .name = "round",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .work = work,
    .steals = true,
    .cheap = true,
};

hone_status hone_round(hone_tensor **y, hone_tape *tape, hone_tensor *x, int64_t room) {
    round_attributes a = {room};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_round, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
