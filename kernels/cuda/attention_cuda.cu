/*
 * Attention in f32 by tiles, with online softmax (arXiv 2205.14135). A block of four warps holds 16 rows of one side, four
 * to a warp, and walks over the other side in tiles of 32, one to a lane: queries over the keys that they see for o
 * and dq, keys over the queries that see them for dk and dv. So each result is summed by one block, in order, and
 * nothing needs atomics; the price is that backward computes scores twice.
 *
 * Vectors of D elements are taken in pieces of 64, of which a lane sums the elements `lane` and `lane + 32`. Blocks walk
 * over the segments' tiles by themselves, so that a launch depends on their number alone.
 */
#include <assert.h>

#include "kernels/cuda/attention.cuh"

enum {
    WARPS = 4,
    THREADS = WARPS * WARP,
    MINE = 4,            /* rows of a warp */
    ROWS = WARPS * MINE, /* of a block */
    PIECE = 64,
    PER_LANE = PIECE / WARP,
    PITCH = PIECE + 1, /* of a streamed tile's rows: lanes read down a column */
    STREAMED = WARP * PITCH,
    WEIGHTS = ROWS * WARP,
    MOST_PIECES = 4,
};

/* The rows from `first` on, of `rows` that there are, zeros after them: their pieces, one after the other. */
template <int PIECES>
__device__ static void load_rows(HONE_SHARED_POINTER(float) to, const float *from, int64_t stride,
                                 int64_t rows, int64_t size) {
    for (int i = (int)threadIdx.x; i < ROWS * PIECES * PIECE; i += THREADS) {
        int64_t row = i / (PIECES * PIECE), d = i % (PIECES * PIECE);
        to[i] = row < rows && d < size ? from[row * stride + d] : 0.0f;
    }
}

/* Piece p of a tile of 32 vectors; times those of `by`, where it is given. */
__device__ static void load_piece(HONE_SHARED_POINTER(float) to, const float *from, const float *by,
                                  int64_t stride, int64_t rows, int p, int64_t size) {
    __syncthreads(); /* all have read the last one */
    for (int i = (int)threadIdx.x; i < WARP * PIECE; i += THREADS) {
        int64_t row = i / PIECE, d = i % PIECE + p * PIECE;
        float value = 0.0f;
        if (row < rows && d < size) value = from[row * stride + d];
        if (row < rows && d < size && by) value *= by[row * stride + d];
        to[i / PIECE * PITCH + i % PIECE] = value;
    }
    __syncthreads();
}

/* sum[r] += row r of this warp times the lane's vector, over a piece. */
__device__ static void dot_piece(float sum[MINE], HONE_SHARED_POINTER(float) rows, int pitch, int p,
                                 HONE_SHARED_POINTER(float) streamed) {
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    for (int d = 0; d < PIECE; d++) {
        float own = streamed[lane * PITCH + d];
        for (int r = 0; r < MINE; r++)
            sum[r] += rows[(warp * MINE + r) * pitch + p * PIECE + d] * own;
    }
}

/* sum[r][.] += the weights of row r times the 32 vectors, elements of a piece. */
__device__ static void add_piece(float sum[MINE][PER_LANE], HONE_SHARED_POINTER(float) weights,
                                 HONE_SHARED_POINTER(float) streamed) {
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    for (int j = 0; j < WARP; j++) {
        float low = streamed[j * PITCH + lane], high = streamed[j * PITCH + lane + WARP];
        for (int r = 0; r < MINE; r++) {
            float weight = weights[(warp * MINE + r) * WARP + j];
            sum[r][0] += weight * low;
            sum[r][1] += weight * high;
        }
    }
}

/* Writes sums of a warp's rows, times `scale` of each. */
template <int PIECES>
__device__ static void store_rows(float *to, int64_t stride, int64_t rows, int64_t size,
                                  const float sum[PIECES][MINE][PER_LANE],
                                  const float scale[MINE]) {
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    for (int p = 0; p < PIECES; p++) {
        for (int r = 0; r < MINE; r++) {
            int64_t row = warp * MINE + r;
            for (int h = 0; h < PER_LANE; h++) {
                int64_t d = p * PIECE + h * WARP + lane;
                if (row < rows && d < size) to[row * stride + d] = sum[p][r][h] * scale[r];
            }
        }
    }
}

/* --- Forward --- */

/* Takes the scores of a tile into a row's largest and sum; gives their weights and what the old sums shrink by. */
__device__ static float soften(float *largest, float *sum, float *score) {
    float now = fmaxf(*largest, warp_max(*score));
    float shrink = expf(*largest - now);
    *score = expf(*score - now);
    *sum = *sum * shrink + warp_sum(*score);
    *largest = now;
    return shrink;
}

