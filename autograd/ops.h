/*
 * The differentiable operations, one function each. All of them record on a tape; the result is a tensor of that tape,
 * good until the tape begins anew. Formulas stand here; each operation's file holds its descriptor.
 * Shapes in the alphabet of kernels/kernels.h.
 */
#ifndef HONE_AUTOGRAD_OPS_H
#define HONE_AUTOGRAD_OPS_H

#include "autograd/tape.h"

/* Every operation: enumerates descriptors for tables and tests. */
#define HONE_OPS(X)                                                                                \
    X(embedding)                                                                                   \
    X(rmsnorm)                                                                                     \
    X(layernorm)                                                                                   \
    X(round)                                                                                       \
    X(linear)                                                                                      \
    X(rope)                                                                                        \
    X(attention)                                                                                   \
    X(activation)                                                                                  \
    X(gated)                                                                                       \
    X(gated_rounded)                                                                               \
    X(add)                                                                                         \
    X(bias)                                                                                        \
    X(scale)                                                                                       \
    X(softcap)                                                                                     \
    X(gather)                                                                                      \
    X(store)                                                                                       \
    X(cross_entropy)

#define HONE_OP_DECLARE(name) extern const hone_op hone_op_##name;
HONE_OPS(HONE_OP_DECLARE)
#undef HONE_OP_DECLARE

/* y[T,C] = table[ids], table [V,C] of any dtype (trainable only as HONE_REAL). `ids` [T] in device memory, each < V. */
HONE_MUST_USE hone_status hone_embedding(hone_tensor **y, hone_tape *tape, hone_tensor *table,
                                         const int32_t *ids, int64_t tokens);

/* y = w x / sqrt(mean(x^2) + epsilon) over groups of D elements, w [D] HONE_REAL: a row of x [T,C] is one group when D is
 * C, else C / D of them (the norm of each head). With room for so many elements behind each row y is rounded (hone_round), where
 * there is one group; HONE_NOT_ROUNDED: it is not. */
HONE_MUST_USE hone_status hone_rmsnorm(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                       hone_tensor *w, double epsilon, int64_t room);

/* y = w (x - mean) / sqrt(variance + epsilon) + b over rows of x [T,C]; w, b [C] HONE_REAL. */
HONE_MUST_USE hone_status hone_layernorm(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                         hone_tensor *w, hone_tensor *b, double epsilon);

/* A low-rank update of a linear layer (arXiv 2106.09685): y = x w^T + scale dropout(x) a^T b^T. */
typedef struct hone_lora {
    hone_tensor *a; /* [R,in] HONE_REAL */
    hone_tensor *b; /* [out,R] HONE_REAL */
    double scale;   /* alpha / R */
    hone_dropout dropout;
} hone_lora;

/* y = x rounded to bf16, with room for `room` elements behind each row: for products with weights of which
 * hone_product_takes_rounded() is true. The gradient passes as it is. */
HONE_MUST_USE hone_status hone_round(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                     int64_t room);

/* y[T,out] = x[T,in] w^T (+ lora and b [out], when not NULL), w [out,in] of any dtype (trainable only as HONE_REAL). x may be
 * rounded, with room for lora's rank, where nothing is dropped; b is frozen. */
HONE_MUST_USE hone_status hone_linear(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                      hone_tensor *w, const hone_lora *lora, const hone_tensor *b);

/* The same without b, of an x that is rounded: y is, too. */
HONE_MUST_USE hone_status hone_linear_rounded(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                              hone_tensor *w, const hone_lora *lora);

/* Rotary position embedding of x [T,heads*D] in place: x must not be used again. */
HONE_MUST_USE hone_status hone_rope(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                    const hone_real *cosine, const hone_real *sine,
                                    const int32_t *positions, hone_rope_shape shape);

typedef struct hone_attention_call {
    const hone_segment *segments; /* in device memory */
    hone_attention_shape shape;
    int64_t max_q, max_k; /* longest runs of any segment */
} hone_attention_call;

/* o[T,H*D] = causal attention within segments, with the window and softcap of the shape; q [T,H*D], k and v [Tk,K*D]. */
HONE_MUST_USE hone_status hone_attention(hone_tensor **o, hone_tape *tape, hone_tensor *q,
                                         hone_tensor *k, hone_tensor *v,
                                         const hone_attention_call *call);

/* y = kind(x), elementwise; x has no other use. */
HONE_MUST_USE hone_status hone_activation(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                          hone_activation_kind kind);

/* y = kind(gate) up, elementwise; neither has another use. Of a gate and an up that are rounded y is, too, with so much room. */
HONE_MUST_USE hone_status hone_gated(hone_tensor **y, hone_tape *tape, hone_tensor *gate,
                                     hone_tensor *up, hone_activation_kind kind, int64_t room);

/* y = a + b, elementwise. */
HONE_MUST_USE hone_status hone_add(hone_tensor **y, hone_tape *tape, hone_tensor *a,
                                   hone_tensor *b);

/* The next three change x in place: it must not be used again, no operation may need its value for backward (see
 * saved_in, saved_out). */

/* y = x + b, x [T,C], b [C] HONE_REAL. */
HONE_MUST_USE hone_status hone_bias(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                    hone_tensor *b);

/* y = factor x. */
HONE_MUST_USE hone_status hone_scale(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                     double factor);

/* y = cap tanh(x / cap), cap > 0. */
HONE_MUST_USE hone_status hone_softcap(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                       double cap);

/* y[n,C] = x[rows], rows [n] in device memory, none twice. */
HONE_MUST_USE hone_status hone_gather(hone_tensor **y, hone_tape *tape, hone_tensor *x,
                                      const int32_t *rows, int64_t n);

/* Copies x [T,C] to the rows from `at` of `into` [rows,C], memory from outside the tape (a key/value cache). No
 * gradient. */
HONE_MUST_USE hone_status hone_store(hone_tape *tape, hone_tensor *x, hone_tensor *into,
                                     int64_t at);

typedef struct hone_loss_call {
    const int32_t *rows;    /* [N] device: rows of h that predict */
    const int32_t *targets; /* [N] device: what they predict, each < V; -1: nothing */
    int64_t count;          /* N; may be 0 */
    const double *weight;   /* device: of each row's loss in the gradient, 1 / supervised tokens of
                               the whole step */
    double softcap;         /* logits x become softcap tanh(x / softcap) first; 0: they stay */
    double *sum;            /* device; the unweighted sum of the N losses is added to it */
} hone_loss_call;

/* Head and loss at once: losses[i] = -log softmax(h[rows[i]] w^T)[targets[i]], h [T,C], w [V,C] of any dtype. The logits
 * exist in chunks of rows only, and the gradient is produced in the same pass (a trainable w's too: forward adds to it);
 * h must have no other use.
 * losses may be NULL. */
HONE_MUST_USE hone_status hone_cross_entropy(hone_tensor **losses, hone_tape *tape, hone_tensor *h,
                                             hone_tensor *w, const hone_loss_call *call);

#endif
