/*
 * Products in int8 (kernels/int8.h) on tensor cores. A block of threads makes 96 tokens by 64 columns of the output, a warp of it
 * 48 by 16. Block after block of the contraction, both sides are brought into shared memory as words of four elements that
 * follow each other along the contraction, the next block's on their way while one is multiplied; inside a block sums are
 * exact, across blocks in f32, in order.
 */
#include "base/size.h"
#include "kernels/cuda/mma.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

enum {
    SIDE = HONE_INT8_BLOCK,
    TILE = HONE_INT8_TILE,
    WORDS = SIDE / 4, /* of a row's block */
    /* Words between rows in shared memory: eight of them begin in other banks each, all at 16 bytes. */
    PITCH = WORDS + 4,
    TOKENS = 96,     /* of a block of threads: whole tiles, and whole fragments */
    COLUMNS = SIDE,  /* of a block of threads: those of one block of the weight */
    OWN_TOKENS = 48, /* of a warp */
    OWN_COLUMNS = 16,
    ACROSS = COLUMNS / OWN_COLUMNS, /* warps side by side */
    ROWS = 16,                      /* of a fragment, along tokens */
    DEEP = OWN_TOKENS / ROWS,
    WIDE = OWN_COLUMNS / 8, /* fragments of 8 columns */
    STEPS = SIDE / 32,      /* fragments along a block of the contraction */
};
static_assert(2 * OWN_TOKENS == TOKENS && 2 * ACROSS * WARP == BLOCK && OWN_TOKENS % TILE == 0 &&
                  COLUMNS * WORDS == 4 * BLOCK && 2 * TOKENS * WORDS % (4 * BLOCK) == 0,
              "warps make up a block of threads, each of which brings four words of the weight, "
              "and fours of the tokens");

/* What is multiplied: rows of a weight, and where their product goes. */
typedef struct job {
    float *y; /* [tokens][stride], of which `columns` are written */
    int64_t columns, stride;
    hone_int8_rows rows;
    int64_t first;      /* block of the activations that meets the first of the weight's */
    int64_t blocks;     /* of the contraction */
    const int8_t *q;    /* [out][in] */
    const float *scale; /* [blocks(out)][blocks(in)] */
    int64_t out, in;
    const float *factor; /* [columns] */
    float beta;
} job;

/* Four elements `stride` apart, of which `count` are there; the others are 0. */
__device__ static inline uint32_t word_of(const int8_t *q, int64_t stride, int64_t count) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        if (i < count) word |= (uint32_t)(uint8_t)q[i * stride] << (8 * i);
    return word;
}

__device__ static inline uint32_t aligned_word(const int8_t *q) {
    return *(const uint32_t *)(const void *)q;
}

/* Byte i + `begin`, counted round, in place of byte i. */
__device__ static inline uint32_t turned_by(uint32_t word, int begin) {
    return word >> (8 * begin) | word << (-8 * begin & 31);
}

/* Bytes of four words, so that word i has byte i of each. */
__device__ static inline void turn(uint32_t word[4]) {
    uint32_t turned[4] = {};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) turned[i] |= (word[k] >> (8 * i) & 0xffu) << (8 * k);
    for (int i = 0; i < 4; i++) word[i] = turned[i];
}

/* Where in shared memory four words along a row go. Eight threads side by side, which store at once, take two rows four
 * apart: those fill all banks. */
typedef struct spot {
    int row, word;
} spot;

__device__ static inline spot spot_of(int number) {
    return {number / 32 * 8 + number % 8 / 4 * 4 + number % 32 / 8, number % 4 * 4};
}

__device__ static inline quad aligned_quad(const int8_t *q) {
    return *(const quad *)(const void *)q;
}

/* Four words of the weight for block b of the contraction: forward along it, of one column of the output. */
__device__ static inline void fetch_along(quad *to, const job &j, int64_t b) {
    spot at = spot_of((int)threadIdx.x);
    int64_t c = (int64_t)blockIdx.x * COLUMNS + at.row, along = b * SIDE + 4 * at.word;
    const int8_t *from = j.q + c * j.in + along;
    *to = {};
    if (c >= j.columns || along >= j.in) return;
    if (j.in % 16 == 0 && (uintptr_t)j.q % 16 == 0) {
        *to = aligned_quad(from);
    } else {
        for (int i = 0; i < 4; i++) to->word[i] = word_of(from + 4 * i, 1, j.in - along - 4 * i);
    }
}

/* Backward they are of four columns, and their elements lie `in` apart; eight threads side by side read 32 bytes of a row.
 * They begin with other columns of their four each, so that what they store at once lies in other banks. */
