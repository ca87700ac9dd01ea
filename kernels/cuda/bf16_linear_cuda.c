/*
 * Frozen layers in bf16, of rows that lie rounded. LoRA's part takes no product and no pass over the output of its own: its
 * factors stand beside and below the weight, and what they are multiplied by behind the rows, so that one product sums up
 * both, of the same slab
 *
 *   [ w  sb ]      y  = [x t] [w sb]^T   with t = x a^T
 *   [ a   . ]      dx = [dy u] [w; a]    with u = dy sb
 *
 * All that is behind rows of x and dy, beside w and below it is filled up with zeros. A workspace is cut into the slab and
 * what cuBLASLt takes for itself. Where there are no factors, a weight is used where it lies, or by slabs of some rows.
 */
#include "kernels/cuda/cuda.h"
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

/* Rows of a below w, with zeros: as many as t or u has elements. */
static int64_t rows_below(const hone_bf16_linear *l) {
    return t_width(l) > u_width(l) ? t_width(l) : u_width(l);
}

/* Elements from a row of the slab to the next one. */
static int64_t slab_stride(const hone_bf16_linear *l) {
    return is_adapted(l) ? l->x_stride : l->in;
}

/* Rows of w in a slab: all of them where there are factors, or where sums would be rounded in between. */
static int64_t slab_rows(const hone_bf16_linear *l) {
    return is_adapted(l) || l->dx_stride > 0
               ? l->out
               : hone_cuda_slab_rows(l->out, (size_t)l->in * sizeof(uint16_t));
}

/* A weight that would lie ready may be one that is not aligned. */
static size_t slab_bytes(const hone_bf16_linear *l) {
    int64_t elements = (slab_rows(l) + rows_below(l)) * slab_stride(l);
    return hone_cuda_whole((size_t)elements * sizeof(uint16_t));
}

size_t hone_bf16_workspace_cuda(const hone_bf16_linear *layer) {
    return HONE_CUDA_ALIGNMENT + slab_bytes(layer) + hone_cuda_matmul_bytes();
}

/* What products of a pass are taken with. */
typedef struct operand {
    const uint16_t *w; /* rows of it, with the factors where there are some */
    int64_t rows, stride;
    uint16_t *slab;
    char *space; /* cuBLASLt's */
} operand;

/* The weight where it lies, or the slab that fill() is yet to fill. */
static operand operand_of(const hone_bf16_linear *l, void *workspace) {
    char *left = hone_cuda_parts_of(workspace);
    uint16_t *slab = hone_cuda_take(&left, slab_bytes(l));
    if (!is_adapted(l) && hone_cuda_lies_ready(l->w, l->type, HONE_PRODUCTS_BF16))
        return (operand){l->w, l->out, l->in, NULL, left};
    return (operand){slab, slab_rows(l), slab_stride(l), slab, left};
}

static void fill(const operand *o, const hone_bf16_linear *l, int64_t begin, int64_t rows) {
    const void *w = (const char *)l->w + hone_dtype_row_bytes(l->type, begin * l->in);
    if (!o->slab) return;
    if (is_adapted(l))
        hone_fill_slab_cuda(o->slab, o->stride, l, rows_below(l));
    else
        hone_dequantize_rows_cuda(o->slab, o->stride, w, l->type, rows, l->in);
}

static void multiply(void *c, const uint16_t *a, const uint16_t *b, hone_matmul s, float alpha,
                     float beta, const operand *o) {
    s.precision = HONE_PRODUCTS_BF16;
    hone_cuda_matmul(c, a, b, &s, alpha, beta, o->space, hone_cuda_matmul_bytes());
}

/* --- Forward --- */

/* t = x a^T, which then stands behind x. */
static void find_t(uint16_t *t, uint16_t *x, const hone_bf16_linear *l, const operand *o) {
    hone_matmul s = {.trans_b = true,
                     .m = l->tokens,
                     .n = t_width(l),
                     .k = l->in,
                     .lda = l->x_stride,
                     .ldb = o->stride,
                     .ldc = t_width(l),
                     .rounds = true};
    multiply(t, x, o->w + l->out * o->stride, s, 1, 0, o);
    hone_copy_columns_cuda(x + l->in, l->x_stride, t, l->tokens, t_width(l));
}

