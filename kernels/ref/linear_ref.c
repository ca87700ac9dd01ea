#include "kernels/element.h"
#include "kernels/ref/ref.h"

double hone_low_rank_ref(const hone_low_rank *low, int64_t t, int64_t column, int64_t columns,
                         bool forward) {
    double sum = 0.0;
    for (int64_t r = 0; low && r < low->rank; r++) {
        int64_t at = forward ? column * low->rank + r : r * columns + column;
        sum += (double)low->t[t * low->rank + r] * (double)low->factor[at];
    }
    return low ? sum * low->scale : 0.0;
}

void hone_linear_fwd_ref(hone_real *y, const hone_real *x, const void *w, hone_dtype type,
                         const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                         hone_real beta, void *workspace) {
    (void)workspace;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0.0;
            for (int64_t i = 0; i < in; i++)
                sum += (double)x[t * in + i] * hone_element(w, type, o * in + i);
            sum += hone_low_rank_ref(low, t, o, out, true);
            if (beta != 0) sum += (double)beta * (double)y[t * out + o];
            y[t * out + o] = (hone_real)sum;
        }
    }
}

void hone_linear_bwd_ref(hone_real *dx, const hone_real *dy, const void *w, hone_dtype type,
                         const hone_low_rank *low, int64_t tokens, int64_t in, int64_t out,
                         hone_real beta, void *workspace) {
    (void)workspace;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < in; i++) {
            double sum = 0.0;
            for (int64_t o = 0; o < out; o++)
                sum += (double)dy[t * out + o] * hone_element(w, type, o * in + i);
            sum += hone_low_rank_ref(low, t, i, in, false);
            if (beta != 0) sum += (double)beta * (double)dx[t * in + i];
            dx[t * in + i] = (hone_real)sum;
        }
    }
}

size_t hone_linear_workspace_ref(hone_dtype type, int64_t in, int64_t out, int64_t rank) {
    (void)type, (void)in, (void)out, (void)rank;
    return 0;
}