typedef struct aside {
    int column, begin, word; /* word i is of column + (i + begin) % 4 */
} aside;

__device__ static inline aside aside_of(int number) {
    return {(number % 8 + number / 128 * 8) * 4, number % 8 / 2, number % 128 / 8};
}

__device__ static inline void fetch_aside(quad *to, const job &j, int64_t b) {
    aside at = aside_of((int)threadIdx.x);
    int64_t c = (int64_t)blockIdx.x * COLUMNS + at.column, along = b * SIDE + 4 * at.word;
    const int8_t *from = j.q + along * j.in + c;
    bool aligned = j.in % 4 == 0 && (uintptr_t)j.q % 4 == 0;
    for (int i = 0; i < 4; i++) {
        if (aligned) {
            bool there = c < j.columns && along + i < j.out;
            to->word[i] = there ? turned_by(aligned_word(from + i * j.in), at.begin) : 0;
        } else {
            int own = (i + at.begin) % 4;
            to->word[i] = c + own < j.columns ? word_of(from + own, j.in, j.out - along) : 0;
        }
    }
    if (aligned) turn(to->word);
}

enum { ROW_QUADS = 2 * TOKENS * WORDS / 4 / BLOCK };

/* What a thread brings of a block of the contraction: of the weight, of the tokens' steps and residuals, and a token's scale.
 * 0 of what is not there. */
typedef struct brought {
    quad weights, rows[ROW_QUADS];
    float scale;
} brought;

__device__ static inline void fetch_rows(brought *to, const job &j, int64_t b) {
    /* A tile's block takes more than a kilobyte: no GPU has room for 2^31 of them. */
    int tiles = (int)hone_int8_tiles(j.rows.tokens), blocks = (int)hone_int8_blocks(j.rows.width);
    int first = (int)blockIdx.y * (TOKENS / TILE);
    for (int i = 0; i < ROW_QUADS; i++) {
        spot at = spot_of((int)threadIdx.x + i * BLOCK);
        bool rest = at.row >= TOKENS;
        int row = rest ? at.row - TOKENS : at.row;
        int tile = first + row / TILE, tile_block = tile * blocks + (int)(j.first + b);
        int64_t from = (int64_t)tile_block * (TILE * SIDE) + (row % TILE * SIDE + 4 * at.word);
        bool there = tile < tiles && (!rest || hone_int8_is_fine(&j.rows, tile_block));
        to->rows[i] = {};
        if (there) to->rows[i] = aligned_quad((rest ? j.rows.residual : j.rows.q) + from);
    }
    int tile = first + (int)threadIdx.x / TILE;
    bool there = threadIdx.x < TOKENS && tile < tiles;
    int64_t row = (int64_t)(tile * blocks + (int)(j.first + b)) * TILE + threadIdx.x % TILE;
    to->scale = there ? j.rows.scale[row] : 0.0f;
}

template <bool BACKWARD> __device__ static inline void fetch(brought *to, const job &j, int64_t b) {
    if (BACKWARD) {
        fetch_aside(&to->weights, j, b);
    } else {
        fetch_along(&to->weights, j, b);
    }
    fetch_rows(to, j, b);
}

/* Both sides of a block of the contraction in shared memory. */
typedef struct sides {
    HONE_SHARED_POINTER(uint32_t) weights; /* [COLUMNS][PITCH] */
    HONE_SHARED_POINTER(uint32_t) rows;    /* [2 TOKENS][PITCH], the residuals' after the steps' */
    HONE_SHARED_POINTER(float) scale;      /* [TOKENS] */
} sides;

template <bool BACKWARD> __device__ static inline void put(const sides &to, const brought &from) {
    if (BACKWARD) {
        aside at = aside_of((int)threadIdx.x);
        for (int i = 0; i < 4; i++)
            to.weights[(at.column + (i + at.begin) % 4) * PITCH + at.word] = from.weights.word[i];
    } else {
        spot at = spot_of((int)threadIdx.x);
        store_quad(to.weights + (at.row * PITCH + at.word), from.weights);
    }
    for (int i = 0; i < ROW_QUADS; i++) {
        spot at = spot_of((int)threadIdx.x + i * BLOCK);
        store_quad(to.rows + (at.row * PITCH + at.word), from.rows[i]);
    }
    if (threadIdx.x < TOKENS) to.scale[threadIdx.x] = from.scale;
}

/* A lane's elements of d of a warp's fragments (kernels/cuda/mma.cuh). */
typedef struct own_sums {
    float of[DEEP][WIDE][4];
} own_sums;

