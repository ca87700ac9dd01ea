/*
 * The numerical operations, as a table of function pointers: one table per device.
 *
 * One alphabet of shapes, used in every comment of the engine:
 *   B batch rows   T tokens (of all rows together, packed)   C model width   H heads   K key/value heads
 *   D head size    F feed-forward width   V vocabulary   R LoRA rank   L layers   N supervised tokens
 * Matrices are row-major and dense. All activations and trainable tensors are `hone_real`: float in the program;
 * double in the build that checks gradients. Frozen weights keep the dtype of their file.
 *
 * Pointers are addresses on the table's device. Outputs may alias inputs only where said. "overwrites" and
 * "accumulates" say what happens to an output's former content; a `beta` of 0 overwrites and of 1 accumulates (and 0
 * never reads the former content, which may be NaN). Kernels cannot fail: shapes were checked by the operation.
 * Sums over tokens, rows or columns have a fixed order for a given thread count. With another one bits may differ:
 * linear_fwd and linear_bwd then cut the contraction into slabs of another depth, others add up other parts.
 */
#ifndef HONE_KERNELS_KERNELS_H
#define HONE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"
#include "kernels/int8.h"
#include "kernels/precision.h"
#include "kernels/real.h"

/* A run of queries that attends, causally, to a run of keys: one packed document in training (both runs the same), the
 * new tokens against the cache when generating. The last query sees every key of the run: query i of the run sees the
 * first k_len - q_len + i + 1 keys. */
typedef struct hone_segment {
    int32_t q_begin, q_len;
    int32_t k_begin, k_len;
} hone_segment;

/* Which kernel takes an attention. The CPU has one, for which all are the same. */
typedef enum hone_attention_kind {
    HONE_ATTENTION_EXACT, /* in f32; every table has it */
    HONE_ATTENTION_OWN,   /* hone's own, of operands rounded to bf16, with sums in f32 */
    HONE_ATTENTION_CUDNN, /* cuDNN's, likewise */
    HONE_ATTENTIONS,
} hone_attention_kind;

/* Elements of a head that every table's attention serves. */
enum { HONE_ATTENTION_MOST_HEAD = 256 };

/* Shape of an attention call. Rows of q, k, v, o are tokens; a row holds the heads one after the other. */
typedef struct hone_attention_shape {
    int64_t segments;  /* number of hone_segment; no two share a query */
    int64_t heads;     /* H */
    int64_t kv_heads;  /* K; head h reads key/value head h / (H / K) */
    int64_t head_size; /* D */
    double scale;      /* of the scores, usually 1 / sqrt(D) */
    int64_t
        window; /* keys that a query sees at most: itself and the window - 1 before it; 0: all */
    double softcap; /* scaled scores s become softcap tanh(s / softcap); 0: they stay */
    hone_attention_kind kind;
    int64_t tokens;  /* rows of q; 0: not known, which only forward does without */
    int64_t longest; /* most queries or keys of a segment that may come; 0: not known */
} hone_attention_shape;

/* sigma(x) = 1 / (1 + exp(-x)). */
typedef enum hone_activation_kind {
    HONE_SILU, /* x sigma(x) */
    HONE_GELU_TANH, /* x sigma(2u), u = sqrt(2/pi) (x + 0.044715 x^3); that is x/2 (1 + tanh u) (arXiv 1606.08415) */
} hone_activation_kind;

typedef struct hone_rope_shape {
    int64_t tokens, heads, head_size;
    int64_t rotated;  /* leading elements of a head that are rotated, even */
    bool interleaved; /* pairs are (2i, 2i+1), as in GGUF's llama; otherwise (i, i + rotated/2) */
} hone_rope_shape;

/* What cross_entropy leaves where the logits were. */
typedef enum hone_loss_gradient {
    HONE_LOSS_ALONE,    /* nothing of use */
    HONE_LOSS_GRADIENT, /* the gradient of the loss */
    HONE_LOSS_GRADIENT_BF16, /* that, rounded as by to_bf16: each row begins where it did, so that rows are 2 V elements apart.
                              * Of GPUs and the reference. */
} hone_loss_gradient;

/* What LoRA dropout draws from: Philox with key[0], counter (element / 4, position, record, module), word element % 4;
 * an element is kept when hone_uniform(word) >= rate. */
typedef struct hone_dropout {
    const uint64_t *key;      /* [1], changes every step */
    const uint32_t *records;  /* [T] */
    const int32_t *positions; /* [T] within the record */
    uint32_t module;          /* which adapted module */
    double rate;              /* 0 <= rate < 1; kept elements are divided by 1 - rate */
} hone_dropout;

