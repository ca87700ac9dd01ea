/*
 * Gradients of attention, with the probabilities computed again from the log-sum-exps (arXiv 2205.14135, algorithm 4).
 * With s = scale q k^T, p = exp(s - lse), delta = sum(do o):
 *     dv = p^T do    dp = do v^T    ds = p (dp - delta)    dq = scale ds k    dk = scale ds^T q
 *
 * A task is one document, one key/value head and a range of its keys; it walks over tiles of keys, inside over blocks
 * of queries, so every sum has one order. Short documents are one task a head. Long ones are cut by keys into as
 * many parts as keep the threads busy; the first part writes dq, the others write theirs aside, and these are added.
 */
#include <math.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/attention_simd.h"

enum { ROWS = 96, MOST_PARTS = 64 }; /* rows of a block, about; parts of a document */

typedef struct bwd_call {
    float *dq, *dk, *dv;
    const float *do_, *q, *k, *v, *o, *lse;
    const hone_segment *segments;
    hone_attention_shape shape;
    int64_t group, padded;   /* heads of a key head; D in whole vectors */
    int64_t queries;         /* of a block */
    int64_t parts;           /* of a long document */
    int64_t whole_work;      /* a document of more work (length squared) than this is long */
    const hone_segment *run; /* the long document at hand */
    float *partial;          /* [parts - 1, q_len, H, D] dq of its parts but the first */
    float *scratch;
    int64_t scratch_size; /* floats, per thread */
} bwd_call;

/* A range of keys of one head of one document, and its scratch. */
typedef struct job {
    const bwd_call *call;
    hone_segment run;
    int64_t kv_head, first_key, last_key;
    float *dq;            /* of query 0 of the document */
    float *keys, *values; /* [D,KEYS] transposed */
    float *key_rows;      /* [KEYS,padded] */
    float *dk, *dv;       /* [KEYS in whole tiles, padded] */
    float *q, *do_;       /* [rows,padded] a block; q is scaled */
    float *p, *ds;        /* [rows,KEYS_PADDED] */
    float *dq_rows;       /* [MR,padded] */
    float *delta;         /* [q_len,group] */
} job;

static int64_t scratch_size(const bwd_call *call, int64_t max_q) {
    int64_t rows = round_up(call->queries * call->group, MR);
    return 2 * call->shape.head_size * KEYS + KEYS * call->padded +
           2 * round_up(KEYS, MR) * call->padded + 2 * rows * call->padded +
           2 * rows * KEYS_PADDED + MR * call->padded + round_up(max_q * call->group, 16) + 16 * 10;
}

static void scratch_give(job *j, float *scratch) {
    const bwd_call *call = j->call;
    int64_t rows = round_up(call->queries * call->group, MR);
    j->keys = scratch_take(&scratch, call->shape.head_size * KEYS);
    j->values = scratch_take(&scratch, call->shape.head_size * KEYS);
    j->key_rows = scratch_take(&scratch, KEYS * call->padded);
    j->dk = scratch_take(&scratch, round_up(KEYS, MR) * call->padded);
    j->dv = scratch_take(&scratch, round_up(KEYS, MR) * call->padded);
    j->q = scratch_take(&scratch, rows * call->padded);
    j->do_ = scratch_take(&scratch, rows * call->padded);
    j->p = scratch_take(&scratch, rows * KEYS_PADDED);
    j->ds = scratch_take(&scratch, rows * KEYS_PADDED);
    j->dq_rows = scratch_take(&scratch, MR * call->padded);
    j->delta = scratch; /* last, because its size differs by document */
}

/* Row of q, o, lse that holds head g of the group for query i of the document. */
static int64_t query_row(const job *j, int64_t i, int64_t g) {
    return (j->run.q_begin + i) * j->call->shape.heads + j->kv_head * j->call->group + g;
}

static float dot(const float *a, const float *b, int64_t n) {
    vf sum = {0};
    int64_t i = 0;
    for (; i + VW <= n; i += VW) sum += vf_load(a + i) * vf_load(b + i);
    if (i < n) sum += vf_load_part(a + i, n - i) * vf_load_part(b + i, n - i);
    return vf_sum(sum);
}

