#include "autograd/ops.h"

#include <assert.h>

typedef struct store_attributes {
    hone_real *into;
} store_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    (void)tape;
    (void)node;
    return HONE_OK;
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const store_attributes *a = (const void *)node->attributes;
    pass->kernels->copy(a->into, node->in[0]->data, hone_tensor_count(node->in[0]));
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    (void)pass;
    out->bytes = 2 * hone_tensor_bytes(node->in[0]);
}

const hone_op hone_op_store = {
    .name = "store",
    .shape = shape,
    .forward = forward,
    .work = work,
};

hone_status hone_store(hone_tape *tape, hone_tensor *x, hone_tensor *into, int64_t at) {
    assert(into->dtype == HONE_REAL && x->shape[1] == into->shape[1]);
    assert(at >= 0 && at + x->shape[0] <= into->shape[0]);
    store_attributes a = {(hone_real *)into->data + at * into->shape[1]};
    hone_node *node;
    return hone_tape_record(&node, tape, &hone_op_store, (hone_tensor *[4]){x}, &a, sizeof a);
}
