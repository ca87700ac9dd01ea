#include <math.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { TOKEN_GRAIN = 16, COLUMN_BLOCK = 64 };

typedef struct fwd_call {
    float *y, *rstd;
    const float *x, *w;
    int64_t width;
    double epsilon;
} fwd_call;

static void row_fwd(float *y, float *rstd, const float *x, const float *w, int64_t width,
                    double epsilon) {
    vf squares = {0};
    int64_t whole = width / VW * VW;
    int64_t left = width - whole;
    for (int64_t c = 0; c < whole; c += VW) {
        vf value = vf_load(x + c);
        squares += value * value;
    }
    if (left) {
        vf value = vf_load_part(x + whole, left);
        squares += value * value;
    }
    float scale = (float)(1.0 / sqrt((double)vf_sum(squares) / (double)width + epsilon));
    for (int64_t c = 0; c < whole; c += VW)
        vf_store(y + c, vf_load(x + c) * scale * vf_load(w + c));
    for (int64_t c = whole; c < width; c++) y[c] = x[c] * scale * w[c];
    *rstd = scale;
}

static void rows_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const fwd_call *call = context;
    for (int64_t t = begin; t < end; t++) {
        int64_t at = t * call->width;
        row_fwd(call->y + at, call->rstd + t, call->x + at, call->w, call->width, call->epsilon);
    }
}

void HONE_SIMD(hone_rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w,
                                 int64_t tokens, int64_t width, double epsilon) {
    fwd_call call = {y, rstd, x, w, width, epsilon};
    hone_parallel_for(tokens, TOKEN_GRAIN, rows_fwd, &call);
}

typedef struct bwd_call {
    float *dx, *dw;
    const float *dy, *x, *w, *rstd;
    int64_t tokens, width;
    float beta;
} bwd_call;

/* Sum of w dy x over a row. */
static float weighted_product(const float *dy, const float *x, const float *w, int64_t width) {
    vf sum = {0};
    int64_t c = 0;
    for (; c + VW <= width; c += VW) sum += vf_load(w + c) * vf_load(dy + c) * vf_load(x + c);
    if (c < width) {
        int64_t n = width - c;
        sum += vf_load_part(w + c, n) * vf_load_part(dy + c, n) * vf_load_part(x + c, n);
    }
    return vf_sum(sum);
}

static void rows_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const bwd_call *call = context;
    int64_t width = call->width;
    for (int64_t t = begin; t < end; t++) {
        float *dx = call->dx + t * width;
        const float *dy = call->dy + t * width;
        const float *x = call->x + t * width;
        float rstd = call->rstd[t];
        float mean = weighted_product(dy, x, call->w, width) / (float)width;
        float pull = rstd * rstd * rstd * mean;
        int64_t c = 0;
        for (; c + VW <= width; c += VW) {
            vf found = rstd * (vf_load(call->w + c) * vf_load(dy + c)) - vf_load(x + c) * pull;
            if (call->beta != 0.0f) found += call->beta * vf_load(dx + c);
            vf_store(dx + c, found);
        }
        for (; c < width; c++) {
            float found = rstd * (call->w[c] * dy[c]) - x[c] * pull;
            if (call->beta != 0.0f) found += call->beta * dx[c];
            dx[c] = found;
        }
    }
}

/* Columns are cut into blocks; each sums over the tokens in their order, whatever the threads. */
static void weights_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const bwd_call *call = context;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * COLUMN_BLOCK;
        int64_t columns =
            call->width - first < COLUMN_BLOCK ? call->width - first : (int64_t)COLUMN_BLOCK;
        float sum[COLUMN_BLOCK] = {0};
        for (int64_t t = 0; t < call->tokens; t++) {
            const float *dy = call->dy + t * call->width + first;
            const float *x = call->x + t * call->width + first;
            for (int64_t c = 0; c < columns; c++) sum[c] += dy[c] * x[c] * call->rstd[t];
        }
        for (int64_t c = 0; c < columns; c++) call->dw[first + c] += sum[c];
    }
}

void HONE_SIMD(hone_rmsnorm_bwd)(float *dx, float *dw, const float *dy, const float *x,
                                 const float *w, const float *rstd, int64_t tokens, int64_t width,
                                 float beta) {
    bwd_call call = {dx, dw, dy, x, w, rstd, tokens, width, beta};
    /* First dw, because dx may overwrite dy. */
    if (dw) {
        int64_t blocks = (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
        hone_parallel_for(blocks, tokens < 64 ? blocks : 1, weights_bwd, &call);
    }
    hone_parallel_for(tokens, TOKEN_GRAIN, rows_bwd, &call);
}
