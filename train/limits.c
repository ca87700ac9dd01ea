#include "train/limits.h"

#include "base/alloc.h"
#include "base/clock.h"

enum { SIDE = 1024, MOST = 128 << 20 }; /* of a matrix; bytes that are copied */

static const double seconds_each = 0.25;

/* Two runs of elements on the device, and what is done with them. */
typedef struct trial {
    hone_real *to, *from;
    int64_t count;
    const hone_kernels *kernels;
    void (*run)(const struct trial *trial);
} trial;

static void run_product(const trial *t) {
    const hone_real *a = t->from, *b = t->from + SIDE * SIDE;
    t->kernels->gemm(t->to, a, b, SIDE, SIDE, SIDE, false, true, SIDE, SIDE, SIDE, 1, 0);
}

static void run_copy(const trial *t) {
    t->kernels->copy(t->to, t->from, t->count);
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
    device->kernels->zero(t->from, t->count);
    HONE_TRY(fill(t->from, device, 2 * SIDE * SIDE));
    out->flops = 2.0 * SIDE * SIDE * SIDE / best_of(&product);
    out->copied = (double)t->count * sizeof(hone_real);
    out->bytes = 2 * out->copied / best_of(&copy);
    return HONE_OK;
}

/* Elements that fit twice, beside two matrices on the host and what their product packs; never fewer than those two. */
static int64_t count_for(int64_t most) {
    const int64_t matrices = 2 * SIDE * SIDE, size = sizeof(hone_real);
    int64_t bytes = (most - 2 * matrices * size) / 2;
    if (bytes > MOST) bytes = MOST;
    return bytes > matrices * size ? bytes / size : matrices;
}

hone_status hone_limits_measure(hone_limits *out, const hone_device *device, int64_t most) {
    int64_t count = count_for(most);
    size_t bytes = (size_t)count * sizeof(hone_real);
    hone_buffer to = {0}, from = {0};
    hone_status status = hone_buffer_new(&to, device, bytes);
    if (status == HONE_OK) status = hone_buffer_new(&from, device, bytes);
    if (status == HONE_OK) {
        trial t = {to.base, from.base, count, device->kernels, NULL};
        status = measure(out, device, &t);
    }
    hone_buffer_free(&to);
    hone_buffer_free(&from);
    return status;
}
