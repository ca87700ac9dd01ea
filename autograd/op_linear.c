#include <assert.h>

#include "autograd/ops.h"

typedef struct linear_attributes {
    double scale;
    hone_dropout dropout;
} linear_attributes;

enum { IN_X, IN_W, IN_A, IN_B };
enum { OUT_Y, OUT_T }; /* t [T,R] = dropout(x) a^T */

static bool has_lora(const hone_node *node) {
    return node->in[IN_A] != NULL;
}

static bool drops(const hone_node *node) {
    const linear_attributes *at = (const void *)node->attributes;
    return has_lora(node) && at->dropout.rate > 0;
}

static hone_status shape(hone_tape *tape, hone_node *node) {
    int64_t tokens = node->in[IN_X]->shape[0];
    HONE_TRY(hone_node_output(tape, node, OUT_Y, "linear", tokens, node->in[IN_W]->shape[0]));
    if (hone_node_wants_grad(node, IN_A) || hone_node_wants_grad(node, IN_W)) {
        node->saved_in |= 1u << IN_X;
    }
    if (!has_lora(node)) return HONE_OK;
    if (hone_node_wants_grad(node, IN_B)) node->saved_out |= 1u << OUT_T;
    return hone_node_output(tape, node, OUT_T, "lora", tokens, node->in[IN_A]->shape[0]);
}

/* The scratch of a pass: tiles of dequantised weights; dropout's [T,in]; the gradient of t [T,R]. */
typedef struct scratch {
    unsigned char *tiles;
    hone_real *dropped;
    hone_real *dt;
    size_t bytes;
} scratch;

static scratch divide(const hone_node *node, const hone_kernels *kernels, bool backward,
                      void *workspace) {
    const hone_tensor *w = node->in[IN_W];
    int64_t tokens = node->in[IN_X]->shape[0];
    size_t tiles =
        hone_whole_lines(kernels->linear_workspace(w->dtype, tokens, w->shape[1], w->shape[0]));
    size_t dropped = drops(node) ? (size_t)(tokens * w->shape[1]) * sizeof(hone_real) : 0;
    size_t dt = backward && has_lora(node)
                    ? (size_t)(tokens * node->in[IN_A]->shape[0]) * sizeof(hone_real)
                    : 0;
    unsigned char *base = workspace;
    size_t at_dt = tiles + hone_whole_lines(dropped);
    return (scratch){
        .tiles = base,
        .dropped = base ? (hone_real *)(void *)(base + tiles) : NULL,
        .dt = base ? (hone_real *)(void *)(base + at_dt) : NULL,
        .bytes = at_dt + hone_whole_lines(dt),
    };
}

static size_t workspace(const hone_node *node, const hone_kernels *kernels, bool backward) {
    return divide(node, kernels, backward, NULL).bytes;
}

/* dropout(x), drawn anew: the same call gives the same elements. */
static const hone_real *dropped_input(const hone_node *node, const hone_pass *pass,
                                      const scratch *s) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *x = node->in[IN_X];
    if (!drops(node)) return x->data;
    pass->kernels->dropout(s->dropped, x->data, at->dropout, x->shape[0], x->shape[1], 0);
    return s->dropped;
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_kernels *kernels = pass->kernels;
    const hone_tensor *x = node->in[IN_X];
    const hone_tensor *w = node->in[IN_W];
    int64_t tokens = x->shape[0], in = w->shape[1], out = w->shape[0];
    scratch s = divide(node, kernels, false, pass->workspace);
    kernels->linear_fwd(node->out[OUT_Y]->data, x->data, w->data, w->dtype, tokens, in, out, 0,
                        s.tiles);
    if (!has_lora(node)) return;
    hone_pass_part(node, pass, "lora");
    const hone_tensor *a = node->in[IN_A];
    const hone_tensor *b = node->in[IN_B];
    int64_t rank = a->shape[0];
    hone_real *t = node->out[OUT_T]->data;
    kernels->gemm(t, dropped_input(node, pass, &s), a->data, tokens, rank, in, false, true, in, in,
                  rank, 1, 0);
    kernels->gemm(node->out[OUT_Y]->data, t, b->data, tokens, out, rank, false, true, rank, rank,
                  out, (hone_real)at->scale, 1);
}

