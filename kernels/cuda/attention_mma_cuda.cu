/*
 * Attention on tensor cores, after FlashAttention-2 (arXiv 2307.08691): operands are rounded to bf16, sums, softmax and
 * its gradient are in f32. As in attention_cuda.cu each result is summed by one warp, in order, without atomics: queries
 * walk over the keys that they see for o and dq, keys over the queries that see them for dk and dv.
 *
 * A block of four warps holds a tile of rows of one side in shared memory, 16 to a warp, and streams tiles of the other.
 * Both are brought as bf16, two elements to a word, heads filled up with zeros to D elements; rows lie so far apart that
 * eight of them meet eight different groups of banks. Of heads of more than 128 elements two warps share 16 rows, with
 * half of the output each, so that sums stay in registers.
 *
 * Rows that are not there are zeros: they add nothing to others, and what they get themselves is not written.
 */
#include <assert.h>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/mma.cuh"

enum { WARPS = 4, THREADS = WARPS * WARP, SQUARE = 16, VECTOR = 4 };

/* The sizes of heads of up to D elements. */
template <int D> struct sizes {
    enum {
        PARTS = D > 128 ? 2 : 1, /* of an output's row */
        PART = D / PARTS,        /* its elements */
        GROUPS = WARPS / PARTS,
        ROWS = GROUPS * SQUARE,   /* that a block holds */
        KEYS = D > 128 ? 32 : 64, /* of a streamed tile in forward */
        STREAMED = 32,            /* rows of one in backward */
        PITCH = D / 2 + 4,        /* words from row to row */
    };
};

typedef HONE_SHARED_POINTER(uint32_t) words;

/* A fragment of sums: columns of a warp's 16 rows. */
typedef float fragment[4];

/* A lane's place: the first of its warp's rows in the tile and of its part of the output, and its place in fragments, of which
 * it has rows g and g + 8 at columns 2t and 2t + 1. */
struct place {
    int row, column, g, t;
};

template <int D> __device__ static place place_of() {
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    return {warp % sizes<D>::GROUPS * SQUARE, warp / sizes<D>::GROUPS * sizes<D>::PART, lane / 4,
            lane % 4};
}

/* Row and column of a lane's element `i` of fragments side by side. */
__device__ static inline int row_of(const place &own, int i) {
    return own.g + i % 4 / 2 * 8;
}

__device__ static inline int column_of(const place &own, int i) {
    return i / 4 * 8 + own.t * 2 + i % 2;
}

/* --- Bringing tiles --- */

/* Rows of one head, counted in rows of all heads: the number of the first, and how many it is from one to the next. */
struct rows {
    int64_t first;
    int apart, count, size;
};

__device__ static rows query_rows(const hone_attention_shape &shape, const hone_segment &run,
                                  int64_t head, int64_t first, int64_t most) {
    return {(run.q_begin + first) * shape.heads + head, (int)shape.heads,
            (int)smaller(most, run.q_len - first), (int)shape.head_size};
}

__device__ static rows key_rows(const hone_attention_shape &shape, const hone_segment &run,
                                int64_t kv_head, int64_t first, int64_t most) {
    return {(run.k_begin + first) * shape.kv_heads + kv_head, (int)shape.kv_heads,
            (int)smaller(most, run.k_len - first), (int)shape.head_size};
}

struct alignas(16) vector {
    float of[VECTOR];
};

/* Elements from d on of a row; zeros where there are none. `first` is where the first row begins. */
__device__ static inline vector vector_at(const float *first, const rows &r, bool aligned, int row,
                                          int d) {
    vector found = {};
    if (row >= r.count || d >= r.size) return found;
    const float *at = first + row * r.apart * r.size + d; /* a tile has less than 2^31 elements */
    if (aligned) return *(const vector *)(const void *)at;
    HONE_UNROLL
    for (int i = 0; i < VECTOR; i++)
        if (d + i < r.size) found.of[i] = at[i];
    return found;
}

