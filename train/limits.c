#include "train/limits.h"

#include "base/alloc.h"
#include "base/clock.h"

enum { SIDE = 1024, COPIED = 32 << 20 }; /* of a matrix; elements, 128 MiB in f32 */

static const double seconds_each = 0.25;

/* Two runs of elements on the device, and what is done with them. */
typedef struct trial {
    hone_real *to, *from;
    const hone_kernels *kernels;
    void (*run)(const struct trial *trial);
} trial;

static void run_product(const trial *t) {
    const hone_real *a = t->from, *b = t->from + SIDE * SIDE;
    t->kernels->gemm(t->to, a, b, SIDE, SIDE, SIDE, false, true, SIDE, SIDE, SIDE, 1, 0);
}

static void run_copy(const trial *t) {
    t->kernels->copy(t->to, t->from, COPIED);
}

/* Seconds of the fastest run. */
static double best_of(const trial *t) {
    double begin = hone_seconds(), best = 0, start, end;
    t->run(t); /* touches the memory */
    do {
        start = hone_seconds();
        t->run(t);
        end = hone_seconds();
        if (best == 0 || end - start < best) best = end - start;
    } while (end - begin < seconds_each);
    return best;
}

/* Numbers that are not all alike: zeros may be faster, and untouched memory is. */
static hone_status fill(hone_real *to, const hone_device *device, int64_t count) {
    hone_real *host = hone_alloc((size_t)count, sizeof *host);
    if (!host) return HONE_ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) host[i] = (hone_real)(i * 7 % 31) / 16 - 1;
    hone_status status = hone_device_copy_in(device, to, host, (size_t)count * sizeof *host);
    hone_free(host);
    return status;
}

static hone_status measure(hone_limits *out, const hone_device *device, const trial *t) {
    trial product = *t, copy = *t;
    product.run = run_product;
    copy.run = run_copy;
    device->kernels->zero(t->from, COPIED);
    HONE_TRY(fill(t->from, device, 2 * SIDE * SIDE));
    out->flops = 2.0 * SIDE * SIDE * SIDE / best_of(&product);
    out->bytes = 2.0 * COPIED * sizeof(hone_real) / best_of(&copy);
    return HONE_OK;
}

hone_status hone_limits_measure(hone_limits *out, const hone_device *device) {
    hone_buffer to = {0}, from = {0};
    hone_status status = hone_buffer_new(&to, device, COPIED * sizeof(hone_real));
    if (status == HONE_OK) status = hone_buffer_new(&from, device, COPIED * sizeof(hone_real));
    if (status == HONE_OK) {
        trial t = {to.base, from.base, device->kernels, NULL};
        status = measure(out, device, &t);
    }
    hone_buffer_free(&to);
    hone_buffer_free(&from);
    return status;
}
