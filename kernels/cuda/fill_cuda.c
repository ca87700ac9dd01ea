#include "kernels/cuda/cuda.h"

void hone_cuda_fill(hone_kernels *table) {
    table->embedding_fwd = hone_embedding_fwd_cuda;
    table->embedding_bwd = hone_embedding_bwd_cuda;
    table->rmsnorm_fwd = hone_rmsnorm_fwd_cuda;
    table->rmsnorm_bwd = hone_rmsnorm_bwd_cuda;
    table->layernorm_fwd = hone_layernorm_fwd_cuda;
    table->layernorm_bwd = hone_layernorm_bwd_cuda;
    table->rope = hone_rope_cuda;
    table->attention_fwd = hone_attention_fwd_cuda;
    table->attention_bwd = hone_attention_bwd_cuda;
    table->attention_workspace = hone_attention_workspace_cuda;
    table->activation_fwd = hone_activation_fwd_cuda;
    table->activation_bwd = hone_activation_bwd_cuda;
    table->gated_fwd = hone_gated_fwd_cuda;
    table->gated_bwd = hone_gated_bwd_cuda;
    table->add = hone_add_cuda;
    table->scale = hone_scale_cuda;
    table->bias_fwd = hone_bias_fwd_cuda;
    table->bias_bwd = hone_bias_bwd_cuda;
    table->softcap_fwd = hone_softcap_fwd_cuda;
    table->softcap_bwd = hone_softcap_bwd_cuda;
    table->copy = hone_copy_cuda;
    table->to_bf16 = hone_to_bf16_cuda;
    table->zero = hone_zero_cuda;
    table->gather_rows = hone_gather_rows_cuda;
    table->scatter_rows = hone_scatter_rows_cuda;
    table->cross_entropy = hone_cross_entropy_cuda;
    table->dropout = hone_dropout_cuda;
    table->sum = hone_sum_cuda;
    table->sum_squares = hone_sum_squares_cuda;
    table->adamw = hone_adamw_cuda;
    table->dequantize = hone_dequantize_cuda;
}