/* The same rows of matrices, as tiles of COUNT rows one after the other. */
template <int D, int COUNT, int TILES>
__device__ static void bring(words to, const float *const (&matrices)[TILES], const rows &r) {
    enum {
        VECTORS = COUNT * (D / VECTOR), /* of a tile */
        EACH = VECTORS / THREADS,
        BATCH = EACH % 4 == 0   ? 4
                : EACH % 5 == 0 ? 5
                : EACH % 3 == 0 ? 3
                                : EACH,
    };
    static_assert(VECTORS % THREADS == 0 && EACH % BATCH == 0, "every thread brings as much");
    const float *first[TILES];
    bool aligned = r.size % VECTOR == 0;
    for (int n = 0; n < TILES; n++) {
        first[n] = matrices[n] + r.first * r.size;
        aligned = aligned && (uintptr_t)matrices[n] % 16 == 0;
    }
    for (int begin = 0; begin < EACH; begin += BATCH) {
        vector kept[BATCH * TILES]; /* under way together */
        HONE_UNROLL
        for (int i = 0; i < BATCH * TILES; i++) {
            int at = (begin + i / TILES) * THREADS + (int)threadIdx.x;
            kept[i] = vector_at(first[i % TILES], r, aligned, at / (D / VECTOR),
                                at % (D / VECTOR) * VECTOR);
        }
        HONE_UNROLL
        for (int i = 0; i < BATCH * TILES; i++) {
            int at = (begin + i / TILES) * THREADS + (int)threadIdx.x;
            int row = i % TILES * COUNT + at / (D / VECTOR);
            int word = row * sizes<D>::PITCH + at % (D / VECTOR) * (VECTOR / 2);
            to[word] = bf16_pair(kept[i].of[0], kept[i].of[1]);
            to[word + 1] = bf16_pair(kept[i].of[2], kept[i].of[3]);
        }
    }
}

/* --- Products of a warp --- */

/* The lane's row of the square of 16 x 16 elements that begins at a row and column of a tile. Its four squares of 8 x 8 are
 * those left above, left below, right above and right below. */
template <int D> __device__ static inline words square_at(words tile, int row, int column) {
    int lane = (int)threadIdx.x % WARP;
    return tile + ((row + lane % SQUARE) * sizes<D>::PITCH + column / 2 + lane / SQUARE * 4);
}

/* product[16,COUNT] = 16 rows of a held tile times those of a streamed one. */
template <int D, int COUNT>
__device__ static void multiply_rows(fragment product[COUNT / 8], words held, int row,
                                     words streamed) {
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) product[i / 4][i % 4] = 0.0f;
    HONE_UNROLL
    for (int d = 0; d < D; d += SQUARE) {
        uint32_t a[4], b[4];
        load_squares(a, square_at<D>(held, row, d));
        HONE_UNROLL
        for (int n = 0; n < COUNT; n += SQUARE) {
            load_squares(b, square_at<D>(streamed, n, d));
            mma_bf16(product[n / 8], a, b[0], b[2]);
            mma_bf16(product[n / 8 + 1], a, b[1], b[3]);
        }
    }
}

/* total[16,PART] += weight[16,COUNT], rounded, times the columns from `column` on of a streamed tile. */
template <int D, int COUNT>
__device__ static void add_rows(fragment total[sizes<D>::PART / 8],
                                const fragment weight[COUNT / 8], words streamed, int column) {
    HONE_UNROLL
    for (int n = 0; n < COUNT; n += SQUARE) {
        uint32_t a[4], b[4];
        HONE_UNROLL
        for (int i = 0; i < 4; i++) {
            const float *pair = weight[n / 8 + i / 2] + i % 2 * 2;
            a[i] = bf16_pair(pair[0], pair[1]);
        }
        HONE_UNROLL
        for (int d = 0; d < sizes<D>::PART; d += SQUARE) {
            load_squares_aside(b, square_at<D>(streamed, n, column + d));
            mma_bf16(total[d / 8], a, b[0], b[1]);
            mma_bf16(total[d / 8 + 1], a, b[2], b[3]);
        }
    }
}

