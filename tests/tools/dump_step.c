/*
 * One step of the engine, for comparison with PyTorch: dump_step MODEL ADAPTER SAMPLES OUT [full] [recompute] [repeat] [int8]
 * [bf16] [kept]
 *
 * ADAPTER is "-" or what --adapter takes. SAMPLES is a JSON array of {"ids": [...], "mask": [...]}; all of them are packed
 * into one batch, one document each. OUT becomes a safetensors file: logits [T,V] of all tokens, loss [1], and
 * grad.<name> of every trained tensor: the factors of the adapter, or all weights with "full". "recompute" replays
 * blocks in backward; "repeat" takes the step twice in the same memory and fails unless both give the same bits; "int8"
 * and "bf16" take the products with frozen weights so; "kept" keeps activations in bf16.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "formats/json.h"
#include "formats/safetensors_writer.h"
#include "model/transformer.h"
#include "train/device_batch.h"

typedef struct step {
    hone_device device;
    hone_model *model;
    hone_adapter *adapter;
    hone_params *params; /* NULL: nothing is trained */
    hone_batch host;
    hone_device_batch batch;
    hone_forward forward;
    hone_tape *tape;
    double loss;
    float *logits; /* [T,V] */
    float *grads;  /* [elements] */
} step;

static void must(hone_status status) {
    if (status == HONE_OK) return;
    fprintf(stderr, "%s\n", hone_fail_message());
    exit(EXIT_FAILURE);
}

static void *allocate(int64_t count, size_t size) {
    void *block = hone_alloc((size_t)count, size);
    must(block ? HONE_OK : HONE_ERR_MEMORY);
    return block;
}

static void allocate_batch(hone_batch *batch, int64_t tokens, int64_t documents) {
    batch->ids = allocate(tokens, sizeof *batch->ids);
    batch->positions = allocate(tokens, sizeof *batch->positions);
    batch->records = allocate(tokens, sizeof *batch->records);
    batch->row = allocate(tokens, sizeof *batch->row);
    batch->target = allocate(tokens, sizeof *batch->target);
    batch->document_begin = allocate(documents, sizeof *batch->document_begin);
    batch->document_length = allocate(documents, sizeof *batch->document_length);
}

static void add_sample(hone_batch *batch, const json_t *sample) {
    const json_t *ids = json_object_get(sample, "ids"), *mask = json_object_get(sample, "mask");
    int32_t length = (int32_t)json_array_size(ids);
    batch->document_begin[batch->documents] = (int32_t)batch->tokens;
    batch->document_length[batch->documents] = length;
    for (int32_t i = 0; i < length; i++, batch->tokens++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
        batch->ids[batch->tokens] = id;
        batch->positions[batch->tokens] = i;
        batch->records[batch->tokens] = (uint32_t)batch->documents;
        if (i == 0 || !json_integer_value(json_array_get(mask, (size_t)i))) continue;
        batch->row[batch->rows] = (int32_t)batch->tokens - 1;
        batch->target[batch->rows++] = id;
    }
    batch->documents++;
}

/* Gives the length of the longest sample. */
static int64_t read_samples(hone_batch *batch, const char *path) {
    json_t *samples;
    const json_t *sample;
    size_t i;
    int64_t tokens = 0, longest = 0;
    must(hone_json_load(&samples, path));
    json_array_foreach(samples, i, sample) {
        int64_t length = (int64_t)json_array_size(json_object_get(sample, "ids"));
        tokens += length;
        if (length > longest) longest = length;
    }
    allocate_batch(batch, tokens, (int64_t)json_array_size(samples));
    json_array_foreach(samples, i, sample) add_sample(batch, sample);
    json_decref(samples);
    return longest;
}

static bool has(int argc, char **argv, const char *word) {
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], word) == 0) return true;
    }
    return false;
}

static void open_step(step *s, int argc, char **argv) {
    bool full = has(argc, argv, "full");
    must(hone_device_open_cpu(&s->device));
    must(hone_model_open(&s->model, argv[1], &s->device));
    if (has(argc, argv, "int8")) must(hone_model_int8(s->model, s->model->arch.layers));
    must(hone_model_precision(s->model,
                              has(argc, argv, "bf16") ? HONE_PRODUCTS_BF16 : HONE_PRODUCTS_F32));
    if (strcmp(argv[2], "-") != 0) must(hone_adapter_open(&s->adapter, s->model, argv[2], NULL));
    if (full) must(hone_model_train_all(s->model));
    if (full) {
        s->params = &s->model->params;
    } else if (s->adapter) {
        s->params = &s->adapter->params;
    }
    int64_t longest = read_samples(&s->host, argv[3]);
    must(hone_device_batch_new(&s->batch, &s->device, s->host.tokens, longest));
    must(hone_device_batch_load(&s->batch, &s->host));
    s->batch.loss.weight = 1 / (double)s->host.rows;
    must(hone_model_rope(s->model, longest));
    s->forward = (hone_forward){
        .model = s->model,
        .adapter = s->adapter,
        .tokens = &s->batch.tokens,
        .recompute = has(argc, argv, "recompute") ? HONE_RECOMPUTE_FULL : HONE_RECOMPUTE_NONE,
        .bf16_activations = has(argc, argv, "kept"),
    };
    must(hone_tape_new(&s->tape, &s->device));
}

