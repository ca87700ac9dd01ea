/*
 * Gradients of attention, with the probabilities computed again from the log-sum-exps (arXiv 2205.14135, algorithm 4).
 * With s = scale q k^T, p = exp(s - lse), delta = sum(do o):
 *     dv = p^T do    dp = do v^T    ds = p (dp - delta)    dq = scale ds k    dk = scale ds^T q
 * and with a cap s = cap tanh(scale q k^T / cap), ds gets the factor 1 - (s / cap)^2.
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
    int64_t window;          /* keys that a query sees at most */
    int64_t parts;           /* of a long document */
    int64_t whole_work;      /* a document of more work than this is long */
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

/* End of the queries of a document that see a key below `last_key`. */
static int64_t last_query(const bwd_call *call, hone_segment run, int64_t last_key) {
    return smaller(run.q_len, last_key - 1 + call->window);
}

static void find_delta(const job *j) {
    int64_t group = j->call->group;
    int64_t size = j->call->shape.head_size;
    int64_t last = last_query(j->call, j->run, j->last_key);
    for (int64_t i = j->first_key; i < last; i++) {
        for (int64_t g = 0; g < group; g++) {
            int64_t row = query_row(j, i, g) * size;
            j->delta[i * group + g] = dot(j->call->do_ + row, j->call->o + row, size);
        }
    }
}

/* Scores s to p, and dp to ds. `capped` is a constant at every use. */
HONE_INLINE vf probability(vf *ds, vf s, vf dp, float lse, float delta, float cap, bool capped) {
    if (!capped) {
        vf p = vf_exp(s - lse);
        *ds = p * (dp - delta);
        return p;
    }
    vf part = vf_tanh(s * (1.0f / cap));
    vf p = vf_exp(cap * part - lse);
    *ds = p * (dp - delta) * (1.0f - part * part);
    return p;
}

HONE_INLINE void row_to_probabilities(float *p, float *ds, int64_t count, int64_t columns,
                                      float lse, float delta, float cap, bool capped) {
    int64_t c = 0;
    for (; c + VW <= count; c += VW) {
        vf d;
        vf_store(p + c, probability(&d, vf_load(p + c), vf_load(ds + c), lse, delta, cap, capped));
        vf_store(ds + c, d);
    }
    if (c < count) {
        vi seen = lanes_below(c, count);
        vf d;
        vf found = probability(&d, vf_load(p + c), vf_load(ds + c), lse, delta, cap, capped);
        vf_store(p + c, vf_select(seen, found, (vf){0}));
        vf_store(ds + c, vf_select(seen, d, (vf){0}));
        c += VW;
    }
    for (; c < columns; c += VW) {
        vf_store(p + c, (vf){0});
        vf_store(ds + c, (vf){0});
    }
}

/* One row of a tile: of its `columns`, those from `hidden` to `count` are seen, all others become zero. */
static void probability_row(float *p, float *ds, int64_t hidden, int64_t count, int64_t columns,
                            float lse, float delta, float cap) {
    if (cap > 0.0f)
        row_to_probabilities(p, ds, count, columns, lse, delta, cap, true);
    else
        row_to_probabilities(p, ds, count, columns, lse, delta, cap, false);
    for (int64_t c = 0; c < hidden; c++) p[c] = ds[c] = 0.0f;
}

/* Adds the rows of dq that a panel found for the tile at `key`; the first tile of the job that a query sees is the first
 * to write them. */
static void write_dq(const job *j, int64_t token, int64_t row, int64_t rows, int64_t key) {
    const bwd_call *call = j->call;
    int64_t size = call->shape.head_size;
    float scale = (float)call->shape.scale;
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = token + (row + r) / call->group;
        int64_t head = j->kv_head * call->group + (row + r) % call->group;
        bool overwrite = key == j->first_key || i + 1 >= key + call->window;
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
    int64_t end = smaller(row + MR, rows);
    count = smaller(count, token + (end - 1) / call->group + 1 - key); /* seen by the last row */
    int64_t skip = columns_hidden(token + row / call->group + 1 - key - call->window);
    int64_t vectors = (count - skip + VW - 1) / VW;
    float *p = j->p + row * KEYS_PADDED;
    float *ds = j->ds + row * KEYS_PADDED;
    int64_t size = call->shape.head_size;
    tile_rows(p + skip, KEYS_PADDED, j->q + row * padded, padded, 1, j->keys + skip, KEYS, size,
              vectors, false);
    tile_rows(ds + skip, KEYS_PADDED, j->do_ + row * padded, padded, 1, j->values + skip, KEYS,
              size, vectors, false);
    for (int64_t r = row; r < end; r++) {
        int64_t i = token + r / call->group;
        int64_t visible = i + 1 - key;
        probability_row(p + (r - row) * KEYS_PADDED, ds + (r - row) * KEYS_PADDED,
                        visible - call->window, smaller(visible, count), KEYS_PADDED,
                        call->lse[query_row(j, i, r % call->group)],
                        j->delta[i * call->group + r % call->group], (float)call->shape.softcap);
    }
    tile_rows(j->dq_rows, padded, ds + skip, KEYS_PADDED, 1, j->key_rows + skip * padded, padded,
              count - skip, padded / VW, false);
    write_dq(j, token, row, end - row, key);
}