static void find_delta(const job *j) {
    int64_t group = j->call->group;
    int64_t size = j->call->shape.head_size;
    for (int64_t i = j->first_key; i < j->run.q_len; i++) {
        for (int64_t g = 0; g < group; g++) {
            int64_t row = query_row(j, i, g) * size;
            j->delta[i * group + g] = dot(j->call->do_ + row, j->call->o + row, size);
        }
    }
}

/* One row of scores s to p, and of dp to ds; columns from `count` on become zero. */
static void probability_row(float *p, float *ds, int64_t count, float lse, float delta) {
    int64_t c = 0;
    for (; c + VW <= count; c += VW) {
        vf probability = vf_exp(vf_load(p + c) - lse);
        vf_store(p + c, probability);
        vf_store(ds + c, probability * (vf_load(ds + c) - delta));
    }
    if (c < count) {
        vi seen = lanes_below(c, count);
        vf probability = vf_select(seen, vf_exp(vf_load(p + c) - lse), (vf){0});
        vf_store(p + c, probability);
        vf_store(ds + c, vf_select(seen, probability * (vf_load(ds + c) - delta), (vf){0}));
        c += VW;
    }
    for (; c < KEYS_PADDED; c += VW) {
        vf_store(p + c, (vf){0});
        vf_store(ds + c, (vf){0});
    }
}

/* Adds the rows of dq that a panel found; the job's first tile of keys is the first to write them. */
static void write_dq(const job *j, int64_t token, int64_t row, int64_t rows, bool overwrite) {
    const bwd_call *call = j->call;
    int64_t size = call->shape.head_size;
    float scale = (float)call->shape.scale;
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = token + (row + r) / call->group;
        int64_t head = j->kv_head * call->group + (row + r) % call->group;
        float *dq = j->dq + (i * call->shape.heads + head) * size;
        const float *found = j->dq_rows + r * call->padded;
        for (int64_t d = 0; d < size; d++)
            dq[d] = overwrite ? scale * found[d] : dq[d] + scale * found[d];
    }
}

/* MR rows of a block against the tile of keys [key, key + count); query 0 of the block is `token`. */
static void panel_bwd(const job *j, int64_t token, int64_t row, int64_t rows, int64_t key,
                      int64_t count) {
    const bwd_call *call = j->call;
    int64_t padded = call->padded;
    int64_t end = row + MR < rows ? row + MR : rows;
    int64_t seen = token + (end - 1) / call->group + 1 - key; /* by the last row */
    if (seen < count) count = seen;
    int64_t vectors = (count + VW - 1) / VW;
    float *p = j->p + row * KEYS_PADDED;
    float *ds = j->ds + row * KEYS_PADDED;
    int64_t size = call->shape.head_size;
    tile_rows(p, KEYS_PADDED, j->q + row * padded, padded, 1, j->keys, KEYS, size, vectors, false);
    tile_rows(ds, KEYS_PADDED, j->do_ + row * padded, padded, 1, j->values, KEYS, size, vectors,
              false);
    for (int64_t r = row; r < end; r++) {
        int64_t i = token + r / call->group;
        int64_t visible = i + 1 - key;
        probability_row(p + (r - row) * KEYS_PADDED, ds + (r - row) * KEYS_PADDED,
                        visible < count ? visible : count,
                        call->lse[query_row(j, i, r % call->group)],
                        j->delta[i * call->group + r % call->group]);
    }
    tile_rows(j->dq_rows, padded, ds, KEYS_PADDED, 1, j->key_rows, padded, count, padded / VW,
              false);
    write_dq(j, token, row, end - row, key == j->first_key);
}

