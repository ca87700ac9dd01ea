/*
 * Products in int8 (kernels/int8.h). A block of threads makes 48 tokens by 64 columns of the output, a thread three tokens
 * by four columns 16 apart. Block after block of the contraction, both sides are brought into shared memory as words of
 * four elements that follow each other along the contraction; inside a block sums are exact, across blocks in f32, in order.
 */
#include "base/size.h"
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

enum {
    SIDE = HONE_INT8_BLOCK,
    TILE = HONE_INT8_TILE,
    TILES = 4, /* of tokens, of a block of threads */
    TOKENS = TILES * TILE,
    WORDS = SIDE / 4,  /* of a row's block */
    PITCH = WORDS + 1, /* of columns in shared memory: 16 of them at one word lie in 16 banks */
    WEIGHT_WORDS = SIDE * PITCH,
    ROW_WORDS = TOKENS * WORDS,
    OWN_TOKENS = 3,
    OWN_COLUMNS = 4,
    APART = SIDE / OWN_COLUMNS, /* columns of a thread */
};

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
__device__ static inline int word_of(const int8_t *q, int64_t stride, int64_t count) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        if (i < count) word |= (uint32_t)(uint8_t)q[i * stride] << (8 * i);
    return (int)word;
}

__device__ static inline int aligned_word(const int8_t *q) {
    return *(const int *)(const void *)q;
}

/* Word `k` of column `c` of the output, in block b of the contraction. */
template <bool BACKWARD>
__device__ static inline int weight_word(const job &j, int64_t b, int64_t c, int k) {
    int64_t along = b * SIDE + 4 * k; /* of the contraction */
    if (c >= j.columns) return 0;
    if (BACKWARD) return word_of(j.q + along * j.in + c, j.in, j.out - along);
    const int8_t *at = j.q + c * j.in + along;
    if (j.in % 4 == 0 && (uintptr_t)j.q % 4 == 0) return along < j.in ? aligned_word(at) : 0;
    return word_of(at, 1, j.in - along);
}

/* Threads side by side read bytes side by side. */
template <bool BACKWARD>
__device__ static void bring_weights(HONE_SHARED_POINTER(int) weights, const job &j, int64_t b) {
    for (int at = (int)threadIdx.x; at < SIDE * WORDS; at += BLOCK) {
        int c = BACKWARD ? at % SIDE : at / WORDS, k = BACKWARD ? at / SIDE : at % WORDS;
        weights[c * PITCH + k] = weight_word<BACKWARD>(j, b, (int64_t)blockIdx.x * SIDE + c, k);
    }
}

/* Steps and residuals of the block's tokens; 0 of those that are not there. */
__device__ static void bring_rows(HONE_SHARED_POINTER(int) steps, HONE_SHARED_POINTER(int) rests,
                                  const job &j, int64_t b) {
    int64_t tiles = hone_int8_tiles(j.rows.tokens), blocks = hone_int8_blocks(j.rows.width);
    for (int at = (int)threadIdx.x; at < ROW_WORDS; at += BLOCK) {
        int64_t tile = (int64_t)blockIdx.y * TILES + at / (TILE * WORDS);
        int64_t tile_block = tile * blocks + j.first + b;
        int64_t from = tile_block * TILE * SIDE + at % (TILE * WORDS) * 4;
        bool there = tile < tiles, fine = there && hone_int8_is_fine(&j.rows, tile_block);
        steps[at] = there ? aligned_word(j.rows.q + from) : 0;
        rests[at] = fine ? aligned_word(j.rows.residual + from) : 0;
    }
}

typedef struct own_sums {
    float of[OWN_TOKENS][OWN_COLUMNS];
} own_sums;

typedef struct own_dots {
    int steps[OWN_TOKENS][OWN_COLUMNS], rests[OWN_TOKENS][OWN_COLUMNS];
} own_dots;

/* Exact sums over one block of the contraction, of the thread's tokens from `token` on. */
__device__ static inline own_dots dots_of(HONE_SHARED_POINTER(int) weights,
                                          HONE_SHARED_POINTER(int) steps,
                                          HONE_SHARED_POINTER(int) rests, int token, int column,
                                          bool fine) {
    own_dots dots = {};
    for (int k = 0; k < WORDS; k++) {
        int w[OWN_COLUMNS];
        for (int c = 0; c < OWN_COLUMNS; c++) w[c] = weights[(column + c * APART) * PITCH + k];
        for (int t = 0; t < OWN_TOKENS; t++) {
            int x = steps[(token + t) * WORDS + k];
            for (int c = 0; c < OWN_COLUMNS; c++)
                dots.steps[t][c] = __dp4a(x, w[c], dots.steps[t][c]);
            if (!fine) continue;
            int rest = rests[(token + t) * WORDS + k];
            for (int c = 0; c < OWN_COLUMNS; c++)
                dots.rests[t][c] = __dp4a(rest, w[c], dots.rests[t][c]);
        }
    }
    return dots;
}

/* A token without residuals gets the bits it would get alone: adding 0 changes none. */
__device__ static inline void add_dots(own_sums *sums, const own_dots &dots, const float *row_scale,
                                       float weight_scale) {
    const float fine = 1.0f / (float)HONE_INT8_FINE;
    for (int t = 0; t < OWN_TOKENS; t++) {
        float scale = row_scale[t] * weight_scale;
        for (int c = 0; c < OWN_COLUMNS; c++) {
            float dot = (float)dots.steps[t][c] + (float)dots.rests[t][c] * fine;
            sums->of[t][c] += dot * scale;
        }
    }
}

__device__ static void store(const job &j, const own_sums &sums, int64_t token, int64_t column) {
    for (int t = 0; t < OWN_TOKENS; t++) {
        for (int c = 0; c < OWN_COLUMNS; c++) {
            int64_t at_token = token + t, at_column = column + c * APART;
            if (at_token >= j.rows.tokens || at_column >= j.columns) continue;
            float *y = &j.y[at_token * j.stride + at_column];
            float value = sums.of[t][c] * j.factor[at_column];
            *y = j.beta != 0.0f ? value + j.beta * *y : value;
        }
    }
}

template <bool BACKWARD> __global__ void multiply_int8(job j) {
    HONE_SHARED(int, weights, WEIGHT_WORDS);
    HONE_SHARED(int, steps, ROW_WORDS);
    HONE_SHARED(int, rests, ROW_WORDS);
    int column = (int)threadIdx.x % APART, token = (int)threadIdx.x / APART * OWN_TOKENS;
    int64_t tile = (int64_t)blockIdx.y * TILES + token / TILE; /* a thread's tokens are of one */
    int64_t blocks = hone_int8_blocks(j.rows.width), across = hone_int8_blocks(j.in);
    bool there = tile < hone_int8_tiles(j.rows.tokens);
    own_sums sums = {};
    for (int64_t b = 0; b < j.blocks; b++) {
        __syncthreads(); /* all have read the block before */
        bring_weights<BACKWARD>(weights, j, b);
        bring_rows(steps, rests, j, b);
        __syncthreads();
        if (!there) continue;
        int64_t tile_block = tile * blocks + j.first + b;
        bool fine = hone_int8_is_fine(&j.rows, tile_block);
        own_dots dots = dots_of(weights, steps, rests, token, column, fine);
        float scale = j.scale[BACKWARD ? b * across + blockIdx.x : blockIdx.x * across + b];
        add_dots(&sums, dots, j.rows.scale + tile_block * TILE + token % TILE, scale);
    }
    if (there)
        store(j, sums, (int64_t)blockIdx.y * TOKENS + token, (int64_t)blockIdx.x * SIDE + column);
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
