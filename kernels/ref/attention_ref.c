#include <math.h>

#include "kernels/ref/ref.h"

static double dot(const hone_real *a, const hone_real *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* First key that the query sees whose own key is `last`. */
static int64_t first_key(hone_attention_shape shape, int64_t last) {
    return shape.window > 0 && last >= shape.window ? last - shape.window + 1 : 0;
}

/* o[D] = softmax(scores) V over `keys` keys whose rows are `stride` apart; gives the log-sum-exp. */
static double query_fwd(hone_real *o, const hone_real *q, const hone_real *k, const hone_real *v,
                        int64_t keys, int64_t stride, hone_attention_shape shape, double *p) {
    double largest = -INFINITY;
    for (int64_t j = 0; j < keys; j++) {
        p[j] = hone_capped(shape.scale * dot(q, k + j * stride, shape.head_size), shape.softcap);
        largest = fmax(largest, p[j]);
    }
    double total = 0.0;
    for (int64_t j = 0; j < keys; j++) {
        p[j] = exp(p[j] - largest);
        total += p[j];
    }
    for (int64_t d = 0; d < shape.head_size; d++) {
        double sum = 0.0;
        for (int64_t j = 0; j < keys; j++) sum += p[j] * (double)v[j * stride + d];
        o[d] = (hone_real)(sum / total);
    }
    return largest + log(total);
}

const char *hone_attention_lacks_ref(hone_attention_kind kind, hone_attention_shape shape) {
    (void)shape;
    return kind == HONE_ATTENTION_EXACT ? NULL : "a processor's attention is exact";
}

void hone_attention_fwd_ref(hone_real *o, hone_real *lse, const hone_real *q, const hone_real *k,
                            const hone_real *v, const hone_segment *segments,
                            hone_attention_shape shape, void *workspace) {
    int64_t group = shape.heads / shape.kv_heads;
    int64_t stride = shape.kv_heads * shape.head_size;
    for (int64_t s = 0; s < shape.segments; s++) {
        hone_segment run = segments[s];
        for (int64_t i = 0; i < run.q_len; i++) {
            for (int64_t h = 0; h < shape.heads; h++) {
                int64_t last = run.k_len - run.q_len + i;
                int64_t first = first_key(shape, last);
                int64_t query = (run.q_begin + i) * shape.heads + h;
                int64_t key = (run.k_begin + first) * stride + h / group * shape.head_size;
                double sum =
                    query_fwd(o + query * shape.head_size, q + query * shape.head_size, k + key,
                              v + key, last - first + 1, stride, shape, workspace);
                if (lse) lse[query] = (hone_real)sum;
            }
        }
    }
}

/* What backward reads. */
typedef struct inputs {
    const hone_real *do_, *q, *k, *v, *o, *lse;
    hone_attention_shape shape;
} inputs;

/* Probability of the pair (query row, key row), and the gradient of its score before scaling. */
static double pair_bwd(double *ds, const inputs *in, int64_t query, int64_t key) {
    int64_t size = in->shape.head_size;
    double score = in->shape.scale * dot(in->q + query * size, in->k + key * size, size);
    score = hone_capped(score, in->shape.softcap);
    double p = exp(score - (double)in->lse[query]);
    double dp = dot(in->do_ + query * size, in->v + key * size, size);
    double delta = dot(in->do_ + query * size, in->o + query * size, size);
    *ds = p * (dp - delta) * hone_capped_slope(score, in->shape.softcap) * in->shape.scale;
    return p;
}

static void query_bwd(hone_real *dq, const inputs *in, hone_segment run, int64_t i, int64_t h,
                      double *sum) {
    hone_attention_shape shape = in->shape;
    int64_t query = (run.q_begin + i) * shape.heads + h;
    for (int64_t d = 0; d < shape.head_size; d++) sum[d] = 0.0;
    for (int64_t j = first_key(shape, i); j <= i; j++) {
        int64_t key = (run.k_begin + j) * shape.kv_heads + h / (shape.heads / shape.kv_heads);
        double ds;
        (void)pair_bwd(&ds, in, query, key);
        for (int64_t d = 0; d < shape.head_size; d++)
            sum[d] += ds * (double)in->k[key * shape.head_size + d];
    }
    for (int64_t d = 0; d < shape.head_size; d++)
        dq[query * shape.head_size + d] = (hone_real)sum[d];
}

static void key_bwd(hone_real *dk, hone_real *dv, const inputs *in, hone_segment run, int64_t j,
                    int64_t kv_head, double *sums) {
    hone_attention_shape shape = in->shape;
    int64_t size = shape.head_size;
    int64_t group = shape.heads / shape.kv_heads;
    int64_t key = (run.k_begin + j) * shape.kv_heads + kv_head;
    for (int64_t d = 0; d < 2 * size; d++) sums[d] = 0.0;
    for (int64_t i = j; i < run.q_len && first_key(shape, i) <= j; i++) {
        for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
            int64_t query = (run.q_begin + i) * shape.heads + h;
            double ds;
            double p = pair_bwd(&ds, in, query, key);
            for (int64_t d = 0; d < size; d++) {
                sums[d] += ds * (double)in->q[query * size + d];
                sums[size + d] += p * (double)in->do_[query * size + d];
            }
        }
    }
    for (int64_t d = 0; d < size; d++) {
        dk[key * size + d] = (hone_real)sums[d];
        dv[key * size + d] = (hone_real)sums[size + d];
    }
}

void hone_attention_bwd_ref(hone_real *dq, hone_real *dk, hone_real *dv, const hone_real *do_,
                            const hone_real *q, const hone_real *k, const hone_real *v,
                            const hone_real *o, const hone_real *lse, const hone_segment *segments,
                            hone_attention_shape shape, void *workspace) {
    inputs in = {do_, q, k, v, o, lse, shape};
    for (int64_t s = 0; s < shape.segments; s++) {
        for (int64_t i = 0; i < segments[s].q_len; i++) {
            for (int64_t h = 0; h < shape.heads; h++)
                query_bwd(dq, &in, segments[s], i, h, workspace);
            for (int64_t h = 0; h < shape.kv_heads; h++)
                key_bwd(dk, dv, &in, segments[s], i, h, workspace);
        }
    }
}

size_t hone_attention_workspace_ref(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                    bool backward) {
    (void)max_q;
    int64_t numbers = backward ? 2 * shape.head_size : max_k;
    return (size_t)numbers * sizeof(double);
}

double hone_attention_pairs_ref(const hone_segment *segments, hone_attention_shape shape) {
    int64_t pairs = 0;
    for (int64_t s = 0; s < shape.segments; s++) {
        int64_t before = segments[s].k_len - segments[s].q_len;
        for (int64_t last = before; last < segments[s].k_len; last++)
            pairs += last - first_key(shape, last) + 1;
    }
    return (double)pairs;
}
