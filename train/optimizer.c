#include "train/optimizer.h"

#include <math.h>
#include <stddef.h>

/* Most elements of a part of a moment, 4 MiB; and parts that few are cut into at least. */
enum { MOST_PART = 1 << 20, FEWEST_PARTS = 8, LINE = 64 };

enum { SCALARS = sizeof(double) + sizeof(hone_adamw_step) }; /* bytes */

static int64_t part_of(int64_t elements) {
    int64_t part = (elements + FEWEST_PARTS - 1) / FEWEST_PARTS;
    if (part > MOST_PART) part = MOST_PART;
    return (part + LINE - 1) / LINE * LINE;
}

static int64_t slot_bytes(int64_t elements) {
    return HONE_OPTIMIZER_SLOTS * 2 * part_of(elements) * (int64_t)sizeof(hone_real);
}

int64_t hone_optimizer_moments(int64_t elements) {
    return 2 * elements * (int64_t)sizeof(hone_real);
}

int64_t hone_optimizer_bytes(int64_t elements, bool on_host) {
    return (on_host ? slot_bytes(elements) : hone_optimizer_moments(elements)) + SCALARS;
}

static hone_status take_moment(hone_buffer *out, const hone_optimizer *o, bool on_host) {
    size_t bytes = (size_t)o->params->elements * sizeof(hone_real);
    return on_host ? hone_buffer_new_pinned(out, o->device, bytes)
                   : hone_buffer_new(out, o->device, bytes);
}

hone_status hone_optimizer_new(hone_optimizer *out, const hone_params *params,
                               const hone_device *device, bool on_host) {
    *out = (hone_optimizer){.params = params, .device = device};
    hone_status status = take_moment(&out->m, out, on_host);
    if (status == HONE_OK) status = take_moment(&out->v, out, on_host);
    if (status == HONE_OK && on_host) {
        status = hone_buffer_new(&out->slots, device, (size_t)slot_bytes(params->elements));
    }
    if (status == HONE_OK) {
        status = hone_buffer_new(&out->scalars, device, SCALARS);
    }
    if (status != HONE_OK) hone_optimizer_free(out);
    return status;
}

void hone_optimizer_free(hone_optimizer *optimizer) {
    hone_buffer_free(&optimizer->m);
    hone_buffer_free(&optimizer->v);
    hone_buffer_free(&optimizer->slots);
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

/* Updates the parameters from element `begin` to `end`, whose moments begin at m and v. */
static void update(hone_optimizer *o, hone_real *m, hone_real *v, int64_t begin, int64_t end,
                   const hone_adamw_step *numbers) {
    const hone_params *params = o->params;
    hone_real *values = params->values.base, *grads = params->grads.base;
    int64_t at = 0;
    for (size_t i = 0; i < params->count && at < end;) {
        /* At once those one after the other that decay alike: they lie side by side. */
        bool decays = params->items[i].decays;
        int64_t next = at;
        for (; i < params->count && params->items[i].decays == decays; i++)
            next += hone_tensor_count(params->items[i].tensor);
        int64_t from = begin > at ? begin : at, to = end < next ? end : next;
        if (from < to)
            o->device->kernels->adamw(values + from, grads + from, m + (from - begin),
                                      v + (from - begin), to - from, numbers,
                                      decays ? o->decay : 0);
        at = next;
    }
}

/* A part of the moments, and where it lies on the device. */
typedef struct part {
    int64_t begin, end;
    hone_real *m, *v;
    int64_t here; /* the copy that brings it in */
} part;

static part part_at(const hone_optimizer *o, int64_t number) {
    int64_t size = part_of(o->params->elements), begin = number * size;
    int64_t end = begin + size < o->params->elements ? begin + size : o->params->elements;
    hone_real *m = (hone_real *)o->slots.base + number % HONE_OPTIMIZER_SLOTS * 2 * size;
    return (part){.begin = begin, .end = end, .m = m, .v = m + size};
}

static hone_status bring(part *p, const hone_optimizer *o) {
    size_t bytes = (size_t)(p->end - p->begin) * sizeof(hone_real);
    const hone_real *m = o->m.base, *v = o->v.base;
    HONE_TRY(hone_device_fetch(o->device, &p->here, p->m, m + p->begin, bytes));
    return hone_device_fetch(o->device, &p->here, p->v, v + p->begin, bytes);
}

static hone_status take_back(int64_t *gone, const part *p, const hone_optimizer *o) {
    size_t bytes = (size_t)(p->end - p->begin) * sizeof(hone_real);
    hone_real *m = o->m.base, *v = o->v.base;
    HONE_TRY(hone_device_send(o->device, gone, m + p->begin, p->m, bytes));
    return hone_device_send(o->device, gone, v + p->begin, p->v, bytes);
}

/* The next part is asked for before one is updated, so that it comes in meanwhile; what its slot held before is sent by then,
 * as copies are made in order. */
static hone_status update_from_host(hone_optimizer *o, const hone_adamw_step *numbers) {
    int64_t size = part_of(o->params->elements), gone = 0;
    int64_t parts = (o->params->elements + size - 1) / size;
    part next = part_at(o, 0);
    HONE_TRY(bring(&next, o));
    for (int64_t i = 0; i < parts; i++) {
        part now = next;
        if (i + 1 < parts) {
            next = part_at(o, i + 1);
            HONE_TRY(bring(&next, o));
        }
        HONE_TRY(hone_device_meet(o->device, now.here));
        update(o, now.m, now.v, now.begin, now.end, numbers);
        HONE_TRY(take_back(&gone, &now, o));
    }
    return hone_device_meet(o->device, gone);
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
    if (o->slots.base) return update_from_host(o, on_device);
    update(o, o->m.base, o->v.base, 0, o->params->elements, on_device);
    return HONE_OK;
}