/* da += dt^T dropout(x);  db += scale dy^T t;  dx += dropout'(dt a), with dt = scale dy b. */
static void backward_lora(const hone_node *node, const hone_pass *pass, const scratch *s) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_kernels *kernels = pass->kernels;
    const hone_tensor *x = node->in[IN_X];
    const hone_tensor *a = node->in[IN_A];
    const hone_tensor *b = node->in[IN_B];
    const hone_real *dy = node->out[OUT_Y]->grad->data;
    int64_t tokens = x->shape[0], rank = a->shape[0], in = a->shape[1], out = b->shape[0];
    hone_real scale = (hone_real)at->scale;
    kernels->gemm(s->dt, dy, b->data, tokens, rank, out, false, false, out, rank, rank, scale, 0);
    if (b->needs_grad) {
        kernels->gemm(b->grad->data, dy, node->out[OUT_T]->data, out, rank, tokens, true, false,
                      out, rank, rank, scale, 1);
    }
    if (a->needs_grad) {
        kernels->gemm(a->grad->data, s->dt, dropped_input(node, pass, s), rank, in, tokens, true,
                      false, rank, in, in, 1, 1);
    }
    if (!x->needs_grad) return;
    if (!drops(node)) {
        kernels->gemm(x->grad->data, s->dt, a->data, tokens, in, rank, false, false, rank, in, in,
                      1, 1);
        return;
    }
    kernels->gemm(s->dropped, s->dt, a->data, tokens, in, rank, false, false, rank, in, in, 1, 0);
    kernels->dropout(x->grad->data, s->dropped, at->dropout, tokens, in, 1);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_kernels *kernels = pass->kernels;
    const hone_tensor *x = node->in[IN_X];
    const hone_tensor *w = node->in[IN_W];
    const hone_real *dy = node->out[OUT_Y]->grad->data;
    int64_t tokens = x->shape[0], in = w->shape[1], out = w->shape[0];
    scratch s = divide(node, kernels, true, pass->workspace);
    if (x->needs_grad) {
        kernels->linear_bwd(x->grad->data, dy, w->data, w->dtype, tokens, in, out, pass->beta[IN_X],
                            s.tiles);
    }
    if (w->needs_grad) {
        kernels->gemm(w->grad->data, dy, x->data, out, in, tokens, true, false, out, in, in, 1, 1);
    }
    if (!has_lora(node)) return;
    hone_pass_part(node, pass, "lora");
    backward_lora(node, pass, &s);
}

static void work_of_product(hone_work *work, const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    double x_bytes = hone_tensor_bytes(x), w_bytes = hone_tensor_bytes(w);
    double y_bytes = hone_tensor_bytes(node->out[OUT_Y]);
    double product = 2 * (double)x->shape[0] * (double)hone_tensor_count(w);
    work->shape[0] = w->shape[1];
    work->shape[1] = w->shape[0];
    work->weights = w->dtype;
    if (work->phase != HONE_BACKWARD) {
        work->flops = product;
        work->bytes = x_bytes + w_bytes + y_bytes;
        return;
    }
    work->bytes = 0;
    if (x->needs_grad) {
        work->flops += product;
        work->bytes += y_bytes + w_bytes + (1 + (double)pass->beta[IN_X]) * x_bytes;
    }
    if (w->needs_grad) {
        work->flops += product;
        work->bytes += y_bytes + x_bytes + 2 * w_bytes;
    }
}

static void work_of_lora(hone_work *work, const hone_node *node) {
    const hone_tensor *x = node->in[IN_X], *a = node->in[IN_A], *b = node->in[IN_B];
    double x_bytes = hone_tensor_bytes(x), y_bytes = hone_tensor_bytes(node->out[OUT_Y]);
    double t_bytes = hone_tensor_bytes(node->out[OUT_T]);
    double a_bytes = hone_tensor_bytes(a), b_bytes = hone_tensor_bytes(b);
    double with_a = 2 * (double)x->shape[0] * (double)hone_tensor_count(a);
    double with_b = 2 * (double)x->shape[0] * (double)hone_tensor_count(b);
    work->shape[0] = a->shape[1];
    work->shape[1] = a->shape[0];
    work->shape[2] = b->shape[0];
    if (work->phase != HONE_BACKWARD) {
        work->flops = with_a + with_b;
        work->bytes = x_bytes + a_bytes + b_bytes + t_bytes + 2 * y_bytes;
        return;
    }
    work->flops = with_b + (b->needs_grad ? with_b : 0) + (a->needs_grad ? with_a : 0) +
                  (x->needs_grad ? with_a : 0);
    work->bytes = y_bytes + b_bytes + (b->needs_grad ? t_bytes + 2 * b_bytes : 0) +
                  (a->needs_grad ? x_bytes + 2 * a_bytes : 0) +
                  (x->needs_grad ? a_bytes + 2 * x_bytes : 0);
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    if (out->part == 0) {
        work_of_product(out, node, pass);
    } else {
        work_of_lora(out, node);
    }
}

const hone_op hone_op_linear = {
    .name = "linear",
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
    .work = work,
};

hone_status hone_linear(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                        const hone_lora *lora) {
    assert(x->shape[1] == w->shape[1]);
    assert(!lora || (lora->a->shape[1] == w->shape[1] && lora->b->shape[0] == w->shape[0] &&
                     lora->a->shape[0] == lora->b->shape[1]));
    linear_attributes at = {0};
    hone_tensor *in[HONE_NODE_INPUTS] = {x, w};
    if (lora) {
        at = (linear_attributes){lora->scale, lora->dropout};
        in[IN_A] = lora->a;
        in[IN_B] = lora->b;
    }
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_linear, in, &at, sizeof at));
    *y = node->out[OUT_Y];
    return HONE_OK;
}
