#include "kernels/cpu/simd/levels.h"

static size_t attention_workspace(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                  bool backward) {
    (void)max_k;
    return backward ? HONE_SIMD(hone_attention_bwd_workspace)(shape, max_q)
                    : HONE_SIMD(hone_attention_fwd_workspace)(shape);
}

void HONE_SIMD(hone_cpu_fill)(hone_kernels *table) {
    HONE_SIMD(hone_cpu_fill_int8)(table);
    HONE_SIMD(hone_cpu_fill_bf16)(table);
    table->gemm = HONE_GEMM;
    table->linear_fwd = HONE_SIMD(hone_linear_fwd);
    table->linear_bwd = HONE_SIMD(hone_linear_bwd);
    table->linear_workspace = HONE_SIMD(hone_linear_workspace);
    table->lora_fwd = HONE_SIMD(hone_lora_fwd);
    table->lora_bwd = HONE_SIMD(hone_lora_bwd);
    table->lora_workspace = HONE_SIMD(hone_lora_workspace);
    table->int8_quantize = HONE_SIMD(hone_int8_quantize);
    table->int8_column_factors = HONE_SIMD(hone_int8_column_factors);
    table->int8_row_factors = HONE_SIMD(hone_int8_row_factors);
    table->int8_quantize_weight = HONE_SIMD(hone_int8_quantize_weight);
    table->attention_fwd = HONE_SIMD(hone_attention_fwd);
    table->attention_bwd = HONE_SIMD(hone_attention_bwd);
    table->attention_workspace = attention_workspace;
    table->embedding_fwd = HONE_SIMD(hone_embedding_fwd);
    table->embedding_bwd = HONE_SIMD(hone_embedding_bwd);
    table->rmsnorm_fwd = HONE_SIMD(hone_rmsnorm_fwd);
    table->rmsnorm_bwd = HONE_SIMD(hone_rmsnorm_bwd);
    table->layernorm_fwd = HONE_SIMD(hone_layernorm_fwd);
    table->layernorm_bwd = HONE_SIMD(hone_layernorm_bwd);
    table->rope = HONE_SIMD(hone_rope);
    table->activation_fwd = HONE_SIMD(hone_activation_fwd);
    table->activation_bwd = HONE_SIMD(hone_activation_bwd);
    table->gated_fwd = HONE_SIMD(hone_gated_fwd);
    table->gated_bwd = HONE_SIMD(hone_gated_bwd);
    table->add = HONE_SIMD(hone_add);
    table->scale = HONE_SIMD(hone_scale);
    table->bias_fwd = HONE_SIMD(hone_bias_fwd);
    table->bias_bwd = HONE_SIMD(hone_bias_bwd);
    table->softcap_fwd = HONE_SIMD(hone_softcap_fwd);
    table->softcap_bwd = HONE_SIMD(hone_softcap_bwd);
    table->copy = HONE_SIMD(hone_copy);
    table->to_bf16 = HONE_SIMD(hone_to_bf16);
    table->zero = HONE_SIMD(hone_zero);
    table->gather_rows = HONE_SIMD(hone_gather_rows);
    table->scatter_rows = HONE_SIMD(hone_scatter_rows);
    table->cross_entropy = HONE_SIMD(hone_cross_entropy);
    table->dropout = HONE_SIMD(hone_dropout);
    table->sum = HONE_SIMD(hone_sum);
    table->sum_squares = HONE_SIMD(hone_sum_squares);
    table->adamw = HONE_SIMD(hone_adamw);
    table->dequantize = HONE_SIMD(hone_dequantize);
}
