#include "model/merge.h"

#include <string.h>

#include "base/alloc.h"
#include "formats/quantize.h"
#include "model/adapter_factors.h"

/* --- A weight in bands of rows --- */

/* Elements of a band, about; enough for the product to be quick. */
enum { BAND_ELEMENTS = 1 << 20 };

typedef struct band_work {
    const hone_model *model;
    const hone_lora_pair *pair; /* NULL: nothing to add */
    const hone_tensor *weight;
    int64_t rows,
        columns;         /* of the weight; a vector is one row, unless its elements are reordered */
    double offset;       /* added to what is stored */
    int64_t band;        /* rows at a time */
    int64_t heads;       /* of rows that rope pairs; 0: none */
    bool interleaved;    /* wanted */
    hone_dtype type;     /* wanted */
    hone_buffer floats;  /* device, [band, columns] */
    void *host, *turned; /* owned, of the wider of both forms */
    void *bytes;         /* owned: what goes to the sink */
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
    float *host = w->host;
    for (int64_t i = 0; w->offset != 0 && i < rows * w->columns; i++) host[i] += (float)w->offset;
    const float *values = turn(w, w->host, rows, float_bytes);
    hone_status status = hone_quantize(w->bytes, w->type, values, rows, w->columns);
    if (status != HONE_OK && begin > 0) {
        return hone_fail_context(status, "counted from row %lld", (long long)begin);
    }
    HONE_TRY(status);
    return sink(to, w->bytes, (size_t)rows * hone_dtype_row_bytes(w->type, w->columns));
}

static hone_status run_bands(const band_work *w, void *to, hone_sink sink) {
    bool as_stored = !w->pair && w->offset == 0 && w->type == w->weight->dtype;
    for (int64_t begin = 0; begin < w->rows; begin += w->band) {
        int64_t rows = w->rows - begin < w->band ? w->rows - begin : w->band;
        HONE_TRY(as_stored ? copy_band(w, begin, rows, to, sink)
                           : convert_band(w, begin, rows, to, sink));
    }
    return HONE_OK;
}

/* Gathers a whole matrix, to give it on transposed. */
typedef struct gathering {
    unsigned char *bytes; /* owned */
    size_t length;
} gathering;

static hone_status gather(void *to, const void *bytes, size_t length) {
    gathering *g = to;
    memcpy(g->bytes + g->length, bytes, length);
    g->length += length;
    return HONE_OK;
}

/* Elements of the matrix by columns. */
static hone_status run_transposed(const band_work *w, void *to, hone_sink sink) {
    size_t size = hone_dtype_row_bytes(w->type, 1);
    size_t row_bytes = (size_t)w->columns * size;
    gathering g = {hone_alloc((size_t)w->rows, row_bytes), 0};
    unsigned char *column = hone_alloc((size_t)w->rows, size);
    hone_status status = g.bytes && column ? run_bands(w, &g, gather) : HONE_ERR_MEMORY;
    for (int64_t c = 0; status == HONE_OK && c < w->columns; c++) {
        for (int64_t r = 0; r < w->rows; r++) {
            memcpy(column + (size_t)r * size, g.bytes + (size_t)r * row_bytes + (size_t)c * size,
                   size);
        }
        status = sink(to, column, (size_t)w->rows * size);
    }
    hone_free(column);
    hone_free(g.bytes);
    return status;
}

static band_work work_of(const hone_model *model, const hone_adapter *adapter,
                         const hone_weight *weight, hone_dtype type, hone_form form) {
    const hone_arch *arch = &model->arch;
    const hone_tensor *tensor = weight->tensor;
    bool in_block = weight->layer >= 0, vector = hone_weight_is_vector(weight);
    band_work w = {.model = model,
                   .weight = tensor,
                   .type = type,
                   .rows = tensor->shape[0],
                   .columns = tensor->shape[1]};
    w.interleaved = form == HONE_FORM_GGUF && arch->family->permuted;
    if (in_block) w.heads = hone_rope_heads(arch, (hone_role)weight->which);
    if (vector && w.heads == 0) {
        w.rows = 1;
        w.columns = tensor->shape[0];
    }
    if (vector && !weight->bias && form == HONE_FORM_HF) w.offset = -arch->family->norm_offset;
    if (in_block && !vector && adapter) {
        w.pair = hone_adapter_pair(adapter, weight->layer, (hone_role)weight->which);
        if (w.pair->rank == 0) w.pair = NULL;
    }
    return w;
}

hone_status hone_merge_weight(const hone_model *model, const hone_adapter *adapter,
                              const hone_weight *weight, hone_dtype type, hone_form form, void *to,
                              hone_sink sink) {
    band_work w = work_of(model, adapter, weight, type, form);
    bool transposed = model->arch.family->transposed && form == HONE_FORM_HF &&
                      weight->layer >= 0 && !hone_weight_is_vector(weight);
    w.band = band_rows(&w);
    hone_status status = allocate(&w);
    if (status == HONE_OK) {
        status = transposed ? run_transposed(&w, to, sink) : run_bands(&w, to, sink);
    }
    hone_buffer_free(&w.floats);
    hone_free(w.host);
    hone_free(w.turned);
    hone_free(w.bytes);
    if (status != HONE_ERR_NUMERIC) return status;
    char name[HONE_NAME];
    hone_weight_name(name, &model->arch, HONE_FORM_HF, weight);
    return hone_fail_context(status, "%s: tensor %s as %s", model->path, name,
                             hone_dtype_name(type));
}
