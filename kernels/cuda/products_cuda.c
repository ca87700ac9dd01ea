/*
 * Products in f32, TF32, bf16 and fp8, put together from single ones. A workspace is cut into parts that begin on
 * HONE_CUDA_ALIGNMENT: the scales of fp8 and the input rounded to bf16 or fp8 (in these modes), a slab of the weight, and
 * what cuBLASLt takes for itself.
 */
#include "kernels/cuda/products.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/workspace.h"

enum { ROWS_AT_ONCE = 64, LEAST_ALIGNMENT = 16 };

/* Parts of workspaces. */
static struct { size_t slab, matmul; } bytes_of = {HONE_CUDA_SLAB_BYTES, HONE_CUDA_MATMUL_BYTES};

void hone_cuda_products_sizes(size_t slab_bytes, size_t matmul_bytes) {
    bytes_of.slab = slab_bytes;
    bytes_of.matmul = matmul_bytes;
}

size_t hone_cuda_matmul_bytes(void) {
    return bytes_of.matmul;
}

int64_t hone_cuda_slab_rows(int64_t rows, size_t row_bytes) {
    int64_t fit =
        row_bytes ? (int64_t)(bytes_of.slab / row_bytes) / ROWS_AT_ONCE * ROWS_AT_ONCE : rows;
    if (fit < ROWS_AT_ONCE) fit = ROWS_AT_ONCE;
    return fit < rows ? fit : rows;
}

/* --- Workspaces --- */

static size_t workspace_of(size_t parts) {
    return HONE_CUDA_ALIGNMENT + parts + bytes_of.matmul;
}

/* --- Products in f32 alone --- */

void hone_gemm_cuda(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                    bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc, float alpha,
                    float beta) {
    size_t bytes = 0;
    void *scratch = hone_cuda_scratch(&bytes);
    hone_matmul shape = {.precision = HONE_PRODUCTS_F32,
                         .trans_a = trans_a,
                         .trans_b = trans_b,
                         .m = m,
                         .n = n,
                         .k = k,
                         .lda = lda,
                         .ldb = ldb,
                         .ldc = ldc};
    hone_cuda_matmul(c, a, b, &shape, alpha, beta, scratch, bytes);
}

size_t hone_lora_workspace_cuda(hone_lora_shape shape) {
    (void)shape;
    return workspace_of(0);
}

static hone_precision factors_precision(bool rounded) {
    return rounded ? HONE_PRODUCTS_TF32 : HONE_PRODUCTS_F32;
}

void hone_lora_fwd_cuda(float *t, const float *x, const float *a, hone_lora_shape shape,
                        void *workspace) {
    int64_t in = shape.in, rank = shape.rank;
    hone_precision precision = factors_precision(shape.rounded);
    hone_matmul xa = {.precision = precision,
                      .trans_b = true,
                      .m = shape.tokens,
                      .n = rank,
                      .k = in,
                      .lda = in,
                      .ldb = in,
                      .ldc = rank};
    hone_cuda_matmul(t, x, a, &xa, 1, 0, hone_cuda_parts_of(workspace), bytes_of.matmul);
}

void hone_lora_bwd_cuda(float *dt, float *da, float *db, const float *dy, const float *x,
                        const float *t, const float *b, hone_lora_shape shape, void *workspace) {
    int64_t tokens = shape.tokens, in = shape.in, out = shape.out, rank = shape.rank;
    float scale = (float)shape.scale;
    void *space = hone_cuda_parts_of(workspace);
    hone_precision precision = factors_precision(shape.rounded);
    hone_matmul of_t = {.precision = precision,
                        .m = tokens,
                        .n = rank,
                        .k = out,
                        .lda = out,
                        .ldb = rank,
                        .ldc = rank};
    hone_matmul of_b = {.precision = precision,
                        .trans_a = true,
                        .m = out,
                        .n = rank,
                        .k = tokens,
                        .lda = out,
                        .ldb = rank,
                        .ldc = rank};
    hone_matmul of_a = {.precision = precision,
                        .trans_a = true,
                        .m = rank,
                        .n = in,
                        .k = tokens,
                        .lda = rank,
                        .ldb = in,
                        .ldc = in};
    hone_cuda_matmul(dt, dy, b, &of_t, scale, 0, space, bytes_of.matmul);
    if (db) hone_cuda_matmul(db, dy, t, &of_b, scale, 1, space, bytes_of.matmul);
    if (da) hone_cuda_matmul(da, dt, x, &of_a, 1, 1, space, bytes_of.matmul);
}

/* --- Products with a frozen weight --- */

/* One pass: y[T,out] = x w^T + beta y, or backward y[T,in] = x w + beta y. */
typedef struct pass {
    bool backward;
    float *y;
    const void *x; /* in bf16 or fp8 where that is the precision, else in f32 */
    hone_precision precision;
    const void *w; /* [out,in] of `type` */
    hone_dtype type;
    int64_t tokens, in, out;
    float beta;
    const float *scales; /* in fp8, as by hone_scale_fp8_cuda(): of x, then of w */
} pass;

