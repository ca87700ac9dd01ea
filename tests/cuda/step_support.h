/*
 * A training step of a small model on a device, for the suites that compare steps.
 */
#ifndef HONE_TESTS_CUDA_STEP_SUPPORT_H
#define HONE_TESTS_CUDA_STEP_SUPPORT_H

#include "tests/cuda/device_support.h"
#include "train/passes.h"

enum { TOKENS = 9, FIRST = 5, BINS = 5, RANK = 3 };

/* How a step is taken. */
typedef struct way {
    const char *name;
    hone_recompute recompute;
    bool bf16_activations, dropout, full, int8;
    hone_precision precision;
    hone_attention_kind attention; /* of the GPU; the processor's is exact */
    bool padded;                   /* on the GPU */
} way;

/* A model on a device, what is trained of it, and a batch of two documents. */
typedef struct stepper {
    hone_device device;
    hone_model *model;
    hone_adapter *adapter; /* NULL: all is trained */
    hone_params *params;
    hone_device_batch batch;
    hone_buffer key; /* of dropout */
    hone_tape *tape;
    hone_forward forward;
    double loss;
    float *grads; /* owned, on the host */
} stepper;

/* Two documents, or only the first of them; what they say and predict depends on `shift`. */
static inline void load_texts(hone_device_batch *batch, int64_t vocabulary, int32_t shift,
                              int64_t documents) {
    int32_t ids[TOKENS], positions[TOKENS], row[TOKENS], target[TOKENS];
    uint32_t records[TOKENS];
    int32_t begin[] = {0, FIRST}, length[] = {FIRST, TOKENS - FIRST};
    int32_t tokens = documents == 1 ? FIRST : TOKENS;
    int64_t rows = 0;
    for (int32_t i = 0; i < tokens; i++) {
        ids[i] = (int32_t)((3 + shift + i * 37) % vocabulary);
        positions[i] = i < FIRST ? i : i - FIRST;
        records[i] = i < FIRST ? 4 : 7;
    }
    for (int32_t i = 1; i < tokens; i++) {
        if (i == FIRST || i == 2 + shift % 2) continue;
        row[rows] = i - 1;
        target[rows++] = ids[i];
    }
    hone_batch host = {.tokens = tokens,
                       .ids = ids,
                       .positions = positions,
                       .records = records,
                       .bins = documents == 1 ? 1 : BINS,
                       .documents = documents,
                       .document_begin = begin,
                       .document_length = length,
                       .rows = rows,
                       .row = row,
                       .target = target};
    ck_ok(hone_device_batch_load(batch, &host));
}

/* New factors, of which B is not left at zero: every gradient is then something. */
static inline void draw_adapter(stepper *s) {
    ck_ok(hone_adapter_new(&s->adapter, s->model, 0x7f, RANK, 2 * RANK, 1));
    for (size_t i = 0; i < s->adapter->params.count; i++) {
        const hone_param *param = &s->adapter->params.items[i];
        if (!strstr(param->name, "lora_B")) continue;
        int64_t n = hone_tensor_count(param->tensor);
        float *values = hone_alloc((size_t)n, sizeof *values);
        for (int64_t k = 0; k < n; k++) values[k] = 0.01f * (float)(k * 7 % 11 - 5);
        ck_ok(hone_device_copy_in(&s->device, param->tensor->data, values,
                                  (size_t)n * sizeof *values));
        hone_free(values);
    }
}

static inline void build(stepper *s) {
    ck_ok(hone_transformer_loss(s->tape, &s->forward, &s->batch.loss));
    ck_ok(hone_tape_backward(s->tape));
}

/* What belongs to the model that is open. One made from scratch is trained in full. */
static inline void open_model_of(stepper *s, const way *how) {
    if (how->full) {
        if (!s->model->params.count) ck_ok(hone_model_train_all(s->model));
        s->params = &s->model->params;
    } else {
        draw_adapter(s);
        s->params = &s->adapter->params;
    }
    if (how->int8) ck_ok(hone_model_int8(s->model, s->model->arch.layers));
    ck_ok(hone_model_precision(s->model, how->precision));
    hone_model_attention(s->model, how->attention);
    ck_ok(hone_device_batch_new(&s->batch, &s->device, BINS * FIRST, FIRST));
    s->batch.pads = how->padded && !hone_device_is_host(&s->device);
    load_texts(&s->batch, s->model->arch.vocabulary, 0, 2);
    const uint64_t key = 0x123456789abcdef;
    ck_ok(hone_buffer_new(&s->key, &s->device, sizeof key));
    ck_ok(hone_device_copy_in(&s->device, s->key.base, &key, sizeof key));
    if (s->adapter && how->dropout) s->adapter->dropout = 0.25;
    s->forward = (hone_forward){.model = s->model,
                                .adapter = s->adapter,
                                .tokens = &s->batch.tokens,
                                .dropout_key = how->dropout ? s->key.base : NULL,
                                .recompute = how->recompute,
                                .bf16_activations = how->bf16_activations};
    ck_ok(hone_model_rope(s->model, TOKENS));
    ck_ok(hone_tape_new(&s->tape, &s->device));
}

static inline void open_stepper(stepper *s, const char *path, const way *how) {
    ck_ok(hone_model_open(&s->model, path, &s->device));
    open_model_of(s, how);
}

static inline void begin_step(stepper *s) {
    hone_tape_plan(s->tape, true);
    build(s);
    ck_ok(hone_tape_plan_done(s->tape));
    ck_ok(hone_tape_reserve(s->tape));
    ck_ok(hone_device_zero(&s->device, s->params->grads.base, s->params->grads.bytes));
    ck_ok(hone_device_batch_begin(&s->batch, 1.0 / (TOKENS - 3)));
}

static inline void end_step(stepper *s) {
    ck_ok(hone_device_batch_loss(&s->loss, &s->batch));
    s->grads = hone_alloc((size_t)s->params->elements, sizeof *s->grads);
    ck_ok(
        hone_device_copy_out(&s->device, s->grads, s->params->grads.base, s->params->grads.bytes));
}

static inline void take_step(stepper *s) {
    begin_step(s);
    hone_tape_begin(s->tape);
    build(s);
    end_step(s);
}

static inline void close_model(stepper *s) {
    hone_tape_free(s->tape);
    hone_buffer_free(&s->key);
    hone_device_batch_free(&s->batch);
    hone_adapter_free(s->adapter);
    hone_model_close(s->model);
    hone_free(s->grads);
}

static inline void close_stepper(stepper *s) {
    close_model(s);
    hone_device_close(&s->device);
}

#endif
