#include "model/generate.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/philox.h"

enum { CHUNK = 256 }; /* prompt tokens that go through the model together */

typedef struct candidate {
    float probability;
    int32_t id;
} candidate;

/* One plan each for taking in a prompt and for single tokens. */
typedef struct pass {
    hone_tape *tape;
    int64_t most; /* tokens */
} pass;

struct hone_generator {
    hone_forward forward;
    hone_cache cache;
    pass prompt, single;
    hone_buffer arena; /* of either pass; taken with the first token */
    hone_tokens tokens;
    hone_buffer memory; /* ids [CHUNK], positions [CHUNK], one segment, one row */
    int32_t *ids, *positions, *row;
    hone_segment *segment;
    float *logits;         /* owned, [V] */
    candidate *candidates; /* owned, [V] */
};

static hone_status plan_pass(pass *p, hone_generator *g, int64_t most) {
    p->most = most;
    HONE_TRY(hone_tape_new(&p->tape, g->forward.model->device));
    g->tokens.count = most;
    g->tokens.longest_q = most;
    g->tokens.longest_k = g->cache.capacity;
    hone_tape_plan(p->tape, false);
    hone_tensor *logits;
    HONE_TRY(hone_transformer_logits(&logits, p->tape, &g->forward, g->row, 1));
    return hone_tape_plan_done(p->tape);
}

static size_t arena_bytes(const hone_generator *g) {
    size_t prompt = hone_tape_bytes(g->prompt.tape), single = hone_tape_bytes(g->single.tape);
    return prompt > single ? prompt : single;
}

static hone_status take_arena(hone_generator *g) {
    if (g->arena.base) return HONE_OK;
    HONE_TRY(hone_buffer_new(&g->arena, g->forward.model->device, arena_bytes(g)));
    hone_tape_share(g->prompt.tape, &g->arena);
    hone_tape_share(g->single.tape, &g->arena);
    return HONE_OK;
}

static hone_status prepare(hone_generator *g, int64_t capacity) {
    hone_model *model = g->forward.model;
    int64_t chunk = capacity < CHUNK ? capacity : CHUNK;
    size_t vocabulary = (size_t)model->arch.vocabulary;
    g->logits = hone_alloc(vocabulary, sizeof *g->logits);
    g->candidates = hone_alloc(vocabulary, sizeof *g->candidates);
    if (!g->logits || !g->candidates) return HONE_ERR_MEMORY;
    HONE_TRY(hone_cache_new(&g->cache, model, capacity));
    HONE_TRY(hone_model_rope(model, capacity));
    size_t bytes = 2 * CHUNK * sizeof(int32_t) + sizeof(hone_segment) + sizeof(int32_t);
    HONE_TRY(hone_buffer_new(&g->memory, model->device, bytes));
    g->ids = g->memory.base;
    g->positions = g->ids + CHUNK;
    g->segment = (hone_segment *)(void *)(g->positions + CHUNK);
    g->row = (int32_t *)(void *)(g->segment + 1);
    g->tokens = (hone_tokens){
        .ids = g->ids, .positions = g->positions, .segments = g->segment, .segment_count = 1};
    g->forward.tokens = &g->tokens;
    g->forward.cache = &g->cache;
    HONE_TRY(plan_pass(&g->prompt, g, chunk));
    return plan_pass(&g->single, g, 1);
}

hone_status hone_generator_new(hone_generator **out, hone_model *model, const hone_adapter *adapter,
                               int64_t capacity) {
    hone_generator *g = hone_alloc(1, sizeof *g);
    if (!g) return HONE_ERR_MEMORY;
    g->forward = (hone_forward){.model = model, .adapter = adapter};
    hone_status status = prepare(g, capacity);
    if (status != HONE_OK) {
        hone_generator_free(g);
        return status;
    }
    *out = g;
    return HONE_OK;
}

void hone_generator_free(hone_generator *g) {
    if (!g) return;
    hone_tape_free(g->prompt.tape);
    hone_tape_free(g->single.tape);
    hone_cache_free(&g->cache);
    hone_buffer_free(&g->arena);
    hone_buffer_free(&g->memory);
    hone_free(g->logits);
    hone_free(g->candidates);
    hone_free(g);
}

void hone_generator_rewind(hone_generator *g, int64_t length) {
    if (length < g->cache.length) g->cache.length = length;
}

int64_t hone_generator_length(const hone_generator *g) {
    return g->cache.length;
}

int64_t hone_generator_capacity(const hone_generator *g) {
    return g->cache.capacity;
}

