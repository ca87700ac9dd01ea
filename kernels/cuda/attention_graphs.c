#include "kernels/cuda/attention_graphs.h"

enum { BF16_BYTES = 2, ROWS = 2, COLUMNS = 3 };

/* A graph with what both passes have. */
typedef struct builder {
    hone_cudnn_graph graph;
    const hone_attention_graph *shape;
    hone_cudnn_tensor lengths, q_offsets, k_offsets, s_offsets;
    hone_cudnn_tensor scale, masked, window;
} builder;

/* --- Operands --- */

static hone_cudnn_tensor operand(builder *b, hone_attention_operand which, cudnnDataType_t type,
                                 hone_cudnn_shape shape, int64_t alignment,
                                 const hone_cudnn_tensor *ragged) {
    hone_cudnn_place place = {.uid = which + 1, .alignment = alignment, .ragged = ragged};
    return hone_cudnn_tensor_at(&b->graph, type, shape, place);
}

static hone_cudnn_tensor number(builder *b, hone_attention_operand which) {
    hone_cudnn_place place = {.uid = which + 1, .alignment = sizeof(float), .by_value = true};
    return hone_cudnn_tensor_at(&b->graph, CUDNN_DATA_FLOAT, hone_cudnn_dense(1, 1, 1, 1), place);
}

/* [batch, taken, longest, size] of rows of `heads` heads. */
static hone_cudnn_shape packed(const builder *b, int64_t heads, int64_t taken, int64_t size) {
    int64_t row = heads * size, longest = b->shape->longest;
    return (hone_cudnn_shape){{b->shape->batch, taken, longest, size},
                              {longest * row, size, row, 1}};
}

static hone_cudnn_shape transposed(hone_cudnn_shape s) {
    return (hone_cudnn_shape){{s.dims[0], s.dims[1], s.dims[COLUMNS], s.dims[ROWS]},
                              {s.strides[0], s.strides[1], s.strides[COLUMNS], s.strides[ROWS]}};
}

static hone_cudnn_shape query_shape(const builder *b) {
    return packed(b, b->shape->heads, b->shape->heads_taken, b->shape->head_size);
}

static hone_cudnn_shape key_shape(const builder *b) {
    return packed(b, b->shape->kv_heads, b->shape->kv_heads_taken, b->shape->head_size);
}

/* Of what there is for each query and key. */
static hone_cudnn_shape score_shape(const builder *b) {
    const hone_attention_graph *s = b->shape;
    return hone_cudnn_dense(s->batch, s->heads_taken, s->longest, s->longest);
}

static hone_cudnn_shape row_shape(const builder *b) {
    return hone_cudnn_dense(b->shape->batch, b->shape->heads_taken, b->shape->longest, 1);
}

static hone_cudnn_tensor of_queries(builder *b, hone_attention_operand which) {
    return operand(b, which, CUDNN_DATA_BFLOAT16, query_shape(b), 16, &b->q_offsets);
}

static hone_cudnn_tensor of_keys(builder *b, hone_attention_operand which) {
    return operand(b, which, CUDNN_DATA_BFLOAT16, key_shape(b), 16, &b->k_offsets);
}

static hone_cudnn_tensor of_keys_transposed(builder *b, hone_attention_operand which) {
    return operand(b, which, CUDNN_DATA_BFLOAT16, transposed(key_shape(b)), 16, &b->k_offsets);
}

static hone_cudnn_tensor statistics(builder *b) {
    hone_cudnn_shape shape = packed(b, b->shape->heads, b->shape->heads_taken, 1);
    return operand(b, HONE_ATTENTION_STATS, CUDNN_DATA_FLOAT, shape, sizeof(float), &b->s_offsets);
}

