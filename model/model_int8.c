/*
 * The frozen weights of a model made ready for products in int8 (kernels/int8.h).
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/model.h"

enum { LINE = 64 };

/* What is multiplied by, and the weight of the file that it is, or is a part of. */
typedef struct matrix {
    hone_tensor *part;
    const hone_tensor *whole;
} matrix;

/* The matrices that the first `blocks` blocks multiply by, fused ones by their parts, and the head; to be freed. */
static hone_status collect(matrix **out, int64_t *count, hone_model *model, int64_t blocks) {
    const hone_family *family = model->arch.family;
    matrix *list = hone_alloc((size_t)blocks * HONE_TARGETS + 1, sizeof *list);
    if (!list) return HONE_ERR_MEMORY;
    *count = 0;
    for (int64_t l = 0; l < blocks; l++) {
        for (int i = 0; i < HONE_TARGETS; i++) {
            hone_role role = (hone_role)(HONE_ROLE_LINEAR + i);
            hone_role whole = hone_family_whole(family, role);
            hone_tensor *weights = model->layers[l].weight;
            if (hone_family_has(family, whole))
                list[(*count)++] = (matrix){&weights[role], &weights[whole]};
        }
    }
    list[(*count)++] = (matrix){hone_model_head(model), hone_model_head(model)};
    *out = list;
    return HONE_OK;
}

/* Small types are not copied: their int8 form would be larger than they are. */
static bool is_copied(const hone_tensor *w) {
    return hone_dtype_row_bytes(w->dtype, 256) >= 256;
}

static size_t lines(int64_t count, size_t size) {
    return ((size_t)count * size + LINE - 1) / LINE * LINE;
}

/* Where the parts of one weight lie in the memory of all; `used` counts on. */
typedef struct parts {
    float *row_factor, *column_factor, *block_scale;
    int8_t *q;
} parts;

static void *cut(size_t *used, void *memory, size_t bytes) {
    void *part = memory && bytes ? (unsigned char *)memory + *used : NULL;
    *used += bytes;
    return part;
}

static parts divide(size_t *used, void *memory, const hone_tensor *w) {
    int64_t out = w->shape[0], in = w->shape[1];
    bool copied = is_copied(w);
    int64_t blocks = hone_int8_blocks(out) * hone_int8_blocks(in);
    parts p;
    p.row_factor = cut(used, memory, lines(out, sizeof(float)));
    p.column_factor = cut(used, memory, lines(in, sizeof(float)));
    p.block_scale = cut(used, memory, copied ? lines(blocks, sizeof(float)) : 0);
    p.q = cut(used, memory, copied ? lines(out * in, 1) : 0);
    return p;
}

/* Whether it is read in int8 alone, where that is made of it. */
static bool may_go(const hone_weight *weight) {
    bool multiplied = weight->layer >= 0 || weight->which == HONE_OUTER_HEAD;
    return multiplied && !hone_weight_is_vector(weight) && is_copied(weight->tensor);
}

bool hone_model_int8_replaces(const hone_model *model, const hone_weight *weight) {
    bool there = !hone_device_is_host(model->device) && model->own[weight - model->weights].base;
    return model->int8 && may_go(weight) && !there;
}

/* A device's copy of what is read in int8 alone makes room, and comes back for the time that its int8 form is made in. */
static void leave_out(hone_model *model, int64_t blocks) {
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *w = &model->weights[i];
        if (!hone_device_is_host(model->device) && may_go(w) && w->layer < blocks)
            hone_buffer_free(&model->own[i]);
    }
}

/* The weight of the file that a matrix is made of, where it was left out; the count where it was not. */
static size_t left_out(const hone_model *model, const matrix *m) {
    size_t i = 0;
    while (i < model->weight_count && model->weights[i].tensor != m->whole) i++;
    bool host = hone_device_is_host(model->device);
    return host || model->own[i].base ? model->weight_count : i;
}

static void quantise(const hone_int8_weight *weight, const parts *p, const hone_kernels *kernels) {
    kernels->int8_column_factors(p->column_factor, weight);
    kernels->int8_row_factors(p->row_factor, weight);
    if (p->q) kernels->int8_quantize_weight(p->q, p->block_scale, weight, 0, weight->out);
}

