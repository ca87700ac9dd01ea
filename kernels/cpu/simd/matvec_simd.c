/*
 * y = x w^T for a few tokens: the weights are read once, in the dtype they have, and each row is used for all tokens at
 * hand. What is not F32 is decoded by strips that stay in the nearest cache.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { TOKENS = 4, UNROLL = 2, STRIP = 256, WORK_GRAIN = 1 << 15 }; /* grain in weights */

typedef struct matvec_call {
    float *y;
    const float *x;
    const unsigned char *w;
    hone_dtype type;
    hone_decode_fn decode;
    size_t row_bytes, strip_bytes;
    int64_t in, out;
    float beta;
} matvec_call;

/* The products of a row with TOKENS tokens so far: whole vectors, and what was left at the end. */
typedef struct row_sums {
    vf whole[TOKENS][UNROLL];
    float rest[TOKENS];
} row_sums;

/* Adds the products of n weights with x, whose rows are `in` apart; `tokens` is a constant at every use. */
HONE_INLINE void add_products(row_sums *sums, const float *w, const float *x, int64_t n, int64_t in,
                              const int tokens) {
    int64_t i = 0;
    for (; i + UNROLL * VW <= n; i += UNROLL * VW) {
#pragma GCC unroll 2
        for (int u = 0; u < UNROLL; u++) {
            vf weight = vf_load(w + i + u * VW);
#pragma GCC unroll 4
            for (int t = 0; t < tokens; t++)
                sums->whole[t][u] += weight * vf_load(x + t * in + i + u * VW);
        }
    }
    for (; i < n; i++) {
        for (int t = 0; t < tokens; t++) sums->rest[t] += w[i] * x[t * in + i];
    }
}

HONE_INLINE row_sums products_of(const matvec_call *call, const unsigned char *row,
                                 const int tokens) {
    row_sums sums = {0};
    if (call->type == HONE_F32) {
        add_products(&sums, (const float *)(const void *)row, call->x, call->in, call->in, tokens);
        return sums;
    }
    float strip[STRIP];
    for (int64_t i = 0; i < call->in; i += STRIP, row += call->strip_bytes) {
        int64_t n = call->in - i < STRIP ? call->in - i : STRIP;
        call->decode(strip, row, n);
        add_products(&sums, strip, call->x + i, n, call->in, tokens);
    }
    return sums;
}

HONE_INLINE void rows_of(const matvec_call *call, int64_t begin, int64_t end, const int tokens) {
    for (int64_t o = begin; o < end; o++) {
        row_sums sums = products_of(call, call->w + (size_t)o * call->row_bytes, tokens);
        for (int t = 0; t < tokens; t++) {
            float found = vf_sum(sums.whole[t][0] + sums.whole[t][1]) + sums.rest[t];
            float *y = call->y + t * call->out + o;
            *y = call->beta != 0.0f ? found + call->beta * *y : found;
        }
    }
}

static void rows_of_1(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    rows_of(context, begin, end, 1);
}

static void rows_of_2(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    rows_of(context, begin, end, 2);
}

static void rows_of_4(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    rows_of(context, begin, end, 4);
}

void HONE_SIMD(hone_matvec)(float *y, const float *x, const void *w, hone_dtype type,
                            int64_t tokens, int64_t in, int64_t out, float beta) {
    int64_t grain = WORK_GRAIN / (in + 1) + 1;
    for (int64_t t = 0; t < tokens;) {
        matvec_call call = {
            .y = y + t * out,
            .x = x + t * in,
            .w = w,
            .type = type,
            .decode = HONE_SIMD(hone_decoder)(type),
            .row_bytes = hone_dtype_row_bytes(type, in),
            .strip_bytes = hone_dtype_row_bytes(type, STRIP),
            .in = in,
            .out = out,
            .beta = beta,
        };
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
