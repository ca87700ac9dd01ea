#include <math.h>

#include "kernels/ref/ref.h"

void hone_adamw_ref(hone_real *p, const hone_real *grad, hone_real *m, hone_real *v, int64_t n,
                    const hone_adamw_step *step, double decay) {
    double beta1 = (double)step->beta1;
    double beta2 = (double)step->beta2;
    for (int64_t i = 0; i < n; i++) {
        double g = (double)grad[i] * (double)step->grad_scale;
        double first = beta1 * (double)m[i] + (1.0 - beta1) * g;
        double second = beta2 * (double)v[i] + (1.0 - beta2) * g * g;
        double root = sqrt(second / (double)step->correction2);
        double update = first / (double)step->correction1 / (root + (double)step->epsilon);
        double weight = (double)p[i];
        p[i] = (hone_real)(weight - (double)step->lr * (update + decay * weight));
        m[i] = (hone_real)first;
        v[i] = (hone_real)second;
    }
}
