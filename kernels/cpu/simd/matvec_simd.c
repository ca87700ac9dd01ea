/*
 * y = x w^T for a few tokens: the weights are read once, in the dtype they have, and each row is used for all tokens at
 * hand.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/weights.h"

enum { TOKENS = 4, UNROLL = 2, WORK_GRAIN = 1 << 15 }; /* grain in weights */

typedef struct matvec_call {
    float *y;
    const float *x;
    const void *w;
    hone_dtype type;
    int64_t in, out;
    float beta;
} matvec_call;

/* found[t] = x[t] . row for `tokens` tokens; `type` and `tokens` are constants at every use. */
HONE_INLINE void row_products(float *found, const float *x, const void *row, hone_dtype type,
                              int64_t in, const int tokens) {
    vf sum[TOKENS][UNROLL] = {{{0}}};
    int64_t i = 0;
    for (; i + UNROLL * VW <= in; i += UNROLL * VW) {
#pragma GCC unroll 2
        for (int u = 0; u < UNROLL; u++) {
            vf weight = weight_load(row, type, i + u * VW);
#pragma GCC unroll 4
            for (int t = 0; t < tokens; t++) sum[t][u] += weight * vf_load(x + t * in + i + u * VW);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < tokens; t++) found[t] = vf_sum(sum[t][0] + sum[t][1]);
    for (; i < in; i++) {
        float weight = weight_at(row, type, i);
        for (int t = 0; t < tokens; t++) found[t] += weight * x[t * in + i];
    }
}

HONE_INLINE void rows_of(const matvec_call *call, hone_dtype type, int64_t begin, int64_t end,
                         const int tokens) {
    size_t row_bytes = hone_dtype_row_bytes(type, call->in);
    for (int64_t o = begin; o < end; o++) {
        float found[TOKENS];
        row_products(found, call->x, (const char *)call->w + (size_t)o * row_bytes, type, call->in,
                     tokens);
        for (int t = 0; t < tokens; t++) {
            float *y = call->y + t * call->out + o;
            *y = call->beta != 0.0f ? found[t] + call->beta * *y : found[t];
        }
    }
}

HONE_INLINE void typed_rows(const matvec_call *call, int64_t begin, int64_t end, const int tokens) {
    switch (call->type) {
    case HONE_F32:
        rows_of(call, HONE_F32, begin, end, tokens);
        break;
    case HONE_F16:
        rows_of(call, HONE_F16, begin, end, tokens);
        break;
    case HONE_BF16:
        rows_of(call, HONE_BF16, begin, end, tokens);
        break;
    case HONE_Q8_0:
        rows_of(call, HONE_Q8_0, begin, end, tokens);
        break;
    default:
        assert(!"a dtype that weights cannot have");
    }
}

static void rows_of_1(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    typed_rows(context, begin, end, 1);
}

static void rows_of_2(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    typed_rows(context, begin, end, 2);
}

static void rows_of_4(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    typed_rows(context, begin, end, 4);
}

void HONE_SIMD(hone_matvec)(float *y, const float *x, const void *w, hone_dtype type,
                            int64_t tokens, int64_t in, int64_t out, float beta) {
    int64_t grain = WORK_GRAIN / (in + 1) + 1;
    for (int64_t t = 0; t < tokens;) {
        matvec_call call = {y + t * out, x + t * in, w, type, in, out, beta};
        int64_t left = tokens - t;
        int64_t now = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        hone_parallel_for(out, grain,
                          now == 4   ? rows_of_4
                          : now == 2 ? rows_of_2
                                     : rows_of_1,
                          &call);
        t += now;
    }
}