/* A block of queries against a tile of keys. */
static void block_bwd(const job *j, int64_t token, int64_t key, int64_t count) {
    const bwd_call *call = j->call;
    int64_t size = call->shape.head_size;
    int64_t group = call->group;
    int64_t left = j->run.q_len - token;
    int64_t queries = left < call->queries ? left : call->queries;
    int64_t rows = queries * group;
    int64_t source = query_row(j, token, 0) * size;
    int64_t stride = call->shape.heads * size;
    pack_queries(j->q, call->padded, call->q + source, stride, queries, group, size,
                 (float)call->shape.scale);
    pack_queries(j->do_, call->padded, call->do_ + source, stride, queries, group, size, 1.0f);
    for (int64_t row = 0; row < rows; row += MR) panel_bwd(j, token, row, rows, key, count);
    for (int64_t c = 0; c < count; c += MR) {
        /* Rows of queries before key c have no weight on it. */
        int64_t skip = key + c > token ? (key + c - token) * group : 0;
        if (skip >= rows) break;
        int64_t at = skip * KEYS_PADDED + c;
        tile_rows(j->dv + c * call->padded, call->padded, j->p + at, 1, KEYS_PADDED,
                  j->do_ + skip * call->padded, call->padded, rows - skip, call->padded / VW, true);
        tile_rows(j->dk + c * call->padded, call->padded, j->ds + at, 1, KEYS_PADDED,
                  j->q + skip * call->padded, call->padded, rows - skip, call->padded / VW, true);
    }
}

static void keys_bwd(const job *j, int64_t key, int64_t count) {
    const bwd_call *call = j->call;
    int64_t size = call->shape.head_size;
    int64_t stride = call->shape.kv_heads * size;
    int64_t source = (j->run.k_begin + key) * stride + j->kv_head * size;
    pack_transposed(j->keys, KEYS, call->k + source, stride, count, size);
    pack_transposed(j->values, KEYS, call->v + source, stride, count, size);
    pack_rows(j->key_rows, call->padded, call->k + source, stride, count, size, 1.0f);
    size_t bytes = (size_t)(round_up(KEYS, MR) * call->padded) * 4;
    memset(j->dk, 0, bytes);
    memset(j->dv, 0, bytes);
    for (int64_t token = key; token < j->run.q_len; token += call->queries)
        block_bwd(j, token, key, count);
    for (int64_t r = 0; r < count; r++) {
        memcpy(call->dk + source + r * stride, j->dk + r * call->padded, (size_t)size * 4);
        memcpy(call->dv + source + r * stride, j->dv + r * call->padded, (size_t)size * 4);
    }
}

static void job_bwd(job *j, float *scratch) {
    scratch_give(j, scratch);
    find_delta(j);
    for (int64_t key = j->first_key; key < j->last_key; key += KEYS)
        keys_bwd(j, key, j->last_key - key < KEYS ? j->last_key - key : KEYS);
}

static bool is_long(const bwd_call *call, hone_segment run) {
    return call->parts > 1 && (int64_t)run.q_len * run.q_len > call->whole_work;
}

/* Tasks over all documents: (segment, key head). */
static void task_whole(void *context, int64_t begin, int64_t end, int thread) {
    const bwd_call *call = context;
    for (int64_t number = begin; number < end; number++) {
        hone_segment run = call->segments[number / call->shape.kv_heads];
        if (is_long(call, run)) continue;
        job j = {.call = call, .run = run, .kv_head = number % call->shape.kv_heads};
        j.last_key = run.k_len;
        j.dq = call->dq + run.q_begin * call->shape.heads * call->shape.head_size;
        job_bwd(&j, call->scratch + thread * call->scratch_size);
    }
}

/* First key of a part: equal shares of the triangle of scores, cut at tiles. The first part is never empty, because it
 * is the one that writes dq. */
static int64_t part_begin(const bwd_call *call, int64_t part) {
    if (part == 0) return 0;
    int64_t tiles = (call->run->k_len + KEYS - 1) / KEYS;
    double left = 1.0 - (double)part / (double)call->parts; /* of the work */
    int64_t tile = tiles - (int64_t)((double)tiles * sqrt(left) + 0.5);
    if (tile == 0) tile = 1;
    return tile * KEYS < call->run->k_len ? tile * KEYS : call->run->k_len;
}

