#include <assert.h>

#include "autograd/ops.h"
#include "autograd/product.h"
#include "base/size.h"

enum { IN_H, IN_W };
enum { OUT_LOSSES, OUT_DH }; /* dh [N,C]: the gradient of the gathered rows */

/* Rows of logits that exist at once, at most: whole tiles of the kernels, as many as make converting the weights for them take
 * little beside their product, and fewer where the vocabulary is so large that they would take much memory. */
typedef struct chunk_limits {
    int64_t rows, bytes, tile;
} chunk_limits;

static const chunk_limits of_processors = {264, 160 << 20, 24};
/* Whose products are many times as fast beside their memory, in which a quantised head is converted once for each chunk and
 * pass. 512 rows of 131,072 logits fit. */
static const chunk_limits of_gpus = {1024, 256 << 20, 128};

static chunk_limits limits_of(const hone_kernels *kernels) {
    return kernels->bf16_fwd ? of_gpus : of_processors;
}

static int64_t most_rows(const hone_node *node, const hone_kernels *kernels) {
    const hone_loss_call *call = (const void *)node->attributes;
    chunk_limits limits = limits_of(kernels);
    int64_t row_bytes = (int64_t)sizeof(hone_real) * node->in[IN_W]->shape[0];
    int64_t rows = limits.bytes / row_bytes / limits.tile * limits.tile;
    if (rows < limits.tile) rows = limits.tile;
    if (rows > limits.rows) rows = limits.rows;
    return rows < call->count ? rows : call->count;
}

/* Rows of a chunk: all about the same, in whole tiles. */
static int64_t chunk_rows(const hone_node *node, const hone_kernels *kernels) {
    const hone_loss_call *call = (const void *)node->attributes;
    int64_t most = most_rows(node, kernels), tile = limits_of(kernels).tile;
    if (most == call->count) return most;
    int64_t chunks = (call->count + most - 1) / most;
    return ((call->count + chunks - 1) / chunks + tile - 1) / tile * tile;
}

/* Whether products are taken of rows that lie rounded: those of the gradient do, as the loss leaves them, 2 V apart. */
static bool is_rounded(const hone_tensor *w, const hone_kernels *kernels) {
    int64_t vocabulary = w->shape[0];
    return hone_product_takes_rounded(kernels, w) &&
           hone_bf16_stride(vocabulary, 0) <= 2 * vocabulary;
}

/* The head as such a layer. */
static hone_bf16_linear layer_of(const hone_tensor *w, int64_t rows) {
    return (hone_bf16_linear){.w = w->data,
                              .type = w->dtype,
                              .tokens = rows,
                              .in = w->shape[1],
                              .out = w->shape[0],
                              .x_stride = hone_bf16_stride(w->shape[1], 0),
                              .dy_stride = 2 * w->shape[0]};
}

static hone_status shape(hone_tape *tape, hone_node *node) {
    const hone_loss_call *call = (const void *)node->attributes;
    const hone_tensor *h = node->in[IN_H];
    HONE_TRY(hone_node_output(tape, node, OUT_LOSSES, "losses", call->count, 1));
    if (!node->out[OUT_LOSSES]->needs_grad) return HONE_OK;
    node->saved_out = 1u << OUT_DH;
    return hone_node_output(tape, node, OUT_DH, "loss gradient", call->count, h->shape[1]);
}

typedef struct scratch {
    void *product;       /* of the hidden states, then of the gradients of logits */
    hone_real *gathered; /* [chunk,C] */
    uint16_t *rounded;   /* the same in bf16, where products are taken so; else NULL */
    hone_real *logits;   /* [chunk,V] */
    size_t bytes;
} scratch;

static size_t product_bytes(const hone_tensor *w, const hone_kernels *kernels, int64_t rows) {
    if (is_rounded(w, kernels)) {
        hone_bf16_linear layer = layer_of(w, rows);
        return hone_whole_lines(kernels->bf16_workspace(&layer));
    }
    size_t fwd = hone_product_workspace(kernels, w, rows, 0, false);
    size_t bwd = hone_product_workspace(kernels, w, rows, 0, true);
    return fwd > bwd ? fwd : bwd;
}

/* The next part of a workspace, if there is one yet; `used` counts on. */
static void *cut(size_t *used, void *workspace, size_t bytes) {
    void *part = workspace ? (unsigned char *)workspace + *used : NULL;
    *used += hone_whole_lines(bytes);
    return part;
}

static scratch divide(const hone_node *node, const hone_kernels *kernels, void *workspace) {
    const hone_tensor *w = node->in[IN_W];
    size_t rows = (size_t)most_rows(node, kernels);
    size_t width = (size_t)w->shape[1], vocabulary = (size_t)w->shape[0];
    size_t stride = (size_t)hone_bf16_stride(w->shape[1], 0);
    scratch s = {0};
    s.product = cut(&s.bytes, workspace, product_bytes(w, kernels, (int64_t)rows));
    s.gathered = cut(&s.bytes, workspace, rows * width * sizeof *s.gathered);
    if (is_rounded(w, kernels))
        s.rounded = cut(&s.bytes, workspace, rows * stride * sizeof *s.rounded);
    s.logits = cut(&s.bytes, workspace, rows * vocabulary * sizeof *s.logits);
    return s;
}

static size_t workspace(const hone_node *node, const hone_kernels *kernels, bool backward) {
    return backward ? 0 : divide(node, kernels, NULL).bytes;
}

