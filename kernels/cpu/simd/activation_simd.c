#include "base/parallel.h"
#include "kernels/cpu/simd/curves.h"
#include "kernels/cpu/simd/levels.h"

enum { GRAIN = 1 << 13 };

typedef struct activation_call {
    float *y, *dup; /* y is dx or dgate in the backward pass */
    const float *dy, *x, *up;
    hone_activation_kind kind;
} activation_call;

/* The loops below are inlined once for each kind, and with or without the product with `up`. */

HONE_INLINE void loop_fwd(const activation_call *call, int64_t begin, int64_t end,
                          hone_activation_kind kind, bool gated) {
    int64_t i = begin;
    for (; i + VW <= end; i += VW) {
        vf y = activation_value(vf_load(call->x + i), kind);
        vf_store(call->y + i, gated ? y * vf_load(call->up + i) : y);
    }
    if (i == end) return;
    vf y = activation_value(vf_load_part(call->x + i, end - i), kind);
    vf_store_part(call->y + i, gated ? y * vf_load_part(call->up + i, end - i) : y, end - i);
}

/* All inputs are read before an output is written, because it may lie where an input does. */
HONE_INLINE void loop_bwd(const activation_call *call, int64_t begin, int64_t end,
                          hone_activation_kind kind, bool gated) {
    vf value;
    int64_t i = begin;
    for (; i + VW <= end; i += VW) {
        vf slope = activation_slope(&value, vf_load(call->x + i), kind);
        vf d = vf_load(call->dy + i);
        vf_store(call->y + i, gated ? d * vf_load(call->up + i) * slope : d * slope);
        if (gated) vf_store(call->dup + i, d * value);
    }
    if (i == end) return;
    int64_t n = end - i;
    vf slope = activation_slope(&value, vf_load_part(call->x + i, n), kind);
    vf d = vf_load_part(call->dy + i, n);
    vf_store_part(call->y + i, gated ? d * vf_load_part(call->up + i, n) * slope : d * slope, n);
    if (gated) vf_store_part(call->dup + i, d * value, n);
}

static void run_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    if (call->kind == HONE_SILU)
        loop_fwd(call, begin, end, HONE_SILU, false);
    else
        loop_fwd(call, begin, end, HONE_GELU_TANH, false);
}

static void run_gated_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    if (call->kind == HONE_SILU)
        loop_fwd(call, begin, end, HONE_SILU, true);
    else
        loop_fwd(call, begin, end, HONE_GELU_TANH, true);
}

static void run_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    if (call->kind == HONE_SILU)
        loop_bwd(call, begin, end, HONE_SILU, false);
    else
        loop_bwd(call, begin, end, HONE_GELU_TANH, false);
}

static void run_gated_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    if (call->kind == HONE_SILU)
        loop_bwd(call, begin, end, HONE_SILU, true);
    else
        loop_bwd(call, begin, end, HONE_GELU_TANH, true);
}

void HONE_SIMD(hone_activation_fwd)(float *y, const float *x, int64_t n,
                                    hone_activation_kind kind) {
    activation_call call = {.y = y, .x = x, .kind = kind};
    hone_parallel_for(n, GRAIN, run_fwd, &call);
}

void HONE_SIMD(hone_activation_bwd)(float *dx, const float *dy, const float *x, int64_t n,
                                    hone_activation_kind kind) {
    activation_call call = {.y = dx, .dy = dy, .x = x, .kind = kind};
    hone_parallel_for(n, GRAIN, run_bwd, &call);
}

void HONE_SIMD(hone_gated_fwd)(float *y, const float *gate, const float *up, int64_t n,
                               hone_activation_kind kind) {
    activation_call call = {.y = y, .x = gate, .up = up, .kind = kind};
    hone_parallel_for(n, GRAIN, run_gated_fwd, &call);
}

void HONE_SIMD(hone_gated_bwd)(float *dgate, float *dup, const float *dy, const float *gate,
                               const float *up, int64_t n, hone_activation_kind kind) {
    activation_call call = {.y = dgate, .dup = dup, .dy = dy, .x = gate, .up = up, .kind = kind};
    hone_parallel_for(n, GRAIN, run_gated_bwd, &call);
}
