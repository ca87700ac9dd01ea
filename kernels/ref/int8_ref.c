/*
 * Products in int8 as they are defined (kernels/int8.h), element by element; sums in double precision.
 */
#include "kernels/element.h"
#include "kernels/ref/ref.h"

enum { BLOCK = HONE_INT8_BLOCK, TILE = HONE_INT8_TILE, MARK_RATIO = 32 };

static int8_t step_of(double x) {
    double whole = nearbyint(x);
    return (int8_t)(whole < -127 ? -127 : whole > 127 ? 127 : whole);
}

/* Element i of block b of a token, times its column's factor; 0 outside. */
static float value_at(const hone_int8_rows *rows, const hone_real *x, const float *factor,
                      int64_t token, int64_t b, int64_t i) {
    int64_t column = b * BLOCK + i;
    if (token >= rows->tokens || column >= rows->width) return 0.0f;
    return (float)x[token * rows->width + column] * factor[column];
}

static void quantize_row(const hone_int8_rows *rows, const float *values, int64_t row, bool fine) {
    float scale = rows->scale[row];
    rows->sum[row] = rows->residual_sum[row] = 0;
    for (int64_t i = 0; i < BLOCK; i++) {
        float exact = scale > 0.0f ? values[i] * (1.0f / scale) : 0.0f;
        int8_t q = step_of((double)exact);
        rows->q[row * BLOCK + i] = q;
        rows->sum[row] += q;
        double left = fine ? (double)((exact - (float)q) * (float)HONE_INT8_FINE) : 0;
        int8_t rest = step_of(left);
        rows->residual[row * BLOCK + i] = rest;
        rows->residual_sum[row] += rest;
    }
}

void hone_int8_quantize_ref(void *memory, hone_int8_counts *counts, const hone_real *x,
                            const float *column_factor, int64_t tokens, int64_t width) {
    hone_int8_rows rows = hone_int8_rows_view(memory, tokens, width);
    int64_t blocks = hone_int8_blocks(width);
    for (int64_t at = 0; at < hone_int8_tiles(tokens) * blocks; at++) {
        float values[TILE][BLOCK];
        bool marked[TILE];
        rows.marked[at] = 0;
        for (int64_t r = 0; r < TILE; r++) {
            float largest = 0.0f, sum = 0.0f;
            for (int64_t i = 0; i < BLOCK; i++) {
                values[r][i] =
                    value_at(&rows, x, column_factor, at / blocks * TILE + r, at % blocks, i);
                largest = fmaxf(largest, fabsf(values[r][i]));
                sum += fabsf(values[r][i]);
            }
            rows.scale[at * TILE + r] = largest < 1e-30f ? 0.0f : largest / 127.0f;
            if (!isfinite(sum)) rows.scale[at * TILE + r] = NAN;
            marked[r] = largest * (float)BLOCK > (float)MARK_RATIO * sum;
            if (marked[r]) rows.marked[at]++;
        }
        for (int64_t r = 0; r < TILE; r++)
            quantize_row(&rows, values[r], at * TILE + r, marked[r] || blocks <= HONE_INT8_NARROW);
    }
    hone_int8_count(counts, &rows);
}

/* Element `column` of a quantised token. */
static double row_element(const hone_int8_rows *rows, int64_t token, int64_t column) {
    int64_t block = token / TILE * hone_int8_blocks(rows->width) + column / BLOCK;
    int64_t row = block * TILE + token % TILE, i = row * BLOCK + column % BLOCK;
    double q = rows->q[i];
    if (hone_int8_is_fine(rows, block)) q += rows->residual[i] / (double)HONE_INT8_FINE;
    return q * (double)rows->scale[row];
}

static double weight_element(const hone_int8_weight *w, int64_t o, int64_t i) {
    double scale = (double)w->block_scale[o / BLOCK * hone_int8_blocks(w->in) + i / BLOCK];
    return w->q[o * w->in + i] * scale;
}

/* The weight with its copy, which is made in `workspace` where it has none. */
static hone_int8_weight with_copy(const hone_int8_weight *w, void *workspace) {
    hone_int8_weight copied = *w;
    if (w->q) return copied;
    float *scale = workspace;
    int8_t *q = (int8_t *)(scale + hone_int8_blocks(w->out) * hone_int8_blocks(w->in));
    hone_int8_quantize_weight_ref(q, scale, w, 0, w->out);
    copied.q = q;
    copied.block_scale = scale;
    return copied;
}

