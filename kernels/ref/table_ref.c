#include "kernels/ref/ref.h"

static const hone_kernels table = {
    .name = "ref",
    .gemm = hone_gemm_ref,
    .linear_fwd = hone_linear_fwd_ref,
    .linear_bwd = hone_linear_bwd_ref,
    .linear_workspace = hone_linear_workspace_ref,
    .embedding_fwd = hone_embedding_fwd_ref,
    .embedding_bwd = hone_embedding_bwd_ref,
    .rmsnorm_fwd = hone_rmsnorm_fwd_ref,
    .rmsnorm_bwd = hone_rmsnorm_bwd_ref,
    .layernorm_fwd = hone_layernorm_fwd_ref,
    .layernorm_bwd = hone_layernorm_bwd_ref,
    .rope = hone_rope_ref,
    .attention_fwd = hone_attention_fwd_ref,
    .attention_bwd = hone_attention_bwd_ref,
    .attention_workspace = hone_attention_workspace_ref,
    .attention_pairs = hone_attention_pairs_ref,
    .activation_fwd = hone_activation_fwd_ref,
    .activation_bwd = hone_activation_bwd_ref,
    .gated_fwd = hone_gated_fwd_ref,
    .gated_bwd = hone_gated_bwd_ref,
    .add = hone_add_ref,
    .scale = hone_scale_ref,
    .bias_fwd = hone_bias_fwd_ref,
    .bias_bwd = hone_bias_bwd_ref,
    .softcap_fwd = hone_softcap_fwd_ref,
    .softcap_bwd = hone_softcap_bwd_ref,
    .copy = hone_copy_ref,
    .zero = hone_zero_ref,
    .gather_rows = hone_gather_rows_ref,
    .scatter_rows = hone_scatter_rows_ref,
    .cross_entropy = hone_cross_entropy_ref,
    .dropout = hone_dropout_ref,
    .sum = hone_sum_ref,
    .sum_squares = hone_sum_squares_ref,
    .adamw = hone_adamw_ref,
    .dequantize = hone_dequantize_ref,
};

const hone_kernels *hone_kernels_ref(void) {
    return &table;
}
