#include "kernels/cuda/rows.cuh"

HONE_ROW_KERNEL(TEAM)
layernorm_fwd(float *y, float *statistics, const float *x, const float *w, const float *b,
              row_shape shape, float room) {
    held_row<TEAM> row(shape);
    constexpr int HELD = row.HELD;
    if (row.number >= shape.rows) return;
    int64_t first = row.number * shape.width;
    group_of<float> of_x[HELD], of_w[HELD], of_b[HELD];
    float sum = 0.0f, squares = 0.0f;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        row.load(of_x, x + first, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) sum += of_x[k].at[i];
    }
    float mean = row.sum(sum) / (float)shape.width;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        if (row.has_pieces()) row.load(of_x, x + first, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) {
                float away = row.has(from, k, i) ? of_x[k].at[i] - mean : 0.0f;
                squares += away * away;
            }
    }
    float rstd = 1.0f / sqrtf(row.sum(squares) / (float)shape.width + room);
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        if (row.has_pieces()) row.load(of_x, x + first, from);
        row.load(of_w, w, from);
        row.load(of_b, b, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++)
                of_x[k].at[i] = (of_x[k].at[i] - mean) * rstd * of_w[k].at[i] + of_b[k].at[i];
        row.store(y + first, of_x, from);
    }
    if (row.lane == 0) statistics[2 * row.number] = mean;
    if (row.lane == 0) statistics[2 * row.number + 1] = rstd;
}

void hone_layernorm_fwd_cuda(float *y, float *statistics, const float *x, const float *w,
                             const float *b, int64_t tokens, int64_t width, double epsilon) {
    row_shape shape = {tokens, width, rows_begin_groups(width, y, x, w, b)};
    float room = (float)epsilon;
    HONE_LAUNCH_ROWS(layernorm_fwd, shape, y, statistics, x, w, b, shape, room);
}

HONE_ROW_KERNEL(TEAM)
layernorm_bwd(float *dx, const float *dy, const float *x, const float *w, const float *statistics,
              row_shape shape, float beta) {
    held_row<TEAM> row(shape);
    constexpr int HELD = row.HELD;
    if (row.number >= shape.rows) return;
    int64_t first = row.number * shape.width;
    float mean = statistics[2 * row.number], rstd = statistics[2 * row.number + 1];
    group_of<float> n[HELD], g[HELD], other[HELD]; /* n of x, g = w dy; w, then dx */
    auto load = [&](int64_t from) {
        row.load(n, x + first, from);
        row.load(g, dy + first, from);
        row.load(other, w, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) {
                n[k].at[i] = (n[k].at[i] - mean) * rstd;
                g[k].at[i] *= other[k].at[i];
            }
        if (beta != 0.0f) row.load(other, dx + first, from);
    };
    float sum_g = 0.0f, sum_gn = 0.0f;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        load(from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) {
                sum_g += g[k].at[i];
                sum_gn += g[k].at[i] * n[k].at[i];
            }
    }
    float mean_g = row.sum(sum_g) / (float)shape.width;
    float mean_gn = row.sum(sum_gn) / (float)shape.width;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        if (row.has_pieces()) load(from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) {
                float gradient = rstd * (g[k].at[i] - mean_g - n[k].at[i] * mean_gn);
                if (beta != 0.0f) gradient += beta * other[k].at[i];
                g[k].at[i] = gradient;
            }
        row.store(dx + first, g, from);
    }
}

void hone_layernorm_bwd_cuda(float *dx, float *dw, float *db, const float *dy, const float *x,
                             const float *w, const float *statistics, int64_t tokens, int64_t width,
                             float beta) {
    /* First dw and db, because dx may overwrite dy. */
    if (dw) {
        launch_add_columns(dw, tokens, width, [=] __device__(int64_t t, int64_t c) {
            float n = (x[t * width + c] - statistics[2 * t]) * statistics[2 * t + 1];
            return dy[t * width + c] * n;
        });
    }
    if (db) hone_bias_bwd_cuda(db, dy, tokens, width);
    row_shape shape = {tokens, width, rows_begin_groups(width, dx, dy, x, w)};
    HONE_LAUNCH_ROWS(layernorm_bwd, shape, dx, dy, x, w, statistics, shape, beta);
}
