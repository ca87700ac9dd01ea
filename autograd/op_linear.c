#include <assert.h>

#include "autograd/ops.h"
#include "autograd/product.h"
#include "base/size.h"

typedef struct linear_attributes {
    double scale;
    hone_dropout dropout;
    const hone_tensor *bias; /* NULL: none */
    bool rounds;             /* y is in bf16 */
} linear_attributes;

enum { IN_X, IN_W, IN_A, IN_B };
enum { OUT_Y, OUT_T }; /* t [T,R] = dropout(x) a^T; of a rounded x [T,room] in bf16 */

/* Parts of a pass with names of their own. */
static const char lora_part[] = "lora", quantize_part[] = "quantize";

static bool has_lora(const hone_node *node) {
    return node->in[IN_A] != NULL;
}

static bool drops(const hone_node *node) {
    const linear_attributes *at = (const void *)node->attributes;
    return has_lora(node) && at->dropout.rate > 0;
}

/* x is there in bf16, and the factors are a part of the product. */
static bool is_rounded(const hone_node *node) {
    return node->in[IN_X]->dtype == HONE_BF16;
}

/* The scratch of a pass: that of the products with w and with the factors; dropout's [T,in]; the gradient of t [T,R]. */
typedef struct scratch {
    void *product;
    void *factors;
    hone_real *dropped;
    hone_real *dt;
    size_t bytes;
} scratch;

/* Cuts the next part off the workspace; without one, only counts. */
static void *cut(scratch *s, void *workspace, size_t bytes) {
    void *part = workspace ? (unsigned char *)workspace + s->bytes : NULL;
    s->bytes += hone_whole_lines(bytes);
    return part;
}

static hone_lora_shape lora_shape(const hone_node *node) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *a = node->in[IN_A], *b = node->in[IN_B];
    return (hone_lora_shape){node->in[IN_X]->shape[0],
                             a->shape[1],
                             b->shape[0],
                             a->shape[0],
                             at->scale,
                             hone_product_mode(node->in[IN_W]) != NULL};
}

/* The layer as products of rounded rows take it. */
static hone_bf16_linear layer_of(const hone_node *node) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    const hone_tensor *a = node->in[IN_A], *b = node->in[IN_B];
    int64_t rank = a ? a->shape[0] : 0;
    return (hone_bf16_linear){.w = w->data,
                              .type = w->dtype,
                              .bias = at->bias ? at->bias->data : NULL,
                              .a = a ? a->data : NULL,
                              .b = b ? b->data : NULL,
                              .tokens = x->shape[0],
                              .in = w->shape[1],
                              .out = w->shape[0],
                              .rank = rank,
                              .scale = at->scale,
                              .x_stride = x->stride,
                              .dy_stride = hone_bf16_stride(w->shape[0], rank),
                              .y_stride = at->rounds ? hone_bf16_stride(w->shape[0], 0) : 0,
                              .dx_stride = x->grad_stride};
}

static hone_status shape(hone_tape *tape, hone_node *node) {
    const linear_attributes *at = (const void *)node->attributes;
    int64_t tokens = node->in[IN_X]->shape[0];
    HONE_TRY(hone_node_output_bf16(tape, node, OUT_Y, "linear", tokens, node->in[IN_W]->shape[0],
                                   at->rounds ? 0 : HONE_NOT_ROUNDED));
    if (is_rounded(node)) {
        node->out[OUT_Y]->grad_stride = layer_of(node).dy_stride;
        node->rounds_grads = 1u << IN_X;
    }
    if (hone_node_wants_grad(node, IN_A) || hone_node_wants_grad(node, IN_W)) {
        node->saved_in |= 1u << IN_X;
    }
    if (!has_lora(node)) return HONE_OK;
    if (hone_node_wants_grad(node, IN_B)) node->saved_out |= 1u << OUT_T;
    const hone_tensor *x = node->in[IN_X];
    int64_t rank = node->in[IN_A]->shape[0], room = x->stride - x->shape[1];
    return is_rounded(node) ? hone_node_output_bf16(tape, node, OUT_T, "lora", tokens, room, 0)
                            : hone_node_output(tape, node, OUT_T, "lora", tokens, rank);
}

