#include "kernels/cuda/products.h"

void hone_cuda_fill_products(hone_kernels *table) {
    table->gemm = hone_gemm_cuda;
    table->linear_fwd = hone_linear_fwd_cuda;
    table->linear_bwd = hone_linear_bwd_cuda;
    table->linear_workspace = hone_linear_workspace_cuda;
    table->bf16_fwd = hone_bf16_fwd_cuda;
    table->bf16_bwd = hone_bf16_bwd_cuda;
    table->bf16_workspace = hone_bf16_workspace_cuda;
    table->bf16_is_native = true;
    table->lora_fwd = hone_lora_fwd_cuda;
    table->lora_bwd = hone_lora_bwd_cuda;
    table->lora_workspace = hone_lora_workspace_cuda;
    table->int8_quantize = hone_int8_quantize_cuda;
    table->int8_fwd = hone_int8_fwd_cuda;
    table->int8_bwd = hone_int8_bwd_cuda;
    table->int8_workspace = hone_int8_workspace_cuda;
    table->int8_column_factors = hone_int8_column_factors_cuda;
    table->int8_row_factors = hone_int8_row_factors_cuda;
    table->int8_quantize_weight = hone_int8_quantize_weight_cuda;
}
