#include "kernels/ref/ref.h"

void hone_gemm_ref(hone_real *c, const hone_real *a, const hone_real *b, int64_t m, int64_t n,
                   int64_t k, bool trans_a, bool trans_b, int64_t lda, int64_t ldb, int64_t ldc,
                   hone_real alpha, hone_real beta) {
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++) {
                double left = (double)(trans_a ? a[l * lda + i] : a[i * lda + l]);
                double right = (double)(trans_b ? b[j * ldb + l] : b[l * ldb + j]);
                sum += left * right;
            }
            sum *= (double)alpha;
            if (beta != 0) sum += (double)beta * (double)c[i * ldc + j];
            c[i * ldc + j] = (hone_real)sum;
        }
    }
}
