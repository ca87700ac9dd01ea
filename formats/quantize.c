#include "formats/quantize.h"

#include <math.h>
#include <string.h>

enum { Q8_0_BLOCK = 32 };

typedef struct q8_0 {
    uint16_t scale; /* binary16 */
    int8_t q[Q8_0_BLOCK];
} q8_0;

/* Each row writer gives the column of the first value that its type cannot hold, or -1. */
typedef int64_t (*row_fn)(void *out, const float *in, int64_t cols);

static int64_t row_f32(void *out, const float *in, int64_t cols) {
    memcpy(out, in, (size_t)cols * sizeof *in);
    return -1;
}

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

/* The largest magnitude, and where it is; a NaN counts as the largest. */
static float largest(int64_t *where, const float *in) {
    float most = 0.0f;
    *where = 0;
    for (int64_t i = 0; i < Q8_0_BLOCK; i++) {
        float magnitude = fabsf(in[i]);
        if (magnitude <= most) continue;
        most = magnitude;
        *where = i;
        if (isnan(magnitude)) break;
    }
    return most;
}

/* The column that cannot be held, or -1. */
static int64_t block_q8_0(q8_0 *out, const float *in) {
    int64_t where;
    float scale = largest(&where, in) / 127.0f;
    float inverse = 1.0f / scale; /* gguf-py multiplies by it, and so rounds as this does */
    out->scale = hone_f16_from_f32(scale);
    if ((out->scale & 0x7c00u) == 0x7c00u) return where;
    /* Below 2^-128 the inverse overflows; the scale is then zero as a half, and so is every value. */
    if (!isfinite(inverse)) inverse = 0.0f;
    for (int i = 0; i < Q8_0_BLOCK; i++) out->q[i] = (int8_t)roundf(in[i] * inverse);
    return -1;
}

static int64_t row_q8_0(void *out, const float *in, int64_t cols) {
    unsigned char *to = out;
    for (int64_t i = 0; i < cols; i += Q8_0_BLOCK) {
        q8_0 block;
        int64_t bad = block_q8_0(&block, in + i);
        if (bad >= 0) return i + bad;
        memcpy(to, &block, sizeof block);
        to += sizeof block;
    }
    return -1;
}

static row_fn writer_of(hone_dtype type) {
    switch (type) {
    case HONE_F32:
        return row_f32;
    case HONE_F16:
        return row_f16;
    case HONE_BF16:
        return row_bf16;
    case HONE_Q8_0:
        return row_q8_0;
    default:
        return NULL;
    }
}

int hone_quantize_fits(hone_dtype type, int64_t cols) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)type);
    return writer_of(type) && cols >= 0 && cols % info->block == 0;
}

hone_status hone_quantize(void *out, hone_dtype type, const float *in, int64_t rows, int64_t cols) {
    row_fn write_row = writer_of(type);
    if (!write_row) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "tensors of type %s cannot be written; choose f32, f16, bf16 or q8_0",
                         hone_dtype_name(type));
    }
    if (!hone_quantize_fits(type, cols)) {
        return hone_fail(HONE_ERR_USAGE,
                         "rows of %lld elements do not fit the blocks of %s; choose f16 for them",
                         (long long)cols, hone_dtype_name(type));
    }
    size_t row_bytes = hone_dtype_row_bytes(type, cols);
    for (int64_t r = 0; r < rows; r++) {
        const float *row = in + r * cols;
        int64_t bad = write_row((unsigned char *)out + (size_t)r * row_bytes, row, cols);
        if (bad < 0) continue;
        return hone_fail(
            HONE_ERR_NUMERIC,
            "row %lld, column %lld is %g, which %s cannot hold; choose f32 or look for "
            "what made it so large",
            (long long)r, (long long)bad, (double)row[bad], hone_dtype_name(type));
    }
    return HONE_OK;
}