/* Writes a warp's part of its rows, times the factors of the lane's two. */
template <int D>
__device__ static void store_rows(float *to, const rows &r, const place &own,
                                  const fragment total[sizes<D>::PART / 8], float upper,
                                  float lower) {
    HONE_UNROLL
    for (int i = 0; i < sizes<D>::PART / 2; i++) {
        int row = own.row + row_of(own, i), d = own.column + column_of(own, i);
        if (row < r.count && d < r.size)
            to[r.first * r.size + row * r.apart * r.size + d] =
                total[i / 4][i % 4] * (i % 4 < 2 ? upper : lower);
    }
}

/* Over the four lanes that share a row of fragments. */
__device__ static inline float row_sum(float x) {
    x += __shfl_xor_sync(FULL, x, 1);
    return x + __shfl_xor_sync(FULL, x, 2);
}

__device__ static inline float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(FULL, x, 1));
    return fmaxf(x, __shfl_xor_sync(FULL, x, 2));
}

/* --- What is seen --- */

/* Columns of a tile that a row has to do with. */
struct span {
    int low, high;
};

/* Keys of a tile, from `key` on, that a query sees. */
__device__ static inline span seen_by(const hone_attention_shape &shape, int64_t query,
                                      int64_t key) {
    int64_t low = first_key(shape, query) - key;
    return {(int)(low > 0 ? low : 0), (int)(query - key)};
}

/* Queries of a tile, from `query` on, that see a key. */
__device__ static inline span seeing(const hone_attention_shape &shape, int64_t key,
                                     int64_t query) {
    int64_t last = key - query + shape.window - 1;
    return {(int)(key - query), shape.window > 0 && last < WARP ? (int)last : WARP};
}

/* Whether any of so many queries, whose own keys begin at `last`, sees any of so many keys. */
__device__ static inline bool any_sees_any(const hone_attention_shape &shape, int64_t last,
                                           int queries, int64_t key, int keys) {
    return key <= last + queries - 1 && key + keys - 1 >= first_key(shape, last);
}

/* --- Scores --- */

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

/* How products become scores, which are exponents of 2: product scale, or cap tanh(product scale) where there is a cap. */
struct scoring {
    float scale, cap;
};

__device__ static scoring scoring_of(const hone_attention_shape &shape) {
    if (shape.softcap > 0)
        return {(float)(shape.scale / shape.softcap), (float)shape.softcap * LOG2_E};
    return {(float)shape.scale * LOG2_E, 0.0f};
}

/* To 1e-7, and not relative to it: a score needs no more. */
__device__ static inline float tanh_of(float x) {
    return 1.0f - __fdividef(2.0f, exp2_of(2.0f * LOG2_E * x) + 1.0f);
}

/* And the slope of the cap there. */
__device__ static inline float score_of(float *slope, const scoring &as, float product) {
    *slope = 1.0f;
    product *= as.scale;
    if (as.cap == 0.0f) return product;
    float bent = tanh_of(product);
    *slope = 1.0f - bent * bent;
    return as.cap * bent;
}

/* Those of pairs that have nothing to do with each other become -inf. `columns` are those of the lane's upper and lower row, of
 * which the lower one's lie further on. */
template <int COUNT>
__device__ static inline void hide(fragment score[COUNT / 8], const place &own,
                                   const span columns[2]) {
    if (columns[1].low <= 0 && columns[0].high >= COUNT - 1) return;
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) {
        const span &in = columns[i % 4 / 2];
        int column = column_of(own, i);
        if (column < in.low || column > in.high) score[i / 4][i % 4] = -INFINITY;
    }
}

/* --- Forward --- */

/* Of the two rows of a lane: the largest score, and the sum of the weights in the lane's columns. */
struct soft_rows {
    float largest[2], sum[2];
};