template <int PIECES>
__device__ static void
fwd_tile(float *o, float *lse, const inputs &in, const tile &at, HONE_SHARED_POINTER(float) queries,
         HONE_SHARED_POINTER(float) streamed, HONE_SHARED_POINTER(float) weights) {
    const hone_attention_shape &shape = in.shape;
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    int64_t size = shape.head_size, stride = shape.heads * size, key_stride = shape.kv_heads * size;
    int64_t kv_head = at.head / (shape.heads / shape.kv_heads);
    int64_t query = (at.run.q_begin + at.first) * stride + at.head * size;
    int64_t rows = smaller(ROWS, at.run.q_len - at.first);
    int64_t before = at.run.k_len - at.run.q_len + at.first; /* keys before the first query's own */
    float total[PIECES][MINE][PER_LANE] = {}, largest[MINE], sum[MINE] = {};
    for (int r = 0; r < MINE; r++) largest[r] = -FLT_MAX;
    __syncthreads();
    load_rows<PIECES>(queries, in.q + query, stride, rows, size);
    for (int64_t j = first_key(shape, before); j < before + rows; j += WARP) {
        int64_t keys = smaller(WARP, before + rows - j);
        int64_t key = (at.run.k_begin + j) * key_stride + kv_head * size;
        float score[MINE] = {};
        for (int p = 0; p < PIECES; p++) {
            load_piece(streamed, in.k + key, NULL, key_stride, keys, p, size);
            dot_piece(score, queries, PIECES * PIECE, p, streamed);
        }
        for (int r = 0; r < MINE; r++) {
            bool seen = sees(shape, before + warp * MINE + r, j + lane);
            score[r] =
                seen ? capped((float)shape.scale * score[r], (float)shape.softcap) : -INFINITY;
            float shrink = soften(&largest[r], &sum[r], &score[r]);
            weights[(warp * MINE + r) * WARP + lane] = score[r];
            for (int p = 0; p < PIECES; p++)
                for (int h = 0; h < PER_LANE; h++) total[p][r][h] *= shrink;
        }
        for (int p = 0; p < PIECES; p++) {
            load_piece(streamed, in.v + key, NULL, key_stride, keys, p, size);
            add_piece(total[p], weights, streamed);
        }
    }
    float inverse[MINE];
    for (int r = 0; r < MINE; r++) inverse[r] = 1.0f / sum[r];
    store_rows<PIECES>(o + query, stride, rows, size, total, inverse);
    for (int r = 0; lse && lane == 0 && r < MINE; r++) {
        int64_t row = warp * MINE + r;
        if (row < rows)
            lse[(at.run.q_begin + at.first + row) * shape.heads + at.head] =
                largest[r] + logf(sum[r]);
    }
}

template <int PIECES> __global__ void attention_fwd(float *o, float *lse, inputs in) {
    enum { HELD = ROWS * PIECES * PIECE };
    HONE_SHARED(float, queries, HELD);
    HONE_SHARED(float, streamed, STREAMED);
    HONE_SHARED(float, weights, WEIGHTS);
    tile_walk<ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.heads); i += gridDim.x)
        fwd_tile<PIECES>(o, lse, in, at, queries, streamed, weights);
}

/* --- Backward --- */

/* Weight and gradient of the score, before scaling, of a query and a key. */
__device__ static float score_bwd(float *ds, const hone_attention_shape &shape, float score,
                                  float dp, float lse, float delta, bool seen) {
    score = capped((float)shape.scale * score, (float)shape.softcap);
    float weight = seen ? expf(score - lse) : 0.0f;
    float slope = capped_slope(score, (float)shape.softcap) * (float)shape.scale;
    *ds = seen ? weight * (dp - delta) * slope : 0.0f;
    return weight;
}