void hone_int8_fwd_ref(hone_real *y, const void *memory, const hone_int8_weight *w,
                       const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace) {
    hone_int8_weight copied = with_copy(w, workspace);
    hone_int8_rows rows = hone_int8_rows_view((void *)(uintptr_t)memory, tokens, w->in);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < w->out; o++) {
            double sum = 0.0;
            for (int64_t i = 0; i < w->in; i++)
                sum += row_element(&rows, t, i) * weight_element(&copied, o, i);
            sum = sum * (double)w->row_factor[o] + hone_low_rank_ref(low, t, o, w->out, true);
            if (beta != 0) sum += (double)beta * (double)y[t * w->out + o];
            y[t * w->out + o] = (hone_real)sum;
        }
    }
}

void hone_int8_bwd_ref(hone_real *dx, const void *memory, const hone_int8_weight *w,
                       const hone_low_rank *low, int64_t tokens, hone_real beta, void *workspace) {
    hone_int8_weight copied = with_copy(w, workspace);
    hone_int8_rows rows = hone_int8_rows_view((void *)(uintptr_t)memory, tokens, w->out);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < w->in; i++) {
            double sum = 0.0;
            for (int64_t o = 0; o < w->out; o++)
                sum += row_element(&rows, t, o) * weight_element(&copied, o, i);
            sum = sum * (double)w->column_factor[i] + hone_low_rank_ref(low, t, i, w->in, false);
            if (beta != 0) sum += (double)beta * (double)dx[t * w->in + i];
            dx[t * w->in + i] = (hone_real)sum;
        }
    }
}

size_t hone_int8_workspace_ref(const hone_int8_weight *w, int64_t rank) {
    (void)rank;
    if (w->q) return 0;
    size_t blocks = (size_t)(hone_int8_blocks(w->out) * hone_int8_blocks(w->in));
    return blocks * sizeof(float) + (size_t)(w->out * w->in);
}

static float source_element(const hone_int8_weight *w, int64_t o, int64_t i) {
    return hone_element_float(w->source, w->type, o * w->in + i);
}

void hone_int8_column_factors_ref(float *factor, const hone_int8_weight *w) {
    for (int64_t i = 0; i < w->in; i++) {
        float largest = 0.0f;
        for (int64_t o = 0; o < w->out; o++)
            largest = fmaxf(largest, fabsf(source_element(w, o, i)));
        factor[i] = hone_int8_factor(largest);
    }
}

void hone_int8_row_factors_ref(float *factor, const hone_int8_weight *w) {
    for (int64_t o = 0; o < w->out; o++) {
        float largest = 0.0f;
        for (int64_t i = 0; i < w->in; i++)
            largest = fmaxf(largest, fabsf(source_element(w, o, i) / w->column_factor[i]));
        factor[o] = hone_int8_factor(largest);
    }
}

/* Element (o, i) divided by the factors of its column and row. */
static float balanced(const hone_int8_weight *w, int64_t o, int64_t i) {
    return source_element(w, o, i) / w->column_factor[i] * (1.0f / w->row_factor[o]);
}

void hone_int8_quantize_weight_ref(int8_t *q, float *scale, const hone_int8_weight *w,
                                   int64_t begin, int64_t rows) {
    int64_t across = hone_int8_blocks(w->in);
    for (int64_t b = 0; b < hone_int8_blocks(rows) * across; b++) scale[b] = 0.0f;
    for (int64_t at = 0; at < rows * w->in; at++) {
        float *most = &scale[at / w->in / BLOCK * across + at % w->in / BLOCK];
        *most = fmaxf(*most, fabsf(balanced(w, begin + at / w->in, at % w->in)));
    }
    for (int64_t at = 0; at < rows * w->in; at++) {
        float most = scale[at / w->in / BLOCK * across + at % w->in / BLOCK];
        float inverse = most > 0.0f ? 127.0f / most : 0.0f;
        q[at] = step_of((double)(balanced(w, begin + at / w->in, at % w->in) * inverse));
    }
    for (int64_t b = 0; b < hone_int8_blocks(rows) * across; b++) scale[b] /= 127.0f;
}
