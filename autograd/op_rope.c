#include <assert.h>

#include "autograd/ops.h"

typedef struct rope_attributes {
    const hone_real *cosine, *sine;
    const int32_t *positions;
    hone_rope_shape shape;
} rope_attributes;

static hone_status shape(hone_tape *tape, hone_node *node) {
    return hone_node_output_in_place(tape, node, "rope");
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const rope_attributes *a = (const void *)node->attributes;
    pass->kernels->rope(node->out[0]->data, a->cosine, a->sine, a->positions, a->shape, false);
}

/* A rotation's gradient is the gradient turned back, which is done where it lies. */
static void backward(const hone_node *node, const hone_pass *pass) {
    const rope_attributes *a = (const void *)node->attributes;
    pass->kernels->rope(node->out[0]->grad->data, a->cosine, a->sine, a->positions, a->shape, true);
    hone_node_pass_grad(node, pass, 0);
}

const hone_op hone_op_rope = {
    .name = "rope",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .steals = true,
};

hone_status hone_rope(hone_tensor **y, hone_tape *tape, hone_tensor *x, const hone_real *cosine,
                      const hone_real *sine, const int32_t *positions, hone_rope_shape shape_) {
    assert(shape_.tokens == x->shape[0] && shape_.heads * shape_.head_size == x->shape[1]);
    rope_attributes a = {cosine, sine, positions, shape_};
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_rope, (hone_tensor *[4]){x}, &a, sizeof a));
    *y = node->out[0];
    return HONE_OK;
}