/* Products become weights; gives what the old sums shrink by. */
template <int COUNT>
__device__ static void soften(float shrink[2], soft_rows *soft, fragment score[COUNT / 8],
                              const place &own, const scoring &as, const span seen[2]) {
    float now[2] = {soft->largest[0], soft->largest[1]}, slope;
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++)
        score[i / 4][i % 4] = score_of(&slope, as, score[i / 4][i % 4]);
    hide<COUNT>(score, own, seen);
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) now[i % 4 / 2] = fmaxf(now[i % 4 / 2], score[i / 4][i % 4]);
    HONE_UNROLL
    for (int r = 0; r < 2; r++) {
        now[r] = row_max(now[r]);
        shrink[r] = exp2_of(soft->largest[r] - now[r]);
        soft->largest[r] = now[r];
        soft->sum[r] *= shrink[r];
    }
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) {
        float *at = &score[i / 4][i % 4];
        *at = exp2_of(*at - now[i % 4 / 2]);
        soft->sum[i % 4 / 2] += *at;
    }
}

/* Takes a tile of keys, and that of their values, into a warp's sums. */
template <int D>
__device__ static void fwd_step(fragment total[sizes<D>::PART / 8], soft_rows *soft,
                                const place &own, words queries, words keys, const scoring &as,
                                const span seen[2]) {
    enum { KEYS = sizes<D>::KEYS };
    fragment score[KEYS / 8];
    float shrink[2];
    multiply_rows<D, KEYS>(score, queries, own.row, keys);
    soften<KEYS>(shrink, soft, score, own, as, seen);
    HONE_UNROLL
    for (int i = 0; i < sizes<D>::PART / 2; i++) total[i / 4][i % 4] *= shrink[i % 4 / 2];
    add_rows<D, KEYS>(total, score, keys + KEYS * sizes<D>::PITCH, own.column);
}

template <int D>
__device__ static void fwd_tile(float *o, float *lse, const inputs &in, const tile &at,
                                words queries) {
    enum { KEYS = sizes<D>::KEYS, ROWS = sizes<D>::ROWS };
    const hone_attention_shape &shape = in.shape;
    place own = place_of<D>();
    rows held = query_rows(shape, at.run, at.head, at.first, ROWS);
    int64_t kv_head = at.head / (shape.heads / shape.kv_heads);
    int64_t before = at.run.k_len - at.run.q_len + at.first; /* keys before the first query's own */
    words keys = queries + ROWS * sizes<D>::PITCH;
    fragment total[sizes<D>::PART / 8] = {};
    soft_rows soft = {{-FLT_MAX, -FLT_MAX}, {}};
    scoring as = scoring_of(shape);
    __syncthreads(); /* all have read the last tile */
    bring<D, ROWS, 1>(queries, {in.q}, held);
    for (int64_t j = first_key(shape, before); j < before + held.count; j += KEYS) {
        __syncthreads();
        bring<D, KEYS, 2>(keys, {in.k, in.v}, key_rows(shape, at.run, kv_head, j, KEYS));
        __syncthreads();
        if (!any_sees_any(shape, before + own.row, SQUARE, j, KEYS)) continue;
        int64_t last = before + own.row + own.g;
        const span seen[2] = {seen_by(shape, last, j), seen_by(shape, last + 8, j)};
        fwd_step<D>(total, &soft, own, queries, keys, as, seen);
    }
    float sum[2] = {row_sum(soft.sum[0]), row_sum(soft.sum[1])};
    store_rows<D>(o, held, own, total, 1.0f / sum[0], 1.0f / sum[1]);
    for (int r = 0; r < 2; r++) {
        int row = own.row + own.g + r * 8;
        if (lse && own.t == 0 && own.column == 0 && row < held.count)
            lse[held.first + row * held.apart] = (soft.largest[r] + log2f(sum[r])) * LN_2;
    }
}

template <int D>
__global__ void __launch_bounds__(THREADS) mma_fwd(float *o, float *lse, inputs in) {
    HONE_SHARED_GIVEN(uint32_t, space);
    tile_walk<sizes<D>::ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.heads); i += gridDim.x)
        fwd_tile<D>(o, lse, in, at, space);
}

