/*
 * The output head as a GPU takes its products in bf16. One in f32 or f16 would be converted in every chunk of a step's tokens
 * and for each of the two products with it, which takes as long as the products do: it has a copy in bf16.
 */
#include "model/model.h"

enum { PIECE = 1 << 16 }; /* elements that are there in f32 at once */

static bool would_be_converted(const hone_model *model, const hone_tensor *head) {
    bool plain = head->dtype == HONE_F32 || head->dtype == HONE_F16;
    return plain && head->precision == HONE_PRODUCTS_BF16 && !head->int8 &&
           model->params.count == 0 && !hone_device_is_host(model->device);
}

static hone_status convert(uint16_t *to, const hone_tensor *head, const hone_device *device) {
    int64_t count = hone_tensor_count(head), most = count < PIECE ? count : PIECE;
    hone_buffer exact;
    HONE_TRY(hone_buffer_new(&exact, device, (size_t)most * sizeof(hone_real)));
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t n = count - begin < most ? count - begin : most;
        const char *from = (const char *)head->data + hone_dtype_row_bytes(head->dtype, begin);
        device->kernels->dequantize(exact.base, from, head->dtype, n);
        device->kernels->to_bf16(to + begin, exact.base, n);
    }
    hone_buffer_free(&exact);
    return HONE_OK;
}

hone_status hone_model_settle_head(hone_model *model) {
    const hone_tensor *head = hone_model_head(model);
    hone_model_head_free(model);
    if (!would_be_converted(model, head)) return HONE_OK;
    size_t bytes = (size_t)hone_tensor_count(head) * sizeof(uint16_t);
    hone_status status = hone_buffer_new(&model->head_memory, model->device, bytes);
    if (status == HONE_OK) status = convert(model->head_memory.base, head, model->device);
    if (status != HONE_OK) hone_model_head_free(model);
    if (status == HONE_ERR_MEMORY) return HONE_OK; /* products do without it, with the same bits */
    HONE_TRY(status);
    model->head_copy = hone_tensor_over("head in bf16", HONE_BF16, head->shape[0], head->shape[1],
                                        model->head_memory.base);
    model->head_copy.precision = HONE_PRODUCTS_BF16;
    return HONE_OK;
}

void hone_model_head_free(hone_model *model) {
    hone_buffer_free(&model->head_memory);
}
