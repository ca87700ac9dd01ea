/*
 * Frozen weights in int8: the sizes of their rows and columns, and their values by slabs of rows (kernels/int8.h).
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

typedef struct squares_call {
    double *squares;
    const hone_int8_weight *w;
} squares_call;

static void column_squares(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const squares_call *call = context;
    const hone_int8_weight *w = call->w;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        int64_t first = chunk * CHUNK, n = least(CHUNK, w->in - first);
        for (int64_t row = 0; row < w->out; row++) {
            float values[CHUNK];
            decode(values, w, row, first, n);
            for (int64_t i = 0; i < n; i++)
                call->squares[first + i] += (double)(values[i] * values[i]);
        }
    }
}

void HONE_SIMD(hone_int8_column_squares)(double *squares, const hone_int8_weight *w) {
    squares_call call = {squares, w};
    hone_parallel_for((w->in + CHUNK - 1) / CHUNK, 1, column_squares, &call);
}

static void row_squares(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const squares_call *call = context;
    const hone_int8_weight *w = call->w;
    for (int64_t row = begin; row < end; row++) {
        double sum = 0.0;
        for (int64_t first = 0; first < w->in; first += CHUNK) {
            int64_t n = least(CHUNK, w->in - first);
            float values[CHUNK], part[CHUNK] = {0};
            decode(values, w, row, first, n);
            for (int64_t i = 0; i < n; i++) {
                float scaled = values[i] / w->column_factor[first + i];
                part[i] = scaled * scaled;
            }
            for (int width = CHUNK / 2; width > 0; width /= 2) {
                for (int i = 0; i < width; i++) part[i] += part[i + width];
            }
            sum += (double)part[0];
        }
        call->squares[row] = sum;
    }
}

void HONE_SIMD(hone_int8_row_squares)(double *squares, const hone_int8_weight *w) {
    squares_call call = {squares, w};
    hone_parallel_for(w->out, BLOCK, row_squares, &call);
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
            v[i] = v[i] * by / w->column_factor[first + i];
            float size = v[i] < 0.0f ? -v[i] : v[i];
            most = size > most ? size : most;
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
