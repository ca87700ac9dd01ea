#include "train/memory.h"

#include "base/alloc.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "train/device_batch.h"

/* What a run takes after it was planned that no plan of its own says, as measured: code that was not read yet, what a
 * checkpoint is written from; and where weights are trained, for whose gradients oneDNN's products serve, of each thread a packed part of a
 * matrix. */
enum { LIBRARY_BYTES = 4 << 20, MOST_PACKED = 4 << 20 };

static int64_t weight_bytes(const hone_tensor *w) {
    return w->shape[0] * (int64_t)hone_dtype_row_bytes(w->dtype, w->shape[1]);
}

int64_t hone_memory_weights(const hone_model *model) {
    if (model->params.count) return 0;
    int64_t bytes = (int64_t)(model->int8_memory.bytes + model->head_memory.bytes);
    for (size_t i = 0; i < model->weight_count; i++) {
        if (!hone_model_int8_replaces(model, &model->weights[i]))
            bytes += weight_bytes(model->weights[i].tensor);
    }
    return bytes;
}

int64_t hone_memory_program(const hone_model *model, const hone_params *params, int64_t counted) {
    hone_alloc_trim(); /* what opening the data left free is no need of the run */
    int64_t bytes = hone_device_used(model->device).now;
    if (!hone_device_is_host(model->device)) return bytes - hone_memory_weights(model) - counted;
    for (size_t i = 0; i < model->weight_count && model->params.count == 0; i++) {
        const hone_tensor *w = model->weights[i].tensor;
        bytes -= hone_resident_within(w->data, weight_bytes(w));
    }
    bytes -= hone_resident_within(model->int8_memory.base, (int64_t)model->int8_memory.bytes);
    bytes -= hone_resident_within(params->values.base, (int64_t)params->values.bytes);
    bytes -= hone_resident_within(params->grads.base, (int64_t)params->grads.bytes);
    return bytes;
}

/* Builds the step on the tape, for a batch that is as full as can be. */
static hone_status build(hone_tape *tape, const hone_forward *forward, int64_t rows,
                         int64_t seq_len) {
    hone_device_batch shapes = {.capacity = rows * seq_len, .longest = seq_len};
    hone_device_batch_fill_up(&shapes);
    hone_forward step = *forward;
    step.tokens = &shapes.tokens;
    hone_tape_plan(tape, true);
    HONE_TRY(hone_transformer_loss(tape, &step, &shapes.loss));
    return hone_tape_backward(tape);
}

static int64_t packed_bytes(const hone_model *model) {
    int64_t most = 0;
    if (model->params.count == 0) return 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        int64_t bytes = hone_tensor_count(model->weights[i].tensor) * (int64_t)sizeof(hone_real);
        if (bytes > most) most = bytes;
    }
    return most < MOST_PACKED ? most : MOST_PACKED;
}

void hone_memory_add_up(hone_memory *m) {
    int64_t arena = m->step > m->evaluation ? m->step : m->evaluation;
    int64_t always = m->program + m->weights + m->libraries;
    int64_t steps = always + m->trained + arena + m->batches;
    int64_t after = always + m->trained - m->passing + m->answers;
    m->total = steps > after ? steps : after;
    if (m->total < m->opening) m->total = m->opening;
}

hone_status hone_memory_plan(hone_memory *out, hone_tape *tape, const hone_memory *fixed,
                             const hone_forward *forward, int64_t rows, int64_t seq_len,
                             int64_t limit) {
    *out = *fixed;
    HONE_TRY(build(tape, forward, rows, seq_len));
    out->step = (int64_t)hone_tape_least_bytes(tape);
    out->host += (int64_t)hone_tape_host_bytes(tape);
    bool host = hone_device_is_host(forward->model->device);
    out->libraries = host ? LIBRARY_BYTES + hone_threads() * packed_bytes(forward->model) : 0;
    int64_t copies = host ? 2 : 1; /* what is loaded, and what is computed with */
    out->batches += copies * (int64_t)hone_device_batch_bytes(rows * seq_len);
    hone_memory_add_up(out);
    if (out->total > limit) return HONE_OK;
    HONE_TRY(hone_tape_plan_done(tape));
    out->step = (int64_t)hone_tape_bytes(tape);
    hone_memory_add_up(out);
    return HONE_OK;
}
