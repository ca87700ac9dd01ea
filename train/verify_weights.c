/*
 * The tensors of an export against those of the training side, one by one, in the order of the model.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/adapter_factors.h"
#include "train/verify_parts.h"

/* What is known of a row of the table while tensors are gone through. */
typedef struct progress {
    hone_verify_check *check;
    int64_t tensors, differing;
} progress;

/* ‖b − a‖ / ‖a‖. */
static double apart(const float *a, const float *b, int64_t n) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)b[i] - (double)a[i];
        difference += d * d;
        size += (double)a[i] * (double)a[i];
    }
    if (size > 0) return sqrt(difference / size);
    return difference > 0 ? HUGE_VAL : 0;
}

/* Takes a tensor's result; true when it is the first to differ, and wants words. The row of the table shows the one that
 * comes nearest to its limit, or goes furthest beyond it. */
static bool take(progress *p, double difference, double limit) {
    if (p->tensors++ == 0 || !(difference / limit <= p->check->difference / p->check->limit)) {
        p->check->difference = difference;
        p->check->limit = limit;
    }
    if (difference <= limit) return false;
    return p->differing++ == 0;
}

static void finish(progress *p, const char *unit) {
    snprintf(p->check->compared, sizeof p->check->compared, "%lld tensors", (long long)p->tensors);
    p->check->unit = unit;
    p->check->ok = p->differing == 0;
}

/* --- Adapters --- */

static const double factor_limit = 1e-6; /* scales pass through f32 */

/* Both sides' factors of one half, scaled when asked for, in Hugging Face's order. */
static hone_status fetch_factor(float **out, const hone_adapter *adapter, int64_t layer,
                                hone_role role, hone_half half, bool scaled) {
    HONE_TRY(hone_factor_fetch(out, adapter, layer, role, half, false));
    const hone_lora_pair *pair = hone_adapter_pair(adapter, layer, role);
    int64_t n = hone_tensor_count(half == HONE_HALF_A ? &pair->a : &pair->b);
    for (int64_t i = 0; scaled && i < n; i++) {
        (*out)[i] = (float)((double)(*out)[i] * pair->scale);
    }
    return HONE_OK;
}

/* Whether b holds a's rows in the order of the other convention for rope. */
static hone_status is_reordered(bool *out, const float *a, const float *b, int64_t heads,
                                int64_t head_size, int64_t columns) {
    *out = false;
    if (heads == 0) return HONE_OK;
    int64_t n = heads * head_size * columns;
    float *turned = hone_alloc((size_t)n, sizeof *turned);
    if (!turned) return HONE_ERR_MEMORY;
    hone_rows_to_gguf(turned, a, heads, head_size, (size_t)columns * sizeof *turned);
    *out = apart(turned, b, n) <= 0.05;
    if (!*out) {
        hone_rows_to_hf(turned, a, heads, head_size, (size_t)columns * sizeof *turned);
        *out = apart(turned, b, n) <= 0.05;
    }
    hone_free(turned);
    return HONE_OK;
}

static const char *order_note(bool reordered) {
    return reordered ? "; its rows are those of the base in the other order of rope pairs" : "";
}

static void adapted_name(char out[HONE_NAME], const hone_adapter *adapter, int64_t layer,
                         hone_role role) {
    hone_weight weight = {.layer = layer, .which = (int)role};
    hone_weight_name(out, &adapter->model->arch, HONE_FORM_HF, &weight);
}

/* One half: A as it is, B with its scale, so that a scale that was folded into B is no difference. */
static hone_status compare_half(progress *p, const hone_adapter *ours, const hone_adapter *theirs,
                                int64_t layer, hone_role role, hone_half half) {
    float *a = NULL, *b = NULL;
    const hone_lora_pair *pair = hone_adapter_pair(ours, layer, role);
    const hone_tensor *shape = half == HONE_HALF_A ? &pair->a : &pair->b;
    hone_status status = fetch_factor(&a, ours, layer, role, half, half == HONE_HALF_B);
    if (status == HONE_OK) {
        status = fetch_factor(&b, theirs, layer, role, half, half == HONE_HALF_B);
    }
    double difference = status == HONE_OK ? apart(a, b, hone_tensor_count(shape)) : 0;
    if (status == HONE_OK && take(p, difference, factor_limit)) {
        const hone_arch *arch = &ours->model->arch;
        int64_t heads = half == HONE_HALF_B ? hone_rope_heads(arch, role) : 0;
        bool turned;
        status = is_reordered(&turned, a, b, heads, arch->head_size, shape->shape[1]);
        char name[HONE_NAME];
        adapted_name(name, ours, layer, role);
        snprintf(p->check->detail, sizeof p->check->detail, "lora_%c of %s differs by %.3g%s",
                 half == HONE_HALF_A ? 'A' : 'B', name, difference, order_note(turned));
    }
    hone_free(a);
    hone_free(b);
    return status;
}