/* Numbers of one optimiser step, in device memory so that a captured step can be replayed. */
typedef struct hone_adamw_step {
    hone_real lr;          /* learning rate of this step */
    hone_real grad_scale;  /* clipping: gradients are multiplied by it first */
    hone_real correction1; /* 1 - beta1^step */
    hone_real correction2; /* 1 - beta2^step */
    hone_real beta1, beta2, epsilon;
} hone_adamw_step;

/* A low-rank part of a product: forward adds scale t b^T with b [out,R]; backward adds scale t a with a [R,in]. */
typedef struct hone_low_rank {
    const hone_real *t; /* [T,R] */
    const hone_real *factor;
    int64_t rank;
    double scale;
} hone_low_rank;

/* An adapted linear layer: x [T,in], y [T,out], a [R,in], b [out,R]. */
typedef struct hone_lora_shape {
    int64_t tokens, in, out, rank;
    double scale; /* alpha / R */
    bool rounded; /* a GPU reads both sides of products in TF32; a processor never rounds them */
} hone_lora_shape;

/* A frozen layer in bf16, of rows that lie rounded, with or without LoRA's factors: x [T,in], y [T,out]. */
typedef struct hone_bf16_linear {
    const void *w; /* [out,in] of any dtype */
    hone_dtype type;
    const hone_real *bias;  /* [out], added to y; NULL: none */
    const hone_real *a, *b; /* [R,in], [out,R]; nobody reads them where R is 0 */
    int64_t tokens, in, out, rank;
    double scale;                /* alpha / R */
    int64_t x_stride, dy_stride; /* elements from a row to the next: hone_bf16_stride() or more */
    int64_t y_stride;            /* likewise, where y is in bf16, without a bias; 0: it is in f32 */
    int64_t dx_stride; /* likewise, where dx is in bf16, and overwritten; 0: it is in f32 */
} hone_bf16_linear;

/* Of rows of `width` elements, with room for R more behind each. */
static inline int64_t hone_bf16_stride(int64_t width, int64_t rank) {
    return (width + rank + 7) / 8 * 8; /* so that all of them are aligned to 16 bytes */
}

