/*
 * Logits, losses and greedy texts of two models over the same token ids.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "model/generate.h"
#include "train/verify_parts.h"

/* --- A model that takes in a text piece by piece and gives the logits of every token --- */

enum { PIECE = 256, MOST_LOGITS = 1 << 24 }; /* tokens; numbers: 64 MiB */

typedef struct prober {
    hone_forward forward;
    hone_cache cache;
    hone_tape *tape;
    hone_tokens tokens;
    hone_buffer memory; /* ids, positions, rows [piece] each, one segment */
    int32_t *ids, *positions, *rows;
    hone_segment *segment;
    int64_t piece; /* most tokens a call */
    float *logits; /* owned, host, [piece, V] */
} prober;

static hone_status plan(prober *p) {
    hone_tensor *logits;
    HONE_TRY(hone_tape_new(&p->tape, p->forward.model->device));
    p->tokens.count = p->tokens.longest_q = p->piece;
    p->tokens.longest_k = p->cache.capacity;
    hone_tape_plan(p->tape, false);
    HONE_TRY(hone_transformer_logits(&logits, p->tape, &p->forward, p->rows, p->piece));
    HONE_TRY(hone_tape_plan_done(p->tape));
    return hone_tape_reserve(p->tape);
}

static hone_status take_memory(prober *p, int64_t piece) {
    size_t bytes = sizeof(hone_segment) + 3 * (size_t)piece * sizeof(int32_t);
    HONE_TRY(hone_buffer_new(&p->memory, p->forward.model->device, bytes));
    p->segment = p->memory.base;
    p->ids = (int32_t *)(void *)(p->segment + 1);
    p->positions = p->ids + piece;
    p->rows = p->positions + piece;
    p->tokens = (hone_tokens){
        .ids = p->ids, .positions = p->positions, .segments = p->segment, .segment_count = 1};
    p->forward.tokens = &p->tokens;
    return HONE_OK;
}

/* For texts of at most `capacity` tokens. */
static hone_status prober_open(prober *p, hone_model *model, const hone_adapter *adapter,
                               int64_t capacity) {
    *p = (prober){.forward = {.model = model, .adapter = adapter}};
    int64_t fit = MOST_LOGITS / model->arch.vocabulary;
    p->piece = fit < 1 ? 1 : fit > PIECE ? PIECE : fit;
    if (p->piece > capacity) p->piece = capacity;
    size_t piece = (size_t)p->piece;
    p->logits = hone_alloc(piece * (size_t)model->arch.vocabulary, sizeof *p->logits);
    if (!p->logits) return HONE_ERR_MEMORY;
    HONE_TRY(hone_cache_new(&p->cache, model, capacity));
    HONE_TRY(hone_model_rope(model, capacity));
    HONE_TRY(take_memory(p, p->piece));
    p->forward.cache = &p->cache;
    return plan(p);
}

static void prober_close(prober *p) {
    hone_tape_free(p->tape);
    hone_cache_free(&p->cache);
    hone_buffer_free(&p->memory);
    hone_free(p->logits);
}

static hone_status upload(prober *p, const int32_t *ids, int64_t count) {
    const hone_device *device = p->forward.model->device;
    int32_t positions[PIECE], rows[PIECE];
    for (int64_t i = 0; i < count; i++) {
        positions[i] = (int32_t)(p->cache.length + i);
        rows[i] = (int32_t)i;
    }
    hone_segment segment = {0, (int32_t)count, 0, (int32_t)(p->cache.length + count)};
    size_t bytes = (size_t)count * sizeof *ids;
    HONE_TRY(hone_device_copy_in(device, p->ids, ids, bytes));
    HONE_TRY(hone_device_copy_in(device, p->positions, positions, bytes));
    HONE_TRY(hone_device_copy_in(device, p->rows, rows, bytes));
    return hone_device_copy_in(device, p->segment, &segment, sizeof segment);
}

/* The next count <= piece tokens of a text; their logits are in p->logits. */
static hone_status probe(prober *p, const int32_t *ids, int64_t count) {
    HONE_TRY(upload(p, ids, count));
    p->tokens.count = p->tokens.longest_q = count;
    p->tokens.longest_k = p->cache.length + count;
    hone_tape_begin(p->tape);
    hone_tensor *logits;
    HONE_TRY(hone_transformer_logits(&logits, p->tape, &p->forward, p->rows, count));
    p->cache.length += count;
    return hone_device_copy_out(p->forward.model->device, p->logits, logits->data,
                                (size_t)hone_tensor_count(logits) * sizeof *p->logits);
}