/* The warp's part of the weight: of two fragments of 8 columns side by side, two words each. */
typedef struct own_weights {
    uint32_t of[WIDE / 2][STEPS][4];
} own_weights;

__device__ static inline void load_weights(own_weights *to, const sides &from, int column) {
    int lane = (int)threadIdx.x % WARP;
    for (int n = 0; n < WIDE / 2; n++) {
        for (int k = 0; k < STEPS; k++) {
            int row = column + n * 16 + lane / 16 * 8 + lane % 8;
            load_squares(to->of[n][k], from.weights + (row * PITCH + k * 8 + lane / 8 % 2 * 4));
        }
    }
}

/* 16 tokens from `token` on. */
__device__ static inline void load_rows(uint32_t to[STEPS][4], HONE_SHARED_POINTER(uint32_t) rows,
                                        int token) {
    int lane = (int)threadIdx.x % WARP;
    for (int k = 0; k < STEPS; k++)
        load_squares(to[k], rows + ((token + lane % 16) * PITCH + k * 8 + lane / 16 * 4));
}

/* Exact sums over one block of the contraction, by fragment n of the weight. */
__device__ static inline void multiply_rows(int dots[4], const uint32_t rows[STEPS][4],
                                            const own_weights &weights, int n) {
    for (int k = 0; k < STEPS; k++) {
        const uint32_t *w = weights.of[n / 2][k] + n % 2 * 2;
        mma_s8(dots, rows[k], w[0], w[1]);
    }
}

/* A token without residuals gets the bits it would get alone: adding 0 changes none. */
template <bool FINE>
__device__ static inline void add_dots(float sums[4], const int dots[4], const int rests[4],
                                       const float scale[2]) {
    const float fine = 1.0f / (float)HONE_INT8_FINE;
    for (int i = 0; i < 4; i++) {
        float dot = (float)dots[i];
        if (FINE) dot += (float)rests[i] * fine;
        sums[i] += dot * scale[i / 2];
    }
}

/* FINE: with residuals, which take registers. */
template <bool FINE>
__device__ static inline void add_block(own_sums *sums, const sides &from, int token, int column,
                                        float weight_scale) {
    int group = (int)threadIdx.x % WARP / 4;
    own_weights weights;
    load_weights(&weights, from, column);
    for (int m = 0; m < DEEP; m++) {
        int row = token + m * ROWS;
        uint32_t steps[STEPS][4], rests[STEPS][4];
        load_rows(steps, from.rows, row);
        if (FINE) load_rows(rests, from.rows, TOKENS + row);
        const float scale[2] = {from.scale[row + group] * weight_scale,
                                from.scale[row + group + 8] * weight_scale};
        for (int n = 0; n < WIDE; n++) {
            int dots[4] = {}, more[4] = {};
            multiply_rows(dots, steps, weights, n);
            if (FINE) multiply_rows(more, rests, weights, n);
            add_dots<FINE>(sums->of[m][n], dots, more, scale);
        }
    }
}

/* Whether any tile of the warp's tokens has residuals in block b. */
__device__ static inline bool any_fine(const job &j, int64_t token, int64_t b) {
    int64_t tiles = hone_int8_tiles(j.rows.tokens), blocks = hone_int8_blocks(j.rows.width);
    bool fine = false;
    for (int64_t tile = token / TILE; tile < (token + OWN_TOKENS) / TILE; tile++)
        fine |= tile < tiles && hone_int8_is_fine(&j.rows, tile * blocks + j.first + b);
    return fine;
}

__device__ static void store(const job &j, const own_sums &sums, int64_t token, int64_t column) {
    int lane = (int)threadIdx.x % WARP;
    for (int m = 0; m < DEEP; m++) {
        for (int n = 0; n < WIDE; n++) {
            for (int i = 0; i < 4; i++) {
                int64_t at_token = token + m * ROWS + lane / 4 + i / 2 * 8;
                int64_t at_column = column + n * 8 + lane % 4 * 2 + i % 2;
                if (at_token >= j.rows.tokens || at_column >= j.columns) continue;
                float *y = &j.y[at_token * j.stride + at_column];
                float value = sums.of[m][n][i] * j.factor[at_column];
                *y = j.beta != 0.0f ? value + j.beta * *y : value;
            }
        }
    }
}