/* The same factors with another scale: that is one fault, not two tensors. */
static hone_status compare_scale(bool *same, progress *p, const hone_adapter *ours,
                                 const hone_adapter *theirs, int64_t layer, hone_role role) {
    const hone_lora_pair *x = hone_adapter_pair(ours, layer, role);
    const hone_lora_pair *y = hone_adapter_pair(theirs, layer, role);
    *same = true;
    double difference = fabs(y->scale - x->scale) / fabs(x->scale);
    if (difference <= factor_limit) return HONE_OK;
    float *a = NULL, *b = NULL;
    hone_status status = fetch_factor(&a, ours, layer, role, HONE_HALF_B, false);
    if (status == HONE_OK) status = fetch_factor(&b, theirs, layer, role, HONE_HALF_B, false);
    if (status == HONE_OK) *same = apart(a, b, hone_tensor_count(&x->b)) > factor_limit;
    hone_free(a);
    hone_free(b);
    if (status != HONE_OK || *same || !take(p, difference, factor_limit)) return status;
    char name[HONE_NAME];
    adapted_name(name, ours, layer, role);
    snprintf(p->check->detail, sizeof p->check->detail,
             "%s: scale %.6g instead of %.6g (alpha %.6g instead of %.6g)", name, y->scale,
             x->scale, y->scale * (double)y->rank, x->scale * (double)x->rank);
    return HONE_OK;
}

static hone_status compare_pair(progress *p, const hone_adapter *ours, const hone_adapter *theirs,
                                int64_t layer, hone_role role) {
    int64_t x = hone_adapter_pair(ours, layer, role)->rank;
    int64_t y = hone_adapter_pair(theirs, layer, role)->rank;
    if (x == 0 && y == 0) return HONE_OK;
    if (x != y) {
        if (!take(p, HUGE_VAL, factor_limit)) return HONE_OK;
        char name[HONE_NAME];
        adapted_name(name, ours, layer, role);
        snprintf(p->check->detail, sizeof p->check->detail, "%s: rank %lld instead of %lld", name,
                 (long long)y, (long long)x);
        return HONE_OK;
    }
    bool same;
    HONE_TRY(compare_scale(&same, p, ours, theirs, layer, role));
    HONE_TRY(compare_half(p, ours, theirs, layer, role, HONE_HALF_A));
    return same ? compare_half(p, ours, theirs, layer, role, HONE_HALF_B) : HONE_OK;
}

static hone_status compare_adapters(progress *p, const hone_adapter *ours,
                                    const hone_adapter *theirs) {
    for (int64_t l = 0; l < ours->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            HONE_TRY(compare_pair(p, ours, theirs, l, role));
        }
    }
    return HONE_OK;
}

static hone_status fetch_params(void **out, const hone_params *params) {
    const hone_buffer *from = &params->values;
    *out = hone_alloc(1, from->bytes);
    return *out ? hone_device_copy_out(from->device, *out, from->base, from->bytes)
                : HONE_ERR_MEMORY;
}

/* Whether two adapters of one model have the same ranks, scales and factors, bit for bit. */
static hone_status are_same(bool *same, const hone_adapter *a, const hone_adapter *b) {
    *same = a->params.values.bytes == b->params.values.bytes;
    for (int64_t i = 0; i < a->model->arch.layers * HONE_LINEARS; i++) {
        const hone_lora_pair *x = &a->pairs[i], *y = &b->pairs[i];
        if (x->rank != y->rank || (x->rank > 0 && x->scale != y->scale)) *same = false;
    }
    if (!*same) return HONE_OK;
    void *ours = NULL, *theirs = NULL;
    hone_status status = fetch_params(&ours, &a->params);
    if (status == HONE_OK) status = fetch_params(&theirs, &b->params);
    if (status == HONE_OK) *same = memcmp(ours, theirs, a->params.values.bytes) == 0;
    hone_free(ours);
    hone_free(theirs);
    return status;
}

/* --- Whole models --- */

/* The limit of a row, ‖W′ − W‖ / ‖W‖: what rounding W to the file's type makes, with room for other programs' ways to
 * round (llama.cpp's makes up to 1.53 times as much), and for sums in another order. */
static const double roundings = 2, order_limit = 1e-5;

/* Sums over the rows of one weight. */
typedef struct sums {
    double difference; /* ‖W′ − W‖² */
    double along, change; /* of an adapted weight: ⟨W′ − base, W − base⟩, ‖W − base‖² */
    double worst, limit; /* of the row that is furthest beyond its limit, or nearest to it */
} sums;

