/*
 * Sums in double precision. An array is cut into pieces by its length alone, each summed on its own, and the pieces
 * are added in order: the same bits whatever the threads.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { PIECE = 1 << 14, MOST_PIECES = 1024 };

typedef struct sum_call {
    const float *x;
    int64_t n, piece;
    double found[MOST_PIECES];
} sum_call;

HONE_INLINE double piece_sum(const float *x, int64_t n, bool squares) {
    vd sum = {0};
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vd value = __builtin_convertvector(vf_load(x + i), vd);
        sum += squares ? value * value : value;
    }
    double total = vd_sum(sum);
    for (; i < n; i++) total += squares ? (double)x[i] * (double)x[i] : (double)x[i];
    return total;
}

HONE_INLINE void pieces_sum(sum_call *call, int64_t begin, int64_t end, bool squares) {
    for (int64_t p = begin; p < end; p++) {
        int64_t left = call->n - p * call->piece;
        call->found[p] =
            piece_sum(call->x + p * call->piece, left < call->piece ? left : call->piece, squares);
    }
}

static void pieces_plain(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    pieces_sum(context, begin, end, false);
}

static void pieces_squares(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    pieces_sum(context, begin, end, true);
}

static double sum_over(const float *x, int64_t n, hone_range_fn pieces) {
    int64_t piece = (n + MOST_PIECES - 1) / MOST_PIECES;
    sum_call call = {.x = x, .n = n, .piece = piece < PIECE ? PIECE : (piece + VW - 1) / VW * VW};
    int64_t count = (n + call.piece - 1) / call.piece;
    hone_parallel_for(count, 2, pieces, &call);
    double total = 0.0;
    for (int64_t p = 0; p < count; p++) total += call.found[p];
    return total;
}

void HONE_SIMD(hone_sum)(double *out, const float *x, int64_t n) {
    *out += sum_over(x, n, pieces_plain);
}

void HONE_SIMD(hone_sum_squares)(double *out, const float *x, int64_t n) {
    *out = sum_over(x, n, pieces_squares);
}
