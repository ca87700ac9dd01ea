/*
 * Cross-entropy over rows of logits. A row is cut into chunks by its own length alone, each with its own maximum and
 * sum, put together in order: many rows are shared out by rows, few by chunks, with the same bits.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/curves.h"
#include "kernels/cpu/simd/levels.h"

enum { CHUNK = 4096, MOST_CHUNKS = 256 };

/* Of a row: the largest logit, and the sum of exp(x - largest). */
typedef struct softmax_total {
    float largest;
    double sum;
} softmax_total;

typedef struct entropy_call {
    float *loss, *logits;
    const int32_t *targets;
    int64_t vocabulary;
    int64_t chunk, chunks; /* elements of a chunk, chunks of a row */
    double weight, softcap;
    bool backward;
    float *row; /* the row at hand, when a row is shared out */
    softmax_total row_total;
    float largest[MOST_CHUNKS]; /* of its chunks */
    double total[MOST_CHUNKS];
} entropy_call;

static int64_t chunk_length(const entropy_call *call, int64_t c) {
    int64_t left = call->vocabulary - c * call->chunk;
    return left < call->chunk ? left : call->chunk;
}

/* The largest of x, and the sum of exp(x - largest). */
static void chunk_sum(float *largest, double *total, const float *x, int64_t n) {
    vf most = vf_set(-INFINITY);
    int64_t whole = n / VW * VW;
    for (int64_t i = 0; i < whole; i += VW) most = vf_max(vf_load(x + i), most);
    float top = vf_largest(most);
    for (int64_t i = whole; i < n; i++) top = x[i] > top ? x[i] : top;
    if (top == -INFINITY) top = -3.0e38f; /* only -inf and NaN: exp gives 0 and NaN */
    vf sum = {0};
    for (int64_t i = 0; i < whole; i += VW) sum += vf_exp(vf_load(x + i) - top);
    double tail = 0.0;
    for (int64_t i = whole; i < n; i++) tail += (double)expf(x[i] - top);
    *largest = top;
    *total = (double)vf_sum(sum) + tail;
}

static softmax_total combine(const float *largest, const double *total, int64_t chunks) {
    softmax_total found = {largest[0], 0.0};
    for (int64_t c = 1; c < chunks; c++) {
        if (largest[c] > found.largest) found.largest = largest[c];
    }
    for (int64_t c = 0; c < chunks; c++)
        found.sum += total[c] * exp((double)(largest[c] - found.largest));
    return found;
}

/* Chunk c of a row of logits, capped where it lies, and its maximum and sum. */
static void chunk_fwd(const entropy_call *call, float *row, int64_t c, float *largest,
                      double *total) {
    float *x = row + c * call->chunk;
    int64_t n = chunk_length(call, c);
    if (call->softcap > 0.0) softcap_run(x, x, n, (float)call->softcap);
    chunk_sum(&largest[c], &total[c], x, n);
}

/* x = weight softmax(x), times the slope of the cap where it is `capped`, a constant at every use. */
HONE_INLINE void softmax_run(float *x, int64_t n, softmax_total total, float scale, float inverse,
                             bool capped) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf z = vf_load(x + i);
        vf p = scale * vf_exp(z - total.largest);
        vf_store(x + i, capped ? p * softcap_slope(z, inverse) : p);
    }
    if (i == n) return;
    vf z = vf_load_part(x + i, n - i);
    vf p = scale * vf_exp(z - total.largest);
    vf_store_part(x + i, capped ? p * softcap_slope(z, inverse) : p, n - i);
}

static void chunk_bwd(const entropy_call *call, float *x, int64_t n, softmax_total total) {
    float scale = (float)(call->weight / total.sum);
    if (call->softcap > 0.0)
        softmax_run(x, n, total, scale, (float)(1.0 / call->softcap), true);
    else
        softmax_run(x, n, total, scale, 0.0f, false);
}

static void row_end(const entropy_call *call, int64_t i, softmax_total total, float target) {
    call->loss[i] = (float)(log(total.sum) + (double)(total.largest - target));
    if (!call->backward) return;
    double part = call->softcap > 0.0 ? (double)target / call->softcap : 0.0;
    call->logits[i * call->vocabulary + call->targets[i]] -=
        (float)(call->weight * (1.0 - part * part));
}

/* Whether nothing is predicted there, which then is done. */
static bool row_is_empty(const entropy_call *call, int64_t i) {
    if (call->targets[i] >= 0) return false;
    call->loss[i] = 0.0f;
    memset(call->logits + i * call->vocabulary, 0, (size_t)call->vocabulary * sizeof(float));
    return true;
}

static void rows_whole(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const entropy_call *call = context;
    float largest[MOST_CHUNKS];
    double total[MOST_CHUNKS];
    for (int64_t i = begin; i < end; i++) {
        if (row_is_empty(call, i)) continue;
        float *row = call->logits + i * call->vocabulary;
        for (int64_t c = 0; c < call->chunks; c++) chunk_fwd(call, row, c, largest, total);
        float target = row[call->targets[i]];
        softmax_total found = combine(largest, total, call->chunks);
        if (call->backward) chunk_bwd(call, row, call->vocabulary, found);
        row_end(call, i, found, target);
    }
}

static void chunks_sum(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    entropy_call *call = context;
    for (int64_t c = begin; c < end; c++) chunk_fwd(call, call->row, c, call->largest, call->total);
}

static void chunks_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const entropy_call *call = context;
    for (int64_t c = begin; c < end; c++)
        chunk_bwd(call, call->row + c * call->chunk, chunk_length(call, c), call->row_total);
}

static void row_shared(entropy_call *call, int64_t i) {
    if (row_is_empty(call, i)) return;
    call->row = call->logits + i * call->vocabulary;
    hone_parallel_for(call->chunks, 2, chunks_sum, call);
    float target = call->row[call->targets[i]];
    call->row_total = combine(call->largest, call->total, call->chunks);
    if (call->backward) hone_parallel_for(call->chunks, 2, chunks_bwd, call);
    row_end(call, i, call->row_total, target);
}

void HONE_SIMD(hone_cross_entropy)(float *loss, float *logits, const int32_t *targets, int64_t n,
                                   int64_t vocabulary, const double *weight, double softcap,
                                   hone_loss_gradient gradient) {
    assert(gradient != HONE_LOSS_GRADIENT_BF16);
    bool backward = gradient == HONE_LOSS_GRADIENT;
    entropy_call call = {.loss = loss,
                         .logits = logits,
                         .targets = targets,
                         .vocabulary = vocabulary,
                         .weight = backward ? *weight : 0,
                         .softcap = softcap,
                         .backward = backward};
    int64_t chunk = (vocabulary + MOST_CHUNKS - 1) / MOST_CHUNKS;
    call.chunk = chunk < CHUNK ? CHUNK : (chunk + VW - 1) / VW * VW;
    call.chunks = (vocabulary + call.chunk - 1) / call.chunk;
    if (n >= hone_threads()) {
        hone_parallel_for(n, 1 + CHUNK / vocabulary, rows_whole, &call);
        return;
    }
    for (int64_t i = 0; i < n; i++) row_shared(&call, i);
}