/* --- Backward --- */

/* What backward knows of a query: its log-sum-exp as an exponent of 2, and the sum of do o. */
struct query_facts {
    float lse, delta;
};

/* Products of queries and keys become weights, and gradients of weights those of products but for the scale. fact(i) is of the query
 * of element i. */
template <int COUNT, typename Fact>
__device__ static inline void weigh(fragment product[COUNT / 8], fragment grad[COUNT / 8],
                                    const place &own, const scoring &as, const span seen[2],
                                    Fact fact) {
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) {
        float slope;
        product[i / 4][i % 4] = score_of(&slope, as, product[i / 4][i % 4]) - fact(i).lse;
        grad[i / 4][i % 4] = (grad[i / 4][i % 4] - fact(i).delta) * slope;
    }
    hide<COUNT>(product, own, seen);
    HONE_UNROLL
    for (int i = 0; i < COUNT / 2; i++) {
        product[i / 4][i % 4] = exp2_of(product[i / 4][i % 4]);
        grad[i / 4][i % 4] *= product[i / 4][i % 4];
    }
}

/* Of one row; the four lanes that share it take every fourth group of four elements. */
__device__ static query_facts facts_of(const inputs &in, const rows &queries, int row, int t) {
    query_facts facts = {};
    int64_t number = queries.first + row * queries.apart;
    for (int d = t * VECTOR; d < queries.size && row < queries.count; d += 4 * VECTOR) {
        const float *grad = in.do_ + number * queries.size, *o = in.o + number * queries.size;
        for (int i = d; i < d + VECTOR && i < queries.size; i++) facts.delta += grad[i] * o[i];
    }
    facts.delta = row_sum(facts.delta);
    if (row < queries.count) facts.lse = in.lse[number] * LOG2_E;
    return facts;
}

/* Adds to dq of a warp's queries what a tile of keys and that of their values give. */
template <int D>
__device__ static void query_step(fragment total[sizes<D>::PART / 8], const place &own,
                                  words queries, words keys, const query_facts facts[2],
                                  const scoring &as, const span seen[2]) {
    enum { COUNT = sizes<D>::STREAMED, PITCH = sizes<D>::PITCH };
    fragment product[COUNT / 8], grad[COUNT / 8];
    multiply_rows<D, COUNT>(product, queries, own.row, keys);
    multiply_rows<D, COUNT>(grad, queries + sizes<D>::ROWS * PITCH, own.row, keys + COUNT * PITCH);
    weigh<COUNT>(product, grad, own, as, seen,
                 [&](int i) -> query_facts { return facts[i % 4 / 2]; });
    add_rows<D, COUNT>(total, grad, keys, own.column);
}

/* dq of a tile of queries, and their sums of do o. */
template <int D>
__device__ static void query_tile(float *dq, float *delta, const inputs &in, const tile &at,
                                  words queries) {
    enum { ROWS = sizes<D>::ROWS, COUNT = sizes<D>::STREAMED };
    const hone_attention_shape &shape = in.shape;
    place own = place_of<D>();
    rows held = query_rows(shape, at.run, at.head, at.first, ROWS);
    int64_t kv_head = at.head / (shape.heads / shape.kv_heads);
    words keys = queries + 2 * ROWS * sizes<D>::PITCH;
    fragment total[sizes<D>::PART / 8] = {};
    query_facts facts[2];
    scoring as = scoring_of(shape);
    for (int r = 0; r < 2; r++) {
        int row = own.row + own.g + r * 8;
        facts[r] = facts_of(in, held, row, own.t);
        if (own.t == 0 && own.column == 0 && row < held.count)
            delta[held.first + row * held.apart] = facts[r].delta;
    }
    __syncthreads(); /* all have read the last tile */
    bring<D, ROWS, 2>(queries, {in.q, in.do_}, held);
    for (int64_t j = first_key(shape, at.first); j < at.first + held.count; j += COUNT) {
        __syncthreads();
        bring<D, COUNT, 2>(keys, {in.k, in.v}, key_rows(shape, at.run, kv_head, j, COUNT));
        __syncthreads();
        int64_t query = at.first + own.row;
        if (!any_sees_any(shape, query, SQUARE, j, COUNT)) continue;
        const span seen[2] = {seen_by(shape, query + own.g, j),
                              seen_by(shape, query + own.g + 8, j)};
        query_step<D>(total, own, queries, keys, facts, as, seen);
    }
    store_rows<D>(dq, held, own, total, (float)shape.scale, (float)shape.scale);
}