static void builder_open(builder *b, const hone_cudnn_target *target,
                         const hone_attention_graph *shape) {
    *b = (builder){.graph = {.target = *target}, .shape = shape};
    hone_cudnn_shape lengths = hone_cudnn_dense(shape->batch, 1, 1, 1);
    hone_cudnn_shape offsets = hone_cudnn_dense(shape->batch + 1, 1, 1, 1);
    b->lengths =
        operand(b, HONE_ATTENTION_LENGTHS, CUDNN_DATA_INT32, lengths, sizeof(int32_t), NULL);
    b->q_offsets =
        operand(b, HONE_ATTENTION_Q_OFFSETS, CUDNN_DATA_INT64, offsets, sizeof(int64_t), NULL);
    b->k_offsets =
        operand(b, HONE_ATTENTION_K_OFFSETS, CUDNN_DATA_INT64, offsets, sizeof(int64_t), NULL);
    b->s_offsets =
        operand(b, HONE_ATTENTION_S_OFFSETS, CUDNN_DATA_INT64, offsets, sizeof(int64_t), NULL);
    b->scale = number(b, HONE_ATTENTION_SCALE);
    b->masked = number(b, HONE_ATTENTION_MASKED);
    if (shape->windowed) b->window = number(b, HONE_ATTENTION_WINDOW);
}

/* --- Pieces --- */

static hone_cudnn_tensor apply(builder *b, cudnnPointwiseMode_t mode, const hone_cudnn_tensor *x,
                               const hone_cudnn_tensor *with) {
    return hone_cudnn_pointwise(&b->graph, mode, x, with, NULL);
}

/* x where it is to count, -infinity elsewhere. */
static hone_cudnn_tensor keep(builder *b, const hone_cudnn_tensor *x,
                              const hone_cudnn_tensor *where) {
    return hone_cudnn_pointwise(&b->graph, CUDNN_POINTWISE_BINARY_SELECT, x, &b->masked, where);
}

/* Products of queries and keys (or of their gradients), within the documents. */
static hone_cudnn_tensor pairs(builder *b, const hone_cudnn_tensor *queries,
                               const hone_cudnn_tensor *keys) {
    hone_cudnn_tensor y = hone_cudnn_inner(&b->graph, CUDNN_DATA_FLOAT, score_shape(b));
    hone_cudnn_product(&b->graph, &y, queries, keys,
                       (hone_cudnn_lengths){.m = &b->lengths, .n = &b->lengths});
    return y;
}

/* Scores q k^T, scaled, without those past the document's end. */
static hone_cudnn_tensor scores(builder *b, const hone_cudnn_tensor *q,
                                const hone_cudnn_tensor *k) {
    hone_cudnn_tensor s = pairs(b, q, k);
    s = apply(b, CUDNN_POINTWISE_MUL, &s, &b->scale);
    hone_cudnn_tensor row = hone_cudnn_index(&b->graph, &s, ROWS);
    hone_cudnn_tensor column = hone_cudnn_index(&b->graph, &s, COLUMNS);
    hone_cudnn_tensor row_is = apply(b, CUDNN_POINTWISE_CMP_LT, &row, &b->lengths);
    hone_cudnn_tensor column_is = apply(b, CUDNN_POINTWISE_CMP_LT, &column, &b->lengths);
    hone_cudnn_tensor both = apply(b, CUDNN_POINTWISE_LOGICAL_AND, &row_is, &column_is);
    return keep(b, &s, &both);
}

/* Without those of later keys, and of keys before the window: it begins where column + window > row. */
static hone_cudnn_tensor within_sight(builder *b, hone_cudnn_tensor s) {
    hone_cudnn_tensor row = hone_cudnn_index(&b->graph, &s, ROWS);
    hone_cudnn_tensor column = hone_cudnn_index(&b->graph, &s, COLUMNS);
    hone_cudnn_tensor seen = apply(b, CUDNN_POINTWISE_CMP_GE, &row, &column);
    s = keep(b, &s, &seen);
    if (!b->shape->windowed) return s;
    row = hone_cudnn_index(&b->graph, &s, ROWS);
    column = hone_cudnn_index(&b->graph, &s, COLUMNS);
    hone_cudnn_tensor end = apply(b, CUDNN_POINTWISE_ADD, &column, &b->window);
    seen = apply(b, CUDNN_POINTWISE_CMP_GT, &end, &row);
    return keep(b, &s, &seen);
}

