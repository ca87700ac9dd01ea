#include "base/alloc.h"
#include "model/model.h"

hone_status hone_params_allocate(hone_params *params, const hone_device *device) {
    params->elements = 0;
    for (size_t i = 0; i < params->count; i++) {
        params->elements += hone_tensor_count(params->items[i].tensor);
    }
    size_t bytes = (size_t)params->elements * sizeof(hone_real);
    params->grad_tensors = hone_alloc(params->count, sizeof *params->grad_tensors);
    if (!params->grad_tensors) return HONE_ERR_MEMORY;
    HONE_TRY(hone_buffer_new(&params->values, device, bytes));
    HONE_TRY(hone_buffer_new(&params->grads, device, bytes));
    int64_t at = 0;
    for (size_t i = 0; i < params->count; i++) {
        hone_tensor *tensor = params->items[i].tensor;
        tensor->dtype = HONE_REAL;
        tensor->block = -1;
        tensor->data = (hone_real *)params->values.base + at;
        tensor->needs_grad = true;
        params->grad_tensors[i] = *tensor;
        params->grad_tensors[i].data = (hone_real *)params->grads.base + at;
        params->grad_tensors[i].needs_grad = false;
        tensor->grad = &params->grad_tensors[i];
        at += hone_tensor_count(tensor);
    }
    return HONE_OK;
}

void hone_params_free(hone_params *params) {
    for (size_t i = 0; i < params->count; i++) hone_free(params->items[i].name);
    hone_free(params->items);
    hone_free(params->grad_tensors);
    hone_buffer_free(&params->values);
    hone_buffer_free(&params->grads);
    *params = (hone_params){0};
}
