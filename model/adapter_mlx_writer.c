#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "formats/safetensors_writer.h"
#include "model/adapter_factors.h"
#include "model/adapter_mlx.h"

typedef struct output {
    hone_safetensors_writer *writer;
    const hone_adapter *adapter;
    int64_t rank;  /* of all pairs: the largest */
    int64_t first; /* block that is adapted */
    double scale;  /* of all pairs; 0: they differ, and B takes them */
} output;

/* What all pairs have in common. */
static hone_status survey(output *to) {
    const hone_adapter *adapter = to->adapter;
    int64_t pairs = adapter->model->arch.layers * HONE_LINEARS;
    bool any = false;
    to->first = 0;
    for (int64_t i = 0; i < pairs; i++) {
        const hone_lora_pair *pair = &adapter->pairs[i];
        if (pair->rank == 0) continue;
        if (!any) {
            to->first = i / HONE_LINEARS;
            to->scale = pair->scale;
        }
        any = true;
        if (pair->rank > to->rank) to->rank = pair->rank;
        if (fabs(pair->scale - to->scale) > 1e-12 * fabs(to->scale)) to->scale = 0;
    }
    return any ? HONE_OK : hone_fail(HONE_ERR_USAGE, "the adapter adapts no layer");
}

typedef hone_status (*factor_visitor)(const output *to, int64_t layer, hone_role role,
                                      hone_half half);

static hone_status visit_factors(const output *to, factor_visitor visit) {
    for (int64_t l = 0; l < to->adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            if (hone_adapter_pair(to->adapter, l, role)->rank == 0) continue;
            HONE_TRY(visit(to, l, role, HONE_HALF_A));
            HONE_TRY(visit(to, l, role, HONE_HALF_B));
        }
    }
    return HONE_OK;
}

static hone_status declare(const output *to, int64_t layer, hone_role role, hone_half half) {
    const hone_lora_pair *pair = hone_adapter_pair(to->adapter, layer, role);
    const hone_family *family = to->adapter->model->arch.family;
    char blocks[HONE_NAME], name[2 * HONE_NAME];
    hone_mlx_blocks(blocks, family);
    snprintf(name, sizeof name, "%s%lld.%s.lora_%c", blocks, (long long)layer,
             family->roles[role].hf, half == HONE_HALF_A ? 'a' : 'b');
    int64_t of_a[2] = {pair->a.shape[1], to->rank}, of_b[2] = {to->rank, pair->b.shape[0]};
    return hone_safetensors_add_tensor(to->writer, name, HONE_F32, 2,
                                       half == HONE_HALF_A ? of_a : of_b);
}

/* Transposed, with zeros up to the rank of the file, and B with its scale where scales differ. */
static hone_status put(const output *to, int64_t layer, hone_role role, hone_half half) {
    const hone_lora_pair *pair = hone_adapter_pair(to->adapter, layer, role);
    bool is_a = half == HONE_HALF_A;
    int64_t rank = pair->rank, outside = is_a ? pair->a.shape[1] : pair->b.shape[0];
    double factor = !is_a && to->scale == 0 ? pair->scale : 1;
    size_t count = (size_t)(to->rank * outside);
    float *values = NULL, *turned = hone_alloc(count, sizeof *turned);
    hone_status status = turned ? hone_factor_fetch(&values, to->adapter, layer, role, half, false)
                                : HONE_ERR_MEMORY;
    for (int64_t r = 0; status == HONE_OK && r < rank; r++) {
        for (int64_t i = 0; i < outside; i++) {
            if (is_a)
                turned[i * to->rank + r] = values[r * outside + i];
            else
                turned[r * outside + i] = (float)((double)values[i * rank + r] * factor);
        }
    }
    if (status == HONE_OK) {
        status = hone_safetensors_data(to->writer, turned, count * sizeof *turned);
    }
    hone_free(values);
    hone_free(turned);
    return status;
}

static hone_status write_tensors(output *to, const char *path, const hone_adapter_info *info) {
    HONE_TRY(hone_safetensors_writer_new(&to->writer));
    hone_status status = hone_adapter_put_info(to->writer, info, "mlx");
    if (status == HONE_OK) status = visit_factors(to, declare);
    if (status == HONE_OK) status = hone_safetensors_begin(to->writer, path);
    if (status == HONE_OK) status = visit_factors(to, put);
    if (status == HONE_OK) status = hone_safetensors_commit(to->writer);
    hone_safetensors_writer_free(to->writer);
    return status;
}

/* Module paths inside a block: those of any block, which MLX then gives factors in every adapted one. Those that are not
 * in the file stay without effect. */
static json_t *module_keys(const hone_adapter *adapter) {
    const hone_family *family = adapter->model->arch.family;
    json_t *keys = json_array();
    for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
        bool used = false;
        for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
            used = used || hone_adapter_pair(adapter, l, role)->rank > 0;
        }
        if (used) json_array_append_new(keys, json_string(family->roles[role].hf));
    }
    return keys;
}

static hone_status write_config(const output *to, const char *path, const hone_adapter_info *info) {
    const hone_adapter *adapter = to->adapter;
    json_t *model = json_string(info->base_name ? info->base_name : adapter->model->path);
    json_t *config =
        json_pack("{s:s, s:o, s:I, s:{s:I, s:f, s:f, s:o}}", "fine_tune_type", "lora", "model",
                  model ? model : json_null(), "num_layers",
                  (json_int_t)(adapter->model->arch.layers - to->first), "lora_parameters", "rank",
                  (json_int_t)to->rank, "scale", to->scale == 0 ? 1.0 : to->scale, "dropout",
                  adapter->dropout, "keys", module_keys(adapter));
    hone_status status = config ? hone_json_save(config, path)
                                : hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make a config");
    json_decref(config);
    return status;
}

hone_status hone_adapter_write_mlx(const hone_adapter *adapter, const char *folder,
                                   const hone_adapter_info *info) {
    static const hone_adapter_info nothing = {0};
    output to = {.adapter = adapter};
    if (!info) info = &nothing;
    HONE_TRY(survey(&to));
    char *tensors = hone_path_join(folder, "adapters.safetensors");
    char *settings = hone_path_join(folder, "adapter_config.json");
    hone_status status = tensors && settings ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_dir_make(folder);
    if (status == HONE_OK) status = write_tensors(&to, tensors, info);
    if (status == HONE_OK) status = write_config(&to, settings, info);
    hone_free(tensors);
    hone_free(settings);
    return status;
}