static hone_cudnn_tensor reduced(builder *b, cudnnReduceTensorOp_t how,
                                 const hone_cudnn_tensor *x) {
    hone_cudnn_tensor y = hone_cudnn_inner(&b->graph, CUDNN_DATA_FLOAT, row_shape(b));
    hone_cudnn_reduce(&b->graph, &y, how, x);
    return y;
}

/* --- Forward --- */

/* o = softmax(scores) v, stats = log of the sum of the scores' exponentials. */
static void describe_forward(builder *b) {
    hone_cudnn_graph *g = &b->graph;
    hone_cudnn_tensor q = of_queries(b, HONE_ATTENTION_Q);
    hone_cudnn_tensor k = of_keys_transposed(b, HONE_ATTENTION_K);
    hone_cudnn_tensor v = of_keys(b, HONE_ATTENTION_V);
    hone_cudnn_tensor o = of_queries(b, HONE_ATTENTION_O);
    hone_cudnn_tensor stats = statistics(b);
    hone_cudnn_tensor s = within_sight(b, scores(b, &q, &k));
    hone_cudnn_tensor largest = reduced(b, CUDNN_REDUCE_TENSOR_MAX, &s);
    hone_cudnn_tensor below = apply(b, CUDNN_POINTWISE_SUB, &s, &largest);
    hone_cudnn_tensor e = apply(b, CUDNN_POINTWISE_EXP, &below, NULL);
    hone_cudnn_tensor sum = reduced(b, CUDNN_REDUCE_TENSOR_ADD, &e);
    hone_cudnn_tensor log = apply(b, CUDNN_POINTWISE_LOG, &sum, NULL);
    hone_cudnn_pointwise_into(g, &stats, CUDNN_POINTWISE_ADD, &largest, &log, NULL);
    hone_cudnn_tensor p = hone_cudnn_inner(g, CUDNN_DATA_BFLOAT16, score_shape(b));
    hone_cudnn_pointwise_into(g, &p, CUDNN_POINTWISE_DIV, &e, &sum, NULL);
    hone_cudnn_product(g, &o, &p, &v, (hone_cudnn_lengths){.m = &b->lengths, .k = &b->lengths});
}

/* --- Backward (arXiv 2205.14135, appendix B.4) --- */

/* f32 [.., longest]: do . o of each query. */
static hone_cudnn_tensor dots(builder *b, const hone_cudnn_tensor *gradient) {
    hone_cudnn_graph *g = &b->graph;
    const hone_attention_graph *s = b->shape;
    hone_cudnn_tensor o = of_queries(b, HONE_ATTENTION_O);
    hone_cudnn_tensor one = number(b, HONE_ATTENTION_ONE);
    hone_cudnn_tensor dot =
        operand(b, HONE_ATTENTION_DOT, CUDNN_DATA_FLOAT, row_shape(b), sizeof(float), NULL);
    hone_cudnn_tensor each = hone_cudnn_inner(
        g, CUDNN_DATA_FLOAT, hone_cudnn_dense(s->batch, s->heads_taken, s->longest, s->head_size));
    hone_cudnn_pointwise_into(g, &each, CUDNN_POINTWISE_MUL, gradient, &o, NULL);
    hone_cudnn_tensor sum = reduced(b, CUDNN_REDUCE_TENSOR_ADD, &each);
    hone_cudnn_pointwise_into(g, &dot, CUDNN_POINTWISE_MUL, &sum, &one, NULL);
    return dot;
}

