#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { GRAIN = 1 << 13 };

typedef struct adamw_call {
    float *p, *m, *v;
    const float *grad;
    hone_adamw_step step;
    float decay;
} adamw_call;

/* One pass over all four arrays; the compiler makes vectors of it. */
static void run_adamw(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const adamw_call *call = context;
    hone_adamw_step s = call->step;
    float *restrict p = call->p;
    float *restrict m = call->m;
    float *restrict v = call->v;
    const float *restrict grad = call->grad;
    float shrink = s.lr * call->decay;
    float rate = s.lr / s.correction1;
    float widen = 1.0f / s.correction2;
    float rest1 = 1.0f - s.beta1;
    float rest2 = 1.0f - s.beta2;
    for (int64_t i = begin; i < end; i++) {
        float g = grad[i] * s.grad_scale;
        float first = s.beta1 * m[i] + rest1 * g;
        float second = s.beta2 * v[i] + rest2 * g * g;
        float root = __builtin_sqrtf(second * widen);
        p[i] -= rate * first / (root + s.epsilon) + shrink * p[i];
        m[i] = first;
        v[i] = second;
    }
}

void HONE_SIMD(hone_adamw)(float *p, const float *grad, float *m, float *v, int64_t n,
                           const hone_adamw_step *step, double decay) {
    adamw_call call = {p, m, v, grad, *step, (float)decay};
    hone_parallel_for(n, GRAIN, run_adamw, &call);
}
