/*
 * The products of LoRA's factors: one side as narrow as the rank, the other the activations, which are what takes the
 * time to read. So they are read once for all that is made of up to MOST vectors of ranks, and again for the next ones: each
 * element is broadcast and meets a row of a factor for the product over columns, and a row of the other side for the
 * product over tokens.
 */
#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"
#include "kernels/cpu/simd/tile.h"

/* Columns whose sums stay in registers, and the vectors of ranks of these. */
#if defined(__AVX512F__)
enum { COLUMNS = 8, MOST = 1 };
#else
enum { COLUMNS = 4, MOST = 2 };
#endif

enum {
    TOKENS =
        16, /* of a block: rows that a power of two is apart still fit the nearest cache together */
    LINE = 16,  /* floats in a line of a cache */
    AHEAD = 64, /* columns that arrive while others are used */
    GRAIN = 256
};

/* Products of x [T,width] for the ranks [first, first + ranks), at most `vectors` of them. */
typedef struct narrow_call {
    const float *x;
    int64_t tokens, width;
    int64_t rank, first, ranks;
    int vectors;
    float scale;
    int64_t threads;
    const float *factor; /* [width], rows `factor_stride` apart; NULL: no product over columns */
    float *product;      /* [T,R] = scale x factor */
    const float *side;   /* [T], rows `side_stride` apart; NULL: no product over tokens */
    int64_t factor_stride, side_stride;
    float *sums;                   /* [threads][width][vectors*VW] x^T side */
    float *grad;                   /* += scale sums */
    int64_t grad_row, grad_column; /* strides of grad: between columns of x, between ranks */
} narrow_call;

/* What is compiled for by itself: constants at every use. */
typedef struct variant {
    bool over_columns, over_tokens;
    int vectors;
} variant;

/* A strip of columns of a block of tokens. */
HONE_INLINE void strip(const narrow_call *call, vf (*product)[MOST], float *sums, int64_t token,
                       int64_t tokens, int64_t column, const int columns, const variant kind) {
    vf sum[COLUMNS][MOST], factor[COLUMNS][MOST];
    int64_t first = column * kind.vectors * VW, at = column * call->factor_stride;
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++, at += call->factor_stride) {
#pragma GCC unroll 2
        for (int v = 0; v < kind.vectors; v++) {
            if (kind.over_tokens) sum[c][v] = vf_load(sums + first + (c * kind.vectors + v) * VW);
            if (kind.over_columns) factor[c][v] = vf_load(call->factor + at + v * VW);
        }
    }
    const float *x = call->x + token * call->width + column;
    for (int64_t t = 0; t < tokens; t++, x += call->width) {
        __builtin_prefetch(x + AHEAD);
        vf side[MOST], even[MOST], odd[MOST];
#pragma GCC unroll 2
        for (int v = 0; v < kind.vectors; v++) {
            if (kind.over_tokens)
                side[v] = vf_load(call->side + (token + t) * call->side_stride + v * VW);
            even[v] = product[t][v];
            odd[v] = (vf){0};
        }
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) {
            vf one = vf_set(x[c]);
#pragma GCC unroll 2
            for (int v = 0; v < kind.vectors; v++) {
                if (kind.over_tokens) sum[c][v] += one * side[v];
                if (!kind.over_columns) continue;
                vf *to = c % 2 ? odd : even;
                to[v] += one * factor[c][v];
            }
        }
#pragma GCC unroll 2
        for (int v = 0; v < kind.vectors; v++) {
            if (kind.over_columns) product[t][v] = even[v] + odd[v];
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
#pragma GCC unroll 2
        for (int v = 0; v < kind.vectors; v++) {
            if (kind.over_tokens) vf_store(sums + first + (c * kind.vectors + v) * VW, sum[c][v]);
        }
    }
}

HONE_INLINE void block(const narrow_call *call, float *sums, int64_t token, int64_t tokens,
                       const variant kind) {
    vf product[TOKENS][MOST] = {{{0}}};
    int64_t column = 0;
    for (; column + COLUMNS <= call->width; column += COLUMNS)
        strip(call, product, sums, token, tokens, column, COLUMNS, kind);
    for (; column < call->width; column++)
        strip(call, product, sums, token, tokens, column, 1, kind);
    if (!kind.over_columns) return;
    for (int64_t t = 0; t < tokens; t++) {
        float *to = call->product + (token + t) * call->rank + call->first;
        for (int64_t v = 0; v < kind.vectors; v++)
            write_part(to + v * VW, product[t][v] * call->scale, call->ranks - v * VW, 0.0f);
    }
}

HONE_INLINE void variants(const narrow_call *call, float *sums, int64_t token, int64_t tokens,
                          const int vectors) {
    if (!call->side)
        block(call, sums, token, tokens, (variant){.over_columns = true, .vectors = vectors});
    else if (!call->factor)
        block(call, sums, token, tokens, (variant){.over_tokens = true, .vectors = vectors});
    else
        block(call, sums, token, tokens, (variant){true, true, vectors});
}

