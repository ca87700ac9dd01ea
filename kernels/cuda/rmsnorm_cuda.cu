#include "kernels/cuda/rows.cuh"

/* Where rows go: as they are side by side, or rounded to bf16 every `stride` elements; one of the two is NULL. */
struct norm_output {
    float *whole;
    uint16_t *rounded;
    int64_t stride;
};

HONE_ROW_KERNEL(TEAM)
rmsnorm_fwd(norm_output y, float *rstd, const float *x, const float *w, row_shape shape,
            float room) {
    held_row<TEAM> row(shape);
    constexpr int HELD = row.HELD;
    if (row.number >= shape.rows) return;
    int64_t first = row.number * shape.width;
    group_of<float> of_x[HELD], of_w[HELD];
    float squares = 0.0f;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        row.load(of_x, x + first, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) squares += of_x[k].at[i] * of_x[k].at[i];
    }
    float scale = 1.0f / sqrtf(row.sum(squares) / (float)shape.width + room);
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        if (row.has_pieces()) row.load(of_x, x + first, from);
        row.load(of_w, w, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) of_x[k].at[i] = of_x[k].at[i] * scale * of_w[k].at[i];
        if (y.rounded)
            row.store(y.rounded + row.number * y.stride, of_x, from);
        else
            row.store(y.whole + first, of_x, from);
    }
    if (row.lane == 0) rstd[row.number] = scale;
}

void hone_rmsnorm_fwd_cuda(float *y, float *rstd, const float *x, const float *w, int64_t tokens,
                           int64_t width, double epsilon) {
    row_shape shape = {tokens, width, rows_begin_groups(width, y, x, w)};
    norm_output to = {y, nullptr, width};
    float room = (float)epsilon;
    HONE_LAUNCH_ROWS(rmsnorm_fwd, shape, to, rstd, x, w, shape, room);
}

void hone_rmsnorm_fwd_bf16_cuda(uint16_t *y, int64_t stride, float *rstd, const float *x,
                                const float *w, int64_t tokens, int64_t width, double epsilon) {
    row_shape shape = {tokens, width, rows_begin_groups(width, y, x, w) && stride % GROUP == 0};
    norm_output to = {nullptr, y, stride};
    float room = (float)epsilon;
    HONE_LAUNCH_ROWS(rmsnorm_fwd, shape, to, rstd, x, w, shape, room);
}

HONE_ROW_KERNEL(TEAM)
rmsnorm_bwd(float *dx, const float *dy, const float *x, const float *w, const float *rstd,
            row_shape shape, float beta) {
    held_row<TEAM> row(shape);
    constexpr int HELD = row.HELD;
    if (row.number >= shape.rows) return;
    int64_t first = row.number * shape.width;
    group_of<float> of_x[HELD], g[HELD], other[HELD]; /* g = w dy; w, then dx */
    auto load = [&](int64_t from) {
        row.load(of_x, x + first, from);
        row.load(g, dy + first, from);
        row.load(other, w, from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) g[k].at[i] *= other[k].at[i];
        if (beta != 0.0f) row.load(other, dx + first, from);
    };
    float sum = 0.0f;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        load(from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) sum += g[k].at[i] * of_x[k].at[i];
    }
    float scale = rstd[row.number];
    float slope = scale * scale * row.sum(sum) / (float)shape.width;
    for (int64_t from = 0; from < row.end(); from += row.PIECE) {
        if (row.has_pieces()) load(from);
        HONE_UNROLL
        for (int k = 0; k < HELD; k++)
            for (int i = 0; i < GROUP; i++) {
                float gradient = scale * (g[k].at[i] - of_x[k].at[i] * slope);
                if (beta != 0.0f) gradient += beta * other[k].at[i];
                g[k].at[i] = gradient;
            }
        row.store(dx + first, g, from);
    }
}

void hone_rmsnorm_bwd_cuda(float *dx, float *dw, const float *dy, const float *x, const float *w,
                           const float *rstd, int64_t tokens, int64_t width, float beta) {
    /* First dw, because dx may overwrite dy. */
    if (dw) {
        launch_add_columns(dw, tokens, width, [=] __device__(int64_t t, int64_t c) {
            return dy[t * width + c] * x[t * width + c] * rstd[t];
        });
    }
    row_shape shape = {tokens, width, rows_begin_groups(width, dx, dy, x, w)};
    HONE_LAUNCH_ROWS(rmsnorm_bwd, shape, dx, dy, x, w, rstd, shape, beta);
}
