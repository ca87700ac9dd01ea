/*
 * Frozen tensors of any dtype: rows of an embedding, and whole tensors as floats.
 */
#include "kernels/cuda/elements.cuh"

void hone_dequantize_cuda(float *y, const void *x, hone_dtype type, int64_t n) {
    auto item = [=] __device__(float &to, float from) { to = from; };
    launch_elements(y, x, type, n, item);
}

void hone_embedding_fwd_cuda(float *y, const int32_t *ids, const void *table, hone_dtype type,
                             int64_t tokens, int64_t width) {
    auto item = [=] __device__(float &to, float from) { to = from; };
    launch_element_rows(y, table, type, ids, tokens, width, item);
}

/* Which of the 32 tokens from `first` on have this id. */
__device__ static uint32_t same_id(const int32_t *ids, int64_t first, int64_t tokens, int32_t id,
                                   int lane) {
    return __ballot_sync(FULL, first + lane < tokens && ids[first + lane] == id);
}

/* Columns of a warp, some to a lane, and rows whose loads it has under way at once. */
enum { CHUNK = 4 * WARP, OWN = CHUNK / WARP, AHEAD = 4 };

/* Adds the rows of those tokens to a lane's columns, from `column` on, in order. */
__device__ static inline void add_rows(float sum[OWN], const float *dy, int64_t width,
                                       int64_t column, int64_t first, uint32_t tokens) {
    while (tokens != 0) {
        float row[AHEAD][OWN];
        for (int r = 0; r < AHEAD; r++, tokens &= tokens - 1) {
            int64_t t = first + __ffs((int)tokens) - 1;
            for (int c = 0; c < OWN; c++) {
                int64_t at = column + c * WARP;
                /* Not 0, which would change a sum of -0. */
                row[r][c] = tokens != 0 && at < width ? dy[t * width + at] : -0.0f;
            }
        }
        for (int r = 0; r < AHEAD; r++)
            for (int c = 0; c < OWN; c++) sum[c] += row[r][c];
    }
}

/* A warp takes a chunk of a token's columns; that of the first token of an id adds up the rows of all its tokens. */
void hone_embedding_bwd_cuda(float *dtable, const int32_t *ids, const float *dy, int64_t tokens,
                             int64_t width) {
    int64_t chunks = (width + CHUNK - 1) / CHUNK;
    launch_each_row(chunks * tokens, [=] __device__(int64_t i, int lane) {
        int64_t token = i % tokens, column = i / tokens * CHUNK + lane;
        int32_t id = ids[token];
        for (int64_t at = 0; at < token; at += WARP)
            if (same_id(ids, at, token, id, lane) != 0) return;
        float sum[OWN];
        for (int c = 0; c < OWN; c++)
            sum[c] = column + c * WARP < width ? dtable[id * width + column + c * WARP] : 0.0f;
        for (int64_t at = token; at < tokens; at += WARP)
            add_rows(sum, dy, width, column, at, same_id(ids, at, tokens, id, lane));
        for (int c = 0; c < OWN; c++)
            if (column + c * WARP < width) dtable[id * width + column + c * WARP] = sum[c];
    });
}