static void blocks(void *context, int64_t begin, int64_t end, int thread) {
    const narrow_call *call = context;
    float *sums = call->side ? call->sums + thread * call->width * call->vectors * VW : NULL;
    for (int64_t token = begin * TOKENS; token < end * TOKENS; token += TOKENS) {
        int64_t left = call->tokens - token, tokens = left < TOKENS ? left : (int64_t)TOKENS;
        if (call->vectors == MOST)
            variants(call, sums, token, tokens, MOST);
        else
            variants(call, sums, token, tokens, 1);
    }
}

/* What each thread found, in their order. */
static void add_sums(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const narrow_call *call = context;
    for (int64_t column = begin; column < end; column++) {
        float *grad = call->grad + column * call->grad_row + call->first * call->grad_column;
        for (int64_t r = 0; r < call->ranks; r++) {
            float sum = 0.0f;
            for (int64_t i = 0; i < call->threads; i++)
                sum += call->sums[(i * call->width + column) * call->vectors * VW + r];
            grad[r * call->grad_column] += call->scale * sum;
        }
    }
}

static void run(narrow_call *call) {
    call->threads = hone_threads();
    if (call->side)
        memset(call->sums, 0, (size_t)(call->threads * call->width * call->vectors * VW) * 4);
    hone_parallel_for((call->tokens + TOKENS - 1) / TOKENS, 1, blocks, call);
    if (call->side) hone_parallel_for(call->width, GRAIN, add_sums, call);
}

/* The ranks of a call of a factor [rows,R]: as they lie, or what there is of them packed with zeros. */
static const float *ranks_of(int64_t *stride, float *packed, const float *factor, int64_t rows,
                             const narrow_call *call) {
    int64_t padded = call->vectors * VW;
    if (call->ranks == padded) {
        *stride = call->rank;
        return factor + call->first;
    }
    pack_rows(packed, padded, factor + call->first, call->rank, rows, call->ranks, 1.0f);
    *stride = padded;
    return packed;
}

typedef struct scratch {
    float *factor, *side, *sums;
} scratch;

static int64_t factor_count(hone_lora_shape shape) {
    return round_up((shape.in > shape.out ? shape.in : shape.out) * MOST * VW, LINE);
}

static int64_t side_count(hone_lora_shape shape) {
    return round_up(shape.tokens * MOST * VW, LINE);
}

static scratch divide(hone_lora_shape shape, float *at) {
    float *side = at + factor_count(shape);
    return (scratch){at, side, side + side_count(shape)};
}

size_t HONE_SIMD(hone_lora_workspace)(hone_lora_shape shape) {
    int64_t count = side_count(shape) + factor_count(shape) * (1 + (int64_t)hone_threads());
    return (size_t)count * sizeof(float);
}

/* The next ranks of a call that is set up but for them: as many vectors as there can be, or one. */
static bool next_ranks(narrow_call *call) {
    call->first += call->ranks;
    int64_t left = call->rank - call->first;
    call->vectors = left > VW ? MOST : 1;
    call->ranks = smaller(left, call->vectors * VW);
    return left > 0;
}

void HONE_SIMD(hone_lora_fwd)(float *t, const float *x, const float *a, hone_lora_shape shape,
                              void *workspace) {
    scratch s = divide(shape, workspace);
    narrow_call call = {.x = x,
                        .tokens = shape.tokens,
                        .width = shape.in,
                        .rank = shape.rank,
                        .scale = 1.0f,
                        .factor = s.factor,
                        .product = t};
    while (next_ranks(&call)) {
        call.factor_stride = call.vectors * VW;
        pack_transposed(s.factor, call.factor_stride, a + call.first * shape.in, shape.in,
                        call.ranks, shape.in);
        run(&call);
    }
}

/* dt, and db where it is wanted. */
static void over_outputs(float *dt, float *db, const float *dy, const float *t, const float *b,
                         hone_lora_shape shape, const scratch *s) {
    narrow_call call = {.x = dy,
                        .tokens = shape.tokens,
                        .width = shape.out,
                        .rank = shape.rank,
                        .scale = (float)shape.scale,
                        .product = dt,
                        .sums = s->sums,
                        .grad = db,
                        .grad_row = shape.rank,
                        .grad_column = 1};
    while (next_ranks(&call)) {
        call.factor = ranks_of(&call.factor_stride, s->factor, b, shape.out, &call);
        if (db) call.side = ranks_of(&call.side_stride, s->side, t, shape.tokens, &call);
        run(&call);
    }
}

static void over_inputs(float *da, const float *dt, const float *x, hone_lora_shape shape,
                        const scratch *s) {
    narrow_call call = {.x = x,
                        .tokens = shape.tokens,
                        .width = shape.in,
                        .rank = shape.rank,
                        .scale = 1.0f,
                        .sums = s->sums,
                        .grad = da,
                        .grad_row = 1,
                        .grad_column = shape.in};
    while (next_ranks(&call)) {
        call.side = ranks_of(&call.side_stride, s->side, dt, shape.tokens, &call);
        run(&call);
    }
}

void HONE_SIMD(hone_lora_bwd)(float *dt, float *da, float *db, const float *dy, const float *x,
                              const float *t, const float *b, hone_lora_shape shape,
                              void *workspace) {
    scratch s = divide(shape, workspace);
    over_outputs(dt, db, dy, t, b, shape, &s);
    if (da) over_inputs(da, dt, x, shape, &s);
}