template <int D>
__global__ void __launch_bounds__(THREADS) mma_bwd_queries(float *dq, float *delta, inputs in) {
    HONE_SHARED_GIVEN(uint32_t, space);
    tile_walk<sizes<D>::ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.heads); i += gridDim.x)
        query_tile<D>(dq, delta, in, at, space);
}

/* Adds to dk and dv of a warp's keys what a tile of queries and that of their do give. */
template <int D>
__device__ static void key_step(fragment dk[sizes<D>::PART / 8], fragment dv[sizes<D>::PART / 8],
                                const place &own, words keys, words queries,
                                HONE_SHARED_POINTER(query_facts) facts, const scoring &as,
                                const span see[2]) {
    enum { COUNT = sizes<D>::STREAMED, PITCH = sizes<D>::PITCH };
    fragment product[COUNT / 8], grad[COUNT / 8];
    words grads = queries + COUNT * PITCH;
    multiply_rows<D, COUNT>(product, keys, own.row, queries);
    multiply_rows<D, COUNT>(grad, keys + sizes<D>::ROWS * PITCH, own.row, grads);
    weigh<COUNT>(product, grad, own, as, see,
                 [&](int i) -> query_facts { return facts[column_of(own, i)]; });
    add_rows<D, COUNT>(dv, product, grads, own.column);
    add_rows<D, COUNT>(dk, grad, queries, own.column);
}

/* dk and dv of a tile of keys, from the heads that share them, one after the other. */
template <int D>
__device__ static void key_tile(float *dk, float *dv, const float *delta, const inputs &in,
                                const tile &at, words keys,
                                HONE_SHARED_POINTER(query_facts) facts) {
    enum { ROWS = sizes<D>::ROWS, COUNT = sizes<D>::STREAMED };
    const hone_attention_shape &shape = in.shape;
    place own = place_of<D>();
    rows held = key_rows(shape, at.run, at.head, at.first, ROWS);
    int64_t group = shape.heads / shape.kv_heads, end = at.run.q_len;
    if (shape.window > 0) end = smaller(end, at.first + held.count - 1 + shape.window);
    words queries = keys + 2 * ROWS * sizes<D>::PITCH;
    scoring as = scoring_of(shape);
    fragment key_sum[sizes<D>::PART / 8] = {}, value_sum[sizes<D>::PART / 8] = {};
    __syncthreads(); /* all have read the last tile */
    bring<D, ROWS, 2>(keys, {in.k, in.v}, held);
    for (int64_t h = at.head * group; h < (at.head + 1) * group; h++) {
        for (int64_t i = at.first; i < end; i += COUNT) {
            rows from = query_rows(shape, at.run, h, i, COUNT);
            int thread = (int)threadIdx.x;
            int64_t number = from.first + thread * from.apart;
            __syncthreads();
            bring<D, COUNT, 2>(queries, {in.q, in.do_}, from);
            if (thread < from.count)
                facts[thread] = {in.lse[number] * LOG2_E, delta[number]};
            else if (thread < COUNT)
                facts[thread] = {};
            __syncthreads();
            int64_t key = at.first + own.row;
            if (!any_sees_any(shape, i, COUNT, key, SQUARE)) continue;
            const span see[2] = {seeing(shape, key + own.g, i), seeing(shape, key + own.g + 8, i)};
            key_step<D>(key_sum, value_sum, own, keys, queries, facts, as, see);
        }
    }
    store_rows<D>(dk, held, own, key_sum, (float)shape.scale, (float)shape.scale);
    store_rows<D>(dv, held, own, value_sum, 1.0f, 1.0f);
}

