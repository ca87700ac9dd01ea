/*
 * Every weight trainable: fine-tuning all parameters, and training from scratch.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/philox.h"
#include "model/model.h"

/* Calls `visit` for every weight, in the order of the forward pass. */
typedef hone_status (*weight_visitor)(void *context, hone_tensor *weight, int64_t layer, int which);

static hone_status visit_weights(hone_model *model, weight_visitor visit, void *context) {
    HONE_TRY(visit(context, &model->embedding, -1, HONE_OUTER_EMBEDDING));
    for (int64_t l = 0; l < model->arch.layers; l++) {
        for (int role = 0; role < HONE_ROLES; role++) {
            HONE_TRY(visit(context, &model->layers[l].weight[role], l, role));
        }
    }
    HONE_TRY(visit(context, &model->norm, -1, HONE_OUTER_NORM));
    if (model->arch.tied) return HONE_OK;
    return visit(context, &model->head, -1, HONE_OUTER_HEAD);
}

static hone_status add_param(void *context, hone_tensor *weight, int64_t layer, int which) {
    hone_params *params = context;
    char name[HONE_NAME];
    hone_weight_name_hf(name, layer, which);
    hone_param *param = &params->items[params->count++];
    param->name = hone_strdup(name);
    param->tensor = weight;
    param->decays = weight->dims == 2;
    return param->name ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status list_params(hone_model *model) {
    size_t most = (size_t)model->arch.layers * HONE_ROLES + 3;
    model->params.items = hone_alloc(most, sizeof *model->params.items);
    if (!model->params.items) return HONE_ERR_MEMORY;
    return visit_weights(model, add_param, &model->params);
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
    return status;
}

/* --- Fresh weights --- */

static hone_status give_shape(void *context, hone_tensor *weight, int64_t layer, int which) {
    const hone_arch *arch = context;
    int64_t rows = arch->vocabulary, columns = arch->width;
    if (layer >= 0) hone_arch_linear(arch, (hone_role)which, &rows, &columns);
    bool gain = layer >= 0 ? which < HONE_ROLE_LINEAR : which == HONE_OUTER_NORM;
    *weight = hone_tensor_over(gain ? "norm gain" : "weight", HONE_REAL, gain ? arch->width : rows,
                               gain ? 0 : columns, NULL);
    return HONE_OK;
}

/* Two normal numbers from one draw (Box-Muller). */
static float normal(uint64_t seed, uint32_t tensor, int64_t element) {
    hone_philox draw = hone_philox_draw(seed, (uint32_t)(element / 2), (uint32_t)(element >> 33),
                                        tensor, 0x696e6974u /* "init" */);
    double radius = sqrt(-2 * log(1 - (double)hone_uniform(draw.word[0])));
    double angle = 2 * M_PI * (double)hone_uniform(draw.word[1]);
    return (float)(radius * (element % 2 ? sin(angle) : cos(angle)));
}

typedef struct fresh {
    hone_model *model;
    uint64_t seed;
    uint32_t tensor;
    float *host; /* as large as the largest weight */
} fresh;

static hone_status fill_fresh(void *context, hone_tensor *weight, int64_t layer, int which) {
    fresh *f = context;
    const hone_arch *arch = &f->model->arch;
    int64_t n = hone_tensor_count(weight);
    bool into_residual = layer >= 0 && (which == HONE_ROLE_O || which == HONE_ROLE_DOWN);
    double scale = arch->initializer_range;
    if (into_residual) scale /= sqrt(2 * (double)arch->layers);
    for (int64_t i = 0; i < n; i++) {
        f->host[i] = weight->dims == 1 ? 1 : (float)scale * normal(f->seed, f->tensor, i);
    }
    f->tensor++;
    return hone_device_copy_in(f->model->device, weight->data, f->host,
                               (size_t)n * sizeof *f->host);
}

static int64_t largest(const hone_params *params) {
    int64_t most = 0;
    for (size_t i = 0; i < params->count; i++) {
        int64_t n = hone_tensor_count(params->items[i].tensor);
        if (n > most) most = n;
    }
    return most;
}

static hone_status make_fresh(hone_model *model, uint64_t seed) {
    model->layers = hone_alloc((size_t)model->arch.layers, sizeof *model->layers);
    if (!model->layers) return HONE_ERR_MEMORY;
    HONE_TRY(visit_weights(model, give_shape, &model->arch));
    HONE_TRY(list_params(model));
    HONE_TRY(hone_params_allocate(&model->params, model->device));
    fresh f = {model, seed, 0, hone_alloc((size_t)largest(&model->params), sizeof(float))};
    if (!f.host) return HONE_ERR_MEMORY;
    hone_status status = visit_weights(model, fill_fresh, &f);
    hone_free(f.host);
    return status;
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
    if (status == HONE_OK) status = make_fresh(model, seed);
    if (status != HONE_OK) {
        hone_model_close(model);
        return status;
    }
    *out = model;
    return HONE_OK;
}
