#include <math.h>

#include "kernels/ref/ref.h"

void hone_rmsnorm_fwd_ref(hone_real *y, hone_real *rstd, const hone_real *x, const hone_real *w,
                          int64_t tokens, int64_t width, double epsilon) {
    for (int64_t t = 0; t < tokens; t++) {
        const hone_real *row = x + t * width;
        double squares = 0.0;
        for (int64_t c = 0; c < width; c++) squares += (double)row[c] * (double)row[c];
        double scale = 1.0 / sqrt(squares / (double)width + epsilon);
        for (int64_t c = 0; c < width; c++)
            y[t * width + c] = (hone_real)((double)row[c] * scale * (double)w[c]);
        rstd[t] = (hone_real)scale;
    }
}

static void row_bwd(hone_real *dx, const hone_real *dy, const hone_real *x, const hone_real *w,
                    double rstd, int64_t width, hone_real beta) {
    double mean = 0.0; /* of w dy x */
    for (int64_t c = 0; c < width; c++) mean += (double)w[c] * (double)dy[c] * (double)x[c];
    mean /= (double)width;
    for (int64_t c = 0; c < width; c++) {
        double gradient = rstd * ((double)w[c] * (double)dy[c] - (double)x[c] * rstd * rstd * mean);
        if (beta != 0) gradient += (double)beta * (double)dx[c];
        dx[c] = (hone_real)gradient;
    }
}

void hone_rmsnorm_bwd_ref(hone_real *dx, hone_real *dw, const hone_real *dy, const hone_real *x,
                          const hone_real *w, const hone_real *rstd, int64_t tokens, int64_t width,
                          hone_real beta) {
    /* First dw, because dx may overwrite dy. */
    for (int64_t c = 0; dw && c < width; c++) {
        double sum = 0.0;
        for (int64_t t = 0; t < tokens; t++)
            sum += (double)dy[t * width + c] * (double)x[t * width + c] * (double)rstd[t];
        dw[c] = (hone_real)((double)dw[c] + sum);
    }
    for (int64_t t = 0; t < tokens; t++)
        row_bwd(dx + t * width, dy + t * width, x + t * width, w, (double)rstd[t], width, beta);
}
