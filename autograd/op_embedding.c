#include <assert.h>

#include "autograd/ops.h"

typedef struct embedding_attributes {
    const int32_t *ids;
    int64_t tokens;
} embedding_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    const embedding_attributes *a = (const void *)node->attributes;
    return hone_node_output(tape, node, 0, "embedding", a->tokens, node->in[0]->shape[1]);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const embedding_attributes *a = (const void *)node->attributes;
    const hone_tensor *table = node->in[0];
    pass->kernels->embedding_fwd(node->out[0]->data, a->ids, table->data, table->dtype, a->tokens,
                                 table->shape[1]);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const embedding_attributes *a = (const void *)node->attributes;
    pass->kernels->embedding_bwd(node->in[0]->grad->data, a->ids, node->out[0]->grad->data,
                                 a->tokens, node->in[0]->shape[1]);
}

/* Of the table, the rows of the tokens; backward adds to them. */
static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    (void)pass;
    const hone_tensor *table = node->in[0], *y = node->out[0];
    double row = hone_tensor_bytes(table) / (double)table->shape[0];
    out->weights = table->dtype;
    out->bytes =
        hone_tensor_bytes(y) + (out->phase == HONE_BACKWARD ? 2 : 1) * row * (double)y->shape[0];
}

const hone_op hone_op_embedding = {
    .name = "embedding",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .work = work,
};

hone_status hone_embedding(hone_tensor **y, hone_tape *tape, hone_tensor *table, const int32_t *ids,
                           int64_t tokens) {
    assert(table->dims == 2);
    embedding_attributes a = {ids, tokens};
    hone_node *node;
    HONE_TRY(
        hone_tape_record(&node, tape, &hone_op_embedding, (hone_tensor *[4]){table}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
