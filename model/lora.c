#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/philox.h"

static int64_t pair_count(const hone_adapter *adapter) {
    return adapter->model->arch.layers * HONE_LINEARS;
}

hone_status hone_adapter_new_empty(hone_adapter **out, const hone_model *model) {
    hone_adapter *adapter = hone_alloc(1, sizeof *adapter);
    if (!adapter) return HONE_ERR_MEMORY;
    adapter->model = model;
    adapter->pairs = hone_alloc((size_t)pair_count(adapter), sizeof *adapter->pairs);
    if (!adapter->pairs) {
        hone_adapter_free(adapter);
        return HONE_ERR_MEMORY;
    }
    *out = adapter;
    return HONE_OK;
}

void hone_adapter_free(hone_adapter *adapter) {
    if (!adapter) return;
    hone_params_free(&adapter->params);
    hone_free(adapter->pairs);
    hone_free(adapter);
}

void hone_adapter_declare(hone_adapter *adapter, int64_t layer, hone_role role, int64_t rank,
                          double scale) {
    hone_lora_pair *pair = hone_adapter_pair(adapter, layer, role);
    int64_t out, in;
    hone_arch_linear(&adapter->model->arch, role, &out, &in);
    pair->rank = rank;
    pair->scale = scale;
    pair->a = hone_tensor_over("lora factor", HONE_REAL, rank, in, NULL);
    pair->b = hone_tensor_over("lora factor", HONE_REAL, out, rank, NULL);
}

static hone_status name_param(hone_param *param, hone_tensor *tensor, int64_t layer, hone_role role,
                              const char *factor) {
    char name[HONE_NAME];
    snprintf(name, sizeof name, "model.layers.%lld.%s.%s.weight", (long long)layer,
             hone_roles[role].hf, factor);
    *param = (hone_param){.name = hone_strdup(name), .tensor = tensor, .decays = true};
    return param->name ? HONE_OK : HONE_ERR_MEMORY;
}

hone_status hone_adapter_allocate(hone_adapter *adapter) {
    hone_params *params = &adapter->params;
    params->items = hone_alloc(2 * (size_t)pair_count(adapter), sizeof *params->items);
    if (!params->items) return HONE_ERR_MEMORY;
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            hone_lora_pair *pair = hone_adapter_pair(adapter, l, role);
            if (pair->rank == 0) continue;
            HONE_TRY(name_param(&params->items[params->count++], &pair->a, l, role, "lora_A"));
            HONE_TRY(name_param(&params->items[params->count++], &pair->b, l, role, "lora_B"));
        }
    }
    return hone_params_allocate(params, adapter->model->device);
}

/* A of the n-th adapted layer; the n-th stream of the seed. */
static hone_status fill_fresh(const hone_tensor *a, const hone_device *device, uint64_t seed,
                              uint32_t n) {
    int64_t count = hone_tensor_count(a);
    hone_real bound = (hone_real)(1 / sqrt((double)a->shape[1]));
    hone_real *host = hone_alloc((size_t)count, sizeof *host);
    if (!host) return HONE_ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        hone_philox draw = hone_philox_draw(seed, (uint32_t)(i / 4), (uint32_t)(i >> 34), n,
                                            0x6c6f7261u /* "lora" */);
        host[i] = bound * (2 * (hone_real)hone_uniform(draw.word[i % 4]) - 1);
    }
    hone_status status = hone_device_copy_in(device, a->data, host, (size_t)count * sizeof *host);
    hone_free(host);
    return status;
}

hone_status hone_adapter_new(hone_adapter **out, const hone_model *model, uint32_t targets,
                             int64_t rank, double alpha, uint64_t seed) {
    hone_adapter *adapter;
    HONE_TRY(hone_adapter_new_empty(&adapter, model));
    for (int64_t l = 0; l < model->arch.layers; l++) {
        for (int i = 0; i < HONE_LINEARS; i++) {
            if (!(targets >> i & 1u)) continue;
            hone_adapter_declare(adapter, l, (hone_role)(HONE_ROLE_LINEAR + i), rank,
                                 alpha / (double)rank);
        }
    }
    hone_status status = hone_adapter_allocate(adapter);
    for (size_t i = 0; status == HONE_OK && i < adapter->params.count; i += 2) {
        status = fill_fresh(adapter->params.items[i].tensor, model->device, seed, (uint32_t)i / 2);
    }
    if (status != HONE_OK) {
        hone_adapter_free(adapter);
        return status;
    }
    *out = adapter;
    return HONE_OK;
}
