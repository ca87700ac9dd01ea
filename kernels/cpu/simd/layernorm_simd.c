#include <math.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { TOKEN_GRAIN = 16, COLUMN_BLOCK = 64 };

typedef struct layernorm_call {
    float *y, *dx, *dw, *statistics_out;
    const float *dy, *x, *w, *b, *statistics;
    int64_t tokens, width;
    double epsilon;
    float beta;
} layernorm_call;

/* The sum of (x - mean)^power over a row. */
HONE_INLINE float power_sum(const float *x, int64_t width, float mean, int power) {
    vf sum = {0};
    int64_t c = 0;
    for (; c + VW <= width; c += VW) {
        vf part = vf_load(x + c) - mean;
        sum += power == 2 ? part * part : part;
    }
    float total = vf_sum(sum);
    for (; c < width; c++) total += power == 2 ? (x[c] - mean) * (x[c] - mean) : x[c] - mean;
    return total;
}

static void rows_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const layernorm_call *call = context;
    int64_t width = call->width;
    for (int64_t t = begin; t < end; t++) {
        const float *restrict x = call->x + t * width;
        float *restrict y = call->y + t * width;
        const float *restrict w = call->w;
        const float *restrict b = call->b;
        float mean = power_sum(x, width, 0.0f, 1) / (float)width;
        mean += power_sum(x, width, mean, 1) / (float)width; /* what rounding left */
        double variance = (double)power_sum(x, width, mean, 2) / (double)width;
        float rstd = (float)(1.0 / sqrt(variance + call->epsilon));
        for (int64_t c = 0; c < width; c++) y[c] = (x[c] - mean) * rstd * w[c] + b[c];
        call->statistics_out[2 * t] = mean;
        call->statistics_out[2 * t + 1] = rstd;
    }
}

void HONE_SIMD(hone_layernorm_fwd)(float *y, float *statistics, const float *x, const float *w,
                                   const float *b, int64_t tokens, int64_t width, double epsilon) {
    layernorm_call call = {.y = y,
                           .statistics_out = statistics,
                           .x = x,
                           .w = w,
                           .b = b,
                           .width = width,
                           .epsilon = epsilon};
    hone_parallel_for(tokens, TOKEN_GRAIN, rows_fwd, &call);
}

/* Means over a row of g = w dy and of g n. */
static void row_means(float *mean_g, float *mean_gn, const layernorm_call *call, int64_t t) {
    int64_t width = call->width;
    const float *dy = call->dy + t * width;
    const float *x = call->x + t * width;
    float mean = call->statistics[2 * t];
    vf g = {0};
    vf gn = {0};
    int64_t c = 0;
    for (; c + VW <= width; c += VW) {
        vf part = vf_load(call->w + c) * vf_load(dy + c);
        g += part;
        gn += part * (vf_load(x + c) - mean);
    }
    if (c < width) {
        int64_t n = width - c;
        vf part = vf_load_part(call->w + c, n) * vf_load_part(dy + c, n);
        g += part;
        gn += part * (vf_load_part(x + c, n) - mean);
    }
    *mean_g = vf_sum(g) / (float)width;
    *mean_gn = vf_sum(gn) * call->statistics[2 * t + 1] / (float)width;
}

static void rows_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const layernorm_call *call = context;
    int64_t width = call->width;
    for (int64_t t = begin; t < end; t++) {
        float *dx = call->dx + t * width;
        const float *dy = call->dy + t * width;
        const float *x = call->x + t * width;
        float mean = call->statistics[2 * t];
        float rstd = call->statistics[2 * t + 1];
        float mean_g;
        float mean_gn;
        row_means(&mean_g, &mean_gn, call, t);
        float pull = rstd * mean_gn;
        int64_t c = 0;
        for (; c + VW <= width; c += VW) {
            vf found = rstd * (vf_load(call->w + c) * vf_load(dy + c) - mean_g -
                               (vf_load(x + c) - mean) * pull);
            if (call->beta != 0.0f) found += call->beta * vf_load(dx + c);
            vf_store(dx + c, found);
        }
        for (; c < width; c++) {
            float found = rstd * (call->w[c] * dy[c] - mean_g - (x[c] - mean) * pull);
            dx[c] = call->beta != 0.0f ? found + call->beta * dx[c] : found;
        }
    }
}

/* Columns are cut into blocks; each sums over the tokens in their order, whatever the threads. */
static void weights_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const layernorm_call *call = context;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * COLUMN_BLOCK;
        int64_t left = call->width - first;
        int64_t columns = left < COLUMN_BLOCK ? left : (int64_t)COLUMN_BLOCK;
        float sum[COLUMN_BLOCK] = {0};
        for (int64_t t = 0; t < call->tokens; t++) {
            const float *dy = call->dy + t * call->width + first;
            const float *x = call->x + t * call->width + first;
            float mean = call->statistics[2 * t];
            float rstd = call->statistics[2 * t + 1];
            for (int64_t c = 0; c < columns; c++) sum[c] += dy[c] * ((x[c] - mean) * rstd);
        }
        for (int64_t c = 0; c < columns; c++) call->dw[first + c] += sum[c];
    }
}

void HONE_SIMD(hone_layernorm_bwd)(float *dx, float *dw, float *db, const float *dy, const float *x,
                                   const float *w, const float *statistics, int64_t tokens,
                                   int64_t width, float beta) {
    layernorm_call call = {.dx = dx,
                           .dw = dw,
                           .dy = dy,
                           .x = x,
                           .w = w,
                           .statistics = statistics,
                           .tokens = tokens,
                           .width = width,
                           .beta = beta};
    /* First dw and db, because dx may overwrite dy. */
    if (dw) {
        int64_t blocks = (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
        hone_parallel_for(blocks, tokens < 64 ? blocks : 1, weights_bwd, &call);
    }
    if (db) HONE_SIMD(hone_bias_bwd)(db, dy, tokens, width);
    hone_parallel_for(tokens, TOKEN_GRAIN, rows_bwd, &call);
}