/* The gradient of y in bf16 stands before the rest of a workspace, where it does not come so. */
static size_t rounded_bytes(const hone_node *node, const hone_bf16_linear *layer) {
    if (node->out[OUT_Y]->grad->dtype == HONE_BF16) return 0;
    return hone_whole_lines((size_t)(layer->tokens * layer->dy_stride) * sizeof(uint16_t));
}

static scratch divide(const hone_node *node, const hone_kernels *kernels, bool backward,
                      void *workspace) {
    const hone_tensor *w = node->in[IN_W];
    int64_t tokens = node->in[IN_X]->shape[0], in = w->shape[1];
    int64_t rank = has_lora(node) ? node->in[IN_A]->shape[0] : 0;
    scratch s = {0};
    s.product = cut(&s, workspace, hone_product_workspace(kernels, w, tokens, rank, backward));
    s.factors = cut(&s, workspace, has_lora(node) ? kernels->lora_workspace(lora_shape(node)) : 0);
    s.dropped = cut(&s, workspace, drops(node) ? (size_t)(tokens * in) * sizeof(hone_real) : 0);
    s.dt = cut(&s, workspace, backward ? (size_t)(tokens * rank) * sizeof(hone_real) : 0);
    return s;
}

static size_t workspace(const hone_node *node, const hone_kernels *kernels, bool backward) {
    if (is_rounded(node)) {
        hone_bf16_linear layer = layer_of(node);
        return kernels->bf16_workspace(&layer) + (backward ? rounded_bytes(node, &layer) : 0);
    }
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

/* y = x w^T + low. */
static void product(const hone_node *node, const hone_pass *pass, const scratch *s,
                    const hone_low_rank *low) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    if (hone_product_quantize(pass->kernels, s->product, x->data, w, x->shape[0], false))
        hone_pass_part(node, pass, quantize_part);
    hone_product_fwd(pass->kernels, node->out[OUT_Y]->data, x->data, w, low, x->shape[0],
                     s->product);
}

static void adapted(const hone_node *node, const hone_pass *pass, const scratch *s) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *a = node->in[IN_A];
    hone_real *t = node->out[OUT_T]->data;
    pass->kernels->lora_fwd(t, dropped_input(node, pass, s), a->data, lora_shape(node), s->factors);
    hone_pass_part(node, pass, lora_part);
    product(node, pass, s, &(hone_low_rank){t, node->in[IN_B]->data, a->shape[0], at->scale});
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *y = node->out[OUT_Y];
    if (is_rounded(node)) {
        hone_bf16_linear layer = layer_of(node);
        void *t = has_lora(node) ? node->out[OUT_T]->data : NULL;
        pass->kernels->bf16_fwd(y->data, t, node->in[IN_X]->data, &layer, pass->workspace);
        return;
    }
    scratch s = divide(node, pass->kernels, false, pass->workspace);
    if (has_lora(node)) {
        adapted(node, pass, &s);
    } else {
        product(node, pass, &s, NULL);
    }
    if (at->bias)
        pass->kernels->bias_fwd(y->data, y->data, at->bias->data, y->shape[0], y->shape[1]);
}

/* dx = dy w + low, or added to it. */
static void product_bwd(const hone_node *node, const hone_pass *pass, const scratch *s,
                        const hone_low_rank *low) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    const hone_real *dy = node->out[OUT_Y]->grad->data;
    if (hone_product_quantize(pass->kernels, s->product, dy, w, x->shape[0], true))
        hone_pass_part(node, pass, quantize_part);
    hone_product_bwd(pass->kernels, x->grad->data, dy, w, low, x->shape[0], pass->beta[IN_X],
                     s->product);
}

/* dt = scale dy b;  da += dt^T dropout(x);  db += scale dy^T t. */
static void factor_grads(const hone_node *node, const hone_pass *pass, const scratch *s) {
    const hone_tensor *a = node->in[IN_A], *b = node->in[IN_B];
    pass->kernels->lora_bwd(s->dt, a->needs_grad ? a->grad->data : NULL,
                            b->needs_grad ? b->grad->data : NULL, node->out[OUT_Y]->grad->data,
                            a->needs_grad ? dropped_input(node, pass, s) : NULL,
                            node->out[OUT_T]->data, b->data, lora_shape(node), s->factors);
}

