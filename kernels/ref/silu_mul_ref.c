#include <math.h>

#include "kernels/ref/ref.h"

void hone_silu_mul_fwd_ref(hone_real *y, const hone_real *gate, const hone_real *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = (double)gate[i];
        y[i] = (hone_real)(g / (1.0 + exp(-g)) * (double)up[i]);
    }
}

void hone_silu_mul_bwd_ref(hone_real *dgate, hone_real *dup, const hone_real *dy,
                           const hone_real *gate, const hone_real *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d = (double)dy[i];
        double g = (double)gate[i];
        double u = (double)up[i];
        double sigmoid = 1.0 / (1.0 + exp(-g));
        dgate[i] = (hone_real)(d * u * sigmoid * (1.0 + g * (1.0 - sigmoid)));
        dup[i] = (hone_real)(d * g * sigmoid);
    }
}