static double row_nll(const float *row, int64_t n, int32_t target) {
    float most = row[0];
    double sum = 0;
    for (int64_t i = 1; i < n; i++) most = row[i] > most ? row[i] : most;
    for (int64_t i = 0; i < n; i++) sum += exp((double)row[i] - (double)most);
    return log(sum) + (double)most - (double)row[target];
}

hone_status hone_verify_nll(double *nll, hone_model *model, const hone_adapter *adapter,
                            const int32_t *ids, int64_t count) {
    prober p;
    int64_t width = model->arch.vocabulary;
    hone_status status = prober_open(&p, model, adapter, count);
    nll[0] = 0;
    for (int64_t begin = 0; status == HONE_OK && begin < count; begin += p.piece) {
        int64_t n = count - begin < p.piece ? count - begin : p.piece;
        status = probe(&p, ids + begin, n);
        for (int64_t i = begin; status == HONE_OK && i < begin + n && i + 1 < count; i++) {
            nll[i + 1] = row_nll(p.logits + (i - begin) * width, width, ids[i + 1]);
        }
    }
    prober_close(&p);
    return status;
}

/* --- Two models over the same texts --- */

typedef struct totals {
    double ours, theirs; /* sums of losses */
    int64_t targets, tokens;
    double worst; /* of the logits */
    size_t worst_text;
    int64_t worst_token;
} totals;

/* Of the logits of one token. */
typedef struct row_result {
    double apart;
    double ours, theirs; /* losses, where the next token is a target */
} row_result;

typedef struct comparison {
    prober ours, theirs;
    bool same; /* the other side would say the same, bit for bit: it is not asked */
    const hone_verify_text *text;
    int64_t begin; /* the first token of the piece */
    row_result rows[PIECE];
    totals sum;
} comparison;

static double row_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = isnan(d) ? HUGE_VAL : d;
    }
    return worst;
}

/* The token after row i of the piece, or -1 where that is no target. */
static int32_t target_of(const comparison *c, int64_t i) {
    int64_t next = c->begin + i + 1;
    return next < c->text->count && c->text->mask[next] ? c->text->ids[next] : -1;
}

static void compare_rows(void *context, int64_t first, int64_t end, int thread) {
    (void)thread;
    comparison *c = context;
    int64_t width = c->ours.forward.model->arch.vocabulary;
    for (int64_t i = first; i < end; i++) {
        const float *a = c->ours.logits + i * width;
        const float *b = c->same ? a : c->theirs.logits + i * width;
        row_result *row = &c->rows[i];
        int32_t target = target_of(c, i);
        row->apart = row_difference(a, b, width);
        if (target < 0) continue;
        row->ours = row_nll(a, width, target);
        row->theirs = c->same ? row->ours : row_nll(b, width, target);
    }
}

static void add_rows(comparison *c, size_t number, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const row_result *row = &c->rows[i];
        if (row->apart > c->sum.worst) {
            c->sum.worst = row->apart;
            c->sum.worst_text = number;
            c->sum.worst_token = c->begin + i;
        }
        if (target_of(c, i) < 0) continue;
        c->sum.ours += row->ours;
        c->sum.theirs += row->theirs;
        c->sum.targets++;
    }
    c->sum.tokens += n;
}

static hone_status compare_text(comparison *c, const hone_verify_text *text, size_t number) {
    c->ours.cache.length = c->theirs.cache.length = 0;
    c->text = text;
    int64_t piece = c->ours.piece;
    for (c->begin = 0; c->begin < text->count; c->begin += piece) {
        int64_t n = text->count - c->begin < piece ? text->count - c->begin : piece;
        HONE_TRY(probe(&c->ours, text->ids + c->begin, n));
        if (!c->same) HONE_TRY(probe(&c->theirs, text->ids + c->begin, n));
        hone_parallel_for(n, 1, compare_rows, c);
        add_rows(c, number, n);
    }
    return HONE_OK;
}