/* Logits of the rows that were gathered. */
static void run_head(const hone_tensor *w, const hone_kernels *kernels, const scratch *s,
                     int64_t rows) {
    if (s->rounded) {
        hone_bf16_linear layer = layer_of(w, rows);
        kernels->round_rows(s->rounded, s->gathered, rows, layer.in, layer.x_stride);
        kernels->bf16_fwd(s->logits, NULL, s->rounded, &layer, s->product);
        return;
    }
    hone_product_quantize(kernels, s->product, s->gathered, w, rows, false);
    hone_product_fwd(kernels, s->logits, s->gathered, w, NULL, rows, s->product);
}

/* dh, and the weight's gradient where it has one, of the logits' gradient. */
static void run_head_bwd(hone_real *dh, const hone_tensor *w, const hone_kernels *kernels,
                         const scratch *s, int64_t rows) {
    int64_t width = w->shape[1], vocabulary = w->shape[0];
    if (s->rounded) {
        hone_bf16_linear layer = layer_of(w, rows);
        kernels->bf16_bwd(dh, NULL, NULL, (uint16_t *)s->logits, s->rounded, NULL, &layer, 0,
                          s->product);
        return;
    }
    hone_product_quantize(kernels, s->product, s->logits, w, rows, true);
    hone_product_bwd(kernels, dh, s->logits, w, NULL, rows, 0, s->product);
    if (w->needs_grad) {
        kernels->gemm(w->grad->data, s->logits, s->gathered, vocabulary, width, rows, true, false,
                      vocabulary, width, width, 1, 1);
    }
}

/* Head, loss and gradient of the rows first <= i < first + rows. */
static void run_chunk(const hone_node *node, const hone_kernels *kernels, const scratch *s,
                      int64_t first, int64_t rows) {
    const hone_loss_call *call = (const void *)node->attributes;
    const hone_tensor *h = node->in[IN_H], *w = node->in[IN_W], *dh = node->out[OUT_DH];
    int64_t width = w->shape[1];
    hone_real *losses = node->out[OUT_LOSSES]->data;
    hone_loss_gradient gradient = !dh          ? HONE_LOSS_ALONE
                                  : s->rounded ? HONE_LOSS_GRADIENT_BF16
                                               : HONE_LOSS_GRADIENT;
    kernels->gather_rows(s->gathered, h->data, call->rows + first, rows, width);
    run_head(w, kernels, s, rows);
    kernels->cross_entropy(losses + first, s->logits, call->targets + first, rows, w->shape[0],
                           call->weight, call->softcap, gradient);
    if (dh) run_head_bwd((hone_real *)dh->data + first * width, w, kernels, s, rows);
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const hone_loss_call *call = (const void *)node->attributes;
    scratch s = divide(node, pass->kernels, pass->workspace);
    int64_t step = chunk_rows(node, pass->kernels);
    for (int64_t first = 0; first < call->count; first += step) {
        int64_t rows = call->count - first < step ? call->count - first : step;
        run_chunk(node, pass->kernels, &s, first, rows);
    }
    if (call->sum) pass->kernels->sum(call->sum, node->out[OUT_LOSSES]->data, call->count);
}

static void backward(const hone_node *node, const hone_pass *pass) {
    const hone_loss_call *call = (const void *)node->attributes;
    const hone_tensor *h = node->in[IN_H];
    if (!h->needs_grad) return;
    assert(pass->beta[IN_H] == 0);
    pass->kernels->zero(h->grad->data, hone_tensor_count(h));
    pass->kernels->scatter_rows(h->grad->data, node->out[OUT_DH]->data, call->rows, call->count,
                                h->shape[1]);
}

/* The head's product and those of the gradients are done forward, which reads the rows that predict. */
static void work(hone_work *out, const hone_node *node, const hone_pass *pass) {
    (void)pass;
    const hone_loss_call *call = (const void *)node->attributes;
    const hone_tensor *w = node->in[IN_W], *dh = node->out[OUT_DH];
    out->shape[0] = w->shape[1];
    out->shape[1] = w->shape[0];
    out->weights = w->dtype;
    out->mode = hone_product_mode(w);
    if (out->phase == HONE_BACKWARD) return;
    double rows = (double)call->count;
    double products = 1 + (dh ? 1 : 0) + (dh && w->needs_grad ? 1 : 0);
    out->flops = products * 2 * rows * (double)hone_tensor_count(w);
    out->bytes = rows * (double)w->shape[1] * sizeof(hone_real) +
                 (w->needs_grad ? 3 : 1) * hone_product_weight_bytes(w) + hone_tensor_bytes(dh) +
                 hone_tensor_bytes(node->out[OUT_LOSSES]);
}

const hone_op hone_op_cross_entropy = {
    .name = "cross_entropy",
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
    .work = work,
    .is_loss = true,
};

hone_status hone_cross_entropy(hone_tensor **losses, hone_tape *tape, hone_tensor *h,
                               hone_tensor *w, const hone_loss_call *call) {
    assert(h->shape[1] == w->shape[1]);
    hone_node *node;
    HONE_TRY(hone_tape_record(&node, tape, &hone_op_cross_entropy, (hone_tensor *[4]){h, w}, call,
                              sizeof *call));
    if (losses) *losses = node->out[OUT_LOSSES];
    return HONE_OK;
}
