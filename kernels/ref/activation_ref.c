#include <math.h>

#include "kernels/ref/ref.h"

/* An activation is x sigma(r): r = x for silu, 2u for gelu. Gives its value, and its slope as
 * sigma (1 + x r' (1 - sigma)). */
static double activate(double *slope, double x, hone_activation_kind kind) {
    double r = x;
    double r_slope = 1.0;
    if (kind == HONE_GELU_TANH) {
        double twice = 2.0 * 0.79788456080286535588; /* sqrt(2 / pi) */
        r = twice * (x + 0.044715 * x * x * x);
        r_slope = twice * (1.0 + 3.0 * 0.044715 * x * x);
    }
    double sigma = 1.0 / (1.0 + exp(-r));
    *slope = sigma * (1.0 + x * r_slope * (1.0 - sigma));
    return x * sigma;
}

void hone_activation_fwd_ref(hone_real *y, const hone_real *x, int64_t n,
                             hone_activation_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        double slope;
        y[i] = (hone_real)activate(&slope, (double)x[i], kind);
    }
}

void hone_activation_bwd_ref(hone_real *dx, const hone_real *dy, const hone_real *x, int64_t n,
                             hone_activation_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        double slope;
        (void)activate(&slope, (double)x[i], kind);
        dx[i] = (hone_real)((double)dy[i] * slope);
    }
}

void hone_gated_fwd_ref(hone_real *y, const hone_real *gate, const hone_real *up, int64_t n,
                        hone_activation_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        double slope;
        y[i] = (hone_real)(activate(&slope, (double)gate[i], kind) * (double)up[i]);
    }
}

void hone_gated_bwd_ref(hone_real *dgate, hone_real *dup, const hone_real *dy,
                        const hone_real *gate, const hone_real *up, int64_t n,
                        hone_activation_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        double d = (double)dy[i];
        double u = (double)up[i];
        double slope;
        double value = activate(&slope, (double)gate[i], kind);
        dgate[i] = (hone_real)(d * u * slope);
        dup[i] = (hone_real)(d * value);
    }
}
