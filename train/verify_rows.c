/*
 * Rows of a model's weights, merged and rounded as an export rounds them.
 */
#include <string.h>

#include "base/alloc.h"
#include "model/merge.h"
#include "train/verify_parts.h"

/* Bytes that arrive in pieces. */
typedef struct sink {
    char *at;
    size_t left;
} sink;

static hone_status collect(void *to, const void *bytes, size_t length) {
    sink *s = to;
    if (length > s->left) return hone_fail(HONE_ERR_FORMAT, "a tensor has more rows than its base");
    memcpy(s->at, bytes, length);
    s->at += length;
    s->left -= length;
    return HONE_OK;
}

static hone_status decode(float *out, const hone_device *device, const void *bytes, size_t length,
                          hone_dtype type, int64_t n) {
    hone_buffer from, to;
    HONE_TRY(hone_buffer_new(&from, device, length));
    hone_status status = hone_buffer_new(&to, device, (size_t)n * sizeof *out);
    if (status == HONE_OK) status = hone_device_copy_in(device, from.base, bytes, length);
    if (status == HONE_OK) {
        device->kernels->dequantize(to.base, from.base, type, n);
        status = hone_device_copy_out(device, out, to.base, (size_t)n * sizeof *out);
        hone_buffer_free(&to);
    }
    hone_buffer_free(&from);
    return status;
}

hone_status hone_verify_rows(float *out, const hone_model *model, const hone_adapter *adapter,
                             const hone_weight *weight, int64_t begin, int64_t rows,
                             hone_dtype type, hone_form form) {
    hone_tensor part = *weight->tensor;
    hone_weight of = *weight;
    if (part.dims == 2) {
        part.data =
            (char *)part.data + (size_t)begin * hone_dtype_row_bytes(part.dtype, part.shape[1]);
        part.shape[0] = rows;
        of.tensor = &part;
    }
    int64_t n = hone_tensor_count(&part);
    size_t length = hone_dtype_row_bytes(type, n);
    if (type == HONE_F32) {
        sink s = {(char *)out, length};
        return hone_merge_weight(model, adapter, &of, type, form, &s, collect);
    }
    char *bytes = hone_alloc(1, length);
    if (!bytes) return HONE_ERR_MEMORY;
    sink s = {bytes, length};
    hone_status status = hone_merge_weight(model, adapter, &of, type, form, &s, collect);
    if (status == HONE_OK) status = decode(out, model->device, bytes, length, type, n);
    hone_free(bytes);
    return status;
}