static hone_status compare_texts(totals *out, const hone_verify *v, const hone_verify_side *side,
                                 hone_model *model, const hone_adapter *adapter) {
    int64_t longest = 1;
    for (size_t i = 0; i < v->text_count; i++) {
        if (v->texts[i].count > longest) longest = v->texts[i].count;
    }
    comparison c = {.same = side->same};
    hone_status status = prober_open(&c.ours, model, adapter, longest);
    if (status == HONE_OK && !c.same)
        status = prober_open(&c.theirs, side->model, side->adapter, longest);
    for (size_t i = 0; status == HONE_OK && i < v->text_count; i++) {
        status = compare_text(&c, &v->texts[i], i);
    }
    *out = c.sum;
    prober_close(&c.ours);
    prober_close(&c.theirs);
    return status;
}

/* --- Block by block --- */

static hone_status build_hidden(float *out, prober *p) {
    hone_tensor *hidden;
    HONE_TRY(hone_tape_new(&p->tape, p->forward.model->device));
    hone_tape_plan(p->tape, false);
    HONE_TRY(hone_transformer_hidden(&hidden, p->tape, &p->forward));
    HONE_TRY(hone_tape_plan_done(p->tape));
    HONE_TRY(hone_tape_reserve(p->tape));
    hone_tape_begin(p->tape);
    HONE_TRY(hone_transformer_hidden(&hidden, p->tape, &p->forward));
    return hone_device_copy_out(p->forward.model->device, out, hidden->data,
                                (size_t)hone_tensor_count(hidden) * sizeof *out);
}

/* What the final norm gives after the first `layers` blocks alone, [count, C], count <= PIECE; host memory of the
 * caller. */
static hone_status hidden_after(float *out, const hone_model *model, const hone_adapter *adapter,
                                int64_t layers, const int32_t *ids, int64_t count) {
    hone_model part = *model;
    part.arch.layers = layers;
    prober p = {.forward = {.model = &part, .adapter = adapter}};
    hone_status status = take_memory(&p, count);
    if (status == HONE_OK) status = upload(&p, ids, count);
    p.tokens.count = p.tokens.longest_q = p.tokens.longest_k = count;
    if (status == HONE_OK) status = build_hidden(out, &p);
    prober_close(&p);
    return status;
}

static double relative(const float *a, const float *b, int64_t n) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)b[i] - (double)a[i];
        difference += d * d;
        size += (double)a[i] * (double)a[i];
    }
    return size > 0 ? sqrt(difference / size) : difference > 0 ? HUGE_VAL : 0;
}

static double block_limit(const hone_verify *v, const hone_verify_side *side) {
    return 20 * hone_verify_limit(hone_verify_expectation(v, side).type);
}

/* The first block after which both sides are apart, and how far, or -1 with the difference after the last. */
static hone_status find_block(int64_t *block, double *apart, const hone_verify *v,
                              const hone_verify_side *side, const hone_verify_text *text) {
    const hone_verify_expected expected = hone_verify_expectation(v, side);
    const hone_model *ours = expected.model;
    int64_t count = text->count < PIECE ? text->count : PIECE;
    int64_t n = count * ours->arch.width;
    float *a = hone_alloc((size_t)n, sizeof *a), *b = hone_alloc((size_t)n, sizeof *b);
    hone_status status = a && b ? HONE_OK : HONE_ERR_MEMORY;
    double limit = block_limit(v, side);
    *block = -1;
    for (int64_t l = 0; status == HONE_OK && *block < 0 && l <= ours->arch.layers; l++) {
        status = hidden_after(a, ours, expected.adapter, l, text->ids, count);
        if (status == HONE_OK) {
            status = hidden_after(b, side->model, side->adapter, l, text->ids, count);
        }
        if (status != HONE_OK) break;
        *apart = relative(a, b, n);
        if (!(*apart <= limit)) *block = l;
    }
    hone_free(a);
    hone_free(b);
    return status;
}

