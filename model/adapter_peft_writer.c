#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/safetensors_writer.h"
#include "model/adapter_factors.h"
#include "model/adapter_peft.h"

/* Calls `visit` for both factors of every adapted layer, always in the same order. */
typedef hone_status (*factor_visitor)(hone_safetensors_writer *writer, const hone_adapter *adapter,
                                      int64_t layer, hone_role role, hone_half half);

static hone_status visit_factors(hone_safetensors_writer *writer, const hone_adapter *adapter,
                                 factor_visitor visit) {
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            if (hone_adapter_pair(adapter, l, role)->rank == 0) continue;
            HONE_TRY(visit(writer, adapter, l, role, HONE_HALF_A));
            HONE_TRY(visit(writer, adapter, l, role, HONE_HALF_B));
        }
    }
    return HONE_OK;
}

static hone_status declare(hone_safetensors_writer *writer, const hone_adapter *adapter,
                           int64_t layer, hone_role role, hone_half half) {
    const hone_lora_pair *pair = hone_adapter_pair(adapter, layer, role);
    const hone_tensor *factor = half == HONE_HALF_A ? &pair->a : &pair->b;
    char module[HONE_NAME], name[HONE_NAME + 40];
    hone_module_name(module, &adapter->model->arch, HONE_FORM_HF, layer, (int)role);
    snprintf(name, sizeof name, "base_model.model.%s.lora_%c.weight", module,
             half == HONE_HALF_A ? 'A' : 'B');
    return hone_safetensors_add_tensor(writer, name, HONE_F32, 2, factor->shape);
}

static hone_status put(hone_safetensors_writer *writer, const hone_adapter *adapter, int64_t layer,
                       hone_role role, hone_half half) {
    const hone_lora_pair *pair = hone_adapter_pair(adapter, layer, role);
    const hone_tensor *factor = half == HONE_HALF_A ? &pair->a : &pair->b;
    float *values;
    HONE_TRY(hone_factor_fetch(&values, adapter, layer, role, half, false));
    size_t bytes = (size_t)hone_tensor_count(factor) * sizeof *values;
    hone_status status = hone_safetensors_data(writer, values, bytes);
    hone_free(values);
    return status;
}

static hone_status write_tensors(const hone_adapter *adapter, const char *path,
                                 const hone_adapter_info *info) {
    hone_safetensors_writer *writer;
    HONE_TRY(hone_safetensors_writer_new(&writer));
    hone_status status = hone_adapter_put_info(writer, info, "pt");
    if (status == HONE_OK) status = visit_factors(writer, adapter, declare);
    if (status == HONE_OK) status = hone_safetensors_begin(writer, path);
    if (status == HONE_OK) status = visit_factors(writer, adapter, put);
    if (status == HONE_OK) status = hone_safetensors_commit(writer);
    hone_safetensors_writer_free(writer);
    return status;
}

hone_status hone_adapter_write_peft(const hone_adapter *adapter, const char *folder,
                                    const hone_adapter_info *info) {
    static const hone_adapter_info nothing = {0};
    json_t *config;
    if (!info) info = &nothing;
    HONE_TRY(hone_peft_config(&config, adapter, info));
    char *tensors = hone_path_join(folder, "adapter_model.safetensors");
    char *settings = hone_path_join(folder, "adapter_config.json");
    hone_status status = tensors && settings ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_dir_make(folder);
    if (status == HONE_OK) status = write_tensors(adapter, tensors, info);
    if (status == HONE_OK) status = hone_json_save(config, settings);
    json_decref(config);
    hone_free(tensors);
    hone_free(settings);
    return status;
}
