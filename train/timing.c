#include "train/timing.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "train/device_batch.h"
#include "train/plan.h"

enum { FIRST_TOKENS = 16, FIRST_OF_GPU = 1024, GROWTH = 4 };

/* One size of pass, with the memory for it. */
typedef struct trial {
    hone_tape *tape;
    hone_device_batch batch;
    hone_batch host;
    hone_forward forward;
    hone_model model; /* a shallow copy that ends after a few blocks */
    double left;      /* seconds that runs may still take */
} trial;

/* Documents of equal length, token 0 all over; the last tokens of each are learned. */
static hone_status fill(hone_batch *host, const hone_pass_shape *shape) {
    size_t tokens = (size_t)shape->tokens;
    host->ids = hone_alloc(tokens, sizeof *host->ids);
    host->positions = hone_alloc(tokens, sizeof *host->positions);
    host->records = hone_alloc(tokens, sizeof *host->records);
    host->document_begin = hone_alloc(tokens, sizeof *host->document_begin);
    host->document_length = hone_alloc(tokens, sizeof *host->document_length);
    host->row = hone_alloc(tokens, sizeof *host->row);
    host->target = hone_alloc(tokens, sizeof *host->target);
    if (!host->ids || !host->positions || !host->records || !host->document_begin ||
        !host->document_length || !host->row || !host->target)
        return HONE_ERR_MEMORY;
    for (int64_t t = 0; t < shape->tokens; t++) {
        int32_t position = (int32_t)(t % shape->document);
        host->positions[t] = position;
        if (position == 0) host->document_begin[host->documents++] = (int32_t)t;
        host->document_length[host->documents - 1] = position + 1;
        host->records[t] = (uint32_t)host->documents;
        double wanted = shape->supervised * (double)(t + 1);
        if ((double)host->rows + 0.5 < wanted) host->row[host->rows++] = (int32_t)t;
    }
    host->tokens = shape->tokens;
    return HONE_OK;
}

static hone_status open_trial(trial *out, const hone_forward *forward,
                              const hone_pass_shape *shape) {
    const hone_device *device = forward->model->device;
    out->model = *forward->model;
    out->forward = *forward;
    out->forward.model = &out->model;
    out->forward.tokens = &out->batch.tokens;
    HONE_TRY(fill(&out->host, shape));
    HONE_TRY(hone_device_batch_new(&out->batch, device, shape->tokens, shape->document));
    HONE_TRY(hone_device_batch_begin(&out->batch, 0)); /* gradients stay what they are */
    HONE_TRY(hone_device_batch_load(&out->batch, &out->host));
    return hone_tape_new(&out->tape, device);
}

static void close_trial(trial *t) {
    hone_tape_free(t->tape);
    hone_device_batch_free(&t->batch);
    hone_batch_free(&t->host);
}

static hone_status build(trial *t) {
    HONE_TRY(hone_transformer_loss(t->tape, &t->forward, &t->batch.loss));
    return hone_tape_backward(t->tape);
}

/* Seconds of the first `blocks` blocks and the head: the better of two runs, as the first finds nothing in caches, when there is
 * time for two. On a GPU the first one makes its kernels ready, which takes much longer than to run them, and counts for
 * nothing. */
static hone_status run_blocks(double *seconds, trial *t, int64_t blocks) {
    t->model.arch.layers = blocks;
    hone_tape_plan(t->tape, true);
    HONE_TRY(build(t));
    HONE_TRY(hone_tape_plan_done(t->tape));
    HONE_TRY(hone_tape_reserve(t->tape));
    bool host = hone_device_is_host(t->batch.device);
    for (int i = 0; i < 2; i++) {
        double start = hone_seconds();
        hone_tape_begin(t->tape);
        HONE_TRY(build(t));
        HONE_TRY(hone_device_wait(t->batch.device));
        double took = hone_seconds() - start;
        if (i == 0 || !host || took < *seconds) *seconds = took;
        if (host || i == 1) t->left -= took;
        if (host && took > t->left) break;
    }
    return HONE_OK;
}

static hone_status time_blocks(double *seconds, trial *t, int64_t layers) {
    double one, two;
    HONE_TRY(run_blocks(&one, t, 1));
    *seconds = one;
    if (layers == 1) return HONE_OK;
    HONE_TRY(run_blocks(&two, t, 2));
    if (two > one) *seconds += (double)(layers - 1) * (two - one);
    return HONE_OK;
}

/* Takes what its runs took off the seconds that are left. */
static hone_status time_size(double *seconds, int64_t *arena, const hone_forward *forward,
                             const hone_pass_shape *shape, double *left) {
    trial t = {.left = *left};
    hone_status status = open_trial(&t, forward, shape);
    if (status == HONE_OK) status = time_blocks(seconds, &t, forward->model->arch.layers);
    if (status == HONE_OK) *arena = (int64_t)hone_tape_bytes(t.tape);
    *left = t.left;
    close_trial(&t);
    return status;
}

static double work_of(int64_t tokens) {
    return (double)tokens * hone_plan_cost(HONE_RECOMPUTE_NONE, false, tokens);
}

hone_status hone_time_pass(double *seconds, const hone_forward *forward,
                           const hone_pass_shape *shape, double most) {
    bool host = hone_device_is_host(forward->model->device);
    int64_t arena, first = host ? FIRST_TOKENS : FIRST_OF_GPU;
    hone_pass_shape part = *shape;
    part.tokens = shape->tokens < first ? shape->tokens : first;
    for (;;) {
        part.document = shape->document < part.tokens ? shape->document : part.tokens;
        double left = most;
        HONE_TRY(time_size(seconds, &arena, forward, &part, &left));
        double took = most - left;
        most = left;
        *seconds *= work_of(shape->tokens) / work_of(part.tokens);
        if (part.tokens == shape->tokens) return HONE_OK;
        int64_t next = part.tokens * GROWTH < shape->tokens ? part.tokens * GROWTH : shape->tokens;
        double factor = (double)next / (double)part.tokens;
        if (factor * took > most) return HONE_OK;
        if (shape->memory > 0 && factor * (double)arena > (double)shape->memory) return HONE_OK;
        part.tokens = next;
    }
}