static int64_t partial_size(const bwd_call *call, int64_t queries) {
    return queries * call->shape.heads * call->shape.head_size;
}

/* Tasks over one long document: (part, key head). */
static void task_part(void *context, int64_t begin, int64_t end, int thread) {
    const bwd_call *call = context;
    for (int64_t number = begin; number < end; number++) {
        int64_t part = number / call->shape.kv_heads;
        job j = {.call = call, .run = *call->run, .kv_head = number % call->shape.kv_heads};
        j.first_key = part_begin(call, part);
        j.last_key = part_begin(call, part + 1);
        j.dq = part == 0 ? call->dq + partial_size(call, j.run.q_begin)
                         : call->partial + (part - 1) * partial_size(call, j.run.q_len);
        if (j.first_key < j.last_key) job_bwd(&j, call->scratch + thread * call->scratch_size);
    }
}

/* dq of queries [begin, end) += what the later parts found for them. */
static void add_partials(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const bwd_call *call = context;
    float *dq = call->dq + partial_size(call, call->run->q_begin);
    for (int64_t part = 1; part < call->parts; part++) {
        int64_t first = part_begin(call, part);
        if (first == part_begin(call, part + 1)) continue;
        const float *found = call->partial + (part - 1) * partial_size(call, call->run->q_len);
        int64_t from = partial_size(call, begin > first ? begin : first);
        for (int64_t i = from; i < partial_size(call, end); i++) dq[i] += found[i];
    }
}

/* The fewest parts that keep nearly all threads busy. */
static int64_t parts_for(int64_t kv_heads, int64_t threads) {
    int64_t parts = 1;
    for (; parts < MOST_PARTS; parts++) {
        int64_t tasks = parts * kv_heads;
        int64_t rounds = (tasks + threads - 1) / threads;
        if (tasks * 100 >= rounds * threads * 85) break;
    }
    return parts;
}

static bwd_call prepare(hone_attention_shape shape, int64_t max_q) {
    bwd_call call = {.shape = shape, .group = shape.heads / shape.kv_heads};
    call.padded = round_up(shape.head_size, VW);
    call.queries = queries_of(call.group, ROWS);
    call.parts = parts_for(shape.kv_heads, hone_threads());
    call.scratch_size = round_up(scratch_size(&call, max_q), 16);
    return call;
}

size_t HONE_SIMD(hone_attention_bwd_workspace)(hone_attention_shape shape, int64_t max_q) {
    bwd_call call = prepare(shape, max_q);
    int64_t partials = (call.parts - 1) * partial_size(&call, max_q);
    return (size_t)(call.scratch_size * hone_threads() + partials) * 4;
}

void HONE_SIMD(hone_attention_bwd)(float *dq, float *dk, float *dv, const float *do_,
                                   const float *q, const float *k, const float *v, const float *o,
                                   const float *lse, const hone_segment *segments,
                                   hone_attention_shape shape, void *workspace) {
    int64_t max_q = 0;
    int64_t work = 0;
    for (int64_t s = 0; s < shape.segments; s++) {
        int64_t length = segments[s].q_len;
        if (length > max_q) max_q = length;
        work += length * length;
    }
    bwd_call call = prepare(shape, max_q);
    call.dq = dq, call.dk = dk, call.dv = dv;
    call.do_ = do_, call.q = q, call.k = k, call.v = v, call.o = o, call.lse = lse;
    call.segments = segments;
    call.whole_work = work / (2 * hone_threads());
    call.scratch = workspace;
    call.partial = call.scratch + call.scratch_size * hone_threads();
    for (int64_t s = 0; s < shape.segments; s++) {
        if (!is_long(&call, segments[s])) continue;
        call.run = &segments[s];
        hone_parallel_each(call.parts * shape.kv_heads, task_part, &call);
        hone_parallel_for(call.run->q_len, 64, add_partials, &call);
    }
    hone_parallel_each(shape.segments * shape.kv_heads, task_whole, &call);
}
