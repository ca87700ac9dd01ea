#include "model/merge.h"

#include <string.h>

#include "base/alloc.h"
#include "formats/quantize.h"
#include "model/adapter_factors.h"

size_t hone_weight_count(const hone_model *model) {
    return (size_t)model->arch.layers * HONE_ROLES + (model->arch.tied ? 2 : 3);
}

static hone_weight outer_weight(const hone_model *model, hone_outer which) {
    const hone_tensor *tensors[] = {&model->embedding, &model->norm, &model->head};
    return (hone_weight){-1, (int)which, tensors[which], which == HONE_OUTER_NORM};
}

hone_weight hone_weight_at(const hone_model *model, size_t index) {
    size_t first = model->arch.tied ? 1 : 2;
    if (index == 0) return outer_weight(model, HONE_OUTER_EMBEDDING);
    if (index < first) return outer_weight(model, HONE_OUTER_HEAD);
    if (index + 1 == hone_weight_count(model)) return outer_weight(model, HONE_OUTER_NORM);
    int64_t layer = (int64_t)(index - first) / HONE_ROLES;
    int role = (int)((index - first) % HONE_ROLES);
    return (hone_weight){layer, role, &model->layers[layer].weight[role], role < HONE_ROLE_LINEAR};
}

/* --- A weight in bands of rows --- */

/* Elements of a band, about; enough for the product to be quick. */
enum { BAND_ELEMENTS = 1 << 20 };

typedef struct band_work {
    const hone_model *model;
    const hone_lora_pair *pair; /* NULL: nothing to add */
    const hone_tensor *weight;
    int64_t rows, columns; /* of the weight; a gain is one row */
    int64_t band;          /* rows at a time */
    int64_t heads;         /* of rows that rope pairs; 0: none */
    bool interleaved;      /* wanted */
    hone_dtype type;       /* wanted */
    hone_buffer floats;    /* device, [band, columns] */
    void *host, *turned;   /* owned, of the wider of both forms */
    void *bytes;           /* owned: what goes to the sink */
} band_work;

static int64_t band_rows(const band_work *w) {
    int64_t unit = w->heads > 0 ? w->model->arch.head_size : 1;
    int64_t rows = BAND_ELEMENTS / w->columns / unit * unit;
    if (rows < unit) rows = unit;
    return rows < w->rows ? rows : w->rows;
}

static hone_status allocate(band_work *w) {
    size_t elements = (size_t)w->band * (size_t)w->columns;
    HONE_TRY(hone_buffer_new(&w->floats, w->model->device, elements * sizeof(float)));
    w->host = hone_alloc(elements, sizeof(float));
    w->turned = hone_alloc(elements, sizeof(float));
    w->bytes = hone_alloc(elements, sizeof(float));
    return w->host && w->turned && w->bytes ? HONE_OK : HONE_ERR_MEMORY;
}

/* Rows in the wanted order; `from` or w->turned. */
static const void *turn(const band_work *w, const void *from, int64_t rows, size_t row_bytes) {
    const hone_arch *arch = &w->model->arch;
    if (w->heads == 0 || w->interleaved == arch->rope_interleaved) return from;
    if (w->interleaved) {
        hone_rows_to_gguf(w->turned, from, rows / arch->head_size, arch->head_size, row_bytes);
    } else {
        hone_rows_to_hf(w->turned, from, rows / arch->head_size, arch->head_size, row_bytes);
    }
    return w->turned;
}

/* The rows as they are stored. */
static hone_status copy_band(const band_work *w, int64_t begin, int64_t rows, void *to,
                             hone_sink sink) {
    size_t row_bytes = hone_dtype_row_bytes(w->type, w->columns);
    const char *from = (const char *)w->weight->data + (size_t)begin * row_bytes;
    size_t bytes = (size_t)rows * row_bytes;
    HONE_TRY(hone_device_copy_out(w->model->device, w->host, from, bytes));
    return sink(to, turn(w, w->host, rows, row_bytes), bytes);
}

/* The rows as floats, plus s B A. */
static void merge_band(const band_work *w, int64_t begin, int64_t rows) {
    const hone_kernels *kernels = w->model->device->kernels;
    size_t row_bytes = hone_dtype_row_bytes(w->weight->dtype, w->columns);
    kernels->dequantize(w->floats.base, (const char *)w->weight->data + (size_t)begin * row_bytes,
                        w->weight->dtype, rows * w->columns);
    if (!w->pair) return;
    int64_t rank = w->pair->rank;
    const hone_real *b = (const hone_real *)w->pair->b.data + begin * rank;
    kernels->gemm(w->floats.base, b, w->pair->a.data, rows, w->columns, rank, false, false, rank,
                  w->columns, w->columns, (hone_real)w->pair->scale, 1);
}

static hone_status convert_band(const band_work *w, int64_t begin, int64_t rows, void *to,
                                hone_sink sink) {
    size_t float_bytes = (size_t)w->columns * sizeof(float);
    merge_band(w, begin, rows);
    HONE_TRY(hone_device_copy_out(w->model->device, w->host, w->floats.base,
                                  (size_t)rows * float_bytes));
    const float *values = turn(w, w->host, rows, float_bytes);
    hone_status status = hone_quantize(w->bytes, w->type, values, rows, w->columns);
    if (status != HONE_OK && begin > 0) {
        return hone_fail_context(status, "counted from row %lld", (long long)begin);
    }
    HONE_TRY(status);
    return sink(to, w->bytes, (size_t)rows * hone_dtype_row_bytes(w->type, w->columns));
}

static hone_status run_bands(const band_work *w, void *to, hone_sink sink) {
    bool as_stored = !w->pair && w->type == w->weight->dtype;
    for (int64_t begin = 0; begin < w->rows; begin += w->band) {
        int64_t rows = w->rows - begin < w->band ? w->rows - begin : w->band;
        HONE_TRY(as_stored ? copy_band(w, begin, rows, to, sink)
                           : convert_band(w, begin, rows, to, sink));
    }
    return HONE_OK;
}

hone_status hone_merge_weight(const hone_model *model, const hone_adapter *adapter,
                              const hone_weight *weight, hone_dtype type, bool interleaved,
                              void *to, hone_sink sink) {
    const hone_tensor *tensor = weight->tensor;
    bool linear = weight->layer >= 0 && !weight->gain;
    band_work w = {.model = model, .weight = tensor, .type = type, .interleaved = interleaved};
    w.rows = weight->gain ? 1 : tensor->shape[0];
    w.columns = weight->gain ? tensor->shape[0] : tensor->shape[1];
    if (linear) w.heads = hone_rope_heads(&model->arch, (hone_role)weight->which);
    if (linear && adapter) {
        w.pair = hone_adapter_pair(adapter, weight->layer, (hone_role)weight->which);
        if (w.pair->rank == 0) w.pair = NULL;
    }
    w.band = band_rows(&w);
    hone_status status = allocate(&w);
    if (status == HONE_OK) status = run_bands(&w, to, sink);
    hone_buffer_free(&w.floats);
    hone_free(w.host);
    hone_free(w.turned);
    hone_free(w.bytes);
    if (status != HONE_ERR_NUMERIC) return status;
    char name[HONE_NAME];
    hone_weight_name_hf(name, weight->layer, weight->which);
    return hone_fail_context(status, "%s: tensor %s as %s", model->path, name,
                             hone_dtype_name(type));
}
