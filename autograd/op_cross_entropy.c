#include <assert.h>

#include "autograd/ops.h"
#include "autograd/product.h"
#include "base/size.h"

enum { IN_H, IN_W };
enum { CHUNK_ROWS = 264, CHUNK_BYTES = 160 << 20, ROW_TILE = 24 };
enum { OUT_LOSSES, OUT_DH }; /* dh [N,C]: the gradient of the gathered rows */

/* Rows of logits that exist at once, at most: enough that packing the weights for them takes little beside their product, and
 * fewer where the vocabulary is so large that they would take much memory. */
static int64_t most_rows(const hone_node *node) {
    const hone_loss_call *call = (const void *)node->attributes;
    int64_t row_bytes = (int64_t)sizeof(hone_real) * node->in[IN_W]->shape[0];
    int64_t rows = CHUNK_BYTES / row_bytes / ROW_TILE * ROW_TILE;
    if (rows < ROW_TILE) rows = ROW_TILE;
    if (rows > CHUNK_ROWS) rows = CHUNK_ROWS;
    return rows < call->count ? rows : call->count;
}

/* Rows of a chunk: all about the same, in whole tiles of the kernels. */
static int64_t chunk_rows(const hone_node *node) {
    const hone_loss_call *call = (const void *)node->attributes;
    int64_t most = most_rows(node);
    if (most == call->count) return most;
    int64_t chunks = (call->count + most - 1) / most;
    return ((call->count + chunks - 1) / chunks + ROW_TILE - 1) / ROW_TILE * ROW_TILE;
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
    hone_real *logits;   /* [chunk,V] */
    size_t bytes;
} scratch;

static scratch divide(const hone_node *node, const hone_kernels *kernels, void *workspace) {
    const hone_tensor *w = node->in[IN_W];
    int64_t rows = most_rows(node);
    size_t product = hone_product_workspace(kernels, w, rows, 0, false);
    size_t product_bwd = hone_product_workspace(kernels, w, rows, 0, true);
    if (product < product_bwd) product = product_bwd;
    size_t gathered = hone_whole_lines((size_t)(rows * w->shape[1]) * sizeof(hone_real));
    size_t logits = hone_whole_lines((size_t)(rows * w->shape[0]) * sizeof(hone_real));
    unsigned char *base = workspace;
    return (scratch){
        .product = base,
        .gathered = base ? (hone_real *)(void *)(base + product) : NULL,
        .logits = base ? (hone_real *)(void *)(base + product + gathered) : NULL,
        .bytes = product + gathered + logits,
    };
}

static size_t workspace(const hone_node *node, const hone_kernels *kernels, bool backward) {
    return backward ? 0 : divide(node, kernels, NULL).bytes;
}

/* Head, loss and gradient of the rows first <= i < first + rows. */
static void run_chunk(const hone_node *node, const hone_kernels *kernels, const scratch *s,
                      int64_t first, int64_t rows) {
    const hone_loss_call *call = (const void *)node->attributes;
    const hone_tensor *h = node->in[IN_H], *w = node->in[IN_W];
    int64_t width = w->shape[1], vocabulary = w->shape[0];
    hone_real *losses = node->out[OUT_LOSSES]->data;
    bool grad = node->out[OUT_DH] != NULL;
    kernels->gather_rows(s->gathered, h->data, call->rows + first, rows, width);
    hone_product_quantize(kernels, s->product, s->gathered, w, rows, false);
    hone_product_fwd(kernels, s->logits, s->gathered, w, NULL, rows, s->product);
    kernels->cross_entropy(losses + first, s->logits, call->targets + first, rows, vocabulary,
                           call->weight, call->softcap, grad);
    if (!grad) return;
    hone_real *dh = (hone_real *)node->out[OUT_DH]->data + first * width;
    hone_product_quantize(kernels, s->product, s->logits, w, rows, true);
    hone_product_bwd(kernels, dh, s->logits, w, NULL, rows, 0, s->product);
    if (w->needs_grad) {
        kernels->gemm(w->grad->data, s->logits, s->gathered, vocabulary, width, rows, true, false,
                      vocabulary, width, width, 1, 1);
    }
}

static void forward(const hone_node *node, const hone_pass *pass) {
    const hone_loss_call *call = (const void *)node->attributes;
    scratch s = divide(node, pass->kernels, pass->workspace);
    int64_t step = chunk_rows(node);
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
