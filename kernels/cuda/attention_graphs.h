/*
 * Both passes of attention over packed documents as graphs that cuDNN has fused kernels for (its documentation: "Attention";
 * the form is that of NVIDIA's cudnn-frontend, node/scaled_dot_product_flash_attention.h): in bf16, sums in f32, with
 * top-left causal masks, grouped heads and windows.
 *
 * A call takes `batch` documents, the last of which may be empty, and some of the heads. Tensors are those of the packed
 * tokens, [T,H*D] or [T,K*D], where a document begins at an offset of its own.
 */
#ifndef HONE_KERNELS_CUDA_ATTENTION_GRAPHS_H
#define HONE_KERNELS_CUDA_ATTENTION_GRAPHS_H

#include "kernels/cuda/cudnn_graph.h"

typedef struct hone_attention_graph {
    bool backward;
    int64_t batch, longest;              /* documents, and tokens of one at most */
    int64_t heads, kv_heads;             /* that a row has */
    int64_t heads_taken, kv_heads_taken; /* by a call */
    int64_t head_size;
    bool windowed;
} hone_attention_graph;

/* What a call is given, in this order: uids are positions + 1. Tensors of bf16 and the stats begin at the first head that
 * is taken; those of bf16 at a multiple of 16 bytes. */
typedef enum hone_attention_operand {
    HONE_ATTENTION_Q,
    HONE_ATTENTION_K,
    HONE_ATTENTION_V,
    HONE_ATTENTION_O,
    HONE_ATTENTION_STATS,     /* f32 [T,H]: log-sum-exp of the scores */
    HONE_ATTENTION_LENGTHS,   /* int32 [batch] */
    HONE_ATTENTION_Q_OFFSETS, /* int64 [batch + 1], in elements of q's rows */
    HONE_ATTENTION_K_OFFSETS, /* of k's */
    HONE_ATTENTION_S_OFFSETS, /* of the stats' */
    HONE_ATTENTION_SCALE,     /* floats on the host: factor of the scores */
    HONE_ATTENTION_MASKED,    /* -infinity */
    HONE_ATTENTION_WINDOW,    /* keys that a query sees; where windowed */
    HONE_ATTENTION_FORWARD_OPERANDS,
    HONE_ATTENTION_DO = HONE_ATTENTION_FORWARD_OPERANDS,
    HONE_ATTENTION_DQ,
    HONE_ATTENTION_DK,
    HONE_ATTENTION_DV,
    HONE_ATTENTION_DOT, /* f32 [batch, heads_taken, longest], written: do . o */
    HONE_ATTENTION_ONE, /* 1, on the host */
    HONE_ATTENTION_BACKWARD_OPERANDS,
} hone_attention_operand;

/* Elements of HONE_ATTENTION_DOT. */
int64_t hone_attention_graph_dots(const hone_attention_graph *shape);
/* Bytes of workspace that cuDNN takes for a call, about: backward keeps the gradients of all scores, so that dq is summed
 * in order, and those of k and v for every head. */
int64_t hone_attention_graph_bytes(const hone_attention_graph *shape);

/* Errors: UNSUPPORTED where there is no kernel for it. */
HONE_MUST_USE hone_status hone_attention_plan(hone_cudnn_plan *out, const hone_cudnn_target *target,
                                              const hone_attention_graph *shape);

#endif