/* dx += dropout'(dt a). */
static void dropped_grad(const hone_node *node, const hone_pass *pass, const scratch *s) {
    const linear_attributes *at = (const void *)node->attributes;
    const hone_tensor *x = node->in[IN_X], *a = node->in[IN_A];
    int64_t tokens = x->shape[0], rank = a->shape[0], in = a->shape[1];
    pass->kernels->gemm(s->dropped, s->dt, a->data, tokens, in, rank, false, false, rank, in, in, 1,
                        0);
    pass->kernels->dropout(x->grad->data, s->dropped, at->dropout, tokens, in, 1);
}

static void backward_rounded(const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[IN_X], *a = node->in[IN_A], *b = node->in[IN_B];
    hone_bf16_linear layer = layer_of(node);
    const hone_tensor *grad = node->out[OUT_Y]->grad;
    size_t before = rounded_bytes(node, &layer);
    uint16_t *dy = before ? pass->workspace : grad->data;
    if (before) pass->kernels->round_rows(dy, grad->data, layer.tokens, layer.out, layer.dy_stride);
    pass->kernels->bf16_bwd(x->needs_grad ? x->grad->data : NULL,
                            hone_node_wants_grad(node, IN_A) ? a->grad->data : NULL,
                            hone_node_wants_grad(node, IN_B) ? b->grad->data : NULL, dy, x->data,
                            a ? node->out[OUT_T]->data : NULL, &layer, pass->beta[IN_X],
                            (unsigned char *)pass->workspace + before);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    if (is_rounded(node)) {
        backward_rounded(node, pass);
        return;
    }
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W], *a = node->in[IN_A];
    const hone_real *dy = node->out[OUT_Y]->grad->data;
    int64_t tokens = x->shape[0], in = w->shape[1], out = w->shape[0];
    scratch s = divide(node, pass->kernels, true, pass->workspace);
    if (has_lora(node)) {
        factor_grads(node, pass, &s);
        hone_pass_part(node, pass, lora_part);
    }
    if (x->needs_grad) {
        hone_low_rank low = {s.dt, a ? a->data : NULL, a ? a->shape[0] : 0, 1};
        product_bwd(node, pass, &s, has_lora(node) && !drops(node) ? &low : NULL);
        if (drops(node)) dropped_grad(node, pass, &s);
    }
    if (w->needs_grad) {
        pass->kernels->gemm(w->grad->data, dy, x->data, out, in, tokens, true, false, out, in, in,
                            1, 1);
    }
}

/* What goes with the factors alone: t, or the gradients of a, b and t. */
static void work_of_lora(hone_work *work, const hone_node *node) {
    const hone_tensor *x = node->in[IN_X], *a = node->in[IN_A], *b = node->in[IN_B];
    double tokens = (double)x->shape[0], a_bytes = hone_tensor_bytes(a);
    double t_bytes = hone_tensor_bytes(node->out[OUT_T]);
    double with_a = 2 * tokens * (double)hone_tensor_count(a);
    double with_b = 2 * tokens * (double)hone_tensor_count(b);
    work->shape[0] = a->shape[1];
    work->shape[1] = a->shape[0];
    work->shape[2] = b->shape[0];
    if (work->phase != HONE_BACKWARD) {
        work->flops = with_a;
        work->bytes = hone_tensor_bytes(x) + a_bytes + t_bytes;
        return;
    }
    double b_bytes = hone_tensor_bytes(b);
    work->flops = with_b + (b->needs_grad ? with_b : 0) + (a->needs_grad ? with_a : 0);
    work->bytes = hone_tensor_bytes(node->out[OUT_Y]) + b_bytes + t_bytes +
                  (b->needs_grad ? t_bytes + 2 * b_bytes : 0) +
                  (a->needs_grad ? hone_tensor_bytes(x) + 2 * a_bytes : 0);
}

