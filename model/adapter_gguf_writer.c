#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "formats/gguf_writer.h"
#include "model/adapter_factors.h"
#include "model/adapter_gguf.h"

/* The alpha that all pairs share, or 0 when they do not (or it is 0, which the format takes for "none"). */
static double common_alpha(const hone_adapter *adapter) {
    size_t count = (size_t)adapter->model->arch.layers * HONE_LINEARS;
    double common = 0;
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        const hone_lora_pair *pair = &adapter->pairs[i];
        if (pair->rank == 0) continue;
        double alpha = pair->scale * (double)pair->rank;
        if (!first && fabs(alpha - common) > 1e-12 * fabs(common)) return 0;
        common = alpha;
        first = false;
    }
    return common;
}

static hone_status set_text(hone_gguf_writer *writer, const char *key, const char *text) {
    return text ? hone_gguf_set_string(writer, key, text, strlen(text)) : HONE_OK;
}

static hone_status set_metadata(hone_gguf_writer *writer, const hone_adapter *adapter,
                                const hone_adapter_info *info, double alpha) {
    HONE_TRY(set_text(writer, "general.architecture", adapter->model->arch.family->gguf));
    HONE_TRY(set_text(writer, "general.type", "adapter"));
    HONE_TRY(set_text(writer, "adapter.type", "lora"));
    if (alpha != 0) HONE_TRY(hone_gguf_set_f32(writer, "adapter.lora.alpha", (float)alpha));
    const char *base = info->base_name ? info->base_name : adapter->model->path;
    HONE_TRY(set_text(writer, HONE_GGUF_BASE_NAME, base));
    HONE_TRY(set_text(writer, HONE_GGUF_BASE_HASH, info->base_hash));
    HONE_TRY(set_text(writer, HONE_GGUF_TOKENIZER_HASH, info->tokenizer_hash));
    HONE_TRY(set_text(writer, HONE_GGUF_VOCABULARY_HASH, info->vocabulary_hash));
    HONE_TRY(set_text(writer, HONE_GGUF_CHAT_TEMPLATE, info->chat_template));
    HONE_TRY(set_text(writer, HONE_GGUF_TEMPLATE_HASH, info->template_hash));
    if (info->chat_variables && *info->chat_variables)
        HONE_TRY(set_text(writer, HONE_GGUF_CHAT_VARIABLES, info->chat_variables));
    return set_text(writer, HONE_GGUF_VERSION, HONE_VERSION);
}

typedef struct output {
    hone_gguf_writer *writer;
    const hone_adapter *adapter;
    bool fold; /* B takes the scale */
} output;

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

static const hone_tensor *factor_of(const output *to, int64_t layer, hone_role role,
                                    hone_half half) {
    const hone_lora_pair *pair = hone_adapter_pair(to->adapter, layer, role);
    return half == HONE_HALF_A ? &pair->a : &pair->b;
}

static hone_status declare(const output *to, int64_t layer, hone_role role, hone_half half) {
    const hone_tensor *factor = factor_of(to, layer, role, half);
    char base[HONE_NAME], name[HONE_NAME + 16];
    hone_module_name(base, &to->adapter->model->arch, HONE_FORM_GGUF, layer, (int)role);
    snprintf(name, sizeof name, "%s.weight.lora_%c", base, half == HONE_HALF_A ? 'a' : 'b');
    int64_t sizes[2] = {factor->shape[1], factor->shape[0]};
    return hone_gguf_add_tensor(to->writer, name, HONE_F32, 2, sizes);
}

static hone_status put(const output *to, int64_t layer, hone_role role, hone_half half) {
    const hone_tensor *factor = factor_of(to, layer, role, half);
    int64_t count = hone_tensor_count(factor);
    float *values;
    HONE_TRY(hone_factor_fetch(&values, to->adapter, layer, role, half, true));
    if (to->fold && half == HONE_HALF_B) {
        double scale = hone_adapter_pair(to->adapter, layer, role)->scale;
        for (int64_t i = 0; i < count; i++) values[i] = (float)((double)values[i] * scale);
    }
    hone_status status = hone_gguf_data(to->writer, values, (size_t)count * sizeof *values);
    hone_free(values);
    return status;
}

hone_status hone_adapter_check_gguf(const hone_adapter *adapter) {
    const hone_model *model = adapter->model;
    for (int64_t i = 0; model->qkv_as_one && i < 3 * model->arch.layers; i++) {
        hone_role role = HONE_ROLE_Q + (hone_role)(i % 3);
        if (hone_adapter_pair(adapter, i / 3, role)->rank == 0) continue;
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "%s: its q, k and v are one matrix (attn_qkv), for whose parts a GGUF adapter "
            "has no names; use the PEFT folder, merge into a GGUF, or convert the model "
            "again without --fuse-qkv",
            model->path);
    }
    return HONE_OK;
}

hone_status hone_adapter_write_gguf(const hone_adapter *adapter, const char *path,
                                    const hone_adapter_info *info) {
    static const hone_adapter_info nothing = {0};
    if (adapter->params.count == 0) return hone_fail(HONE_ERR_USAGE, "the adapter adapts no layer");
    HONE_TRY(hone_adapter_check_gguf(adapter));
    double alpha = common_alpha(adapter);
    output to = {.adapter = adapter, .fold = alpha == 0};
    HONE_TRY(hone_gguf_writer_new(&to.writer));
    hone_status status = set_metadata(to.writer, adapter, info ? info : &nothing, alpha);
    if (status == HONE_OK) status = visit_factors(&to, declare);
    if (status == HONE_OK) status = hone_gguf_begin(to.writer, path);
    if (status == HONE_OK) status = visit_factors(&to, put);
    if (status == HONE_OK) status = hone_gguf_commit(to.writer);
    hone_gguf_writer_free(to.writer);
    return status;
}