size_t hone_generator_bytes(const hone_generator *g) {
    size_t vocabulary = (size_t)g->forward.model->arch.vocabulary;
    return g->cache.memory.bytes + g->memory.bytes + arena_bytes(g) +
           vocabulary * sizeof *g->logits;
}

const float *hone_generator_logits(const hone_generator *g) {
    return g->logits;
}

static hone_status upload(hone_generator *g, const int32_t *ids, int64_t count) {
    const hone_device *device = g->forward.model->device;
    int32_t positions[CHUNK];
    for (int64_t i = 0; i < count; i++) positions[i] = (int32_t)(g->cache.length + i);
    hone_segment segment = {0, (int32_t)count, 0, (int32_t)(g->cache.length + count)};
    int32_t last = (int32_t)count - 1;
    size_t bytes = (size_t)count * sizeof *ids;
    HONE_TRY(hone_device_copy_in(device, g->ids, ids, bytes));
    HONE_TRY(hone_device_copy_in(device, g->positions, positions, bytes));
    HONE_TRY(hone_device_copy_in(device, g->segment, &segment, sizeof segment));
    return hone_device_copy_in(device, g->row, &last, sizeof last);
}

static hone_status feed_chunk(hone_generator *g, const int32_t *ids, int64_t count) {
    const pass *p = count == 1 ? &g->single : &g->prompt;
    const hone_device *device = g->forward.model->device;
    HONE_TRY(take_arena(g));
    HONE_TRY(upload(g, ids, count));
    g->tokens.count = count;
    g->tokens.longest_q = count;
    g->tokens.longest_k = g->cache.length + count;
    hone_tape_begin(p->tape);
    hone_tensor *logits;
    HONE_TRY(hone_transformer_logits(&logits, p->tape, &g->forward, g->row, 1));
    g->cache.length += count;
    return hone_device_copy_out(device, g->logits, logits->data,
                                (size_t)hone_tensor_count(logits) * sizeof *g->logits);
}

hone_status hone_generator_feed(hone_generator *g, const int32_t *ids, int64_t count) {
    int64_t room = g->cache.capacity - g->cache.length;
    if (count > room) {
        return hone_fail(HONE_ERR_DATA,
                         "%lld tokens do not fit: there is room for %lld more of %lld",
                         (long long)count, (long long)room, (long long)g->cache.capacity);
    }
    int64_t vocabulary = g->forward.model->arch.vocabulary;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] >= 0 && ids[i] < vocabulary) continue;
        return hone_fail(HONE_ERR_DATA,
                         "token id %d is outside of the model's vocabulary of %lld: tokenizer and "
                         "model do not belong together",
                         ids[i], (long long)vocabulary);
    }
    while (count > 0) {
        int64_t part = count < g->prompt.most ? count : g->prompt.most;
        HONE_TRY(feed_chunk(g, ids, part));
        ids += part;
        count -= part;
    }
    return HONE_OK;
}

static int32_t likeliest(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

static int likelier_first(const void *left, const void *right) {
    const candidate *a = left, *b = right;
    if (a->probability != b->probability) return a->probability > b->probability ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Softmax at the temperature into candidates; their sum. */
static double weigh(hone_generator *g, double temperature) {
    int64_t n = g->forward.model->arch.vocabulary;
    float most = g->logits[likeliest(g->logits, n)];
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float p = (float)exp((double)(g->logits[i] - most) / temperature);
        g->candidates[i] = (candidate){p, (int32_t)i};
        sum += (double)p;
    }
    return sum;
}

hone_status hone_generator_choose(int32_t *id, hone_generator *g, const hone_sampling *sampling) {
    int64_t n = g->forward.model->arch.vocabulary;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(g->logits[i])) {
            return hone_fail(HONE_ERR_NUMERIC,
                             "the model's output is no number: its weights or the "
                             "adapter are damaged");
        }
    }
    *id = likeliest(g->logits, n);
    if (sampling->temperature <= 0) return HONE_OK;
    double sum = weigh(g, sampling->temperature);
    if (sampling->top_p < 1) {
        qsort(g->candidates, (size_t)n, sizeof *g->candidates, likelier_first);
        sum *= sampling->top_p;
    }
    hone_philox draw = hone_philox_draw(sampling->seed, (uint32_t)g->cache.length, 0, 0, 0);
    double left = (double)hone_uniform(draw.word[0]) * sum;
    for (int64_t i = 0; i < n; i++) {
        *id = g->candidates[i].id;
        left -= (double)g->candidates[i].probability;
        if (left < 0) break;
    }
    return HONE_OK;
}
