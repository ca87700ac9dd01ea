#include "train/plan_shape.h"

/* Code, libraries, a tokenizer and the tables of some data, as runs were found to have. */
enum { PROGRAM_BYTES = 40 << 20 };

static hone_status choose(hone_plan *out, hone_tape *tape, const hone_plan_scope *scope,
                          int recompute, int64_t limit) {
    hone_plan_scope part = *scope;
    part.recompute = recompute;
    part.limit = limit;
    return hone_plan_choose(out, tape, &part);
}

static hone_status plan(hone_shape_plans *out, hone_tape *tape, const hone_plan_scope *scope) {
    int64_t limit = scope->limit;
    HONE_TRY(choose(&out->fastest, tape, scope, HONE_RECOMPUTE_NONE, INT64_MAX));
    HONE_TRY(choose(&out->recomputed, tape, scope, HONE_RECOMPUTE_FULL, INT64_MAX));
    HONE_TRY(choose(&out->least, tape, scope, HONE_RECOMPUTE_AUTO, 0));
    HONE_TRY(choose(&out->chosen, tape, scope, HONE_RECOMPUTE_AUTO, limit));
    out->fits = out->chosen.memory.total <= limit;
    return HONE_OK;
}

static hone_status declare(hone_adapter *adapter, const hone_train_options *options) {
    const hone_arch *arch = &adapter->model->arch;
    for (int64_t l = 0; l < arch->layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            if (hone_family_has(arch->family, role))
                hone_adapter_declare(adapter, l, role, options->rank, 1);
        }
    }
    return hone_adapter_allocate(adapter);
}

static hone_status plan_with(hone_shape_plans *out, hone_tape *tape, hone_adapter *adapter,
                             hone_model *model, const hone_train_options *o, int64_t limit) {
    HONE_TRY(declare(adapter, o));
    const hone_plan_scope scope = {
        .forward = {.model = model, .adapter = adapter},
        .seq_len = o->seq_len,
        .batch = o->batch_size,
        .rows = o->batch_size * o->accumulation,
        .activations = o->activations,
        .elements = adapter->params.elements,
        .limit = limit,
        .fixed = {.program = PROGRAM_BYTES,
                  .weights = hone_memory_weights(model),
                  .trained = 2 * adapter->params.elements * (int64_t)sizeof(hone_real)},
    };
    return plan(out, tape, &scope);
}

hone_status hone_shape_plan(hone_shape_plans *out, const hone_arch *arch, hone_dtype type,
                            const hone_train_options *options, int64_t limit) {
    *out = (hone_shape_plans){0};
    hone_device device;
    hone_model *model;
    hone_adapter *adapter = NULL;
    hone_tape *tape = NULL;
    HONE_TRY(hone_device_open_cpu(&device));
    HONE_TRY(hone_model_outline(&model, arch, type, &device));
    hone_status status = hone_adapter_new_empty(&adapter, model);
    if (status == HONE_OK) status = hone_tape_new(&tape, &device);
    if (status == HONE_OK) status = plan_with(out, tape, adapter, model, options, limit);
    hone_tape_free(tape);
    hone_adapter_free(adapter);
    hone_model_close(model);
    return status;
}