/* dq of a tile of queries. */
template <int PIECES>
__device__ static void
query_tile(float *dq, const inputs &in, const tile &at, HONE_SHARED_POINTER(float) queries,
           HONE_SHARED_POINTER(float) grads, HONE_SHARED_POINTER(float) streamed,
           HONE_SHARED_POINTER(float) weights) {
    const hone_attention_shape &shape = in.shape;
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    int64_t size = shape.head_size, stride = shape.heads * size, key_stride = shape.kv_heads * size;
    int64_t kv_head = at.head / (shape.heads / shape.kv_heads);
    int64_t token = at.run.q_begin + at.first;
    int64_t query = token * stride + at.head * size;
    int64_t rows = smaller(ROWS, at.run.q_len - at.first);
    float total[PIECES][MINE][PER_LANE] = {}, lse[MINE] = {}, delta[MINE] = {};
    __syncthreads();
    load_rows<PIECES>(queries, in.q + query, stride, rows, size);
    load_rows<PIECES>(grads, in.do_ + query, stride, rows, size);
    for (int r = 0; r < MINE; r++) {
        int64_t row = warp * MINE + r;
        if (row >= rows) continue;
        lse[r] = in.lse[(token + row) * shape.heads + at.head];
        for (int64_t d = lane; d < size; d += WARP)
            delta[r] += in.do_[query + row * stride + d] * in.o[query + row * stride + d];
        delta[r] = warp_sum(delta[r]);
    }
    for (int64_t j = first_key(shape, at.first); j < at.first + rows; j += WARP) {
        int64_t keys = smaller(WARP, at.first + rows - j);
        int64_t key = (at.run.k_begin + j) * key_stride + kv_head * size;
        float score[MINE] = {}, dp[MINE] = {}, ds;
        for (int p = 0; p < PIECES; p++) {
            load_piece(streamed, in.v + key, NULL, key_stride, keys, p, size);
            dot_piece(dp, grads, PIECES * PIECE, p, streamed);
        }
        for (int p = 0; p < PIECES; p++) {
            load_piece(streamed, in.k + key, NULL, key_stride, keys, p, size);
            dot_piece(score, queries, PIECES * PIECE, p, streamed);
        }
        for (int r = 0; r < MINE; r++) {
            int64_t row = warp * MINE + r;
            bool seen = row < rows && sees(shape, at.first + row, j + lane);
            (void)score_bwd(&ds, shape, score[r], dp[r], lse[r], delta[r], seen);
            weights[row * WARP + lane] = ds;
        }
        __syncwarp();
        for (int p = 0; p < PIECES; p++) {
            if (PIECES > 1) load_piece(streamed, in.k + key, NULL, key_stride, keys, p, size);
            add_piece(total[p], weights, streamed);
        }
    }
    const float one[MINE] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_rows<PIECES>(dq + query, stride, rows, size, total, one);
}

template <int PIECES> __global__ void attention_bwd_queries(float *dq, inputs in) {
    enum { HELD = ROWS * PIECES * PIECE };
    HONE_SHARED(float, queries, HELD);
    HONE_SHARED(float, grads, HELD);
    HONE_SHARED(float, streamed, STREAMED);
    HONE_SHARED(float, weights, WEIGHTS);
    tile_walk<ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.heads); i += gridDim.x)
        query_tile<PIECES>(dq, in, at, queries, grads, streamed, weights);
}

/* Shared memory of a block that makes dk and dv. */
struct key_space {
    HONE_SHARED_POINTER(float) keys;
    HONE_SHARED_POINTER(float) values;
    HONE_SHARED_POINTER(float) streamed;
    HONE_SHARED_POINTER(float) weights;
    HONE_SHARED_POINTER(float) slopes;
};

/* Adds to dk and dv of a tile of keys what a tile of queries of one head gives: `query` is the row of the first. */
template <int PIECES>
__device__ static void key_step(float dk[PIECES][MINE][PER_LANE], float dv[PIECES][MINE][PER_LANE],
                                const inputs &in, const key_space &space, int64_t key,
                                int64_t key_rows, int64_t i, int64_t queries, int64_t query,
                                int64_t lse_at) {
    const hone_attention_shape &shape = in.shape;
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    int64_t size = shape.head_size, stride = shape.heads * size;
    float lse = lane < queries ? in.lse[lse_at + lane * shape.heads] : 0.0f;
    float delta = 0.0f, score[MINE] = {}, dp[MINE] = {};
    for (int p = 0; p < PIECES; p++) {
        load_piece(space.streamed, in.do_ + query, in.o + query, stride, queries, p, size);
        for (int d = 0; d < PIECE; d++) delta += space.streamed[lane * PITCH + d];
    }
    for (int p = 0; p < PIECES; p++) {
        load_piece(space.streamed, in.q + query, NULL, stride, queries, p, size);
        dot_piece(score, space.keys, PIECES * PIECE, p, space.streamed);
    }
    for (int p = 0; p < PIECES; p++) {
        load_piece(space.streamed, in.do_ + query, NULL, stride, queries, p, size);
        dot_piece(dp, space.values, PIECES * PIECE, p, space.streamed);
    }
    for (int r = 0; r < MINE; r++) {
        int64_t row = warp * MINE + r;
        bool seen = row < key_rows && lane < queries && sees(shape, i + lane, key + row);
        float ds;
        space.weights[row * WARP + lane] = score_bwd(&ds, shape, score[r], dp[r], lse, delta, seen);
        space.slopes[row * WARP + lane] = ds;
    }
    __syncwarp();
    for (int p = 0; p < PIECES; p++) {
        if (PIECES > 1) load_piece(space.streamed, in.do_ + query, NULL, stride, queries, p, size);
        add_piece(dv[p], space.weights, space.streamed);
    }
    for (int p = 0; p < PIECES; p++) {
        load_piece(space.streamed, in.q + query, NULL, stride, queries, p, size);
        add_piece(dk[p], space.slopes, space.streamed);
    }
}