/* Whether x is copied as an operand; else tensor cores, or nobody, round it. */
static bool is_copied(hone_precision precision) {
    return precision == HONE_PRODUCTS_BF16 || precision == HONE_PRODUCTS_FP8;
}

static size_t operand_bytes(hone_precision precision) {
    if (precision == HONE_PRODUCTS_FP8) return sizeof(uint8_t);
    return precision == HONE_PRODUCTS_BF16 ? sizeof(uint16_t) : sizeof(float);
}

bool hone_cuda_lies_ready(const void *w, hone_dtype type, hone_precision precision) {
    hone_dtype asked = precision == HONE_PRODUCTS_BF16 ? HONE_BF16 : HONE_F32;
    return precision != HONE_PRODUCTS_FP8 && type == asked && (uintptr_t)w % LEAST_ALIGNMENT == 0;
}

static bool lies_ready(const pass *p) {
    return hone_cuda_lies_ready(p->w, p->type, p->precision);
}

/* Of the part of a workspace for a slab. A weight that would lie ready may be one that is not aligned. */
static size_t slab_room(hone_precision precision, int64_t in, int64_t out) {
    size_t row = (size_t)in * operand_bytes(precision);
    return hone_cuda_whole((size_t)hone_cuda_slab_rows(out, row) * row);
}

/* Rows of the weight from `begin` on as an operand, converted into `room` where they do not lie ready; in fp8 as columns for
 * the backward pass. */
static const void *slab_of(const pass *p, int64_t begin, int64_t rows, void *room) {
    if (lies_ready(p)) return p->w;
    const char *from = (const char *)p->w + hone_dtype_row_bytes(p->type, begin * p->in);
    int64_t n = rows * p->in;
    if (p->precision == HONE_PRODUCTS_FP8 && p->backward) {
        hone_quantize_fp8_aside_cuda(room, from, p->type, rows, p->in,
                                     p->scales + HONE_CUDA_FP8_SCALES);
    } else if (p->precision == HONE_PRODUCTS_FP8) {
        hone_quantize_fp8_cuda(room, from, p->type, n, HONE_E4M3, p->scales + HONE_CUDA_FP8_SCALES);
    } else if (p->precision == HONE_PRODUCTS_BF16) {
        hone_dequantize_rows_cuda(room, p->in, from, p->type, rows, p->in);
    } else {
        hone_dequantize_cuda(room, from, p->type, n);
    }
    return room;
}

static hone_fp8_format format_of_x(const pass *p) {
    return p->backward ? HONE_E5M2 : HONE_E4M3;
}

/* A slab gives columns of the forward pass's output, and a part of every sum of the backward pass. */
static void multiply_slab(const pass *p, const void *slab, int64_t begin, int64_t rows,
                          void *space) {
    const void *x = p->x;
    float *y = p->y;
    bool is_fp8 = p->precision == HONE_PRODUCTS_FP8;
    hone_matmul_fp8 sides = {format_of_x(p), NULL, NULL};
    const hone_matmul_fp8 *fp8 = is_fp8 ? &sides : NULL;
    if (is_fp8) {
        sides.a_scale = p->scales + HONE_CUDA_FP8_INVERSE;
        sides.b_scale = p->scales + HONE_CUDA_FP8_SCALES + HONE_CUDA_FP8_INVERSE;
    }
    hone_matmul s = {.precision = p->precision,
                     .trans_b = true,
                     .m = p->tokens,
                     .n = rows,
                     .k = p->in,
                     .lda = p->in,
                     .ldb = p->in,
                     .ldc = p->out,
                     .fp8 = fp8};
    float beta = p->beta;
    if (p->backward) {
        s = (hone_matmul){.precision = p->precision,
                          .trans_b = is_fp8,
                          .m = p->tokens,
                          .n = p->in,
                          .k = rows,
                          .lda = p->out,
                          .ldb = is_fp8 ? rows : p->in,
                          .ldc = p->in,
                          .fp8 = fp8};
        x = (const char *)x + (size_t)begin * operand_bytes(p->precision);
        if (begin > 0) beta = 1;
    } else {
        y += begin;
    }
    hone_cuda_matmul(y, x, slab, &s, 1, beta, space, bytes_of.matmul);
}

static void multiply_weight(const pass *p, void *room, void *space) {
    size_t row = (size_t)p->in * operand_bytes(p->precision);
    int64_t most = lies_ready(p) ? p->out : hone_cuda_slab_rows(p->out, row);
    int64_t begin = 0;
    do { /* once also for a weight without rows: beta counts */
        int64_t rows = p->out - begin < most ? p->out - begin : most;
        multiply_slab(p, slab_of(p, begin, rows, room), begin, rows, space);
        begin += most;
    } while (begin < p->out);
}

