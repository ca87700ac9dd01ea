/*
 * Attention in bf16 by cuDNN, sums in f32: an alternative to hone's own kernels for packed documents, where the library is
 * there and has kernels for the shape that give the same bits at each run. What the functions compute stands at their
 * members of hone_kernels; q and k runs are the same here, and segments come in the order of their tokens.
 *
 * Documents and heads are taken in calls of a fixed number, so that one plan serves every batch of a shape. Plans are kept by
 * shape: a call that was made before creates nothing, and may be captured in a CUDA graph.
 */
#ifndef HONE_KERNELS_CUDA_ATTENTION_CUDNN_H
#define HONE_KERNELS_CUDA_ATTENTION_CUDNN_H

#include "kernels/cuda/cuda.h"

/* Whether both passes can be made this way on the GPU that is open: heads of a multiple of 8 elements, without a cap on
 * scores, for which cuDNN has kernels. Loads the library and compiles them when a shape is first asked for. Of a shape's
 * segments and tokens nothing depends on the numbers. */
bool hone_attention_cudnn_serves(hone_attention_shape shape);
/* Why the last answer was no. */
const char *hone_attention_cudnn_reason(void);

/* Loads the library and makes what attention needs of it, of the device that is open; false where that fails, also when it
 * failed before. hone_attention_cudnn_serves() does it by itself. */
bool hone_attention_cudnn_open(void);
/* Gives everything back. Nothing to do when none is open. */
void hone_attention_cudnn_close(void);

/* Bytes that a call of backward may take for what cuDNN keeps of all scores, unless set before any workspace is asked for;
 * one document and one key/value head take what they need. */
enum { HONE_ATTENTION_CUDNN_BYTES = 256 << 20 };
void hone_attention_cudnn_size(size_t bytes);

/* Only of shapes that are served. A failure of cuDNN is kept for hone_cuda_products_status(). */
void hone_attention_fwd_cudnn(float *o, float *lse, const float *q, const float *k, const float *v,
                              const hone_segment *segments, hone_attention_shape shape,
                              void *workspace);
void hone_attention_bwd_cudnn(float *dq, float *dk, float *dv, const float *do_, const float *q,
                              const float *k, const float *v, const float *o, const float *lse,
                              const hone_segment *segments, hone_attention_shape shape,
                              void *workspace);
size_t hone_attention_workspace_cudnn(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                      bool backward);

/* The segments as cuDNN takes them, `room` of them, of which those past the last are empty. */
typedef struct hone_attention_index {
    int32_t *lengths;   /* [room] */
    int64_t *q_offsets; /* [room + 1], in elements of q */
    int64_t *k_offsets; /* of k */
    int64_t *s_offsets; /* of lse */
    uint8_t *inside;    /* [T] whether a token is of a segment */
} hone_attention_index;
void hone_attention_index_cuda(const hone_attention_index *out, const hone_segment *segments,
                               hone_attention_shape shape, int64_t room);
/* y [T,width] = x for tokens inside a segment. */
void hone_attention_from_bf16_cuda(float *y, const uint16_t *x, const uint8_t *inside,
                                   int64_t tokens, int64_t width);

#endif
