#include "formats/quantize.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/parallel.h"
#include "formats/quantize_blocks.h"

typedef struct encoder {
    hone_block_fn block; /* NULL for the plain types */
    hone_dtype type;
    float limit; /* largest magnitude that the block's encoder takes */
} encoder;

static const encoder encoders[] = {
    {NULL, HONE_F32, 0},
    {NULL, HONE_F16, 0},
    {NULL, HONE_BF16, 0},
    {hone_block_q4_0, HONE_Q4_0, HONE_BLOCK_LIMIT},
    {hone_block_q4_1, HONE_Q4_1, HONE_BLOCK_LIMIT},
    {hone_block_q5_0, HONE_Q5_0, HONE_BLOCK_LIMIT},
    {hone_block_q5_1, HONE_Q5_1, HONE_BLOCK_LIMIT},
    {hone_block_q8_0, HONE_Q8_0, HONE_BLOCK_LIMIT},
    {hone_block_q2_k, HONE_Q2_K, HONE_BLOCK_LIMIT},
    {hone_block_q3_k, HONE_Q3_K, HONE_BLOCK_LIMIT},
    {hone_block_q4_k, HONE_Q4_K, HONE_BLOCK_LIMIT},
    {hone_block_q5_k, HONE_Q5_K, HONE_BLOCK_LIMIT},
    {hone_block_q6_k, HONE_Q6_K, HONE_BLOCK_LIMIT},
    {hone_block_iq4_nl, HONE_IQ4_NL, HONE_BLOCK_LIMIT},
    {hone_block_iq4_xs, HONE_IQ4_XS, HONE_BLOCK_LIMIT},
    {hone_block_mxfp4, HONE_MXFP4, 0x1.8p127f}, /* the largest value that it has */
};

static const encoder *encoder_of(hone_dtype type) {
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (encoders[i].type == type) return &encoders[i];
    }
    return NULL;
}

/* --- Rows: each writer gives the column of the first value that its type cannot hold, or -1 --- */

static int64_t row_f16(void *out, const float *in, int64_t cols) {
    unsigned char *to = out;
    for (int64_t i = 0; i < cols; i++) {
        uint16_t half = hone_f16_from_f32(in[i]);
        if ((half & 0x7c00u) == 0x7c00u) return i;
        memcpy(to + 2 * i, &half, sizeof half);
    }
    return -1;
}

static int64_t row_bf16(void *out, const float *in, int64_t cols) {
    unsigned char *to = out;
    for (int64_t i = 0; i < cols; i++) {
        uint16_t half = hone_bf16_from_f32(in[i]);
        if ((half & 0x7f80u) == 0x7f80u) return i;
        memcpy(to + 2 * i, &half, sizeof half);
    }
    return -1;
}

/* The first value beyond the limit or no number; else the one of largest magnitude. */
static int64_t most_suspect(const float *x, int64_t n, float limit) {
    int64_t where = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= limit)) return i;
        if (fabsf(x[i]) > fabsf(x[where])) where = i;
    }
    return where;
}

static int64_t row_blocks(void *out, const float *in, int64_t cols, const encoder *e) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)e->type);
    unsigned char *to = out;
    for (int64_t i = 0; i < cols; i += info->block, to += info->bytes) {
        int64_t where = most_suspect(in + i, info->block, e->limit);
        if (!(fabsf(in[i + where]) <= e->limit) || !e->block(to, in + i)) return i + where;
    }
    return -1;
}

static int64_t write_row(void *out, const float *in, int64_t cols, const encoder *e) {
    switch (e->type) {
    case HONE_F32:
        memcpy(out, in, (size_t)cols * sizeof *in);
        return -1;
    case HONE_F16:
        return row_f16(out, in, cols);
    case HONE_BF16:
        return row_bf16(out, in, cols);
    default:
        return row_blocks(out, in, cols, e);
    }
}

/* --- All rows --- */

typedef struct job {
    unsigned char *out;
    const float *in;
    int64_t cols;
    size_t row_bytes;
    const encoder *encoder;
    atomic_bool failed;
} job;

static int64_t job_row(const job *j, int64_t row) {
    return write_row(j->out + (size_t)row * j->row_bytes, j->in + row * j->cols, j->cols,
                     j->encoder);
}

static void job_rows(void *context, int64_t begin, int64_t end, int thread) {
    job *j = context;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        if (job_row(j, row) >= 0) j->failed = true;
    }
}

/* Which value it was, looked for again from the first row on, so that the message is the same for any threads. */
static hone_status failure(const job *j, int64_t rows) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t column = job_row(j, row);
        if (column < 0) continue;
        return hone_fail(
            HONE_ERR_NUMERIC,
            "row %lld, column %lld is %g, which %s cannot hold; choose f32 or look for "
            "what made it so large",
            (long long)row, (long long)column, (double)j->in[row * j->cols + column],
            hone_dtype_name(j->encoder->type));
    }
    return HONE_OK;
}

int hone_quantize_fits(hone_dtype type, int64_t cols) {
    return encoder_of(type) && cols >= 0 && cols % hone_dtype_describe((uint32_t)type)->block == 0;
}

hone_status hone_quantize(void *out, hone_dtype type, const float *in, int64_t rows, int64_t cols) {
    job j = {.out = out, .in = in, .cols = cols, .encoder = encoder_of(type)};
    if (!j.encoder) {
        return hone_fail(HONE_ERR_UNSUPPORTED, "tensors of type %s cannot be written",
                         hone_dtype_name(type));
    }
    if (!hone_quantize_fits(type, cols)) {
        return hone_fail(HONE_ERR_USAGE,
                         "rows of %lld elements do not fit the blocks of %s; choose f16 for them",
                         (long long)cols, hone_dtype_name(type));
    }
    enum { GRAIN = 4096 }; /* values that are worth a thread */
    j.row_bytes = hone_dtype_row_bytes(type, cols);
    hone_parallel_for(rows, cols < GRAIN ? GRAIN / (cols + 1) + 1 : 1, job_rows, &j);
    return j.failed ? failure(&j, rows) : HONE_OK;
}
