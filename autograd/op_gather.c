#include "autograd/ops.h"

#include <assert.h>

typedef struct gather_attributes {
    const int32_t *rows;
    int64_t count;
} gather_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    const gather_attributes *a = (const void *)node->attributes;
    return hone_node_output(tape, node, 0, "rows", a->count, node->in[0]->shape[1]);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const gather_attributes *a = (const void *)node->attributes;
    pass->kernels->gather_rows(node->out[0]->data, node->in[0]->data, a->rows, a->count,
                               node->in[0]->shape[1]);
}

/* x feeds nothing else: its gradient is zero but for the rows taken. */
static void backward(const hone_node *node, const hone_pass *pass) {
    const gather_attributes *a = (const void *)node->attributes;
    const hone_tensor *x = node->in[0];
    assert(pass->beta[0] == 0);
    pass->kernels->zero(x->grad->data, hone_tensor_count(x));
    pass->kernels->scatter_rows(x->grad->data, node->out[0]->grad->data, a->rows, a->count,
                                x->shape[1]);
}

/* Forward reads no row but those taken. */
static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    (void)pass;
    if (out->phase != HONE_BACKWARD) out->bytes = 2 * hone_tensor_bytes(node->out[0]);
}

const hone_op hone_op_gather = {
    .name = "gather",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .work = work,
};

hone_status hone_gather(hone_tensor **y, hone_tape *tape, hone_tensor *x, const int32_t *rows,
                        int64_t n) {
    gather_attributes a = {rows, n};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_gather, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
