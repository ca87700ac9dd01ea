#include "train/optimizer.h"

#include <math.h>
#include <stddef.h>

hone_status hone_optimizer_new(hone_optimizer *out, const hone_params *params,
                               const hone_device *device) {
    *out = (hone_optimizer){.params = params, .device = device};
    size_t bytes = (size_t)params->elements * sizeof(hone_real);
    hone_status status = hone_buffer_new(&out->m, device, bytes);
    if (status == HONE_OK) status = hone_buffer_new(&out->v, device, bytes);
    if (status == HONE_OK) {
        status = hone_buffer_new(&out->scalars, device, sizeof(hone_adamw_step) + sizeof(double));
    }
    if (status != HONE_OK) hone_optimizer_free(out);
    return status;
}

void hone_optimizer_free(hone_optimizer *optimizer) {
    hone_buffer_free(&optimizer->m);
    hone_buffer_free(&optimizer->v);
    hone_buffer_free(&optimizer->scalars);
    *optimizer = (hone_optimizer){0};
}

hone_status hone_optimizer_zero_grad(hone_optimizer *o) {
    o->device->kernels->zero(o->params->grads.base, o->params->elements);
    return HONE_OK;
}

static hone_status gradient_norm(double *norm, hone_optimizer *o) {
    double *sum = (double *)o->scalars.base;
    o->device->kernels->sum_squares(sum, o->params->grads.base, o->params->elements);
    double squares;
    HONE_TRY(hone_device_copy_out(o->device, &squares, sum, sizeof squares));
    *norm = sqrt(squares);
    return HONE_OK;
}

hone_status hone_optimizer_step(double *grad_norm, hone_optimizer *o, int64_t step, double lr) {
    HONE_TRY(gradient_norm(grad_norm, o));
    if (!isfinite(*grad_norm)) {
        return hone_fail(HONE_ERR_NUMERIC, "step %lld: the gradient is no finite number",
                         (long long)step);
    }
    double scale = 1;
    if (o->clip > 0 && *grad_norm > o->clip) scale = o->clip / (*grad_norm + 1e-6);
    hone_adamw_step numbers = {
        .lr = (hone_real)lr,
        .grad_scale = (hone_real)scale,
        .correction1 = (hone_real)(1 - pow(o->beta1, (double)step)),
        .correction2 = (hone_real)(1 - pow(o->beta2, (double)step)),
        .beta1 = (hone_real)o->beta1,
        .beta2 = (hone_real)o->beta2,
        .epsilon = (hone_real)o->epsilon,
    };
    hone_adamw_step *on_device = (void *)((unsigned char *)o->scalars.base + sizeof(double));
    HONE_TRY(hone_device_copy_in(o->device, on_device, &numbers, sizeof numbers));
    int64_t at = 0;
    for (size_t i = 0; i < o->params->count; i++) {
        const hone_param *param = &o->params->items[i];
        int64_t n = hone_tensor_count(param->tensor);
        o->device->kernels->adamw(param->tensor->data, param->tensor->grad->data,
                                  (hone_real *)o->m.base + at, (hone_real *)o->v.base + at, n,
                                  on_device, param->decays ? o->decay : 0);
        at += n;
    }
    return HONE_OK;
}
