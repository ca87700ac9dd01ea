#include <assert.h>

#include "autograd/ops.h"

enum { IN_Q, IN_K, IN_V };
enum { OUT_O, OUT_LSE };

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_attention_call *call = (const void *)node->attributes;
    const hone_tensor *q = node->in[IN_Q];
    node->saved_in = 1u << IN_Q | 1u << IN_K | 1u << IN_V;
    node->saved_out = 1u << OUT_O | 1u << OUT_LSE;
    HONE_TRY(hone_node_output(tape, node, OUT_O, "attention", q->shape[0], q->shape[1]));
    return hone_node_output(tape, node, OUT_LSE, "attention statistics", q->shape[0],
                            call->shape.heads);
}

static size_t workspace(const hone_node *node, const hone_kernels *kernels, bool backward) {
    const hone_attention_call *call = (const void *)node->attributes;
    return kernels->attention_workspace(call->shape, call->max_q, call->max_k, backward);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const hone_attention_call *call = (const void *)node->attributes;
    pass->kernels->attention_fwd(node->out[OUT_O]->data, node->out[OUT_LSE]->data,
                                 node->in[IN_Q]->data, node->in[IN_K]->data, node->in[IN_V]->data,
                                 call->segments, call->shape, pass->workspace);
}

/* q, k and v are made for this call and feed nothing else, so that overwriting their gradients is right. */
static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_attention_call *call = (const void *)node->attributes;
    const hone_tensor *q = node->in[IN_Q], *k = node->in[IN_K], *v = node->in[IN_V];
    assert(pass->beta[IN_Q] == 0 && pass->beta[IN_K] == 0 && pass->beta[IN_V] == 0);
    pass->kernels->attention_bwd(q->grad->data, k->grad->data, v->grad->data,
                                 node->out[OUT_O]->grad->data, q->data, k->data, v->data,
                                 node->out[OUT_O]->data, node->out[OUT_LSE]->data, call->segments,
                                 call->shape, pass->workspace);
}

/* Forward: scores and their sum of values. Backward: scores again, and the gradients of probabilities, q, k and v. */
static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    const hone_attention_call *call = (const void *)node->attributes;
    double pairs = pass->kernels->attention_pairs(call->segments, call->shape);
    double products = out->phase == HONE_BACKWARD ? 5 : 2;
    out->shape[0] = call->shape.heads;
    out->shape[1] = call->shape.kv_heads;
    out->shape[2] = call->shape.head_size;
    out->flops = products * 2 * pairs * (double)(call->shape.heads * call->shape.head_size);
}

const hone_op hone_op_attention = {
    .name = "attention",
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
    .work = work,
    .grads_of_all = true,
};

hone_status hone_attention(hone_tensor **o, hone_tape *tape, hone_tensor *q, hone_tensor *k,
                           hone_tensor *v, const hone_attention_call *call) {
    assert(q->shape[1] == call->shape.heads * call->shape.head_size);
    assert(k->shape[1] == call->shape.kv_heads * call->shape.head_size);
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_attention, (hone_tensor *[4]){q, k, v}, call,
                              sizeof *call));
    *o = node->out[OUT_O];
    return HONE_OK;
}