typedef struct weights {
    const hone_verify *v;
    const hone_verify_side *side;
    float *ours, *rounded, *theirs, *base; /* owned, [capacity] */
    size_t ours_capacity, rounded_capacity, theirs_capacity, base_capacity;
    sums adapted; /* over all adapted weights */
    int64_t adapted_elements;
    progress progress;
} weights;

static void add_row(sums *s, const float *ours, const float *rounded, const float *theirs,
                    int64_t n) {
    double limit = roundings * apart(ours, rounded, n) + order_limit;
    double difference = apart(ours, theirs, n);
    if (isnan(difference)) difference = HUGE_VAL;
    if (difference / limit <= s->worst / s->limit) return;
    s->worst = difference;
    s->limit = limit;
}

/* Of weights W, W′ and the base's. */
static void add_change(sums *s, const float *ours, const float *theirs, const float *base,
                       int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d = (double)theirs[i] - (double)ours[i], change = (double)ours[i] - (double)base[i];
        s->difference += d * d;
        s->along += (change + d) * change;
        s->change += change * change;
    }
}

static hone_status make_room(weights *w, size_t n) {
    HONE_TRY(hone_grow(&w->ours, &w->ours_capacity, n, sizeof(float)));
    HONE_TRY(hone_grow(&w->rounded, &w->rounded_capacity, n, sizeof(float)));
    HONE_TRY(hone_grow(&w->theirs, &w->theirs_capacity, n, sizeof(float)));
    return hone_grow(&w->base, &w->base_capacity, n, sizeof(float));
}

static bool is_adapted(const weights *w, const hone_weight *weight) {
    const hone_adapter *adapter = w->v->session.adapter;
    return adapter && weight->layer >= 0 && !hone_weight_is_vector(weight) &&
           hone_adapter_pair(adapter, weight->layer, (hone_role)weight->which)->rank > 0;
}

/* The type that a weight has in its file; gains and biases are in memory in another. */
static hone_dtype type_in_file(const hone_model *model, const hone_weight *weight) {
    char name[HONE_NAME];
    hone_dtype type = weight->tensor->dtype;
    if (!model->safetensors || !hone_weight_is_vector(weight)) return type;
    hone_weight_name(name, &model->arch, HONE_FORM_HF, weight);
    const hone_safetensors_tensor *tensor = hone_safetensors_find(model->safetensors, name);
    return tensor && hone_safetensors_dtype(&type, tensor) == HONE_OK ? type
                                                                      : weight->tensor->dtype;
}

/* In the form that the file has, as that is what was rounded. */
static hone_status compare_rows(sums *s, weights *w, const hone_weight *a, const hone_weight *b,
                                int64_t begin, int64_t rows) {
    const hone_model *model = w->v->session.model, *other = w->side->model;
    const hone_adapter *adapter = w->v->session.adapter;
    hone_form form = other->gguf ? HONE_FORM_GGUF : HONE_FORM_HF;
    hone_dtype type = type_in_file(other, b);
    int64_t columns = a->tensor->dims == 2 ? a->tensor->shape[1] : a->tensor->shape[0];
    int64_t n = rows * columns;
    HONE_TRY(make_room(w, (size_t)n));
    HONE_TRY(hone_verify_rows(w->ours, model, adapter, a, begin, rows, HONE_F32, form));
    HONE_TRY(hone_verify_rows(w->rounded, model, adapter, a, begin, rows, type, form));
    HONE_TRY(hone_verify_rows(w->theirs, other, NULL, b, begin, rows, HONE_F32, form));
    for (int64_t i = 0; i < n; i += columns) {
        add_row(s, w->ours + i, w->rounded + i, w->theirs + i, columns);
    }
    if (!is_adapted(w, a)) return HONE_OK;
    HONE_TRY(hone_verify_rows(w->base, model, NULL, a, begin, rows, HONE_F32, form));
    add_change(s, w->ours, w->theirs, w->base, n);
    return HONE_OK;
}

static hone_status describe(weights *w, const hone_weight *a, const hone_weight *b, const sums *s) {
    const hone_arch *arch = &w->v->session.model->arch;
    bool linear = a->layer >= 0 && !hone_weight_is_vector(a), turned = false;
    int64_t heads = linear ? hone_rope_heads(arch, (hone_role)a->which) : 0;
    if (heads > 0) {
        HONE_TRY(
            is_reordered(&turned, w->ours, w->theirs, heads, arch->head_size, a->tensor->shape[1]));
    }
    char name[HONE_NAME];
    hone_weight_name(name, arch, HONE_FORM_HF, a);
    snprintf(w->progress.check->detail, sizeof w->progress.check->detail,
             "%s (%s) has a row that differs by %.3g of its size, more than %.3g%s", name,
             hone_dtype_name(type_in_file(w->side->model, b)), s->worst, s->limit,
             order_note(turned));
    return HONE_OK;
}

