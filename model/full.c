/*
 * Every weight trainable: fine-tuning all parameters, and training from scratch.
 */
#include <math.h>

#include "base/alloc.h"
#include "base/philox.h"
#include "model/model.h"

static hone_status list_params(hone_model *model) {
    hone_params *params = &model->params;
    params->items = hone_alloc(model->weight_count, sizeof *params->items);
    if (!params->items) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *weight = &model->weights[i];
        char name[HONE_NAME];
        hone_weight_name(name, &model->arch, HONE_FORM_HF, weight);
        hone_param *param = &params->items[params->count++];
        *param = (hone_param){hone_strdup(name), weight->tensor, !hone_weight_is_vector(weight)};
        if (!param->name) return HONE_ERR_MEMORY;
    }
    return HONE_OK;
}

hone_status hone_model_train_all(hone_model *model) {
    HONE_TRY(list_params(model));
    hone_params *params = &model->params;
    hone_tensor *frozen = hone_alloc(params->count, sizeof *frozen);
    if (!frozen) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < params->count; i++) frozen[i] = *params->items[i].tensor;
    hone_status status = hone_params_allocate(params, model->device);
    for (size_t i = 0; status == HONE_OK && i < params->count; i++) {
        model->device->kernels->dequantize(params->items[i].tensor->data, frozen[i].data,
                                           frozen[i].dtype, hone_tensor_count(&frozen[i]));
    }
    hone_free(frozen);
    for (size_t i = 0; i < model->weight_count; i++) hone_buffer_free(&model->own[i]);
    if (model->gguf) hone_gguf_drop(model->gguf);
    if (model->safetensors) hone_safetensors_drop(model->safetensors);
    hone_model_divide(model);
    return status;
}

/* --- Fresh weights --- */

/* Two normal numbers from one draw (Box-Muller). */
static float normal(uint64_t seed, uint32_t tensor, int64_t element) {
    hone_philox draw = hone_philox_draw(seed, (uint32_t)(element / 2), (uint32_t)(element >> 33),
                                        tensor, 0x696e6974u /* "init" */);
    double radius = sqrt(-2 * log(1 - (double)hone_uniform(draw.word[0])));
    double angle = 2 * M_PI * (double)hone_uniform(draw.word[1]);
    return (float)(radius * (element % 2 ? sin(angle) : cos(angle)));
}

/* Element i of the n-th weight. */
static float fresh_value(const hone_arch *arch, const hone_weight *weight, uint64_t seed,
                         uint32_t n, int64_t i) {
    if (hone_weight_is_vector(weight)) return weight->bias ? 0 : 1;
    bool into_residual =
        weight->layer >= 0 && (weight->which == HONE_ROLE_O || weight->which == HONE_ROLE_DOWN);
    double scale = arch->initializer_range;
    if (into_residual) scale /= sqrt(2 * (double)arch->layers);
    return (float)scale * normal(seed, n, i);
}

static int64_t largest(const hone_params *params) {
    int64_t most = 0;
    for (size_t i = 0; i < params->count; i++) {
        int64_t n = hone_tensor_count(params->items[i].tensor);
        if (n > most) most = n;
    }
    return most;
}

static hone_status fill_fresh(hone_model *model, uint64_t seed) {
    float *host = hone_alloc((size_t)largest(&model->params), sizeof *host);
    if (!host) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    for (size_t w = 0; status == HONE_OK && w < model->weight_count; w++) {
        const hone_weight *weight = &model->weights[w];
        int64_t n = hone_tensor_count(weight->tensor);
        for (int64_t i = 0; i < n; i++) {
            host[i] = fresh_value(&model->arch, weight, seed, (uint32_t)w, i);
        }
        status = hone_device_copy_in(model->device, weight->tensor->data, host,
                                     (size_t)n * sizeof *host);
    }
    hone_free(host);
    return status;
}

static hone_status make_fresh(hone_model *model, uint64_t seed) {
    HONE_TRY(hone_model_list_weights(model));
    for (size_t i = 0; i < model->weight_count; i++)
        hone_weight_give_shape(&model->arch, &model->weights[i], HONE_REAL);
    HONE_TRY(list_params(model));
    HONE_TRY(hone_params_allocate(&model->params, model->device));
    hone_model_divide(model);
    return fill_fresh(model, seed);
}

hone_status hone_model_create(hone_model **out, const char *config_path, const hone_device *device,
                              uint64_t seed) {
    hone_model *model = hone_alloc(1, sizeof *model);
    if (!model) return HONE_ERR_MEMORY;
    model->device = device;
    model->path = hone_strdup(config_path);
    hone_status status =
        model->path ? hone_json_load(&model->config, config_path) : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_arch_from_config(&model->arch, model->config, config_path);
    if (status == HONE_OK) status = hone_model_check_heads(model);
    if (status == HONE_OK) status = make_fresh(model, seed);
    if (status != HONE_OK) {
        hone_model_close(model);
        return status;
    }
    *out = model;
    return HONE_OK;
}
