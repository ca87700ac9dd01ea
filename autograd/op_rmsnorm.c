#include <assert.h>

#include "autograd/ops.h"

typedef struct rmsnorm_attributes {
    double epsilon;
    int64_t room;
} rmsnorm_attributes;

enum { IN_X, IN_W };
enum { OUT_Y, OUT_RSTD };

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_tensor *x = node->in[IN_X];
    int64_t groups = x->shape[1] / hone_tensor_count(node->in[IN_W]);
    node->saved_in = 1u << IN_X | 1u << IN_W;
    node->saved_out = 1u << OUT_RSTD;
    const rmsnorm_attributes *a = (const void *)node->attributes;
    HONE_TRY(hone_node_output_bf16(tape, node, OUT_Y, "norm", x->shape[0], x->shape[1], a->room));
    return hone_node_output(tape, node, OUT_RSTD, "norm statistics", x->shape[0], groups);
}

/* To the kernels, groups are rows of their own. */
static void forward(const hone_node *node, const hone_pass *pass) {
    const rmsnorm_attributes *a = (const void *)node->attributes;
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    const hone_tensor *y = node->out[OUT_Y], *rstd = node->out[OUT_RSTD];
    int64_t width = hone_tensor_count(w);
    if (y->dtype == HONE_BF16) {
        pass->kernels->rmsnorm_fwd_bf16(y->data, y->stride, rstd->data, x->data, w->data,
                                        x->shape[0], width, a->epsilon);
        return;
    }
    pass->kernels->rmsnorm_fwd(y->data, rstd->data, x->data, w->data, hone_tensor_count(x) / width,
                               width, a->epsilon);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[IN_X];
    const hone_tensor *w = node->in[IN_W];
    int64_t width = hone_tensor_count(w);
    bool wants_x = x->needs_grad;
    /* Where only the gain is trained, dx goes where dy lies and is dropped. */
    void *dx = wants_x ? x->grad->data : node->out[OUT_Y]->grad->data;
    pass->kernels->rmsnorm_bwd(dx, w->needs_grad ? w->grad->data : NULL,
                               node->out[OUT_Y]->grad->data, x->data, w->data,
                               node->out[OUT_RSTD]->data, hone_tensor_count(x) / width, width,
                               wants_x ? pass->beta[IN_X] : 0);
}

const hone_op hone_op_rmsnorm = {
    .name = "rmsnorm",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
    .cheap = true,
    .rounds = true,
};

hone_status hone_rmsnorm(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                         double epsilon, int64_t room) {
    assert(w->dtype == HONE_REAL && x->shape[1] % hone_tensor_count(w) == 0);
    assert(room == HONE_NOT_ROUNDED || x->shape[1] == hone_tensor_count(w));
    rmsnorm_attributes a = {epsilon, room};
    hone_node *node;
    HONE_TRY(
        hone_tape_record(&node, tape, &hone_op_rmsnorm, (hone_tensor *[4]){x, w}, &a, sizeof a));
    *y = node->out[OUT_Y];
    return HONE_OK;
}