template <int D>
__global__ void __launch_bounds__(THREADS)
    mma_bwd_keys(float *dk, float *dv, const float *delta, inputs in) {
    HONE_SHARED_GIVEN(uint32_t, space);
    HONE_SHARED(query_facts, facts, sizes<D>::STREAMED);
    tile_walk<sizes<D>::ROWS> walk = {in.segments, in.shape.segments, 0, 0};
    tile at;
    for (int64_t i = blockIdx.x; walk.seek(&at, i, in.shape.kv_heads); i += gridDim.x)
        key_tile<D>(dk, dv, delta, in, at, space, facts);
}

/* --- Launches --- */

/* A block for each tile that there may be, where the tokens are known. */
template <int D> static unsigned blocks_of(const hone_attention_shape &shape, int64_t heads) {
    if (shape.tokens == 0) return (unsigned)hone_cuda_resident_blocks();
    return (unsigned)((shape.tokens / sizes<D>::ROWS + shape.segments) * heads);
}

/* Bytes of so many rows in shared memory. */
template <int D> static size_t bytes_of(int rows) {
    return (size_t)rows * sizes<D>::PITCH * sizeof(uint32_t);
}

/* By the smallest of sizes D, LARGER… that holds a head. */
template <int D, int... LARGER> static void launch_fwd(float *o, float *lse, const inputs &in) {
    if constexpr (sizeof...(LARGER) > 0)
        if (in.shape.head_size > D) return launch_fwd<LARGER...>(o, lse, in);
    HONE_LAUNCH_SHARED(mma_fwd<D>, blocks_of<D>(in.shape, in.shape.heads), THREADS,
                       bytes_of<D>(sizes<D>::ROWS + 2 * sizes<D>::KEYS), o, lse, in);
}

template <int D, int... LARGER>
static void launch_bwd(float *dq, float *dk, float *dv, float *delta, const inputs &in) {
    if constexpr (sizeof...(LARGER) > 0)
        if (in.shape.head_size > D) return launch_bwd<LARGER...>(dq, dk, dv, delta, in);
    size_t bytes = bytes_of<D>(2 * (sizes<D>::ROWS + sizes<D>::STREAMED));
    HONE_LAUNCH_SHARED(mma_bwd_queries<D>, blocks_of<D>(in.shape, in.shape.heads), THREADS, bytes,
                       dq, delta, in);
    HONE_LAUNCH_SHARED(mma_bwd_keys<D>, blocks_of<D>(in.shape, in.shape.kv_heads), THREADS, bytes,
                       dk, dv, delta, in);
}

void hone_attention_fwd_own(float *o, float *lse, const float *q, const float *k, const float *v,
                            const hone_segment *segments, hone_attention_shape shape) {
    inputs in = {NULL, q, k, v, NULL, NULL, segments, shape};
    launch_fwd<32, 64, 80, 96, 128, 192, 256>(o, lse, in);
}

void hone_attention_bwd_own(float *dq, float *dk, float *dv, const float *do_, const float *q,
                            const float *k, const float *v, const float *o, const float *lse,
                            const hone_segment *segments, hone_attention_shape shape,
                            void *workspace) {
    assert(shape.tokens > 0 && workspace);
    inputs in = {do_, q, k, v, o, lse, segments, shape};
    launch_bwd<32, 64, 80, 96, 128, 192, 256>(dq, dk, dv, (float *)workspace, in);
}

/* The sums of do o, a number for each query and head. */
size_t hone_attention_workspace_own(hone_attention_shape shape, bool backward) {
    return backward ? (size_t)(shape.tokens * shape.heads) * sizeof(float) : 0;
}
