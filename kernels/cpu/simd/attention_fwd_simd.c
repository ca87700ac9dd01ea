/*
 * Attention with online softmax (arXiv 2205.14135, algorithm 1; the running maximum and sum of arXiv 1805.02867):
 * blocks of queries walk over tiles of keys and never hold more than MR x KEYS scores.
 */
#include <math.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/attention_simd.h"

enum { ROWS = 192 }; /* of a block, about */

typedef struct fwd_call {
    float *o, *lse;
    const float *q, *k, *v;
    const hone_segment *segments;
    hone_attention_shape shape;
    int64_t group, padded; /* heads of a key head; D in whole vectors */
    int64_t queries;       /* of a block */
    int64_t window;        /* keys that a query sees at most */
    float *scratch;
    int64_t scratch_size; /* floats, per thread */
} fwd_call;

/* A block of queries of one key head, and its scratch. */
typedef struct block {
    int64_t rows, first_visible; /* rows; keys that query 0 of the block sees */
    float *q, *o;                /* [rows,padded] */
    float *largest;              /* [rows] running maximum of scores */
    float *total;                /* [rows,VW] running sums of softmax, by lane */
    float *keys;                 /* [D,KEYS] a tile of keys, transposed */
    float *values;               /* [KEYS,padded] */
    float *scores;               /* [MR,KEYS_PADDED] */
} block;

static int64_t scratch_size(int64_t rows, int64_t head_size, int64_t padded) {
    int64_t whole = round_up(rows, MR);
    return 2 * round_up(whole * padded, 16) + round_up(whole, 16) + round_up(whole * VW, 16) +
           round_up(head_size * KEYS, 16) + round_up(KEYS * padded, 16) +
           round_up(MR * KEYS_PADDED, 16);
}

static block block_in(float *scratch, int64_t rows, int64_t head_size, int64_t padded) {
    int64_t whole = round_up(rows, MR);
    block b = {.rows = rows};
    b.q = scratch_take(&scratch, whole * padded);
    b.o = scratch_take(&scratch, whole * padded);
    b.largest = scratch_take(&scratch, whole);
    b.total = scratch_take(&scratch, whole * VW);
    b.keys = scratch_take(&scratch, head_size * KEYS);
    b.values = scratch_take(&scratch, KEYS * padded);
    b.scores = scratch_take(&scratch, MR * KEYS_PADDED);
    return b;
}

static float largest_of(const float *scores, int64_t count) {
    vf largest = vf_set(-INFINITY);
    int64_t j = 0;
    for (; j + VW <= count; j += VW) largest = vf_max(vf_load(scores + j), largest);
    if (j < count) {
        vf last = vf_select(lanes_below(j, count), vf_load(scores + j), vf_set(-INFINITY));
        largest = vf_max(last, largest);
    }
    return vf_largest(largest);
}

/* Brings what was summed over earlier keys to a new maximum. */
static void rescale_row(const block *b, int64_t row, float largest, int64_t padded) {
    float before = b->largest[row];
    b->largest[row] = largest;
    if (before == -INFINITY) return; /* nothing was summed yet */
    float rescale = vf_exp(vf_set(before - largest))[0];
    float *o = b->o + row * padded;
    for (int64_t d = 0; d < padded; d += VW) vf_store(o + d, vf_load(o + d) * rescale);
    float *total = b->total + row * VW;
    vf_store(total, vf_load(total) * rescale);
}

/* One row of scores over a tile, of which the row sees `count`: scores become probabilities relative to the running
 * maximum; columns beyond become zero. */
static void softmax_row(const block *b, int64_t row, float *scores, int64_t count, int64_t columns,
                        int64_t padded) {
    int64_t j = 0;
    if (count > 0) {
        float largest = largest_of(scores, count);
        if (largest > b->largest[row]) rescale_row(b, row, largest, padded);
        largest = b->largest[row];
        vf total = vf_load(b->total + row * VW);
        for (; j + VW <= count; j += VW) {
            vf p = vf_exp(vf_load(scores + j) - largest);
            vf_store(scores + j, p);
            total += p;
        }
        if (j < count) {
            vf p = vf_exp(vf_load(scores + j) - largest);
            p = vf_select(lanes_below(j, count), p, (vf){0});
            vf_store(scores + j, p);
            total += p;
            j += VW;
        }
        vf_store(b->total + row * VW, total);
    }
    for (; j < columns; j += VW) vf_store(scores + j, (vf){0});
}

/* Scores of a row to probabilities: of the tile's first `count` keys it sees those from `hidden` on. */
static void score_row(const fwd_call *call, const block *b, int64_t row, float *scores,
                      int64_t hidden, int64_t count, int64_t columns) {
    if (call->shape.softcap > 0.0) softcap_run(scores, scores, columns, (float)call->shape.softcap);
    if (hidden >= count) count = 0;
    for (int64_t j = 0; j < hidden && j < count; j++) scores[j] = -INFINITY;
    softmax_row(b, row, scores, count, columns, call->padded);
}

