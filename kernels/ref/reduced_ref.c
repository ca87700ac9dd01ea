/*
 * Products of operands that are rounded; sums in double precision.
 */
#include "kernels/element.h"
#include "kernels/ref/ref.h"

static double rounded(double x, hone_precision precision) {
    if (precision == HONE_PRODUCTS_TF32) return (double)hone_tf32((float)x);
    return (double)hone_bf16_to_f32(hone_bf16_from_f32((float)x));
}

void hone_reduced_fwd_ref(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                          hone_precision precision, const hone_low_rank *low, int64_t tokens,
                          int64_t in, int64_t out, hone_real beta, void *workspace) {
    (void)workspace;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0.0;
            for (int64_t i = 0; i < in; i++) {
                sum += rounded((double)x[t * in + i], precision) *
                       rounded(hone_element(w, type, o * in + i), precision);
            }
            sum += hone_low_rank_ref(low, t, o, out, true);
            if (beta != 0) sum += (double)beta * (double)y[t * out + o];
            y[t * out + o] = (hone_real)sum;
        }
    }
}

void hone_reduced_bwd_ref(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                          hone_precision precision, const hone_low_rank *low, int64_t tokens,
                          int64_t in, int64_t out, hone_real beta, void *workspace) {
    (void)workspace;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < in; i++) {
            double sum = 0.0;
            for (int64_t o = 0; o < out; o++) {
                sum += rounded((double)dy[t * out + o], precision) *
                       rounded(hone_element(w, type, o * in + i), precision);
            }
            sum += hone_low_rank_ref(low, t, i, in, false);
            if (beta != 0) sum += (double)beta * (double)dx[t * in + i];
            dx[t * in + i] = (hone_real)sum;
        }
    }
}

size_t hone_reduced_workspace_ref(hone_dtype type, hone_precision precision, int64_t tokens,
                                  int64_t in, int64_t out, int64_t rank, bool backward) {
    (void)type, (void)precision, (void)tokens, (void)in, (void)out, (void)rank, (void)backward;
    return 0;
}
