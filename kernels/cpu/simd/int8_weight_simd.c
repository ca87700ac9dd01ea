/*
 * Frozen weights in int8: the factors of their rows and columns, and their values by slabs of rows (kernels/int8.h).
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum {
    BLOCK = HONE_INT8_BLOCK,
    CHUNK = 256 /* columns decoded at once: a whole block of any type */
};

/* Columns [first, first + n) of a row. */
static void decode(float *values, const hone_int8_weight *w, int64_t row, int64_t first,
                   int64_t n) {
    const char *at = (const char *)w->source + (size_t)row * hone_dtype_row_bytes(w->type, w->in);
    HONE_SIMD(hone_decoder)(w->type)(values, at + hone_dtype_row_bytes(w->type, first), n);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static float largest_of(float most, float x) {
    float size = x < 0.0f ? -x : x;
    return size > most ? size : most;
}

typedef struct factors_call {
    float *factor;
    const hone_int8_weight *w;
} factors_call;

static void column_factors(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const factors_call *call = context;
    const hone_int8_weight *w = call->w;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        int64_t first = chunk * CHUNK, n = least(CHUNK, w->in - first);
        float largest[CHUNK] = {0}, values[CHUNK];
        for (int64_t row = 0; row < w->out; row++) {
            decode(values, w, row, first, n);
            for (int64_t i = 0; i < n; i++) largest[i] = largest_of(largest[i], values[i]);
        }
        for (int64_t i = 0; i < n; i++) call->factor[first + i] = hone_int8_factor(largest[i]);
    }
}

void HONE_SIMD(hone_int8_column_factors)(float *factor, const hone_int8_weight *w) {
    factors_call call = {factor, w};
    hone_parallel_for((w->in + CHUNK - 1) / CHUNK, 1, column_factors, &call);
}

static void row_factors(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const factors_call *call = context;
    const hone_int8_weight *w = call->w;
    for (int64_t row = begin; row < end; row++) {
        float largest[CHUNK] = {0}, values[CHUNK];
        for (int64_t first = 0; first < w->in; first += CHUNK) {
            int64_t n = least(CHUNK, w->in - first);
            decode(values, w, row, first, n);
            for (int64_t i = 0; i < n; i++)
                largest[i] = largest_of(largest[i], values[i] / w->column_factor[first + i]);
        }
        for (int64_t i = 1; i < CHUNK; i++) largest[0] = largest_of(largest[0], largest[i]);
        call->factor[row] = hone_int8_factor(largest[0]);
    }
}

void HONE_SIMD(hone_int8_row_factors)(float *factor, const hone_int8_weight *w) {
    factors_call call = {factor, w};
    hone_parallel_for(w->out, BLOCK, row_factors, &call);
}

typedef struct slab_call {
    int8_t *q;
    float *scale;
    const hone_int8_weight *w;
    int64_t begin, rows;
} slab_call;

/* One block of up to 64 x 64 of decoded values: divided by the factors, then in steps of a 127th of the largest. */
static void quantize_block(const slab_call *call, float values[BLOCK][CHUNK], int64_t row,
                           int64_t rows, int64_t first, int64_t offset, int64_t n) {
    const hone_int8_weight *w = call->w;
    float most = 0.0f;
    for (int64_t r = 0; r < rows; r++) {
        float *v = values[r] + offset;
        float by = 1.0f / w->row_factor[call->begin + row + r];
        for (int64_t i = 0; i < n; i++) {
            v[i] = v[i] / w->column_factor[first + i] * by;
            most = largest_of(most, v[i]);
        }
    }
    float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    call->scale[row / BLOCK * hone_int8_blocks(w->in) + first / BLOCK] = most / 127.0f;
    for (int64_t r = 0; r < rows; r++) {
        const float *v = values[r] + offset;
        int8_t *to = call->q + (row + r) * w->in + first;
        for (int64_t i = 0; i < n; i++)
            to[i] = (int8_t)(int32_t)((v[i] * inverse + 0x1.8p23f) - 0x1.8p23f);
    }
}

static void quantize_rows(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const slab_call *call = context;
    int64_t in = call->w->in, chunks = (in + CHUNK - 1) / CHUNK;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / chunks * BLOCK, first = item % chunks * CHUNK;
        int64_t rows = least(BLOCK, call->rows - row), n = least(CHUNK, in - first);
        _Alignas(64) float values[BLOCK][CHUNK];
        for (int64_t r = 0; r < rows; r++)
            decode(values[r], call->w, call->begin + row + r, first, n);
        for (int64_t offset = 0; offset < n; offset += BLOCK)
            quantize_block(call, values, row, rows, first + offset, offset,
                           least(BLOCK, n - offset));
    }
}

void HONE_SIMD(hone_int8_quantize_weight)(int8_t *q, float *scale, const hone_int8_weight *w,
                                          int64_t begin, int64_t rows) {
    slab_call call = {q, scale, w, begin, rows};
    int64_t items = hone_int8_blocks(rows) * ((w->in + CHUNK - 1) / CHUNK);
    hone_parallel_for(items, 1, quantize_rows, &call);
}