/* Epilogues may read the bias 16 bytes at a time, and cuBLASLt is not told how it is aligned. */
static bool has_epilogue(const hone_bf16_linear *l) {
    return l->bias && (uintptr_t)l->bias % 16 == 0;
}

void hone_bf16_fwd_cuda(void *y, uint16_t *t, uint16_t *x, const hone_bf16_linear *l,
                        void *workspace) {
    operand o = operand_of(l, workspace);
    for (int64_t begin = 0; begin < l->out; begin += o.rows) {
        int64_t rows = l->out - begin < o.rows ? l->out - begin : o.rows;
        fill(&o, l, begin, rows);
        if (is_adapted(l)) find_t(t, x, l, &o);
        hone_matmul s = {.trans_b = true,
                         .m = l->tokens,
                         .n = rows,
                         .k = l->in + t_width(l),
                         .lda = l->x_stride,
                         .ldb = o.stride,
                         .ldc = l->y_stride > 0 ? l->y_stride : l->out,
                         .bias = has_epilogue(l) ? l->bias + begin : NULL,
                         .rounds = l->y_stride > 0};
        char *to = (char *)y + (size_t)begin * (s.rounds ? sizeof(uint16_t) : sizeof(float));
        multiply(to, x, o.w, s, 1, 0, &o);
    }
    if (l->bias && !has_epilogue(l)) hone_bias_fwd_cuda(y, y, l->bias, l->tokens, l->out);
}

/* --- Backward --- */

/* u = dy sb, behind dy. */
static void find_u(uint16_t *dy, const hone_bf16_linear *l, const operand *o) {
    hone_matmul s = {.m = l->tokens,
                     .n = u_width(l),
                     .k = l->out,
                     .lda = l->dy_stride,
                     .ldb = o->stride,
                     .ldc = l->dy_stride,
                     .rounds = true};
    multiply(dy + l->out, dy, o->w + l->in, s, 1, 0, o);
}

static void factor_grads(float *da, float *db, const uint16_t *dy, const uint16_t *x,
                         const uint16_t *t, const hone_bf16_linear *l, const operand *o) {
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
                        .lda = l->dy_stride,
                        .ldb = l->x_stride,
                        .ldc = l->in};
    if (db) multiply(db, dy, t, of_b, (float)l->scale, 1, o);
    if (da) multiply(da, dy + l->out, x, of_a, 1, 1, o);
}

/* Rows of a slab are a part of every sum. */
static void input_grad(void *dx, const uint16_t *dy, const hone_bf16_linear *l, float beta,
                       const operand *o, int64_t begin, int64_t rows) {
    hone_matmul s = {.m = l->tokens,
                     .n = l->in,
                     .k = rows + u_width(l),
                     .lda = l->dy_stride,
                     .ldb = o->stride,
                     .ldc = l->dx_stride > 0 ? l->dx_stride : l->in,
                     .rounds = l->dx_stride > 0};
    multiply(dx, dy + begin, o->w, s, 1, begin > 0 ? 1 : beta, o);
}

void hone_bf16_bwd_cuda(void *dx, float *da, float *db, uint16_t *dy, const uint16_t *x,
                        const uint16_t *t, const hone_bf16_linear *l, float beta, void *workspace) {
    operand o = operand_of(l, workspace);
    for (int64_t begin = 0; begin < l->out; begin += o.rows) {
        int64_t rows = l->out - begin < o.rows ? l->out - begin : o.rows;
        fill(&o, l, begin, rows);
        if (is_adapted(l)) {
            find_u(dy, l, &o);
            factor_grads(da, db, dy, x, t, l, &o);
        }
        if (dx) input_grad(dx, dy, l, beta, &o, begin, rows);
    }
}