typedef struct hone_kernels {
    const char *name; /* "ref", "avx2", "avx512" … ; of a GPU with its own: "cuda, NVIDIA H200" */

    /* c[m,n] = a op b + beta c, where op(a) is [m,k] and op(b) is [k,n]: a is stored [k,m] when trans_a, b [n,k] when
     * trans_b; lda, ldb, ldc are row strides in elements. alpha multiplies the product. */
    void (*gemm)(hone_real *c, const hone_real *a, const hone_real *b, int64_t m, int64_t n,
                 int64_t k, bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                 hone_real alpha, hone_real beta);

    /* Products with a frozen weight w [out,in] of any dtype, read where it lies.
     * fwd: y[T,out] = x[T,in] w^T + low + beta y.  bwd: dx[T,in] = dy[T,out] w + low + beta dx.  `low` may be NULL.
     * `workspace` has linear_workspace() bytes (packed weights) for a rank of at least low's, 64-byte aligned. */
    void (*linear_fwd)(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                       const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                       hone_real beta, void *workspace);
    void (*linear_bwd)(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                       const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                       hone_real beta, void *workspace);
    size_t (*linear_workspace)(hone_dtype type, int64_t in, int64_t out, int64_t rank);

    /* As linear_fwd and linear_bwd, of w and the other side rounded to a precision below f32, to nearest even (hone_precision_of). Elements
     * below the smallest normal number may count as zero; a NaN stays one. `low` is not rounded by a processor, and as in TF32 by a GPU.
     * `workspace` has reduced_workspace() bytes for that pass. */
    void (*reduced_fwd)(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                        hone_precision precision, const hone_low_rank *low, int64_t tokens,
                        int64_t in, int64_t out, hone_real beta, void *workspace);
    void (*reduced_bwd)(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                        hone_precision precision, const hone_low_rank *low, int64_t tokens,
                        int64_t in, int64_t out, hone_real beta, void *workspace);
    size_t (*reduced_workspace)(hone_dtype type, hone_precision precision, int64_t tokens,
                                int64_t in, int64_t out, int64_t rank, bool backward);
    /* Sets of precisions: f32 and those that the two take; and those of them that the device has instructions for. */
    uint32_t precisions, native;

    /* Products in bf16 of rows that were rounded before, which LoRA's part is a part of: [x t] [w sb]^T and [dy u] [w; a], with
     * a, b, t and u rounded as well, and sums in f32. Of GPUs; elsewhere NULL. What stands behind the rows of x and dy is
     * overwritten.
     * fwd: t = x a^T; y = x w^T + scale t b^T + bias. t has T rows of x_stride - in elements.
     * bwd: u = scale dy b; da += u^T x and db += scale dy^T t, where they are not NULL; dx = dy w + u a + beta dx, where it is
     * not NULL. `workspace` has bf16_workspace() bytes, 64-byte aligned. */
    void (*bf16_fwd)(void *y, uint16_t *t, uint16_t *x, const hone_bf16_linear *layer,
                     void *workspace);
    void (*bf16_bwd)(void *dx, hone_real *da, hone_real *db, uint16_t *dy, const uint16_t *x,
                     const uint16_t *t, const hone_bf16_linear *layer, hone_real beta,
                     void *workspace);
    size_t (*bf16_workspace)(const hone_bf16_linear *layer);
    /* y [T] rows, `stride` elements apart = x [T,width] in bf16, as to_bf16; what stands behind them stays. */
    void (*round_rows)(uint16_t *y, const hone_real *x, int64_t tokens, int64_t width,
                       int64_t stride);

    /* The products of LoRA's factors alone.
     * fwd: t[T,R] = x[T,in] a^T.
     * bwd: dt[T,R] = scale dy b; db += scale dy^T t and da += dt^T x, where they are not NULL. `da` NULL: x is not read.
     * `workspace` has lora_workspace() bytes, 64-byte aligned. */
    void (*lora_fwd)(hone_real *t, const hone_real *x, const hone_real *a, hone_lora_shape shape,
                     void *workspace);
    void (*lora_bwd)(hone_real *dt, hone_real *da, hone_real *db, const hone_real *dy,
                     const hone_real *x, const hone_real *t, const hone_real *b,
                     hone_lora_shape shape, void *workspace);
    size_t (*lora_workspace)(hone_lora_shape shape);

    /* Products in int8 (kernels/int8.h). Rows are x [T,width] times column_factor [width], quantised into memory of
     * hone_int8_rows_bytes(). Adds to *counts, which may be NULL. */
    void (*int8_quantize)(void *rows, hone_int8_counts *counts, const hone_real *x,
                          const float *column_factor, int64_t tokens, int64_t width);
    /* fwd: y[T,out] = x w^T + low + beta y, of rows quantised with the weight's column_factor.
     * bwd: dx[T,in] = dy w + low + beta dx, of rows quantised with its row_factor.
     * `low` may be NULL. `workspace` has int8_workspace() bytes for a rank of at least low's, 64-byte aligned. */
    void (*int8_fwd)(hone_real *y, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace);
    void (*int8_bwd)(hone_real *dx, const void *rows, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace);
    size_t (*int8_workspace)(const hone_int8_weight *w, int64_t rank);
    /* For making such weights, one after the other: factor[in] of the columns; factor[out] of the rows, which needs
     * column_factor; q [rows][in] and scale [blocks(rows)][blocks(in)] of rows from `begin`, a whole block. */
    void (*int8_column_factors)(float *factor, const hone_int8_weight *w);
    void (*int8_row_factors)(float *factor, const hone_int8_weight *w);
    void (*int8_quantize_weight)(int8_t *q, float *scale, const hone_int8_weight *w, int64_t begin,
                                 int64_t rows);

    /* y[T,C] = rows `ids` of table [V,C] of any dtype. Overwrites. */
    void (*embedding_fwd)(hone_real *y, const int32_t *ids, const void *table, hone_dtype type,
                          int64_t tokens, int64_t width);
    /* dtable[ids[t]] += dy[t], in the order of t. Accumulates. */
    void (*embedding_bwd)(hone_real *dtable, const int32_t *ids, const hone_real *dy,
                          int64_t tokens, int64_t width);

    /* As gated_fwd, gated_bwd and rmsnorm_fwd, of rows, with what comes out in bf16, as round_rows would make it, and gate and up
     * as well; rows in bf16 begin every stride elements. Of GPUs; elsewhere NULL. */
    void (*gated_fwd_bf16)(uint16_t *y, int64_t stride, const uint16_t *gate, const uint16_t *up,
                           int64_t gate_stride, int64_t tokens, int64_t width,
                           hone_activation_kind kind);
    void (*gated_bwd_bf16)(uint16_t *dgate, int64_t dgate_stride, uint16_t *dup, int64_t dup_stride,
                           const uint16_t *dy, int64_t dy_stride, const uint16_t *gate,
                           const uint16_t *up, int64_t gate_stride, int64_t tokens, int64_t width,
                           hone_activation_kind kind);
    void (*rmsnorm_fwd_bf16)(uint16_t *y, int64_t stride, hone_real *rstd, const hone_real *x,
                             const hone_real *w, int64_t tokens, int64_t width, double epsilon);

    /* y = x rstd w, rstd[t] = 1 / sqrt(mean(x[t]^2) + epsilon). Overwrites y [T,C] and rstd [T]. (arXiv 1910.07467) */
    void (*rmsnorm_fwd)(hone_real *y, hone_real *rstd, const hone_real *x, const hone_real *w,
                        int64_t tokens, int64_t width, double epsilon);
    /* dx = rstd (w dy - x rstd^2 mean(w dy x)) + beta dx; dw (may be NULL) accumulates the sum over t of dy x rstd.
     * dx may be dy when beta is 0. */
    void (*rmsnorm_bwd)(hone_real *dx, hone_real *dw, const hone_real *dy, const hone_real *x,
                        const hone_real *w, const hone_real *rstd, int64_t tokens, int64_t width,
                        hone_real beta);

    /* y = (x - mean) rstd w + b by rows, rstd = 1 / sqrt(mean((x - mean)^2) + epsilon). Overwrites y [T,C] and
     * statistics [T,2], rows of mean and rstd. (arXiv 1607.06450) */
    void (*layernorm_fwd)(hone_real *y, hone_real *statistics, const hone_real *x,
                          const hone_real *w, const hone_real *b, int64_t tokens, int64_t width,
                          double epsilon);
    /* With n = (x - mean) rstd and g = w dy: dx = rstd (g - mean(g) - n mean(g n)) + beta dx; dw and db (either may be
     * NULL) accumulate the sums over t of dy n and of dy. dx may be dy when beta is 0. */
    void (*layernorm_bwd)(hone_real *dx, hone_real *dw, hone_real *db, const hone_real *dy,
                          const hone_real *x, const hone_real *w, const hone_real *statistics,
                          int64_t tokens, int64_t width, hone_real beta);

    /* Rotates pairs of x [T,heads*D] in place by the angle whose cosine and sine stand at [positions[t]][pair] of
     * `cosine` and `sine`, each [positions, rotated/2]; by the opposite angle when `inverse`. (arXiv 2104.09864) */
    void (*rope)(hone_real *x, const hone_real *cosine, const hone_real *sine,
                 const int32_t *positions, hone_rope_shape shape, bool inverse);

    /* Why there is no attention of that kind for that shape, whose own kind does not count; NULL: there is. */
    const char *(*attention_lacks)(hone_attention_kind kind, hone_attention_shape shape);
    /* o = softmax(scale q k^T, capped, causal and within the window of each segment) v; lse [T,H] = log-sum-exp of those scores, kept for
     * backward (may be NULL). q, o [Tq,H*D]; k, v [Tk,K*D]. Overwrites. (arXiv 2205.14135, section 3) */
    void (*attention_fwd)(hone_real *o, hone_real *lse, const hone_real *q, const hone_real *k,
                          const hone_real *v, const hone_segment *segments,
                          hone_attention_shape shape, void *workspace);
    /* Overwrites dq, dk, dv over the tokens of the segments. Segments have q and k runs of the same tokens here.
     * (arXiv 2205.14135, appendix B.4) */
    void (*attention_bwd)(hone_real *dq, hone_real *dk, hone_real *dv, const hone_real *do_,
                          const hone_real *q, const hone_real *k, const hone_real *v,
                          const hone_real *o, const hone_real *lse, const hone_segment *segments,
                          hone_attention_shape shape, void *workspace);
    /* Bytes for either pass, for segments of at most max_q queries and max_k keys. */
    size_t (*attention_workspace)(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                  bool backward);

    /* Pairs of a query and a key that it sees, for one head: what either pass computes at least. */
    double (*attention_pairs)(const hone_segment *segments, hone_attention_shape shape);

    /* y = kind(x), n elements; y may be x. */
    void (*activation_fwd)(hone_real *y, const hone_real *x, int64_t n, hone_activation_kind kind);
    /* Overwrites dx, which may be dy or x itself. */
    void (*activation_bwd)(hone_real *dx, const hone_real *dy, const hone_real *x, int64_t n,
                           hone_activation_kind kind);

    /* y = kind(gate) up, n elements. Overwrites. (arXiv 2002.05202) */
    void (*gated_fwd)(hone_real *y, const hone_real *gate, const hone_real *up, int64_t n,
                      hone_activation_kind kind);
    /* Overwrites dgate and dup; either may be dy, gate or up itself. */
    void (*gated_bwd)(hone_real *dgate, hone_real *dup, const hone_real *dy, const hone_real *gate,
                      const hone_real *up, int64_t n, hone_activation_kind kind);

    /* y = a + b; y may be a or b. */
    void (*add)(hone_real *y, const hone_real *a, const hone_real *b, int64_t n);
    /* y = factor x; y may be x. */
    void (*scale)(hone_real *y, const hone_real *x, int64_t n, double factor);
    /* y[T,C] = x + b, b [C] added to every row; y may be x. */
    void (*bias_fwd)(hone_real *y, const hone_real *x, const hone_real *b, int64_t tokens,
                     int64_t width);
    /* db += the sum of dy over t. Accumulates. */
    void (*bias_bwd)(hone_real *db, const hone_real *dy, int64_t tokens, int64_t width);
    /* y = cap tanh(x / cap); y may be x. */
    void (*softcap_fwd)(hone_real *y, const hone_real *x, int64_t n, double cap);
    /* dx = dy (1 - (y / cap)^2); dx may be dy. */
    void (*softcap_bwd)(hone_real *dx, const hone_real *dy, const hone_real *y, int64_t n,
                        double cap);
    /* y = x. */
    void (*copy)(hone_real *y, const hone_real *x, int64_t n);
    void (*zero)(hone_real *y, int64_t n);
    /* y = x in bf16, rounded to nearest even; a NaN stays one. */
    void (*to_bf16)(uint16_t *y, const hone_real *x, int64_t n);

    /* y[i] = x[rows[i]], n rows of `width`. Overwrites. */
    void (*gather_rows)(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                        int64_t width);
    /* y[rows[i]] = x[i]; no row twice. */
    void (*scatter_rows)(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                         int64_t width);

    /* For n rows of logits x [n,V], with z = softcap tanh(x / softcap), or x itself when softcap is 0:
     * loss[i] = logsumexp(z[i]) - z[i][targets[i]] (overwrites). x becomes what `gradient` says; its gradient is
     * *weight (softmax(z) - onehot(target)) (1 - (z / softcap)^2). For the loss alone nobody reads the weight. Where the
     * target is -1, which fills a batch up, the loss is 0 and so is the gradient. */
    void (*cross_entropy)(hone_real *loss, hone_real *logits, const int32_t *targets, int64_t n,
                          int64_t vocabulary, const double *weight, double softcap,
                          hone_loss_gradient gradient);

    /* y = dropout(x) over rows of `width` elements (y may be x); accumulates into y when beta is 1. The same call with
     * the gradient as x is the backward pass. */
    void (*dropout)(hone_real *y, const hone_real *x, hone_dropout draw, int64_t tokens,
                    int64_t width, hone_real beta);

    /* *out += the sum of x, or *out = that of x^2, in double precision, in a fixed order that does not depend on threads. */
    void (*sum)(double *out, const hone_real *x, int64_t n);
    void (*sum_squares)(double *out, const hone_real *x, int64_t n);

    /* AdamW (arXiv 1711.05101): g = grad grad_scale; m, v updated; p -= lr (m^ / (sqrt(v^) + eps) + decay p). */
    void (*adamw)(hone_real *p, const hone_real *grad, hone_real *m, hone_real *v, int64_t n,
                  const hone_adamw_step *step, double decay);

    /* y[n] = the elements of x, of any dtype. n is a multiple of the block. */
    void (*dequantize)(hone_real *y, const void *x, hone_dtype type, int64_t n);
} hone_kernels;

/* The plainest table: the oracle of all others. */
const hone_kernels *hone_kernels_ref(void);

/* The best table this processor can run: the reference kernels, overwritten by what it has. HONE_ISA=ref, plain, avx2, avxvnni,
 * avx512, avx512vnni or avx512bf16 in the environment (ref, neon or neondot on 64-bit ARM) asks for a level by name; one the
 * processor lacks, or an unknown name, is an error. */
HONE_MUST_USE hone_status hone_kernels_cpu(const hone_kernels **out);

#endif
