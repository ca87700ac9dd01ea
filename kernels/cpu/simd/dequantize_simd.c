#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/weights.h"
#include "kernels/ref/ref.h"

enum { UNIT = 32, GRAIN = 512 }; /* elements that stay together; units a thread takes at least */

typedef struct dequantize_call {
    float *y;
    const void *x;
    hone_dtype type;
    int64_t n;
} dequantize_call;

HONE_INLINE void run(const dequantize_call *call, hone_dtype type, int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + VW <= end; i += VW) vf_store(call->y + i, weight_load(call->x, type, i));
    for (; i < end; i++) call->y[i] = weight_at(call->x, type, i);
}

static void body(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const dequantize_call *call = context;
    begin *= UNIT;
    end = end * UNIT < call->n ? end * UNIT : call->n;
    switch (call->type) {
    case HONE_F32:
        run(call, HONE_F32, begin, end);
        break;
    case HONE_F16:
        run(call, HONE_F16, begin, end);
        break;
    case HONE_BF16:
        run(call, HONE_BF16, begin, end);
        break;
    case HONE_Q8_0:
        run(call, HONE_Q8_0, begin, end);
        break;
    default:
        assert(!"a dtype that weights cannot have");
    }
}

void HONE_SIMD(hone_dequantize)(float *y, const void *x, hone_dtype type, int64_t n) {
    dequantize_call call = {y, x, type, n};
    hone_parallel_for((n + UNIT - 1) / UNIT, GRAIN, body, &call);
}