/* A block of queries, which ends before `last`, against a tile of keys. */
static void block_bwd(const job *j, int64_t token, int64_t last, int64_t key, int64_t count) {
    const bwd_call *call = j->call;
    int64_t size = call->shape.head_size;
    int64_t group = call->group;
    int64_t queries = smaller(last - token, call->queries);
    int64_t rows = queries * group;
    int64_t source = query_row(j, token, 0) * size;
    int64_t stride = call->shape.heads * size;
    pack_queries(j->q, call->padded, call->q + source, stride, queries, group, size,
                 (float)call->shape.scale);
    pack_queries(j->do_, call->padded, call->do_ + source, stride, queries, group, size, 1.0f);
    for (int64_t row = 0; row < rows; row += MR) panel_bwd(j, token, row, rows, key, count);
    for (int64_t c = 0; c < count; c += MR) {
        /* Rows of queries before key c, or too far behind it, have no weight on it. */
        int64_t skip = key + c > token ? (key + c - token) * group : 0;
        int64_t seen = smaller(rows, (key + c + MR - 1 + call->window - token) * group) - skip;
        if (seen <= 0) continue;
        int64_t at = skip * KEYS_PADDED + c;
        tile_rows(j->dv + c * call->padded, call->padded, j->p + at, 1, KEYS_PADDED,
                  j->do_ + skip * call->padded, call->padded, seen, call->padded / VW, true);
        tile_rows(j->dk + c * call->padded, call->padded, j->ds + at, 1, KEYS_PADDED,
                  j->q + skip * call->padded, call->padded, seen, call->padded / VW, true);
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
    int64_t last = last_query(call, j->run, key + count);
    for (int64_t token = key; token < last; token += call->queries)
        block_bwd(j, token, last, key, count);
    for (int64_t r = 0; r < count; r++) {
        memcpy(call->dk + source + r * stride, j->dk + r * call->padded, (size_t)size * 4);
        memcpy(call->dv + source + r * stride, j->dv + r * call->padded, (size_t)size * 4);
    }
}

static void job_bwd(job *j, float *scratch) {
    scratch_give(j, scratch);
    find_delta(j);
    for (int64_t key = j->first_key; key < j->last_key; key += KEYS)
        keys_bwd(j, key, smaller(j->last_key - key, KEYS));
}

/* Of a document: twice its pairs of query and key, about. */
static int64_t work_of(int64_t length, int64_t window) {
    int64_t seen = smaller(length, window);
    return seen * (2 * length - seen);
}

static bool is_long(const bwd_call *call, hone_segment run) {
    return call->parts > 1 && work_of(run.q_len, call->window) > call->whole_work;
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

/* First key of a part: equal shares of the scores, cut at tiles. Counted from the end and in lengths of the document,
 * the scores are a triangle up to the window and a band behind it. The first part is never empty, because it is the one
 * that writes dq. */
static int64_t part_begin(const bwd_call *call, int64_t part) {
    if (part == 0) return 0;
    int64_t tiles = (call->run->k_len + KEYS - 1) / KEYS;
    double seen = (double)smaller(call->run->k_len, call->window) / (double)call->run->k_len;
    double triangle = seen * seen / 2.0;
    double work = (seen - triangle) * (1.0 - (double)part / (double)call->parts); /* left */
    double keys = work > triangle ? seen / 2.0 + work / seen : sqrt(2.0 * work);
    int64_t tile = tiles - (int64_t)((double)tiles * keys + 0.5);
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

/* dq of queries [begin, end) += what the later parts found for them, or = where no earlier part's keys are seen. */
static void add_partials(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const bwd_call *call = context;
    float *dq = call->dq + partial_size(call, call->run->q_begin);
    for (int64_t part = 1; part < call->parts; part++) {
        int64_t first = part_begin(call, part);
        int64_t last_key = part_begin(call, part + 1);
        if (first == last_key) continue;
        const float *found = call->partial + (part - 1) * partial_size(call, call->run->q_len);
        int64_t last = smaller(end, last_query(call, *call->run, last_key));
        int64_t from = partial_size(call, begin > first ? begin : first);
        int64_t both = partial_size(call, smaller(last, last_query(call, *call->run, first)));
        for (int64_t i = from; i < both; i++) dq[i] += found[i];
        if (from < both) from = both;
        for (int64_t i = from; i < partial_size(call, last); i++) dq[i] = found[i];
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
    call.window = window_of(shape);
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
        work += work_of(length, window_of(shape));
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
