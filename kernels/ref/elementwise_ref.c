#include "kernels/ref/ref.h"

void hone_add_ref(hone_real *y, const hone_real *a, const hone_real *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void hone_scale_ref(hone_real *y, const hone_real *x, int64_t n, double factor) {
    for (int64_t i = 0; i < n; i++) y[i] = (hone_real)((double)x[i] * factor);
}

void hone_bias_fwd_ref(hone_real *y, const hone_real *x, const hone_real *b, int64_t tokens,
                       int64_t width) {
    for (int64_t i = 0; i < tokens * width; i++) y[i] = x[i] + b[i % width];
}

void hone_bias_bwd_ref(hone_real *db, const hone_real *dy, int64_t tokens, int64_t width) {
    for (int64_t c = 0; c < width; c++) {
        double sum = 0.0;
        for (int64_t t = 0; t < tokens; t++) sum += (double)dy[t * width + c];
        db[c] = (hone_real)((double)db[c] + sum);
    }
}

void hone_softcap_fwd_ref(hone_real *y, const hone_real *x, int64_t n, double cap) {
    for (int64_t i = 0; i < n; i++) y[i] = (hone_real)hone_capped((double)x[i], cap);
}

void hone_softcap_bwd_ref(hone_real *dx, const hone_real *dy, const hone_real *y, int64_t n,
                          double cap) {
    for (int64_t i = 0; i < n; i++)
        dx[i] = (hone_real)((double)dy[i] * hone_capped_slope((double)y[i], cap));
}

void hone_to_bf16_ref(uint16_t *y, const hone_real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = hone_bf16_from_f32((float)x[i]);
}

void hone_copy_ref(hone_real *y, const hone_real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i];
}

void hone_zero_ref(hone_real *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = 0;
}

void hone_gather_rows_ref(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                          int64_t width) {
    for (int64_t i = 0; i < n; i++) hone_copy_ref(y + i * width, x + rows[i] * width, width);
}

void hone_scatter_rows_ref(hone_real *y, const hone_real *x, const int32_t *rows, int64_t n,
                           int64_t width) {
    for (int64_t i = 0; i < n; i++) hone_copy_ref(y + rows[i] * width, x + i * width, width);
}

void hone_sum_ref(double *out, const hone_real *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    *out += sum;
}

void hone_sum_squares_ref(double *out, const hone_real *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    *out = sum;
}