template <bool BACKWARD> __global__ void __launch_bounds__(BLOCK, 2) multiply_int8(job j) {
    HONE_SHARED(uint32_t, weights, COLUMNS * PITCH);
    HONE_SHARED(uint32_t, rows, 2 * TOKENS * PITCH);
    HONE_SHARED(float, scale, TOKENS);
    const sides shared = {weights, rows, scale};
    int warp = (int)threadIdx.x / WARP;
    int own_token = warp / ACROSS * OWN_TOKENS, own_column = warp % ACROSS * OWN_COLUMNS;
    int64_t token = (int64_t)blockIdx.y * TOKENS + own_token;
    int64_t column = (int64_t)blockIdx.x * COLUMNS + own_column, part = blockIdx.x;
    int64_t across = hone_int8_blocks(j.in);
    bool there = token < j.rows.tokens && column < j.columns;
    own_sums sums = {};
    brought next = {};
    if (j.blocks > 0) fetch<BACKWARD>(&next, j, 0);
    for (int64_t b = 0; b < j.blocks; b++) {
        __syncthreads(); /* all have read the block before */
        put<BACKWARD>(shared, next);
        __syncthreads();
        if (b + 1 < j.blocks) fetch<BACKWARD>(&next, j, b + 1);
        if (!there) continue;
        float weight_scale = j.scale[BACKWARD ? b * across + part : part * across + b];
        if (any_fine(j, token, b)) {
            add_block<true>(&sums, shared, own_token, own_column, weight_scale);
        } else {
            add_block<false>(&sums, shared, own_token, own_column, weight_scale);
        }
    }
    if (there) store(j, sums, token, column);
}

static void launch_job(const job &j, bool backward) {
    dim3 grid((unsigned)hone_int8_blocks(j.columns),
              (unsigned)((j.rows.tokens + TOKENS - 1) / TOKENS));
    if (grid.x == 0 || grid.y == 0) return;
    if (backward) {
        HONE_LAUNCH(multiply_int8<true>, grid, BLOCK, j);
    } else {
        HONE_LAUNCH(multiply_int8<false>, grid, BLOCK, j);
    }
}

/* --- Weights without a copy are quantised slab by slab: its scales in the workspace, then its elements --- */

static int64_t slab_rows(const hone_int8_weight *w) {
    return w->q ? w->out : hone_cuda_slab_rows(w->out, (size_t)w->in);
}

static size_t scale_room(const hone_int8_weight *w) {
    size_t blocks = (size_t)(hone_int8_blocks(slab_rows(w)) * hone_int8_blocks(w->in));
    return hone_whole_lines(blocks * sizeof(float));
}

size_t hone_int8_workspace_cuda(const hone_int8_weight *w, int64_t rank) {
    (void)rank;
    return w->q ? 0 : scale_room(w) + (size_t)(slab_rows(w) * w->in);
}

/* The rows of a weight from `begin` on: as the whole one's, or in the workspace. */
static void job_weight(job *j, const hone_int8_weight *w, int64_t begin, void *workspace) {
    j->q = w->q;
    j->scale = w->block_scale;
    if (w->q) return;
    float *scale = (float *)workspace;
    int8_t *q = (int8_t *)workspace + scale_room(w);
    hone_int8_quantize_weight_cuda(q, scale, w, begin, j->out);
    j->q = q;
    j->scale = scale;
}

static void multiply(float *y, const void *memory, const hone_int8_weight *w,
                     const hone_low_rank *low, int64_t tokens, float beta, bool backward,
                     void *workspace) {
    int64_t width = backward ? w->out : w->in, columns = backward ? w->in : w->out;
    int64_t most = slab_rows(w), begin = 0;
    job j = {};
    j.rows = hone_int8_rows_view((void *)(uintptr_t)memory, tokens, width);
    j.stride = columns;
    j.in = w->in;
    do { /* once also for a weight without rows: beta counts */
        j.out = w->out - begin < most ? w->out - begin : most;
        j.y = backward ? y : y + begin;
        j.columns = backward ? w->in : j.out;
        j.first = backward ? begin / SIDE : 0;
        j.blocks = hone_int8_blocks(backward ? j.out : w->in);
        j.factor = backward ? w->column_factor : w->row_factor + begin;
        j.beta = backward && begin > 0 ? 1.0f : beta;
        job_weight(&j, w, begin, workspace);
        launch_job(j, backward);
        begin += most;
    } while (begin < w->out);
    size_t bytes;
    if (low) hone_cuda_add_low(y, low, tokens, columns, backward, true, hone_cuda_scratch(&bytes));
}

void hone_int8_fwd_cuda(float *y, const void *rows, const hone_int8_weight *w,
                        const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    multiply(y, rows, w, low, tokens, beta, false, workspace);
}

void hone_int8_bwd_cuda(float *dx, const void *rows, const hone_int8_weight *w,
                        const hone_low_rank *low, int64_t tokens, float beta, void *workspace) {
    multiply(dx, rows, w, low, tokens, beta, true, workspace);
}