void hone_cuda_add_low(float *y, const hone_low_rank *low, int64_t tokens, int64_t width,
                       bool backward, bool rounded, void *space) {
    int64_t rank = low->rank, stride = backward ? width : rank;
    hone_matmul s = {.precision = factors_precision(rounded),
                     .trans_b = !backward,
                     .m = tokens,
                     .n = width,
                     .k = rank,
                     .lda = rank,
                     .ldb = stride,
                     .ldc = width};
    hone_cuda_matmul(y, low->t, low->factor, &s, (float)low->scale, 1, space, bytes_of.matmul);
}

/* Of the parts for x as an operand, and in fp8 for the scales. */
static size_t rounded_room(hone_precision precision, int64_t tokens, int64_t width) {
    return is_copied(precision)
               ? hone_cuda_whole((size_t)(tokens * width) * operand_bytes(precision))
               : 0;
}

static size_t scales_room(hone_precision precision) {
    return precision == HONE_PRODUCTS_FP8
               ? hone_cuda_whole(2 * HONE_CUDA_FP8_SCALES * sizeof(float))
               : 0;
}

/* x as an operand, in the parts for it. */
static void round_x(pass *p, float *scales, void *rounded) {
    int64_t n = p->tokens * (p->backward ? p->out : p->in);
    if (p->precision == HONE_PRODUCTS_BF16) hone_to_bf16_cuda(rounded, p->x, n);
    if (p->precision == HONE_PRODUCTS_FP8) {
        hone_scale_fp8_cuda(scales, p->x, HONE_F32, n, format_of_x(p));
        hone_quantize_fp8_cuda(rounded, p->x, HONE_F32, n, format_of_x(p), scales);
        hone_scale_fp8_cuda(scales + HONE_CUDA_FP8_SCALES, p->w, p->type, p->out * p->in,
                            HONE_E4M3);
        p->scales = scales;
    }
    p->x = rounded;
}

static void multiply(pass p, const hone_low_rank *low, void *workspace) {
    char *left = hone_cuda_parts_of(workspace);
    p.precision = hone_precision_of(p.precision, p.in, p.out);
    size_t bytes = rounded_room(p.precision, p.tokens, p.backward ? p.out : p.in);
    float *scales = hone_cuda_take(&left, scales_room(p.precision));
    void *rounded = hone_cuda_take(&left, bytes);
    if (is_copied(p.precision)) round_x(&p, scales, rounded);
    void *room = hone_cuda_take(&left, slab_room(p.precision, p.in, p.out));
    multiply_weight(&p, room, left);
    if (!low) return;
    hone_cuda_add_low(p.y, low, p.tokens, p.backward ? p.in : p.out, p.backward,
                      p.precision != HONE_PRODUCTS_F32, left);
}

void hone_linear_fwd_cuda(float *y, const float *x, const void *w, hone_dtype type,
                          const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                          float beta, void *workspace) {
    multiply((pass){false, y, x, HONE_PRODUCTS_F32, w, type, tokens, in, out, beta, NULL}, low,
             workspace);
}

void hone_linear_bwd_cuda(float *dx, const float *dy, const void *w, hone_dtype type,
                          const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                          float beta, void *workspace) {
    multiply((pass){true, dx, dy, HONE_PRODUCTS_F32, w, type, tokens, in, out, beta, NULL}, low,
             workspace);
}

size_t hone_linear_workspace_cuda(hone_dtype type, int64_t in, int64_t out, int64_t rank) {
    (void)type, (void)rank;
    return workspace_of(slab_room(HONE_PRODUCTS_F32, in, out));
}

void hone_reduced_fwd_cuda(float *y, const float *x, const void *w, hone_dtype type,
                           hone_precision precision, const hone_low_rank *low, int64_t tokens,
                           int64_t in, int64_t out, float beta, void *workspace) {
    multiply((pass){false, y, x, precision, w, type, tokens, in, out, beta, NULL}, low, workspace);
}

void hone_reduced_bwd_cuda(float *dx, const float *dy, const void *w, hone_dtype type,
                           hone_precision precision, const hone_low_rank *low, int64_t tokens,
                           int64_t in, int64_t out, float beta, void *workspace) {
    multiply((pass){true, dx, dy, precision, w, type, tokens, in, out, beta, NULL}, low, workspace);
}

size_t hone_reduced_workspace_cuda(hone_dtype type, hone_precision precision, int64_t tokens,
                                   int64_t in, int64_t out, int64_t rank, bool backward) {
    (void)type, (void)rank;
    precision = hone_precision_of(precision, in, out);
    return workspace_of(scales_room(precision) +
                        rounded_room(precision, tokens, backward ? out : in) +
                        slab_room(precision, in, out));
}
