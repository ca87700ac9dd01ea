/*
 * Frozen layers in bf16, of rows that lie rounded. LoRA's part takes no product and no pass over the output of its own: its
 * factors stand beside the weight, and what they are multiplied by behind the rows, so that one product sums up both:
 *
 *   y  = [x t] [w sb]^T   with t = x a^T
 *   dx = [dy u] [w; a]    with u = dy sb
 *
 * The room behind rows is filled up with zeros. A workspace is cut into the factor that t or u is made with, t or u of a
 * backward pass, a slab of the weight with the other factor beside or below it, and what cuBLASLt takes for itself.
 */
#include <assert.h>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/workspace.h"

static bool is_adapted(const hone_bf16_linear *l) {
    return l->rank > 0;
}

/* Elements behind rows of x and of dy: those of t and of u. */
static int64_t t_width(const hone_bf16_linear *l) {
    return is_adapted(l) ? l->x_stride - l->in : 0;
}
static int64_t u_width(const hone_bf16_linear *l) {
    return is_adapted(l) ? l->dy_stride - l->out : 0;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The weight serves where it lies; nothing is to stand beside it. */
static bool lies_ready(const hone_bf16_linear *l) {
    return !is_adapted(l) && hone_cuda_lies_ready(l->w, l->type, HONE_PRODUCTS_BF16);
}

static int64_t slab_rows(const hone_bf16_linear *l) {
    return hone_cuda_slab_rows(l->out, (size_t)larger(l->in, l->x_stride) * sizeof(uint16_t));
}

typedef struct parts {
    uint16_t *factor; /* forward a [t_width,in], backward sb [out,u_width] */
    uint16_t *u;      /* [T,u_width] */
    uint16_t *slab;
    char *space; /* cuBLASLt's */
    size_t bytes;
} parts;

static parts divide(const hone_bf16_linear *l, void *workspace) {
    int64_t rows = slab_rows(l);
    size_t factor = (size_t)larger(t_width(l) * l->in, l->out * u_width(l));
    size_t u = (size_t)(l->tokens * u_width(l));
    size_t slab = (size_t)larger(rows * l->x_stride, (rows + u_width(l)) * l->in);
    size_t of_factor = is_adapted(l) ? factor * sizeof(uint16_t) : 0;
    size_t of_u = is_adapted(l) ? u * sizeof(uint16_t) : 0;
    /* A weight that would lie ready may be one that is not aligned. */
    size_t of_slab = slab * sizeof(uint16_t);
    char *left = workspace ? hone_cuda_parts_of(workspace) : NULL;
    parts p = {.bytes = HONE_CUDA_ALIGNMENT + hone_cuda_whole(of_factor) + hone_cuda_whole(of_u) +
                        hone_cuda_whole(of_slab) + hone_cuda_matmul_bytes()};
    if (!workspace) return p;
    p.factor = hone_cuda_take(&left, of_factor);
    p.u = hone_cuda_take(&left, of_u);
    p.slab = hone_cuda_take(&left, of_slab);
    p.space = left;
    return p;
}

size_t hone_bf16_workspace_cuda(const hone_bf16_linear *layer) {
    return divide(layer, NULL).bytes;
}

static void multiply(void *c, const uint16_t *a, const uint16_t *b, hone_matmul s, float alpha,
                     float beta, const parts *p) {
    s.precision = HONE_PRODUCTS_BF16;
    hone_cuda_matmul(c, a, b, &s, alpha, beta, p->space, hone_cuda_matmul_bytes());
}

static const void *row_of(const hone_bf16_linear *l, int64_t row) {
    return (const char *)l->w + hone_dtype_row_bytes(l->type, row * l->in);
}

/* --- Forward --- */

/* The room behind rows of the slab: sb. */
static hone_bf16_block beside(const hone_bf16_linear *l, const parts *p, int64_t begin,
                              int64_t rows) {
    return (hone_bf16_block){p->slab + l->in,        l->x_stride, rows,    t_width(l),
                             l->b + begin * l->rank, rows,        l->rank, (float)l->scale};
}

/* t = x a^T, which then stands behind x. The first slab of so many rows gets its factor as well. */
static void find_t(uint16_t *t, uint16_t *x, const hone_bf16_linear *l, const parts *p,
                   int64_t rows) {
    int64_t width = t_width(l), in = l->in;
    hone_bf16_block a = {p->factor, in, width, in, l->a, l->rank, in, 1};
    hone_bf16_block b = beside(l, p, 0, rows);
    hone_place_bf16_cuda(&a, &b);
    hone_matmul s = {.trans_b = true,
                     .m = l->tokens,
                     .n = width,
                     .k = in,
                     .lda = l->x_stride,
                     .ldb = in,
                     .ldc = width,
                     .rounds = true};
    multiply(t, x, p->factor, s, 1, 0, p);
    hone_copy_columns_cuda(x + in, l->x_stride, t, l->tokens, width);
}

/* Rows of [w sb]; or of w alone. */
static void fill_forward(const hone_bf16_linear *l, const parts *p, int64_t begin, int64_t rows) {
    int64_t stride = is_adapted(l) ? l->x_stride : l->in;
    hone_dequantize_rows_cuda(p->slab, stride, row_of(l, begin), l->type, rows, l->in);
    if (!is_adapted(l) || begin == 0) return;
    hone_bf16_block b = beside(l, p, begin, rows);
    hone_place_bf16_cuda(&b, NULL);
}

void hone_bf16_fwd_cuda(float *y, uint16_t *t, uint16_t *x, const hone_bf16_linear *l,
                        void *workspace) {
    parts p = divide(l, workspace);
    bool ready = lies_ready(l);
    int64_t width = is_adapted(l) ? l->x_stride : l->in;
    int64_t most = ready ? l->out : slab_rows(l);
    if (is_adapted(l)) find_t(t, x, l, &p, most < l->out ? most : l->out);
    for (int64_t begin = 0; begin < l->out; begin += most) {
        int64_t rows = l->out - begin < most ? l->out - begin : most;
        if (!ready) fill_forward(l, &p, begin, rows);
        hone_matmul s = {.trans_b = true,
                         .m = l->tokens,
                         .n = rows,
                         .k = width,
                         .lda = l->x_stride,
                         .ldb = width,
                         .ldc = l->out,
                         .bias = l->bias ? l->bias + begin : NULL};
        multiply(y + begin, x, ready ? l->w : p.slab, s, 1, 0, &p);
    }
}

/* --- Backward --- */

/* What stands below the last slab, of so many rows: a. */
static hone_bf16_block below(const hone_bf16_linear *l, const parts *p, int64_t rows) {
    return (hone_bf16_block){
        p->slab + rows * l->in, l->in, u_width(l), l->in, l->a, l->rank, l->in, 1};
}

/* u = dy sb, which then stands behind dy. The slab gets its factor as well where it is the only one. */
static void find_u(uint16_t *dy, const hone_bf16_linear *l, const parts *p) {
    int64_t width = u_width(l), out = l->out;
    hone_bf16_block b = {p->factor, width, out, width, l->b, out, l->rank, (float)l->scale};
    hone_bf16_block a = below(l, p, out);
    hone_place_bf16_cuda(&b, slab_rows(l) == out ? &a : NULL);
    hone_matmul s = {.m = l->tokens,
                     .n = width,
                     .k = out,
                     .lda = l->dy_stride,
                     .ldb = width,
                     .ldc = width,
                     .rounds = true};
    multiply(p->u, dy, p->factor, s, 1, 0, p);
    hone_copy_columns_cuda(dy + out, l->dy_stride, p->u, l->tokens, width);
}

static void factor_grads(float *da, float *db, const uint16_t *dy, const uint16_t *x,
                         const uint16_t *t, const hone_bf16_linear *l, const parts *p) {
    hone_matmul of_b = {.trans_a = true,
                        .m = l->out,
                        .n = l->rank,
                        .k = l->tokens,
                        .lda = l->dy_stride,
                        .ldb = t_width(l),
                        .ldc = l->rank};
    hone_matmul of_a = {.trans_a = true,
                        .m = l->rank,
                        .n = l->in,
                        .k = l->tokens,
                        .lda = u_width(l),
                        .ldb = l->x_stride,
                        .ldc = l->in};
    if (db) multiply(db, dy, t, of_b, (float)l->scale, 1, p);
    if (da) multiply(da, p->u, x, of_a, 1, 1, p);
}

/* Rows of w, and below the last one a. */
static void fill_backward(const hone_bf16_linear *l, const parts *p, int64_t begin, int64_t rows) {
    hone_dequantize_rows_cuda(p->slab, l->in, row_of(l, begin), l->type, rows, l->in);
    if (!is_adapted(l) || begin == 0 || begin + rows < l->out) return;
    hone_bf16_block a = below(l, p, rows);
    hone_place_bf16_cuda(&a, NULL);
}

/* A slab is a part of every sum. */
static void input_grad(float *dx, const uint16_t *dy, const hone_bf16_linear *l, float beta,
                       const parts *p) {
    bool ready = lies_ready(l);
    int64_t most = ready ? l->out : slab_rows(l);
    for (int64_t begin = 0; begin < l->out; begin += most) {
        bool last = l->out - begin <= most;
        int64_t rows = last ? l->out - begin : most;
        if (!ready) fill_backward(l, p, begin, rows);
        hone_matmul s = {.m = l->tokens,
                         .n = l->in,
                         .k = rows + (last && is_adapted(l) ? u_width(l) : 0),
                         .lda = l->dy_stride,
                         .ldb = l->in,
                         .ldc = l->in};
        multiply(dx, dy + begin, ready ? l->w : p->slab, s, 1, begin > 0 ? 1 : beta, p);
    }
}

void hone_bf16_bwd_cuda(float *dx, float *da, float *db, uint16_t *dy, const uint16_t *x,
                        const uint16_t *t, const hone_bf16_linear *l, float beta, void *workspace) {
    parts p = divide(l, workspace);
    if (is_adapted(l)) {
        find_u(dy, l, &p);
        factor_grads(da, db, dy, x, t, l, &p);
    }
    if (dx) input_grad(dx, dy, l, beta, &p);
}
