#include "kernels/cpu/simd/levels.h"

void HONE_SIMD(hone_cpu_fill)(hone_kernels *table) {
    table->gemm = hone_gemm_onednn;
    table->linear_fwd = HONE_SIMD(hone_linear_fwd);
    table->linear_bwd = HONE_SIMD(hone_linear_bwd);
    table->linear_workspace = HONE_SIMD(hone_linear_workspace);
    table->dequantize = HONE_SIMD(hone_dequantize);
}
