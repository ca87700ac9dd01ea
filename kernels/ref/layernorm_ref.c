#include <math.h>

#include "kernels/ref/ref.h"

void hone_layernorm_fwd_ref(hone_real *y, hone_real *statistics, const hone_real *x,
                            const hone_real *w, const hone_real *b, int64_t tokens, int64_t width,
                            double epsilon) {
    for (int64_t t = 0; t < tokens; t++) {
        const hone_real *row = x + t * width;
        double mean = 0.0;
        double variance = 0.0;
        for (int64_t c = 0; c < width; c++) mean += (double)row[c];
        mean /= (double)width;
        for (int64_t c = 0; c < width; c++)
            variance += ((double)row[c] - mean) * ((double)row[c] - mean);
        double rstd = 1.0 / sqrt(variance / (double)width + epsilon);
        for (int64_t c = 0; c < width; c++)
            y[t * width + c] =
                (hone_real)(((double)row[c] - mean) * rstd * (double)w[c] + (double)b[c]);
        statistics[2 * t] = (hone_real)mean;
        statistics[2 * t + 1] = (hone_real)rstd;
    }
}

static void row_bwd(hone_real *dx, const hone_real *dy, const hone_real *x, const hone_real *w,
                    const hone_real *statistics, int64_t width, hone_real beta) {
    double mean = (double)statistics[0];
    double rstd = (double)statistics[1];
    double mean_g = 0.0;
    double mean_gn = 0.0;
    for (int64_t c = 0; c < width; c++) {
        double g = (double)w[c] * (double)dy[c];
        mean_g += g / (double)width;
        mean_gn += g * ((double)x[c] - mean) * rstd / (double)width;
    }
    for (int64_t c = 0; c < width; c++) {
        double g = (double)w[c] * (double)dy[c];
        double n = ((double)x[c] - mean) * rstd;
        double gradient = rstd * (g - mean_g - n * mean_gn);
        if (beta != 0) gradient += (double)beta * (double)dx[c];
        dx[c] = (hone_real)gradient;
    }
}

void hone_layernorm_bwd_ref(hone_real *dx, hone_real *dw, hone_real *db, const hone_real *dy,
                            const hone_real *x, const hone_real *w, const hone_real *statistics,
                            int64_t tokens, int64_t width, hone_real beta) {
    /* First dw and db, because dx may overwrite dy. */
    for (int64_t c = 0; dw && c < width; c++) {
        double sum = 0.0;
        for (int64_t t = 0; t < tokens; t++) {
            double n = ((double)x[t * width + c] - (double)statistics[2 * t]) *
                       (double)statistics[2 * t + 1];
            sum += (double)dy[t * width + c] * n;
        }
        dw[c] = (hone_real)((double)dw[c] + sum);
    }
    if (db) hone_bias_bwd_ref(db, dy, tokens, width);
    for (int64_t t = 0; t < tokens; t++)
        row_bwd(dx + t * width, dy + t * width, x + t * width, w, statistics + 2 * t, width, beta);
}
