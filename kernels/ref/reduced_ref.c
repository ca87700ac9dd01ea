/*
 * Products of operands that are rounded; sums in double precision.
 */
#include <math.h>

#include "kernels/element.h"
#include "kernels/fp8.h"
#include "kernels/ref/ref.h"

/* How a side is rounded. */
typedef struct rounding {
    hone_precision precision;
    hone_fp8_format format;
    float scale;
} rounding;

static rounding rounding_of(hone_precision precision, hone_fp8_format format, const void *x,
                            hone_dtype type, int64_t n) {
    rounding r = {precision, format, 1};
    float largest = 0;
    if (precision != HONE_PRODUCTS_FP8) return r;
    for (int64_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(hone_element_float(x, type, i)));
    r.scale = hone_fp8_scale(largest, format);
    return r;
}

static double rounded(double x, rounding r) {
    switch (r.precision) {
    case HONE_PRODUCTS_TF32:
        return (double)hone_tf32((float)x);
    case HONE_PRODUCTS_BF16:
        return (double)hone_bf16_to_f32(hone_bf16_from_f32((float)x));
    case HONE_PRODUCTS_FP8:
        return (double)hone_fp8_to_f32(hone_fp8_from_f32((float)x * r.scale, r.format), r.format) /
               (double)r.scale;
    default:
        return x;
    }
}

void hone_reduced_fwd_ref(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                          hone_precision precision, const hone_low_rank *low, int64_t tokens,
                          int64_t in, int64_t out, hone_real beta, void *workspace) {
    (void)workspace;
    precision = hone_precision_of(precision, in, out);
    rounding of_x = rounding_of(precision, HONE_E4M3, x, HONE_REAL, tokens * in);
    rounding of_w = rounding_of(precision, HONE_E4M3, w, type, out * in);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0.0;
            for (int64_t i = 0; i < in; i++) {
                sum += rounded((double)x[t * in + i], of_x) *
                       rounded(hone_element(w, type, o * in + i), of_w);
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
    precision = hone_precision_of(precision, in, out);
    rounding of_dy = rounding_of(precision, HONE_E5M2, dy, HONE_REAL, tokens * out);
    rounding of_w = rounding_of(precision, HONE_E4M3, w, type, out * in);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < in; i++) {
            double sum = 0.0;
            for (int64_t o = 0; o < out; o++) {
                sum += rounded((double)dy[t * out + o], of_dy) *
                       rounded(hone_element(w, type, o * in + i), of_w);
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
