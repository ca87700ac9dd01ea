#include "train/limits.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/size.h"

enum { SIDE = 1024, COPIED = 32 << 20 }; /* of a matrix; elements, 128 MiB in f32 */

static const double seconds_each = 0.25;

/* Two runs of elements on the device, and what is done with them. `to` has room for the rest behind the product. */
typedef struct trial {
    hone_real *to, *from;
    const hone_kernels *kernels;
    void (*run)(const struct trial *trial);
    hone_int8_weight int8;
    void *rows, *half, *workspace; /* int8: of activations; bf16: the weight */
} trial;

static void run_product(const trial *t) {
    const hone_real *a = t->from, *b = t->from + SIDE * SIDE;
    t->kernels->gemm(t->to, a, b, SIDE, SIDE, SIDE, false, true, SIDE, SIDE, SIDE, 1, 0);
}

static void run_int8(const trial *t) {
    t->kernels->int8_fwd(t->to, t->rows, &t->int8, NULL, SIDE, 0, t->workspace);
}

static void run_bf16(const trial *t) {
    t->kernels->bf16_fwd(t->to, t->from, t->half, HONE_BF16, NULL, SIDE, SIDE, SIDE, 0,
                         t->workspace);
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

static void *cut(unsigned char **at, size_t bytes) {
    void *part = *at;
    *at += hone_whole_lines(bytes);
    return part;
}

/* Both sides of the product in int8. */
static void make_int8(trial *t, unsigned char *at) {
    const hone_kernels *kernels = t->kernels;
    float *row_factor = cut(&at, SIDE * sizeof(float));
    float *column_factor = cut(&at, SIDE * sizeof(float));
    float *scale = cut(&at, (SIDE / HONE_INT8_BLOCK) * (SIDE / HONE_INT8_BLOCK) * sizeof(float));
    int8_t *q = cut(&at, SIDE * SIDE);
    hone_int8_weight *w = &t->int8;
    *w = (hone_int8_weight){.out = SIDE, .in = SIDE, .source = t->from + SIDE * SIDE};
    w->row_factor = row_factor;
    w->column_factor = column_factor;
    kernels->int8_column_factors(column_factor, w);
    kernels->int8_row_factors(row_factor, w);
    kernels->int8_quantize_weight(q, scale, w, 0, SIDE);
    w->q = q;
    w->block_scale = scale;
    t->rows = cut(&at, hone_int8_rows_bytes(SIDE, SIDE));
    kernels->int8_quantize(t->rows, NULL, t->from, column_factor, SIDE, SIDE);
    t->workspace = at;
}

static void make_bf16(trial *t, unsigned char *at) {
    t->half = cut(&at, SIDE * SIDE * sizeof(uint16_t));
    t->kernels->to_bf16(t->half, t->from + SIDE * SIDE, SIDE * SIDE);
    t->workspace = at;
}

static void measure_mode(hone_limits *out, const trial *t, hone_compute compute) {
    trial product = *t;
    unsigned char *at = (unsigned char *)(t->to + SIDE * SIDE);
    if (compute != HONE_COMPUTE_INT8 && compute != HONE_COMPUTE_BF16) return;
    if (compute == HONE_COMPUTE_INT8) {
        make_int8(&product, at);
    } else {
        make_bf16(&product, at);
    }
    product.run = compute == HONE_COMPUTE_INT8 ? run_int8 : run_bf16;
    out->mode = hone_compute_names[compute];
    out->mode_flops = 2.0 * SIDE * SIDE * SIDE / best_of(&product);
}

static hone_status measure(hone_limits *out, const hone_device *device, const trial *t,
                           hone_compute compute) {
    trial product = *t, copy = *t;
    product.run = run_product;
    copy.run = run_copy;
    device->kernels->zero(t->from, COPIED);
    HONE_TRY(fill(t->from, device, 2 * SIDE * SIDE));
    *out = (hone_limits){0};
    measure_mode(out, t, compute);
    out->flops = 2.0 * SIDE * SIDE * SIDE / best_of(&product);
    out->bytes = 2.0 * COPIED * sizeof(hone_real) / best_of(&copy);
    return HONE_OK;
}

hone_status hone_limits_measure(hone_limits *out, const hone_device *device, hone_compute compute) {
    hone_buffer to = {0}, from = {0};
    hone_status status = hone_buffer_new(&to, device, COPIED * sizeof(hone_real));
    if (status == HONE_OK) status = hone_buffer_new(&from, device, COPIED * sizeof(hone_real));
    if (status == HONE_OK) {
        trial t = {.to = to.base, .from = from.base, .kernels = device->kernels};
        status = measure(out, device, &t, compute);
    }
    hone_buffer_free(&to);
    hone_buffer_free(&from);
    return status;
}