/* MR rows from `row` over the tile of keys [begin, begin + count). */
static void panel_fwd(const fwd_call *call, const block *b, int64_t row, int64_t begin,
                      int64_t count) {
    int64_t end = row + MR < b->rows ? row + MR : b->rows;
    int64_t seen = b->first_visible + (end - 1) / call->group - begin; /* by the last row */
    if (seen < count) count = seen;
    int64_t skip = columns_hidden(b->first_visible + row / call->group - begin - call->window);
    if (count <= skip) return;
    begin += skip;
    count -= skip;
    int64_t columns = round_up(count, VW);
    tile_rows(b->scores, KEYS_PADDED, b->q + row * call->padded, call->padded, 1, b->keys + skip,
              KEYS, call->shape.head_size, columns / VW, false);
    for (int64_t r = row; r < end; r++) {
        int64_t visible = b->first_visible + r / call->group - begin;
        score_row(call, b, r, b->scores + (r - row) * KEYS_PADDED, visible - call->window,
                  visible < count ? visible : count, columns);
    }
    tile_rows(b->o + row * call->padded, call->padded, b->scores, KEYS_PADDED, 1,
              b->values + skip * call->padded, call->padded, count, call->padded / VW, true);
}

static void write_row(const fwd_call *call, const block *b, int64_t row, int64_t out) {
    float *o = call->o + out * call->shape.head_size;
    float total = vf_sum(vf_load(b->total + row * VW));
    float inverse = 1.0f / total;
    for (int64_t d = 0; d < call->shape.head_size; d++)
        o[d] = b->o[row * call->padded + d] * inverse;
    if (call->lse) call->lse[out] = b->largest[row] + logf(total);
}

static void block_fwd(const fwd_call *call, hone_segment run, int64_t kv_head, int64_t first,
                      float *scratch) {
    hone_attention_shape shape = call->shape;
    int64_t size = shape.head_size;
    int64_t group = call->group;
    int64_t queries = run.q_len - first < call->queries ? run.q_len - first : call->queries;
    block b = block_in(scratch, queries * group, size, call->padded);
    b.first_visible = run.k_len - run.q_len + first + 1;
    int64_t row0 = (run.q_begin + first) * shape.heads + kv_head * group;
    pack_queries(b.q, call->padded, call->q + row0 * size, shape.heads * size, queries, group, size,
                 (float)shape.scale);
    memset(b.o, 0, (size_t)(round_up(b.rows, MR) * call->padded) * 4);
    memset(b.total, 0, (size_t)(b.rows * VW) * 4);
    for (int64_t r = 0; r < b.rows; r++) b.largest[r] = -INFINITY;
    int64_t keys = b.first_visible + queries - 1;
    int64_t stride = shape.kv_heads * size;
    int64_t first_key = b.first_visible > call->window ? b.first_visible - call->window : 0;
    for (int64_t begin = first_key; begin < keys; begin += KEYS) {
        int64_t count = keys - begin < KEYS ? keys - begin : KEYS;
        int64_t source = (run.k_begin + begin) * stride + kv_head * size;
        pack_transposed(b.keys, KEYS, call->k + source, stride, count, size);
        pack_rows(b.values, call->padded, call->v + source, stride, count, size, 1.0f);
        for (int64_t r = 0; r < b.rows; r += MR) panel_fwd(call, &b, r, begin, count);
    }
    for (int64_t r = 0; r < b.rows; r++)
        write_row(call, &b, r, row0 + r / group * shape.heads + r % group);
}

/* Task number to (segment, block, key head). The last blocks of a segment see the most keys and go first. */
static void task(void *context, int64_t begin, int64_t end, int thread) {
    const fwd_call *call = context;
    for (int64_t number = begin; number < end; number++) {
        int64_t left = number;
        const hone_segment *run = call->segments;
        int64_t blocks = (run->q_len + call->queries - 1) / call->queries;
        while (left >= blocks * call->shape.kv_heads) {
            left -= blocks * call->shape.kv_heads;
            run++;
            blocks = (run->q_len + call->queries - 1) / call->queries;
        }
        int64_t first = (blocks - 1 - left / call->shape.kv_heads) * call->queries;
        block_fwd(call, *run, left % call->shape.kv_heads, first,
                  call->scratch + thread * call->scratch_size);
    }
}

static fwd_call prepare(hone_attention_shape shape) {
    fwd_call call = {.shape = shape, .group = shape.heads / shape.kv_heads};
    call.window = window_of(shape);
    call.padded = round_up(shape.head_size, VW);
    call.queries = queries_of(call.group, ROWS);
    call.scratch_size =
        round_up(scratch_size(call.queries * call.group, shape.head_size, call.padded), 16);
    return call;
}

size_t HONE_SIMD(hone_attention_fwd_workspace)(hone_attention_shape shape) {
    return (size_t)prepare(shape).scratch_size * (size_t)hone_threads() * 4;
}

void HONE_SIMD(hone_attention_fwd)(float *o, float *lse, const float *q, const float *k,
                                   const float *v, const hone_segment *segments,
                                   hone_attention_shape shape, void *workspace) {
    fwd_call call = prepare(shape);
    call.o = o, call.lse = lse, call.q = q, call.k = k, call.v = v;
    call.segments = segments;
    call.scratch = workspace;
    int64_t tasks = 0;
    for (int64_t s = 0; s < shape.segments; s++)
        tasks += (segments[s].q_len + call.queries - 1) / call.queries * shape.kv_heads;
    hone_parallel_each(tasks, task, &call);
}
