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

static hone_status name_param(hone_param *param, hone_tensor *tensor, const hone_arch *arch,
                              int64_t layer, hone_role role, const char *factor) {
    char module[HONE_NAME], name[HONE_NAME + 16];
    hone_module_name(module, arch, HONE_FORM_HF, layer, (int)role);
    snprintf(name, sizeof name, "%s.%s.weight", module, factor);
    *param = (hone_param){.name = hone_strdup(name), .tensor = tensor, .decays = true};
    return param->name ? HONE_OK : HONE_ERR_MEMORY;
}

/* Points the parts of fused factors into them. */
static void divide(hone_adapter *adapter, int64_t layer, hone_role role) {
    const hone_arch *arch = &adapter->model->arch;
    hone_role whole = hone_family_whole(arch->family, role);
    hone_lora_pair *pair = hone_adapter_pair(adapter, layer, whole);
    if (whole == role || pair->rank == 0) return;
    hone_tensor *part = hone_adapter_part(pair, role);
    hone_tensor *grad = &pair->part_grad[part - pair->part];
    int64_t begin = hone_arch_part_begin(arch, role), rows, columns;
    hone_arch_linear(arch, role, &rows, &columns);
    *part = hone_tensor_rows(&pair->b, begin, rows);
    *grad = hone_tensor_rows(pair->b.grad, begin, rows);
    part->grad = grad;
}

hone_status hone_adapter_allocate(hone_adapter *adapter) {
    const hone_arch *arch = &adapter->model->arch;
    hone_params *params = &adapter->params;
    params->items = hone_alloc(2 * (size_t)pair_count(adapter), sizeof *params->items);
    if (!params->items) return HONE_ERR_MEMORY;
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            hone_lora_pair *pair = hone_adapter_pair(adapter, l, role);
            if (pair->rank == 0) continue;
            HONE_TRY(
                name_param(&params->items[params->count++], &pair->a, arch, l, role, "lora_A"));
            HONE_TRY(
                name_param(&params->items[params->count++], &pair->b, arch, l, role, "lora_B"));
        }
    }
    HONE_TRY(hone_params_allocate(params, adapter->model->device));
    for (int64_t l = 0; l < arch->layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) divide(adapter, l, role);
    }
    return HONE_OK;
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

/* The roles that files hold for the chosen parts. */
static hone_status choose(bool chosen[HONE_ROLES], const hone_family *family, uint32_t targets) {
    bool any = false;
    for (int i = 0; i < HONE_TARGETS; i++) {
        hone_role whole = hone_family_whole(family, (hone_role)(HONE_ROLE_LINEAR + i));
        if (!(targets >> i & 1u) || !hone_family_has(family, whole)) continue;
        chosen[whole] = any = true;
    }
    if (!any) {
        return hone_fail(HONE_ERR_USAGE, "%s models have none of the chosen targets",
                         family->model_type);
    }
    for (int i = 0; i < HONE_TARGETS; i++) {
        hone_role role = (hone_role)(HONE_ROLE_LINEAR + i);
        hone_role whole = hone_family_whole(family, role);
        if (whole == role || !chosen[whole] || (targets >> i & 1u)) continue;
        return hone_fail(HONE_ERR_USAGE,
                         "%s models have %s in one matrix, %s: choose all of these targets or none",
                         family->model_type, whole == HONE_ROLE_QKV ? "q, k and v" : "gate and up",
                         family->roles[whole].hf);
    }
    return HONE_OK;
}

static void declare_chosen(hone_adapter *adapter, const bool chosen[HONE_ROLES], int64_t rank,
                           double scale) {
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            if (chosen[role]) hone_adapter_declare(adapter, l, role, rank, scale);
        }
    }
}

hone_status hone_adapter_new(hone_adapter **out, const hone_model *model, uint32_t targets,
                             int64_t rank, double alpha, uint64_t seed) {
    bool chosen[HONE_ROLES] = {false};
    HONE_TRY(choose(chosen, model->arch.family, targets));
    hone_adapter *adapter;
    HONE_TRY(hone_adapter_new_empty(&adapter, model));
    declare_chosen(adapter, chosen, rank, alpha / (double)rank);
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