static void compute_logits(step *s) {
    int64_t tokens = s->host.tokens, width = s->model->arch.vocabulary;
    int32_t *rows = allocate(tokens, sizeof *rows);
    for (int64_t i = 0; i < tokens; i++) rows[i] = (int32_t)i;
    hone_tensor *logits;
    hone_tape_plan(s->tape, false);
    must(hone_transformer_logits(&logits, s->tape, &s->forward, rows, tokens));
    must(hone_tape_plan_done(s->tape));
    must(hone_tape_reserve(s->tape));
    hone_tape_begin(s->tape);
    must(hone_transformer_logits(&logits, s->tape, &s->forward, rows, tokens));
    s->logits = allocate(tokens * width, sizeof *s->logits);
    must(hone_device_copy_out(&s->device, s->logits, logits->data,
                              (size_t)(tokens * width) * sizeof *s->logits));
    hone_free(rows);
}

static void plan_loss(step *s) {
    hone_tape_plan(s->tape, s->params != NULL);
    must(hone_transformer_loss(s->tape, &s->forward, &s->batch.loss));
    if (s->params) must(hone_tape_backward(s->tape));
    must(hone_tape_plan_done(s->tape));
    must(hone_tape_reserve(s->tape));
}

static void run_loss(step *s) {
    if (s->params) {
        must(hone_device_zero(&s->device, s->params->grads.base, s->params->grads.bytes));
    }
    hone_tape_begin(s->tape);
    must(hone_transformer_loss(s->tape, &s->forward, &s->batch.loss));
    if (s->params) must(hone_tape_backward(s->tape));
    must(hone_device_batch_loss(&s->loss, &s->batch));
    s->loss /= (double)s->host.rows;
    if (!s->params) return;
    if (!s->grads) s->grads = allocate(s->params->elements, sizeof *s->grads);
    must(hone_device_copy_out(&s->device, s->grads, s->params->grads.base,
                              (size_t)s->params->elements * sizeof *s->grads));
}

static void check_repeat(step *s) {
    double loss = s->loss;
    float *grads = s->grads;
    s->grads = NULL;
    run_loss(s);
    size_t bytes = s->params ? (size_t)s->params->elements * sizeof *grads : 0;
    if (memcmp(&loss, &s->loss, sizeof loss) != 0 ||
        (bytes && memcmp(grads, s->grads, bytes) != 0)) {
        fprintf(stderr, "the same step gave other bits the second time\n");
        exit(EXIT_FAILURE);
    }
    hone_free(grads);
}

static void declare_grads(hone_safetensors_writer *out, const hone_params *params) {
    char name[HONE_NAME + 8];
    for (size_t i = 0; i < params->count; i++) {
        const hone_tensor *tensor = params->items[i].tensor;
        snprintf(name, sizeof name, "grad.%s", params->items[i].name);
        must(hone_safetensors_add_tensor(out, name, HONE_F32, tensor->dims, tensor->shape));
    }
}

static void write_step(const step *s, const char *path) {
    int64_t tokens = s->host.tokens, width = s->model->arch.vocabulary;
    hone_safetensors_writer *out;
    must(hone_safetensors_writer_new(&out));
    must(hone_safetensors_add_tensor(out, "logits", HONE_F32, 2, (int64_t[]){tokens, width}));
    must(hone_safetensors_add_tensor(out, "loss", HONE_F32, 1, (int64_t[]){1}));
    if (s->params) declare_grads(out, s->params);
    must(hone_safetensors_begin(out, path));
    float loss = (float)s->loss;
    must(hone_safetensors_data(out, s->logits, (size_t)(tokens * width) * sizeof *s->logits));
    must(hone_safetensors_data(out, &loss, sizeof loss));
    for (size_t i = 0; s->params && i < s->params->count; i++) {
        const hone_tensor *tensor = s->params->items[i].tensor;
        const float *from =
            s->grads + ((const float *)tensor->grad->data - (const float *)s->params->grads.base);
        must(hone_safetensors_data(out, from, (size_t)hone_tensor_count(tensor) * sizeof *from));
    }
    must(hone_safetensors_commit(out));
    hone_safetensors_writer_free(out);
}

static void close_step(step *s) {
    hone_tape_free(s->tape);
    hone_device_batch_free(&s->batch);
    hone_batch_free(&s->host);
    hone_free(s->logits);
    hone_free(s->grads);
    hone_adapter_free(s->adapter);
    hone_model_close(s->model);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: dump_step MODEL ADAPTER SAMPLES OUT [full] [recompute] [repeat] "
                        "[int8] [bf16] [kept]\n");
        return 2;
    }
    step s = {0};
    open_step(&s, argc, argv);
    compute_logits(&s);
    plan_loss(&s);
    run_loss(&s);
    if (has(argc, argv, "repeat")) check_repeat(&s);
    write_step(&s, argv[4]);
    printf("%.9g\n", s.loss);
    close_step(&s);
    return EXIT_SUCCESS;
}
