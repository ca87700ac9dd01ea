#include "kernels/cpu/simd/levels.h"
#include "kernels/ref/ref.h"

/* Windows and soft caps go to the reference. */
static bool special(hone_attention_shape shape) {
    return shape.window > 0 || shape.softcap > 0.0;
}

static size_t attention_workspace(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                  bool backward) {
    if (special(shape)) return hone_attention_workspace_ref(shape, max_q, max_k, backward);
    return backward ? HONE_SIMD(hone_attention_bwd_workspace)(shape, max_q)
                    : HONE_SIMD(hone_attention_fwd_workspace)(shape);
}

static void attention_fwd(float *o, float *lse, const float *q, const float *k, const float *v,
                          const hone_segment *segments, hone_attention_shape shape,
                          void *workspace) {
    if (special(shape))
        hone_attention_fwd_ref(o, lse, q, k, v, segments, shape, workspace);
    else
        HONE_SIMD(hone_attention_fwd)(o, lse, q, k, v, segments, shape, workspace);
}

static void attention_bwd(float *dq, float *dk, float *dv, const float *do_, const float *q,
                          const float *k, const float *v, const float *o, const float *lse,
                          const hone_segment *segments, hone_attention_shape shape,
                          void *workspace) {
    if (special(shape))
        hone_attention_bwd_ref(dq, dk, dv, do_, q, k, v, o, lse, segments, shape, workspace);
    else
        HONE_SIMD(hone_attention_bwd)(dq, dk, dv, do_, q, k, v, o, lse, segments, shape, workspace);
}

static void cross_entropy(float *loss, float *logits, const int32_t *targets, int64_t n,
                          int64_t vocabulary, double weight, double softcap, bool backward) {
    if (softcap > 0.0)
        hone_cross_entropy_ref(loss, logits, targets, n, vocabulary, weight, softcap, backward);
    else
        HONE_SIMD(hone_cross_entropy)(loss, logits, targets, n, vocabulary, weight, backward);
}

void HONE_SIMD(hone_cpu_fill)(hone_kernels *table) {
    table->gemm = hone_gemm_onednn;
    table->linear_fwd = HONE_SIMD(hone_linear_fwd);
    table->linear_bwd = HONE_SIMD(hone_linear_bwd);
    table->linear_workspace = HONE_SIMD(hone_linear_workspace);
    table->attention_fwd = attention_fwd;
    table->attention_bwd = attention_bwd;
    table->attention_workspace = attention_workspace;
    table->embedding_fwd = HONE_SIMD(hone_embedding_fwd);
    table->embedding_bwd = HONE_SIMD(hone_embedding_bwd);
    table->rmsnorm_fwd = HONE_SIMD(hone_rmsnorm_fwd);
    table->rmsnorm_bwd = HONE_SIMD(hone_rmsnorm_bwd);
    table->rope = HONE_SIMD(hone_rope);
    table->activation_fwd = HONE_SIMD(hone_activation_fwd);
    table->activation_bwd = HONE_SIMD(hone_activation_bwd);
    table->gated_fwd = HONE_SIMD(hone_gated_fwd);
    table->gated_bwd = HONE_SIMD(hone_gated_bwd);
    table->add = HONE_SIMD(hone_add);
    table->copy = HONE_SIMD(hone_copy);
    table->zero = HONE_SIMD(hone_zero);
    table->gather_rows = HONE_SIMD(hone_gather_rows);
    table->scatter_rows = HONE_SIMD(hone_scatter_rows);
    table->cross_entropy = cross_entropy;
    table->dropout = HONE_SIMD(hone_dropout);
    table->sum = HONE_SIMD(hone_sum);
    table->sum_squares = HONE_SIMD(hone_sum_squares);
    table->adamw = HONE_SIMD(hone_adamw);
    table->dequantize = HONE_SIMD(hone_dequantize);
}
