/*
 * The frozen weights of a model made ready for products in int8 (kernels/int8.h).
 */
#include "base/alloc.h"
#include "base/file.h"
#include "model/model.h"

enum { LINE = 64, MATRICES = HONE_TARGETS + 1 };

/* Matrices that the forward pass multiplies by: those of a block, fused ones by their parts; of "block" L the head. */
static int matrices_of(hone_tensor *out[MATRICES], hone_model *model, int64_t layer) {
    const hone_family *family = model->arch.family;
    int count = 0;
    if (layer == model->arch.layers) {
        out[count++] = hone_model_head(model);
        return count;
    }
    for (int i = 0; i < HONE_TARGETS; i++) {
        hone_role role = (hone_role)(HONE_ROLE_LINEAR + i);
        if (!hone_family_has(family, hone_family_whole(family, role))) continue;
        out[count++] = &model->layers[layer].weight[role];
    }
    return count;
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

static size_t bytes_of_all(hone_model *model) {
    size_t bytes = 0;
    for (int64_t l = 0; l <= model->arch.layers; l++) {
        hone_tensor *w[MATRICES];
        int count = matrices_of(w, model, l);
        for (int i = 0; i < count; i++) (void)divide(&bytes, NULL, w[i]);
    }
    return bytes;
}

bool hone_model_int8_replaces(const hone_model *model, const hone_weight *weight) {
    bool matrix = weight->layer >= 0 || weight->which == HONE_OUTER_HEAD;
    return model->int8 && matrix && !hone_weight_is_vector(weight) && is_copied(weight->tensor);
}

static void quantise(const hone_int8_weight *weight, const parts *p, const hone_kernels *kernels) {
    kernels->int8_column_factors(p->column_factor, weight);
    kernels->int8_row_factors(p->row_factor, weight);
    if (p->q) kernels->int8_quantize_weight(p->q, p->block_scale, weight, 0, weight->out);
}

/* The file's pages of a block need not stay in memory once they are copied. */
static void let_go(const hone_model *model, int64_t layer) {
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *weight = &model->weights[i];
        const hone_tensor *w = weight->tensor;
        bool here = weight->layer == layer || (weight->layer < 0 && layer == model->arch.layers);
        if (!here || hone_weight_is_vector(weight) || model->turned[i].base) continue;
        hone_map_let_go(w->data, (size_t)w->shape[0] * hone_dtype_row_bytes(w->dtype, w->shape[1]));
    }
}

hone_status hone_model_int8(hone_model *model) {
    const hone_kernels *kernels = model->device->kernels;
    int64_t layers = model->arch.layers;
    size_t used = 0, next = 0;
    model->int8 = hone_alloc((size_t)layers * HONE_TARGETS + 1, sizeof *model->int8);
    if (!model->int8) return HONE_ERR_MEMORY;
    HONE_TRY(hone_buffer_new(&model->int8_memory, model->device, LINE + bytes_of_all(model)));
    model->int8_counts = cut(&used, model->int8_memory.base, LINE);
    for (int64_t l = 0; l <= layers; l++) {
        hone_tensor *w[MATRICES];
        int count = matrices_of(w, model, l);
        for (int i = 0; i < count; i++) {
            parts p = divide(&used, model->int8_memory.base, w[i]);
            hone_int8_weight *weight = &model->int8[next++];
            *weight =
                (hone_int8_weight){w[i]->shape[0],    w[i]->shape[1],  w[i]->data, w[i]->dtype,
                                   p.row_factor,      p.column_factor, p.q,        p.block_scale,
                                   model->int8_counts};
            quantise(weight, &p, kernels);
            w[i]->int8 = weight;
        }
        let_go(model, l);
    }
    return HONE_OK;
}