static hone_status check_blocks(hone_verify *v, const hone_verify_side *side, size_t text) {
    int64_t block;
    double apart = 0;
    HONE_TRY(find_block(&block, &apart, v, side, &v->texts[text]));
    hone_verify_check *check = hone_verify_add(v, side, "block by block");
    if (!check) return HONE_ERR_MEMORY;
    check->difference = apart;
    check->limit = block_limit(v, side);
    check->unit = "relative";
    check->ok = block < 0;
    snprintf(check->compared, sizeof check->compared, "%lld blocks",
             (long long)v->session.model->arch.layers);
    if (block < 0) {
        snprintf(check->detail, sizeof check->detail,
                 "no block stands out: the difference is spread, or lies in the head");
    } else if (block == 0) {
        snprintf(check->detail, sizeof check->detail,
                 "apart from the start: the embedding or the final norm");
    } else {
        snprintf(check->detail, sizeof check->detail, "first apart in block %lld (blk.%lld)",
                 (long long)block, (long long)block - 1);
    }
    return HONE_OK;
}

/* --- Greedy text --- */

/* How far the likeliest is above the next. */
static float lead(const float *logits, int64_t n, int32_t best) {
    float next = -HUGE_VALF;
    for (int64_t i = 0; i < n; i++) {
        if (i != best && logits[i] > next) next = logits[i];
    }
    return logits[best] - next;
}

static hone_status continue_text(int32_t *out, float *gap, hone_generator *g, int64_t width,
                                 int64_t count) {
    const hone_sampling greedy = {.top_p = 1};
    for (int64_t i = 0; i < count; i++) {
        HONE_TRY(hone_generator_choose(&out[i], g, &greedy));
        if (gap) gap[i] = lead(hone_generator_logits(g), width, out[i]);
        if (i + 1 < count) HONE_TRY(hone_generator_feed(g, &out[i], 1));
    }
    return HONE_OK;
}

hone_status hone_verify_greedy(int32_t *out, float *gap, hone_model *model,
                               const hone_adapter *adapter, const int32_t *ids, int64_t length,
                               int64_t count) {
    hone_generator *g;
    HONE_TRY(hone_generator_new(&g, model, adapter, length + count));
    hone_status status = hone_generator_feed(g, ids, length);
    if (status == HONE_OK) status = continue_text(out, gap, g, model->arch.vocabulary, count);
    hone_generator_free(g);
    return status;
}

/* The prompt: the first tokens of the first text, with room for what follows. */
static hone_status greedy_both(int32_t *a, int32_t *b, float *gap, const hone_verify *v,
                               const hone_verify_side *side, int64_t count) {
    const hone_verify_text *text = &v->texts[0];
    int64_t length = text->count < 24 ? (text->count + 1) / 2 : 12;
    const hone_verify_expected ours = hone_verify_expectation(v, side);
    HONE_TRY(hone_verify_greedy(a, gap, ours.model, ours.adapter, text->ids, length, count));
    if (side->same) memcpy(b, a, (size_t)count * sizeof *b);
    if (side->same) return HONE_OK;
    return hone_verify_greedy(b, NULL, side->model, side->adapter, text->ids, length, count);
}

/* A fork where the two likeliest tokens were as near as the logits are apart is a tie, not a difference. */
static void judge_greedy(hone_verify_check *check, const int32_t *a, const int32_t *b,
                         const float *gap, int64_t count, double tie) {
    int64_t equal = 0;
    while (equal < count && a[equal] == b[equal]) equal++;
    check->ok = true;
    if (equal == count) return;
    check->ok = (double)gap[equal] <= tie;
    check->difference = check->ok ? 0 : (double)(count - equal);
    snprintf(check->detail, sizeof check->detail,
             check->ok ? "token %lld: a tie of %d and %d, by %.2g"
                       : "token %lld is %d instead of %d, which led by %.2g",
             (long long)equal, check->ok ? a[equal] : b[equal], check->ok ? b[equal] : a[equal],
             (double)gap[equal]);
}

static hone_status check_greedy(hone_verify *v, const hone_verify_side *side, double worst) {
    size_t count = (size_t)v->continued;
    if (count == 0) return HONE_OK;
    int32_t *a = hone_alloc(count, sizeof *a), *b = hone_alloc(count, sizeof *b);
    float *gap = hone_alloc(count, sizeof *gap);
    hone_status status = a && b && gap ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = greedy_both(a, b, gap, v, side, v->continued);
    hone_verify_check *check = status == HONE_OK ? hone_verify_add(v, side, "greedy text") : NULL;
    if (check) {
        snprintf(check->compared, sizeof check->compared, "%zu tokens", count);
        check->unit = "tokens";
        double limit = hone_verify_logit_limit(hone_verify_expectation(v, side).type);
        judge_greedy(check, a, b, gap, v->continued, 2 * fmin(2 * worst, limit));
    } else if (status == HONE_OK) {
        status = HONE_ERR_MEMORY;
    }
    hone_free(a);
    hone_free(b);
    hone_free(gap);
    return status;
}

