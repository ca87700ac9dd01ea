#include <assert.h>

#include "autograd/ops.h"

typedef struct gated_attributes {
    hone_activation_kind kind;
    int64_t room; /* of rounded ones */
} gated_attributes;

enum { IN_GATE, IN_UP };

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_tensor *gate = node->in[IN_GATE];
    node->saved_in = 1u << IN_GATE | 1u << IN_UP;
    return hone_node_output(tape, node, 0, "gated", gate->shape[0], gate->shape[1]);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const gated_attributes *a = (const void *)node->attributes;
    pass->kernels->gated_fwd(node->out[0]->data, node->in[IN_GATE]->data, node->in[IN_UP]->data,
                             hone_tensor_count(node->out[0]), a->kind);
}

/* gate and up are made for this call and feed nothing else, so that overwriting their gradients is right. */
static void backward(const hone_node *node, const hone_pass *pass) {
    const gated_attributes *a = (const void *)node->attributes;
    const hone_tensor *gate = node->in[IN_GATE], *up = node->in[IN_UP];
    assert(pass->beta[IN_GATE] == 0 && pass->beta[IN_UP] == 0);
    pass->kernels->gated_bwd(gate->grad->data, up->grad->data, node->out[0]->grad->data, gate->data,
                             up->data, hone_tensor_count(gate), a->kind);
}

const hone_op hone_op_gated = {
    .name = "gated",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .grads_of_all = true,
    .steals = true,
    .cheap = true,
    .rounds = true,
};

/* --- The same of what is rounded: all of it in bf16 --- */

static hone_status shape_rounded(hone_tape *tape, hone_node *node) {
    const gated_attributes *a = (const void *)node->attributes;
    const hone_tensor *gate = node->in[IN_GATE];
    int64_t tokens = gate->shape[0], width = gate->shape[1];
    node->saved_in = 1u << IN_GATE | 1u << IN_UP;
    HONE_TRY(hone_node_output_bf16(tape, node, 0, "gated", tokens, width, a->room));
    node->out[0]->grad_stride = hone_bf16_stride(width, 0);
    node->rounds_grads = 1u << IN_GATE | 1u << IN_UP;
    return HONE_OK;
}

static void forward_rounded(const hone_node *node, const hone_pass *pass) {
    const gated_attributes *a = (const void *)node->attributes;
    const hone_tensor *y = node->out[0], *gate = node->in[IN_GATE], *up = node->in[IN_UP];
    pass->kernels->gated_fwd_bf16(y->data, y->stride, gate->data, up->data, gate->stride,
                                  y->shape[0], y->shape[1], a->kind);
}

static void backward_rounded(const hone_node *node, const hone_pass *pass) {
    const gated_attributes *a = (const void *)node->attributes;
    const hone_tensor *gate = node->in[IN_GATE], *up = node->in[IN_UP];
    const hone_tensor *dgate = gate->grad, *dup = up->grad, *dy = node->out[0]->grad;
    assert(pass->beta[IN_GATE] == 0 && pass->beta[IN_UP] == 0 && dy->dtype == HONE_BF16);
    pass->kernels->gated_bwd_bf16(dgate->data, dgate->stride, dup->data, dup->stride, dy->data,
                                  dy->stride, gate->data, up->data, gate->stride, gate->shape[0],
                                  gate->shape[1], a->kind);
}

const hone_op hone_op_gated_rounded = {
    .name = "gated",
    .shape = shape_rounded,
    .forward = forward_rounded,
    .backward = backward_rounded,
    .grads_of_all = true,
    .cheap = true,
};

hone_status hone_gated(hone_tensor **y, hone_tape *tape, hone_tensor *gate, hone_tensor *up,
                       hone_activation_kind kind, int64_t room) {
    assert(hone_tensor_count(gate) == hone_tensor_count(up) && gate->dtype == up->dtype);
    bool rounded = gate->dtype == HONE_BF16;
    gated_attributes a = {kind, room};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, rounded ? &hone_op_gated_rounded : &hone_op_gated,
                              (hone_tensor *[4]){gate, up}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
