#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { TOKEN_GRAIN = 32, COLUMN_GRAIN = 64 };

typedef struct embedding_call {
    float *y;
    const int32_t *ids;
    const void *table;
    const float *dy;
    hone_dtype type;
    int64_t tokens, width;
} embedding_call;

static void tokens_fwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const embedding_call *call = context;
    size_t row_bytes = hone_dtype_row_bytes(call->type, call->width);
    for (int64_t t = begin; t < end; t++) {
        const char *row = (const char *)call->table + (size_t)call->ids[t] * row_bytes;
        HONE_SIMD(hone_dequantize)(call->y + t * call->width, row, call->type, call->width);
    }
}

void HONE_SIMD(hone_embedding_fwd)(float *y, const int32_t *ids, const void *table, hone_dtype type,
                                   int64_t tokens, int64_t width) {
    embedding_call call = {
        .y = y, .ids = ids, .table = table, .type = type, .tokens = tokens, .width = width};
    hone_parallel_for(tokens, TOKEN_GRAIN, tokens_fwd, &call);
}

/* Threads share out columns, not tokens: one row may be the target of many tokens. */
static void columns_bwd(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const embedding_call *call = context;
    for (int64_t t = 0; t < call->tokens; t++) {
        float *restrict row = call->y + call->ids[t] * call->width;
        const float *restrict dy = call->dy + t * call->width;
        for (int64_t c = begin; c < end; c++) row[c] += dy[c];
    }
}

void HONE_SIMD(hone_embedding_bwd)(float *dtable, const int32_t *ids, const float *dy,
                                   int64_t tokens, int64_t width) {
    embedding_call call = {.y = dtable, .ids = ids, .dy = dy, .tokens = tokens, .width = width};
    hone_parallel_for(width, COLUMN_GRAIN, columns_bwd, &call);
}
