#include <math.h>
#include <string.h>

#include "kernels/ref/ref.h"

static double log_sum_exp(const hone_real *x, int64_t n) {
    double largest = -INFINITY;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, (double)x[i]);
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) total += exp((double)x[i] - largest);
    return largest + log(total);
}

/* A row in bf16 where it lies: element t goes to where element t / 2 was read. */
static void round_row(hone_real *row, int64_t n) {
    for (int64_t t = 0; t < n; t++) {
        uint16_t rounded = hone_bf16_from_f32((float)row[t]);
        memcpy((char *)row + (size_t)t * sizeof rounded, &rounded, sizeof rounded);
    }
}

void hone_cross_entropy_ref(hone_real *loss, hone_real *logits, const int32_t *targets, int64_t n,
                            int64_t vocabulary, const double *weight, double softcap,
                            hone_loss_gradient gradient) {
    for (int64_t i = 0; i < n; i++) {
        hone_real *row = logits + i * vocabulary;
        if (targets[i] < 0) {
            loss[i] = 0;
            hone_zero_ref(row, vocabulary);
            continue;
        }
        hone_softcap_fwd_ref(row, row, vocabulary, softcap);
        double lse = log_sum_exp(row, vocabulary);
        loss[i] = (hone_real)(lse - (double)row[targets[i]]);
        for (int64_t t = 0; gradient != HONE_LOSS_ALONE && t < vocabulary; t++) {
            double onehot = t == targets[i] ? 1.0 : 0.0;
            double dz = *weight * (exp((double)row[t] - lse) - onehot);
            row[t] = (hone_real)(dz * hone_capped_slope((double)row[t], softcap));
        }
        if (gradient == HONE_LOSS_GRADIENT_BF16) round_row(row, vocabulary);
    }
}
