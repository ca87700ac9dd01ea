#include <dnnl.h>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

void hone_gemm_onednn(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k,
                      bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                      float alpha, float beta) {
    if (m == 0 || n == 0) return;
    dnnl_status_t status = dnnl_success;
    if (k > 0) {
        status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b,
                            ldb, beta, c, ldc);
    }
    /* An empty sum, or no memory for the library's packing: the reference needs none. */
    if (k == 0 || status != dnnl_success)
        hone_gemm_ref(c, a, b, m, n, k, trans_a, trans_b, lda, ldb, ldc, alpha, beta);
}
