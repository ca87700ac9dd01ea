#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/cuda.h"

const char *hone_attention_lacks_cuda(hone_attention_kind kind, hone_attention_shape shape) {
    if (kind == HONE_ATTENTION_CUDNN)
        return hone_attention_cudnn_serves(shape) ? NULL : hone_attention_cudnn_reason();
    return shape.head_size <= HONE_ATTENTION_MOST_HEAD ? NULL : "heads are too large";
}

void hone_attention_fwd_cuda(float *o, float *lse, const float *q, const float *k, const float *v,
                             const hone_segment *segments, hone_attention_shape shape,
                             void *workspace) {
    if (shape.kind == HONE_ATTENTION_CUDNN) {
        hone_attention_fwd_cudnn(o, lse, q, k, v, segments, shape, workspace);
    } else if (shape.kind == HONE_ATTENTION_OWN) {
        hone_attention_fwd_own(o, lse, q, k, v, segments, shape);
    } else {
        hone_attention_fwd_exact(o, lse, q, k, v, segments, shape);
    }
}

void hone_attention_bwd_cuda(float *dq, float *dk, float *dv, const float *do_, const float *q,
                             const float *k, const float *v, const float *o, const float *lse,
                             const hone_segment *segments, hone_attention_shape shape,
                             void *workspace) {
    if (shape.kind == HONE_ATTENTION_CUDNN) {
        hone_attention_bwd_cudnn(dq, dk, dv, do_, q, k, v, o, lse, segments, shape, workspace);
    } else if (shape.kind == HONE_ATTENTION_OWN) {
        hone_attention_bwd_own(dq, dk, dv, do_, q, k, v, o, lse, segments, shape, workspace);
    } else {
        hone_attention_bwd_exact(dq, dk, dv, do_, q, k, v, o, lse, segments, shape);
    }
}

size_t hone_attention_workspace_cuda(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                     bool backward) {
    if (shape.kind == HONE_ATTENTION_CUDNN)
        return hone_attention_workspace_cudnn(shape, max_q, max_k, backward);
    return shape.kind == HONE_ATTENTION_OWN ? hone_attention_workspace_own(shape, backward) : 0;
}
