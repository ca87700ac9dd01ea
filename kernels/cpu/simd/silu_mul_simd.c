#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { GRAIN = 1 << 13 };

typedef struct silu_call {
    float *y, *dup; /* y is dgate in the backward pass */
    const float *dy, *gate, *up;
} silu_call;

/* 1 / (1 + exp(-x)). */
HONE_INLINE vf sigmoid(vf x) {
    return 1.0f / (vf_exp(-x) + 1.0f);
}

static void run_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const silu_call *call = context;
    int64_t i = begin;
    for (; i + VW <= end; i += VW) {
        vf g = vf_load(call->gate + i);
        vf_store(call->y + i, g * sigmoid(g) * vf_load(call->up + i));
    }
    if (i == end) return;
    vf g = vf_load_part(call->gate + i, end - i);
    vf_store_part(call->y + i, g * sigmoid(g) * vf_load_part(call->up + i, end - i), end - i);
}

/* All inputs are read before an output is written, because it may lie where an input does. */
HONE_INLINE void bwd_vector(vf *dgate, vf *dup, vf d, vf g, vf u) {
    vf s = sigmoid(g);
    *dup = d * (g * s);
    *dgate = d * u * (s * (1.0f + g * (1.0f - s)));
}

static void run_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const silu_call *call = context;
    vf dgate;
    vf dup;
    int64_t i = begin;
    for (; i + VW <= end; i += VW) {
        bwd_vector(&dgate, &dup, vf_load(call->dy + i), vf_load(call->gate + i),
                   vf_load(call->up + i));
        vf_store(call->y + i, dgate);
        vf_store(call->dup + i, dup);
    }
    if (i == end) return;
    int64_t n = end - i;
    bwd_vector(&dgate, &dup, vf_load_part(call->dy + i, n), vf_load_part(call->gate + i, n),
               vf_load_part(call->up + i, n));
    vf_store_part(call->y + i, dgate, n);
    vf_store_part(call->dup + i, dup, n);
}

void HONE_SIMD(hone_silu_mul_fwd)(float *y, const float *gate, const float *up, int64_t n) {
    silu_call call = {.y = y, .gate = gate, .up = up};
    hone_parallel_for(n, GRAIN, run_fwd, &call);
}

void HONE_SIMD(hone_silu_mul_bwd)(float *dgate, float *dup, const float *dy, const float *gate,
                                  const float *up, int64_t n) {
    silu_call call = {.y = dgate, .dup = dup, .dy = dy, .gate = gate, .up = up};
    hone_parallel_for(n, GRAIN, run_bwd, &call);
}
