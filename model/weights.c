/*
 * The list of a model's weights, their shapes, and the parts of fused ones.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "model/model.h"

bool hone_weight_is_vector(const hone_weight *weight) {
    if (weight->bias) return true;
    return weight->layer < 0 ? weight->which == HONE_OUTER_NORM : weight->which < HONE_ROLE_LINEAR;
}

void hone_weight_shape(const hone_arch *arch, const hone_weight *weight, int64_t *rows,
                       int64_t *columns) {
    const int64_t outer[HONE_OUTERS] = {
        [HONE_OUTER_EMBEDDING] = arch->vocabulary,
        [HONE_OUTER_POSITIONS] = arch->context,
        [HONE_OUTER_NORM] = arch->width,
        [HONE_OUTER_HEAD] = arch->vocabulary,
    };
    *columns = arch->width;
    if (weight->layer < 0) {
        *rows = outer[weight->which];
    } else {
        hone_arch_linear(arch, (hone_role)weight->which, rows, columns);
    }
    if (hone_weight_is_vector(weight)) *columns = 1;
}

void hone_weight_give_shape(const hone_arch *arch, const hone_weight *weight, hone_dtype type) {
    int64_t rows, columns;
    hone_weight_shape(arch, weight, &rows, &columns);
    bool vector = hone_weight_is_vector(weight);
    const char *name = !vector ? "weight" : weight->bias ? "bias" : "norm gain";
    *weight->tensor =
        hone_tensor_over(name, vector ? HONE_REAL : type, rows, vector ? 0 : columns, NULL);
}

hone_status hone_model_outline(hone_model **out, const hone_arch *arch, hone_dtype type,
                               const hone_device *device) {
    hone_model *model = hone_alloc(1, sizeof *model);
    if (!model) return HONE_ERR_MEMORY;
    model->arch = *arch;
    model->device = device;
    hone_status status = hone_model_list_weights(model);
    if (status != HONE_OK) {
        hone_model_close(model);
        return status;
    }
    for (size_t i = 0; i < model->weight_count; i++)
        hone_weight_give_shape(arch, &model->weights[i], type);
    hone_model_divide(model);
    *out = model;
    return HONE_OK;
}

static void add(hone_model *model, int64_t layer, int which, bool bias, hone_tensor *tensor) {
    model->weights[model->weight_count++] = (hone_weight){layer, which, bias, tensor};
}

static void add_layer(hone_model *model, int64_t l) {
    hone_layer *layer = &model->layers[l];
    for (int role = 0; role < HONE_ROLES; role++) {
        if (!hone_family_has(model->arch.family, (hone_role)role)) continue;
        add(model, l, role, false, &layer->weight[role]);
        if (model->arch.biased[role]) add(model, l, role, true, &layer->bias[role]);
    }
}

hone_status hone_model_list_weights(hone_model *model) {
    const hone_arch *arch = &model->arch;
    size_t most = (size_t)arch->layers * 2 * HONE_ROLES + HONE_OUTERS + 1;
    model->layers = hone_alloc((size_t)arch->layers, sizeof *model->layers);
    model->weights = hone_alloc(most, sizeof *model->weights);
    model->own = hone_alloc(most, sizeof *model->own);
    if (!model->layers || !model->weights || !model->own) return HONE_ERR_MEMORY;
    add(model, -1, HONE_OUTER_EMBEDDING, false, &model->outer[HONE_OUTER_EMBEDDING]);
    if (arch->family->learned_positions) {
        add(model, -1, HONE_OUTER_POSITIONS, false, &model->outer[HONE_OUTER_POSITIONS]);
    }
    for (int64_t l = 0; l < arch->layers; l++) add_layer(model, l);
    add(model, -1, HONE_OUTER_NORM, false, &model->outer[HONE_OUTER_NORM]);
    if (arch->family->norm == HONE_NORM_LAYER) {
        add(model, -1, HONE_OUTER_NORM, true, &model->norm_bias);
    }
    if (!arch->tied) add(model, -1, HONE_OUTER_HEAD, false, &model->outer[HONE_OUTER_HEAD]);
    return HONE_OK;
}

hone_status hone_model_part_qkv(hone_model *model) {
    const hone_arch *arch = &model->arch;
    if (!hone_family_has(arch->family, HONE_ROLE_Q)) return HONE_OK;
    for (int64_t i = 0; i < 2 * arch->layers; i++) {
        char whole[HONE_NAME], names[3][HONE_NAME];
        const char *pointers[3];
        int64_t rows[3], columns;
        snprintf(whole, sizeof whole, "blk.%lld.attn_qkv.%s", (long long)(i / 2),
                 i % 2 ? "bias" : "weight");
        if (!hone_gguf_tensor_find(model->gguf, whole)) continue;
        for (int part = 0; part < 3; part++) {
            hone_weight weight = {i / 2, HONE_ROLE_Q + part, i % 2, NULL};
            hone_weight_name(names[part], arch, HONE_FORM_GGUF, &weight);
            hone_arch_linear(arch, HONE_ROLE_Q + part, &rows[part], &columns);
            pointers[part] = names[part];
        }
        HONE_TRY(hone_gguf_cut(model->gguf, whole, 3, pointers, rows));
        model->qkv_as_one = true;
    }
    return HONE_OK;
}

int64_t hone_model_weight_bytes(const hone_model *model) {
    int64_t bytes = 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_tensor *w = model->weights[i].tensor;
        bytes += w->shape[0] * (int64_t)hone_dtype_row_bytes(w->dtype, w->shape[1]);
    }
    return bytes;
}

hone_dtype hone_model_usual_type(const hone_model *model) {
    const hone_tensor *weights = model->layers[0].weight;
    return weights[hone_family_whole(model->arch.family, HONE_ROLE_Q)].dtype;
}

hone_tensor hone_tensor_rows(const hone_tensor *whole, int64_t begin, int64_t rows) {
    size_t row_bytes = hone_dtype_row_bytes(whole->dtype, whole->shape[1]);
    hone_tensor part = *whole;
    part.shape[0] = rows;
    part.grad = NULL;
    if (whole->data) part.data = (char *)whole->data + (size_t)begin * row_bytes;
    return part;
}

static void set_part(hone_tensor *part, hone_tensor *grad, const hone_tensor *whole, int64_t begin,
                     int64_t rows) {
    *part = hone_tensor_rows(whole, begin, rows);
    if (!whole->grad) return;
    *grad = hone_tensor_rows(whole->grad, begin, rows);
    part->grad = grad;
}

void hone_model_divide(hone_model *model) {
    const hone_arch *arch = &model->arch;
    for (int64_t l = 0; l < arch->layers; l++) {
        hone_layer *layer = &model->layers[l];
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            hone_role whole = hone_family_whole(arch->family, role);
            if (whole == role) continue;
            int64_t begin = hone_arch_part_begin(arch, role), rows, columns;
            int i = (int)role - HONE_ROLE_LINEAR;
            hone_arch_linear(arch, role, &rows, &columns);
            set_part(&layer->weight[role], &layer->grads[0][i], &layer->weight[whole], begin, rows);
            if (!arch->biased[whole]) continue;
            set_part(&layer->bias[role], &layer->grads[1][i], &layer->bias[whole], begin, rows);
        }
    }
}