/* out = weights^T rows: what comes to a key from all queries, and from all heads that share it. */
static void give_keys(builder *b, hone_attention_operand which, const hone_cudnn_tensor *weights,
                      const hone_cudnn_tensor *rows) {
    hone_cudnn_graph *g = &b->graph;
    const hone_attention_graph *s = b->shape;
    hone_cudnn_tensor out = of_keys(b, which);
    hone_cudnn_tensor turned = hone_cudnn_inner(g, CUDNN_DATA_BFLOAT16, transposed(score_shape(b)));
    hone_cudnn_reshape(g, &turned, weights);
    hone_cudnn_lengths lengths = {.m = &b->lengths, .k = &b->lengths};
    if (s->heads == s->kv_heads) {
        hone_cudnn_product(g, &out, &turned, rows, lengths);
        return;
    }
    hone_cudnn_tensor each =
        hone_cudnn_inner(g, CUDNN_DATA_BFLOAT16,
                         hone_cudnn_dense(s->batch, s->heads_taken, s->longest, s->head_size));
    hone_cudnn_product(g, &each, &turned, rows, lengths);
    hone_cudnn_reduce(g, &out, CUDNN_REDUCE_TENSOR_ADD, &each);
}

/* dq = ds k. That ds goes to it directly, and not through sums in f32, is what asks for the way that has an order. */
static void give_queries(builder *b, const hone_cudnn_tensor *ds, const hone_cudnn_tensor *k) {
    hone_cudnn_graph *g = &b->graph;
    hone_cudnn_tensor dq = of_queries(b, HONE_ATTENTION_DQ);
    hone_cudnn_tensor rows = hone_cudnn_tensor_at(g, CUDNN_DATA_BFLOAT16, key_shape(b),
                                                  (hone_cudnn_place){.ragged = &b->k_offsets});
    hone_cudnn_reshape(g, &rows, k);
    hone_cudnn_product(g, &dq, ds, &rows, (hone_cudnn_lengths){.m = &b->lengths, .k = &b->lengths});
}

/* p = exp(scores - stats), dv = p^T do, ds = p (do v^T - do . o) scale, dk = ds^T q, dq = ds k. */
static void describe_backward(builder *b) {
    hone_cudnn_tensor q = of_queries(b, HONE_ATTENTION_Q);
    hone_cudnn_tensor k = of_keys_transposed(b, HONE_ATTENTION_K);
    hone_cudnn_tensor v = of_keys_transposed(b, HONE_ATTENTION_V);
    hone_cudnn_tensor gradient = of_queries(b, HONE_ATTENTION_DO);
    hone_cudnn_tensor stats = statistics(b);
    hone_cudnn_tensor dot = dots(b, &gradient);
    hone_cudnn_tensor s = scores(b, &q, &k);
    s = apply(b, CUDNN_POINTWISE_SUB, &s, &stats);
    s = within_sight(b, s);
    hone_cudnn_tensor p = apply(b, CUDNN_POINTWISE_EXP, &s, NULL);
    give_keys(b, HONE_ATTENTION_DV, &p, &gradient);
    hone_cudnn_tensor dp = pairs(b, &gradient, &v);
    dp = apply(b, CUDNN_POINTWISE_SUB, &dp, &dot);
    hone_cudnn_tensor ds = apply(b, CUDNN_POINTWISE_MUL, &dp, &p);
    ds = apply(b, CUDNN_POINTWISE_MUL, &ds, &b->scale);
    give_keys(b, HONE_ATTENTION_DK, &ds, &q);
    give_queries(b, &ds, &k);
}

/* --- Plans --- */

int64_t hone_attention_graph_dots(const hone_attention_graph *s) {
    return s->backward ? s->batch * s->heads_taken * s->longest : 0;
}

int64_t hone_attention_graph_bytes(const hone_attention_graph *s) {
    int64_t each = s->backward ? s->longest : 0;
    if (s->backward && s->heads != s->kv_heads) each += 2 * s->head_size;
    return s->batch * s->heads_taken * s->longest * each * BF16_BYTES;
}

hone_status hone_attention_plan(hone_cudnn_plan *out, const hone_cudnn_target *target,
                                const hone_attention_graph *shape) {
    builder b;
    builder_open(&b, target, shape);
    if (shape->backward) {
        describe_backward(&b);
    } else {
        describe_forward(&b);
    }
    return hone_cudnn_plan_make(
        out, &b.graph, shape->backward ? "attention backward, its sums in order" : "attention");
}
