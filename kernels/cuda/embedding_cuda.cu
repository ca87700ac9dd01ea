/*
 * Frozen tensors of any dtype: rows of an embedding, and whole tensors as floats.
 */
#include "kernels/cuda/device.cuh"

void hone_dequantize_cuda(float *y, const void *x, hone_dtype type, int64_t n) {
    launch_each(n, [=] __device__(int64_t i) { y[i] = hone_element_float(x, type, i); });
}

void hone_embedding_fwd_cuda(float *y, const int32_t *ids, const void *table, hone_dtype type,
                             int64_t tokens, int64_t width) {
    launch_each(tokens * width, [=] __device__(int64_t i) {
        y[i] = hone_element_float(table, type, ids[i / width] * width + i % width);
    });
}

/* Which of the 32 tokens from `first` on have this id. */
__device__ static uint32_t same_id(const int32_t *ids, int64_t first, int64_t tokens, int32_t id,
                                   int lane) {
    return __ballot_sync(FULL, first + lane < tokens && ids[first + lane] == id);
}

/* A warp takes a token; that of the first token of an id adds up the rows of all its tokens, in order. */
void hone_embedding_bwd_cuda(float *dtable, const int32_t *ids, const float *dy, int64_t tokens,
                             int64_t width) {
    launch_each_row(tokens, [=] __device__(int64_t token, int lane) {
        int32_t id = ids[token];
        for (int64_t at = 0; at < token; at += WARP)
            if (same_id(ids, at, token, id, lane) != 0) return;
        for (int64_t at = token; at < tokens; at += WARP) {
            uint32_t same = same_id(ids, at, tokens, id, lane);
            for (; same != 0; same &= same - 1) {
                int64_t t = at + __ffs((int)same) - 1;
                for (int64_t c = lane; c < width; c += WARP)
                    dtable[id * width + c] += dy[t * width + c];
            }
        }
    });
}