/* Reads x, or backward the gradient of y, for the product. */
static void work_of_quantize(hone_work *work, const hone_node *node) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    bool backward = work->phase == HONE_BACKWARD;
    work->shape[0] = w->shape[backward ? 0 : 1];
    work->bytes = hone_tensor_bytes(backward ? node->out[OUT_Y] : x) +
                  hone_product_rows_bytes(w, x->shape[0], backward);
}

/* Of x, or backward of the gradient of y, as the product reads it. */
static double rows_bytes(const hone_node *node, bool backward) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W];
    if (!is_rounded(node)) return hone_product_rows_bytes(w, x->shape[0], backward);
    return (double)(x->shape[0] * w->shape[backward ? 0 : 1]) * sizeof(uint16_t);
}

/* The weight beside the factors is written, and read again. */
static double slab_bytes(const hone_tensor *w) {
    return 2 * (double)hone_tensor_count(w) * sizeof(uint16_t);
}

/* The product with w and the low-rank part that is added to its result. */
static void work_of_product(hone_work *work, const hone_node *node, const hone_pass *pass) {
    const hone_tensor *x = node->in[IN_X], *w = node->in[IN_W], *a = node->in[IN_A];
    double tokens = (double)x->shape[0], x_bytes = hone_tensor_bytes(x);
    double w_bytes = hone_product_weight_bytes(w), y_bytes = hone_tensor_bytes(node->out[OUT_Y]);
    double product = 2 * tokens * (double)hone_tensor_count(w);
    work->shape[0] = w->shape[1];
    work->shape[1] = w->shape[0];
    work->weights = w->dtype;
    work->mode = hone_product_mode(w);
    work->bytes = is_rounded(node) && a ? slab_bytes(w) : 0;
    if (work->phase != HONE_BACKWARD) {
        work->flops = product + (a ? 2 * tokens * (double)hone_tensor_count(node->in[IN_B]) : 0);
        work->bytes += rows_bytes(node, false) + w_bytes + y_bytes;
        return;
    }
    if (x->needs_grad) {
        work->flops += product + (a ? 2 * tokens * (double)hone_tensor_count(a) : 0);
        work->bytes += rows_bytes(node, true) + w_bytes +
                       (1 + (double)pass->beta[IN_X]) * hone_tensor_bytes(x->grad);
    }
    if (w->needs_grad) {
        work->flops += product;
        work->bytes += y_bytes + x_bytes + 2 * w_bytes;
    }
}

static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    if (out->name == lora_part) {
        work_of_lora(out, node);
    } else if (out->name == quantize_part) {
        work_of_quantize(out, node);
    } else {
        work_of_product(out, node, pass);
        if (!is_rounded(node) || !has_lora(node)) return;
        hone_work of_lora = *out;
        work_of_lora(&of_lora, node);
        out->flops += of_lora.flops;
        out->bytes += of_lora.bytes;
    }
}

const hone_op hone_op_linear = {
    .name = "linear",
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
    .work = work,
    .rounds = true,
};

static hone_status record(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                          const hone_lora *lora, linear_attributes at) {
    assert(x->shape[1] == w->shape[1]);
    assert(!lora || (lora->a->shape[1] == w->shape[1] && lora->b->shape[0] == w->shape[0] &&
                     lora->a->shape[0] == lora->b->shape[1]));
    assert(
        x->dtype == HONE_REAL || !lora ||
        (lora->dropout.rate == 0 && x->stride >= hone_bf16_stride(x->shape[1], lora->a->shape[0])));
    hone_tensor *in[HONE_NODE_INPUTS] = {x, w};
    if (lora) {
        at.scale = lora->scale;
        at.dropout = lora->dropout;
        in[IN_A] = lora->a;
        in[IN_B] = lora->b;
    }
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_linear, in, &at, sizeof at));
    *y = node->out[OUT_Y];
    return HONE_OK;
}

hone_status hone_linear(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                        const hone_lora *lora, const hone_tensor *b) {
    return record(y, tape, x, w, lora, (linear_attributes){.bias = b});
}

hone_status hone_linear_rounded(hone_tensor **y, hone_tape *tape, hone_tensor *x, hone_tensor *w,
                                const hone_lora *lora) {
    assert(x->dtype == HONE_BF16);
    return record(y, tape, x, w, lora, (linear_attributes){.rounds = true});
}