/* dk and dv of a tile of keys, from the heads that share them. */
template <int PIECES>
__device__ static void key_tile(float *dk, float *dv, const inputs &in, const tile &at,
                                const key_space &space) {
    const hone_attention_shape &shape = in.shape;
    int64_t size = shape.head_size, stride = shape.heads * size, key_stride = shape.kv_heads * size;
    int64_t group = shape.heads / shape.kv_heads;
    int64_t rows = smaller(ROWS, at.run.k_len - at.first);
    int64_t key = (at.run.k_begin + at.first) * key_stride + at.head * size;
    int64_t end = at.run.q_len;
    if (shape.window > 0) end = smaller(end, at.first + rows - 1 + shape.window);
    float key_sum[PIECES][MINE][PER_LANE] = {}, value_sum[PIECES][MINE][PER_LANE] = {};
    __syncthreads();
    load_rows<PIECES>(space.keys, in.k + key, key_stride, rows, size);
    load_rows<PIECES>(space.values, in.v + key, key_stride, rows, size);
    for (int64_t i = at.first; i < end; i += WARP) {
        for (int64_t h = at.head * group; h < (at.head + 1) * group; h++) {
            int64_t token = at.run.q_begin + i;
            key_step<PIECES>(key_sum, value_sum, in, space, at.first, rows, i,
                             smaller(WARP, end - i), token * stride + h * size,
                             token * shape.heads + h);
        }
    }
    const float one[MINE] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_rows<PIECES>(dk + key, key_stride, rows, size, key_sum, one);
    store_rows<PIECES>(dv + key, key_stride, rows, size, value_sum, one);
}

template <int PIECES> __global__ void attention_bwd_keys(float *dk, float *dv, inputs in) {
    enum { HELD = ROWS * PIECES * PIECE };
    HONE_SHARED(float, keys, HELD);
    HONE_SHARED(float, values, HELD);
    HONE_SHARED(float, streamed, STREAMED);
    HONE_SHARED(float, weights, WEIGHTS);
    HONE_SHARED(float, slopes, WEIGHTS);
    key_space space = {keys, values, streamed, weights, slopes};
    tile_walk<ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.kv_heads); i += gridDim.x)
        key_tile<PIECES>(dk, dv, in, at, space);
}

/* --- Launches --- */

static int pieces(const hone_attention_shape &shape) {
    assert(shape.head_size <= MOST_PIECES * PIECE);
    return (int)((shape.head_size + PIECE - 1) / PIECE);
}

template <int PIECES> static void launch_fwd(float *o, float *lse, const inputs &in) {
    HONE_LAUNCH(attention_fwd<PIECES>, (unsigned)hone_cuda_resident_blocks(), THREADS, o, lse, in);
}

template <int PIECES> static void launch_bwd(float *dq, float *dk, float *dv, const inputs &in) {
    unsigned blocks = (unsigned)hone_cuda_resident_blocks();
    HONE_LAUNCH(attention_bwd_queries<PIECES>, blocks, THREADS, dq, in);
    HONE_LAUNCH(attention_bwd_keys<PIECES>, blocks, THREADS, dk, dv, in);
}

void hone_attention_fwd_exact(float *o, float *lse, const float *q, const float *k, const float *v,
                              const hone_segment *segments, hone_attention_shape shape) {
    inputs in = {NULL, q, k, v, NULL, NULL, segments, shape};
    switch (pieces(shape)) {
    case 1:
        return launch_fwd<1>(o, lse, in);
    case 2:
        return launch_fwd<2>(o, lse, in);
    case 3:
        return launch_fwd<3>(o, lse, in);
    default:
        return launch_fwd<4>(o, lse, in);
    }
}

void hone_attention_bwd_exact(float *dq, float *dk, float *dv, const float *do_, const float *q,
                              const float *k, const float *v, const float *o, const float *lse,
                              const hone_segment *segments, hone_attention_shape shape) {
    inputs in = {do_, q, k, v, o, lse, segments, shape};
    switch (pieces(shape)) {
    case 1:
        return launch_bwd<1>(dq, dk, dv, in);
    case 2:
        return launch_bwd<2>(dq, dk, dv, in);
    case 3:
        return launch_bwd<3>(dq, dk, dv, in);
    default:
        return launch_bwd<4>(dq, dk, dv, in);
    }
}
