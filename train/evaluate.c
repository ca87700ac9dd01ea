#include "train/evaluate.h"

#include <math.h>

#include "base/alloc.h"
#include "base/clock.h"

enum { USUAL_TOKENS = 1024 }; /* short records go through the model together */

struct hone_evaluator {
    const hone_samples *samples;
    hone_split split;
    hone_loader *loader;
    int64_t packed; /* tokens of its bins */
    hone_batch host;
    hone_device_batch batch;
    hone_tape *tape;
    bool has_arena;
    const hone_group *group; /* NULL: none */
    hone_forward forward;
};

static int64_t longest_sample(const hone_samples *samples) {
    int64_t train = hone_samples_split(samples, false)->longest;
    int64_t eval = hone_samples_split(samples, true)->longest;
    return train > eval ? train : eval;
}

static void release_step(hone_evaluator *e) {
    hone_tape_free(e->tape);
    hone_device_batch_free(&e->batch);
    e->tape = NULL;
}

/* For bins of `tokens`, or of the longest sample where that is more. */
static hone_status plan_step(hone_evaluator *e, int64_t tokens) {
    const hone_device *device = e->forward.model->device;
    int64_t longest = longest_sample(e->samples);
    int64_t bin = longest > tokens ? longest : tokens;
    release_step(e);
    HONE_TRY(hone_device_batch_new(&e->batch, device, bin, longest));
    HONE_TRY(hone_model_rope(e->forward.model, longest));
    HONE_TRY(hone_tape_new(&e->tape, device));
    e->forward.tokens = &e->batch.tokens;
    hone_device_batch_fill_up(&e->batch);
    hone_tape_plan(e->tape, false);
    HONE_TRY(hone_transformer_loss(e->tape, &e->forward, &e->batch.loss));
    return hone_tape_plan_done(e->tape);
}

hone_status hone_evaluator_fit(hone_evaluator *e, size_t bytes) {
    int64_t tokens = USUAL_TOKENS;
    HONE_TRY(plan_step(e, tokens));
    while (hone_tape_bytes(e->tape) > bytes && e->batch.capacity == tokens && tokens > 1)
        HONE_TRY(plan_step(e, tokens /= 2));
    return HONE_OK;
}

/* Puts the records into bins of the size that fits. */
static hone_status pack(hone_evaluator *e) {
    if (e->loader && e->packed == e->batch.capacity) return HONE_OK;
    hone_loader_free(e->loader);
    e->loader = NULL;
    e->packed = e->batch.capacity;
    return hone_loader_new(&e->loader, e->samples, e->split, e->packed, 0);
}

hone_status hone_evaluator_new(hone_evaluator **out, hone_model *model, const hone_adapter *adapter,
                               const hone_samples *samples, hone_split split) {
    hone_evaluator *e = hone_alloc(1, sizeof *e);
    if (!e) return HONE_ERR_MEMORY;
    e->samples = samples;
    e->split = split;
    e->forward = (hone_forward){.model = model, .adapter = adapter};
    hone_status status = hone_evaluator_fit(e, SIZE_MAX);
    if (status == HONE_OK) status = pack(e);
    if (status != HONE_OK) {
        hone_evaluator_free(e);
        return status;
    }
    *out = e;
    return HONE_OK;
}

void hone_evaluator_free(hone_evaluator *e) {
    if (!e) return;
    release_step(e);
    hone_loader_free(e->loader);
    hone_batch_free(&e->host);
    hone_free(e);
}

size_t hone_evaluator_arena_bytes(const hone_evaluator *e) {
    return hone_tape_bytes(e->tape);
}

size_t hone_evaluator_batch_bytes(const hone_evaluator *e) {
    return e->batch.memory.bytes;
}

void hone_evaluator_share(hone_evaluator *e, const hone_buffer *arena) {
    hone_tape_share(e->tape, arena);
    e->has_arena = true;
}

void hone_evaluator_divide(hone_evaluator *e, const hone_group *group) {
    e->group = group;
}

hone_status hone_evaluate(hone_evaluation *out, hone_evaluator *e) {
    return hone_evaluate_part(out, e, 0);
}

static hone_status evaluate_bin(hone_evaluation *out, hone_evaluator *e, int64_t bin) {
    hone_cursor cursor = {.bin = bin};
    HONE_TRY(hone_loader_fill(&e->host, e->loader, &cursor, 1));
    HONE_TRY(hone_device_batch_load(&e->batch, &e->host));
    hone_tape_begin(e->tape);
    HONE_TRY(hone_transformer_loss(e->tape, &e->forward, &e->batch.loss));
    out->tokens += e->host.rows;
    out->all_tokens += e->host.tokens;
    return HONE_OK;
}

static hone_status sum_parts(hone_evaluation *out, double *sum, const hone_group *group) {
    if (!group) return HONE_OK;
    double parts[] = {*sum, (double)out->tokens, (double)out->all_tokens};
    HONE_TRY(hone_group_sum_doubles(group, parts, 3));
    *sum = parts[0];
    out->tokens = (int64_t)parts[1];
    out->all_tokens = (int64_t)parts[2];
    return HONE_OK;
}

hone_status hone_evaluate_part(hone_evaluation *out, hone_evaluator *e, int64_t most) {
    *out = (hone_evaluation){0};
    HONE_TRY(pack(e));
    if (!e->has_arena) HONE_TRY(hone_tape_reserve(e->tape));
    e->has_arena = true;
    double start = hone_seconds(), sum;
    int64_t bins = hone_loader_bins(e->loader);
    if (most > 0 && most < bins) bins = most;
    bool alone = !e->group || e->group->size < 2;
    int64_t first = alone ? 0 : e->group->rank, stride = alone ? 1 : e->group->size;
    HONE_TRY(hone_device_batch_begin(&e->batch, 0));
    for (int64_t i = first; i < bins; i += stride) HONE_TRY(evaluate_bin(out, e, i));
    HONE_TRY(hone_device_batch_loss(&sum, &e->batch));
    HONE_TRY(sum_parts(out, &sum, e->group));
    out->seconds = hone_seconds() - start;
    out->loss = sum / (double)out->tokens;
    if (isfinite(out->loss)) return HONE_OK;
    return hone_fail(HONE_ERR_NUMERIC,
                     "the evaluation loss is %g: the model's weights or the "
                     "adapter hold values that are no numbers",
                     out->loss);
}