/* Tables of the vocabulary can be larger than all blocks: they are read in parts. */
static hone_status compare_weight(weights *w, const hone_weight *a, const hone_weight *b) {
    enum { PART = 1 << 22 };
    sums s = {.limit = order_limit};
    int64_t rows = a->tensor->dims == 2 ? a->tensor->shape[0] : 1, step = rows;
    if (a->layer < 0 && a->tensor->dims == 2) step = PART / a->tensor->shape[1] + 1;
    for (int64_t begin = 0; begin < rows; begin += step) {
        int64_t n = rows - begin < step ? rows - begin : step;
        HONE_TRY(compare_rows(&s, w, a, b, begin, n));
    }
    if (is_adapted(w, a)) {
        w->adapted.difference += s.difference;
        w->adapted.along += s.along;
        w->adapted.change += s.change;
        w->adapted_elements += hone_tensor_count(a->tensor);
    }
    return take(&w->progress, s.worst, s.limit) ? describe(w, a, b, &s) : HONE_OK;
}

/* The weight of the other model with the same name, or NULL. */
static const hone_weight *find_weight(const hone_model *model, const hone_weight *like) {
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *weight = &model->weights[i];
        bool same = weight->layer == like->layer && weight->which == like->which;
        if (same && weight->bias == like->bias) return weight;
    }
    return NULL;
}

static void refuse_weight(weights *w, const hone_weight *weight, const char *why) {
    if (!take(&w->progress, HUGE_VAL, order_limit)) return;
    char name[HONE_NAME];
    hone_weight_name(name, &w->v->session.model->arch, HONE_FORM_HF, weight);
    snprintf(w->progress.check->detail, sizeof w->progress.check->detail, "%s %s", name, why);
}

static hone_status compare_models(weights *w) {
    const hone_model *model = w->v->session.model;
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *a = &model->weights[i], *b = find_weight(w->side->model, a);
        if (!b) {
            refuse_weight(w, a, "is missing");
        } else if (a->tensor->shape[0] != b->tensor->shape[0] ||
                   a->tensor->shape[1] != b->tensor->shape[1]) {
            refuse_weight(w, a, "has another shape than in the base");
        } else {
            HONE_TRY(compare_weight(w, a, b));
        }
    }
    return HONE_OK;
}

/* How much of the adapter's change arrived: rounding to a coarse type can swallow it, a wrong scale multiplies it. What
 * rounding does at random is allowed for, four times its standard deviation. */
static hone_status check_share(weights *w, hone_verify *v) {
    const sums *s = &w->adapted;
    if (s->change <= 0) return HONE_OK;
    hone_verify_check *check = hone_verify_add(v, w->side, "adapter's share");
    if (!check) return HONE_ERR_MEMORY;
    double share = s->along / s->change;
    double noise = sqrt(s->difference / ((double)w->adapted_elements * s->change));
    check->difference = fabs(share - 1);
    check->limit = (hone_dtype_is_quantised(w->side->coarsest) ? 0.5 : 0.05) + 4 * noise;
    check->unit = "part";
    check->ok = check->difference <= check->limit;
    snprintf(check->compared, sizeof check->compared, "adapted weights");
    snprintf(check->detail, sizeof check->detail,
             "the adapter's change is in the merged weights %.3g times", share);
    return HONE_OK;
}

/* Whether all weights of a file are roundings of the training side's, and it has no others. */
static bool are_roundings(const weights *w) {
    return w->progress.differing == 0 &&
           w->side->model->weight_count == w->v->session.model->weight_count;
}

static hone_status check_model(hone_verify *v, hone_verify_side *side) {
    weights w = {.v = v, .side = side};
    w.progress.check = hone_verify_add(v, side, "weights");
    if (!w.progress.check) return HONE_ERR_MEMORY;
    hone_status status = compare_models(&w);
    finish(&w.progress, "relative");
    if (status == HONE_OK) status = check_share(&w, v);
    if (status == HONE_OK && are_roundings(&w)) status = hone_verify_expect_rounding(v, side);
    hone_free(w.ours);
    hone_free(w.rounded);
    hone_free(w.theirs);
    hone_free(w.base);
    return status;
}

hone_status hone_verify_weights(hone_verify *v, hone_verify_side *side) {
    if (side->whole) return check_model(v, side);
    progress p = {.check = hone_verify_add(v, side, "factors")};
    if (!p.check) return HONE_ERR_MEMORY;
    hone_status status = compare_adapters(&p, v->session.adapter, side->adapter);
    finish(&p, "relative");
    return status == HONE_OK ? are_same(&side->same, v->session.adapter, side->adapter) : status;
}