/* --- The checks --- */

static hone_status add_logits(hone_verify *v, const hone_verify_side *side, const totals *t) {
    hone_verify_check *check = hone_verify_add(v, side, "logits");
    if (!check) return HONE_ERR_MEMORY;
    snprintf(check->compared, sizeof check->compared, "%lld tokens", (long long)t->tokens);
    check->difference = t->worst;
    check->limit = hone_verify_logit_limit(hone_verify_expectation(v, side).type);
    check->unit = "logits";
    check->ok = t->worst <= check->limit;
    if (t->worst > 0) {
        snprintf(check->detail, sizeof check->detail, "largest at text %zu, token %lld",
                 t->worst_text, (long long)t->worst_token);
    }
    return HONE_OK;
}

static double mean(double sum, const totals *t) {
    return sum / (double)(t->targets > 0 ? t->targets : 1);
}

static hone_status add_loss(hone_verify *v, const hone_verify_side *side, const totals *t) {
    hone_verify_check *check = hone_verify_add(v, side, "loss");
    if (!check) return HONE_ERR_MEMORY;
    double ours = mean(t->ours, t), theirs = mean(t->theirs, t);
    snprintf(check->compared, sizeof check->compared, "%lld targets", (long long)t->targets);
    check->difference = fabs(theirs - ours);
    check->limit = hone_verify_limit(hone_verify_expectation(v, side).type);
    check->unit = "nat";
    check->ok = check->difference <= check->limit; /* not for a NaN */
    snprintf(check->detail, sizeof check->detail,
             "%.6g instead of %.6g; perplexity %.6g instead of %.6g", theirs, ours, exp(theirs),
             exp(ours));
    return HONE_OK;
}

/* What rounding to a coarse type did, which is told and not judged. */
static hone_status tell_rounding(hone_verify *v, const hone_verify_side *side) {
    totals t;
    HONE_TRY(compare_texts(&t, v, side, v->session.model, v->session.adapter));
    hone_verify_check *check = &v->checks[v->check_count - 1];
    size_t length = strlen(check->detail);
    double change = mean(t.theirs, &t) - mean(t.ours, &t);
    snprintf(check->detail + length, sizeof check->detail - length,
             "; rounding the weights changed the loss by %+.3g, the perplexity from %.6g", change,
             exp(mean(t.ours, &t)));
    return HONE_OK;
}

static hone_status check_logits(hone_verify *v, const hone_verify_side *side) {
    totals t;
    const hone_verify_expected ours = hone_verify_expectation(v, side);
    HONE_TRY(compare_texts(&t, v, side, ours.model, ours.adapter));
    HONE_TRY(add_logits(v, side, &t));
    HONE_TRY(add_loss(v, side, &t));
    bool apart = !v->checks[v->check_count - 1].ok || !v->checks[v->check_count - 2].ok;
    if (side->rounded) HONE_TRY(tell_rounding(v, side));
    if (apart) HONE_TRY(check_blocks(v, side, t.worst_text));
    return check_greedy(v, side, t.worst);
}

/* What was found of a side that is the same as this one. */
static hone_status repeat_checks(hone_verify *v, const hone_verify_side *side) {
    for (size_t i = v->same_begin; i < v->same_end; i++) {
        hone_verify_check *check = hone_verify_add(v, side, "");
        if (!check) return HONE_ERR_MEMORY;
        *check = v->checks[i];
        check->file = side->path;
    }
    return HONE_OK;
}

hone_status hone_verify_logits(hone_verify *v, const hone_verify_side *side) {
    if (v->text_count == 0) return HONE_OK;
    if (!side->same) return check_logits(v, side);
    if (v->same_end > 0) return repeat_checks(v, side);
    v->same_begin = v->check_count;
    HONE_TRY(check_logits(v, side));
    v->same_end = v->check_count;
    return HONE_OK;
}
