#include "kernels/cpu/simd/levels.h"

static size_t attention_workspace(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                  bool backward) {
    (void)max_k;
    return backward ? HONE_SIMD(hone_attention_bwd_workspace)(shape, max_q)
                    : HONE_SIMD(hone_attention_fwd_workspace)(shape);
}

void HONE_SIMD(hone_cpu_fill)(hone_kernels *table) {
    table->gemm = hone_gemm_onednn;
    table->linear_fwd = HONE_SIMD(hone_linear_fwd);
    table->linear_bwd = HONE_SIMD(hone_linear_bwd);
    table->linear_workspace = HONE_SIMD(hone_linear_workspace);
    table->attention_fwd = HONE_SIMD(hone_attention_fwd);
    table->attention_bwd = HONE_SIMD(hone_attention_bwd);
    table->attention_workspace = attention_workspace;
    table->dequantize = HONE_SIMD(hone_dequantize);
}