/* The file's pages of what was copied need not stay in memory. */
static void let_go(const hone_model *model) {
    for (size_t i = 0; hone_device_is_host(model->device) && i < model->weight_count; i++) {
        const hone_tensor *w = model->weights[i].tensor;
        if (!hone_model_int8_replaces(model, &model->weights[i]) || model->own[i].base) continue;
        hone_map_let_go(w->data, (size_t)w->shape[0] * hone_dtype_row_bytes(w->dtype, w->shape[1]));
    }
}

static hone_status allocate(hone_model *model, const matrix *list, int64_t count) {
    size_t bytes = LINE;
    for (int64_t i = 0; i < count; i++) (void)divide(&bytes, NULL, list[i].part);
    model->int8 = hone_alloc((size_t)count, sizeof *model->int8);
    if (!model->int8) return HONE_ERR_MEMORY;
    return hone_buffer_new(&model->int8_memory, model->device, bytes);
}

static hone_status convert_one(hone_int8_weight *out, hone_model *model, const matrix *m,
                               size_t *used) {
    size_t weight = left_out(model, m);
    bool absent = weight < model->weight_count;
    if (absent) HONE_TRY(hone_model_reload(model, weight));
    parts p = divide(used, model->int8_memory.base, m->part);
    *out = (hone_int8_weight){
        .out = m->part->shape[0],
        .in = m->part->shape[1],
        .source = m->part->data,
        .type = m->part->dtype,
        .row_factor = p.row_factor,
        .column_factor = p.column_factor,
        .q = p.q,
        .block_scale = p.block_scale,
        .counts = model->int8_counts,
    };
    quantise(out, &p, model->device->kernels);
    if (!absent) return HONE_OK;
    out->source = m->part->data = NULL;
    hone_buffer_free(&model->own[weight]);
    return HONE_OK;
}

static hone_status convert(hone_model *model, const matrix *list, int64_t count) {
    size_t used = 0;
    model->int8_counts = cut(&used, model->int8_memory.base, LINE);
    for (int64_t i = 0; i < count; i++) {
        HONE_TRY(convert_one(&model->int8[i], model, &list[i], &used));
        if (i % HONE_TARGETS == 0) let_go(model); /* now and then: the peak stays low */
    }
    for (int64_t i = 0; i < count; i++) list[i].part->int8 = &model->int8[i];
    let_go(model);
    return HONE_OK;
}

hone_status hone_model_int8(hone_model *model, int64_t blocks) {
    matrix *list;
    int64_t count;
    HONE_TRY(collect(&list, &count, model, blocks));
    hone_model_head_free(model);
    leave_out(model, blocks);
    hone_status status = allocate(model, list, count);
    if (status == HONE_OK) status = convert(model, list, count);
    hone_free(list);
    return status;
}

hone_status hone_model_whole(hone_model *model) {
    bool left_out = model->int8 && !hone_device_is_host(model->device);
    hone_model_int8_free(model);
    for (size_t i = 0; left_out && i < model->weight_count; i++) {
        if (may_go(&model->weights[i]) && !model->own[i].base)
            HONE_TRY(hone_model_reload(model, i));
    }
    return HONE_OK;
}

double hone_model_int8_outliers(const hone_model *model) {
    hone_int8_counts counts = {0};
    if (!model->int8_counts ||
        hone_device_copy_out(model->device, &counts, model->int8_counts, sizeof counts) != HONE_OK)
        return -1;
    return counts.blocks ? (double)counts.marked / (double)counts.blocks : -1;
}

void hone_int8_outliers_text(char out[96], double part) {
    snprintf(out, 96, "%.2f %% of the blocks of activations had an outlier and took 16 bits",
             100 * part);
}

void hone_model_int8_free(hone_model *model) {
    for (int64_t l = 0; model->int8 && l < model->arch.layers; l++) {
        for (int role = 0; role < HONE_ROLES; role++) model->layers[l].weight[role].int8 = NULL;
    }
    if (model->int8) hone_model_head(model)->int8 = NULL;
    hone_buffer_free(&model->int8_memory);
    hone_free(model->int8);
    model->int8 = NULL;
    model->int8_counts = NULL;
}
