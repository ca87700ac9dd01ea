#include "train/limits.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/size.h"
#include "train/compute.h"

enum { SIDE = 1024, MOST = 128 << 20, LEAST = 8 << 20 }; /* of a matrix; bytes that are copied */

static const double seconds_each = 0.25;

/* A product c = a b^T of matrices [SIDE,SIDE] or a copy of c into a, and what is done with them. */
typedef struct trial {
    hone_real *a, *b, *c;
    int64_t count; /* elements that are copied */
    const hone_kernels *kernels;
    const hone_device *device;
    void (*run)(const struct trial *trial);
    hone_int8_weight int8;
    void *rows, *workspace; /* a in int8 */
    hone_precision precision;
    const void *w; /* b as a weight of `type` */
    hone_dtype type;
} trial;

static void run_f32(const trial *t) {
    t->kernels->gemm(t->c, t->a, t->b, SIDE, SIDE, SIDE, false, true, SIDE, SIDE, SIDE, 1, 0);
}

static void run_int8(const trial *t) {
    t->kernels->int8_fwd(t->c, t->rows, &t->int8, NULL, SIDE, 0, t->workspace);
}

static void run_reduced(const trial *t) {
    t->kernels->reduced_fwd(t->c, t->a, t->w, t->type, t->precision, NULL, SIDE, SIDE, SIDE, 0,
                            t->workspace);
}

static void run_copy(const trial *t) {
    t->kernels->copy(t->a, t->c, t->count);
}

/* A failure of the device shows when a result is read. */
static double time_once(const trial *t) {
    double start = hone_seconds();
    t->run(t);
    (void)!hone_device_wait(t->device);
    return hone_seconds() - start;
}

/* Seconds of the fastest run. */
static double best_of(const trial *t) {
    double begin = hone_seconds(), best = 0, took;
    (void)time_once(t); /* touches the memory */
    do {
        took = time_once(t);
        if (best == 0 || took < best) best = took;
    } while (hone_seconds() - begin < seconds_each);
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

/* Of weights in which nothing is left to round, and no bit is too many. */
static hone_dtype weight_type(hone_precision precision) {
    return precision == HONE_PRODUCTS_TF32 ? HONE_F32 : HONE_BF16;
}

/* Bytes of what the product in a mode needs besides its matrices. */
static size_t mode_bytes(const hone_kernels *kernels, hone_compute compute) {
    const size_t line = 64, parts = 5, blocks = SIDE / HONE_INT8_BLOCK;
    hone_precision precision = hone_compute_precision(compute);
    if (precision != HONE_PRODUCTS_F32) {
        return SIDE * SIDE * sizeof(uint16_t) + line +
               kernels->reduced_workspace(weight_type(precision), precision, SIDE, SIDE, SIDE, 0,
                                          false);
    }
    if (compute != HONE_COMPUTE_INT8) return 0;
    return 2 * SIDE * sizeof(float) + blocks * blocks * sizeof(float) + SIDE * SIDE +
           hone_int8_rows_bytes(SIDE, SIDE) + parts * line +
           kernels->int8_workspace(&(hone_int8_weight){.out = SIDE, .in = SIDE}, 0);
}

/* Both sides of the product in int8. */
static void make_int8(trial *t, unsigned char *at) {
    const hone_kernels *kernels = t->kernels;
    float *row_factor = cut(&at, SIDE * sizeof(float));
    float *column_factor = cut(&at, SIDE * sizeof(float));
    float *scale = cut(&at, (SIDE / HONE_INT8_BLOCK) * (SIDE / HONE_INT8_BLOCK) * sizeof(float));
    int8_t *q = cut(&at, SIDE * SIDE);
    hone_int8_weight *w = &t->int8;
    *w = (hone_int8_weight){.out = SIDE, .in = SIDE, .source = t->b};
    w->row_factor = row_factor;
    w->column_factor = column_factor;
    kernels->int8_column_factors(column_factor, w);
    kernels->int8_row_factors(row_factor, w);
    kernels->int8_quantize_weight(q, scale, w, 0, SIDE);
    w->q = q;
    w->block_scale = scale;
    t->rows = cut(&at, hone_int8_rows_bytes(SIDE, SIDE));
    kernels->int8_quantize(t->rows, NULL, t->a, column_factor, SIDE, SIDE);
    t->workspace = at;
}

static void make_reduced(trial *t, unsigned char *at, hone_precision precision) {
    void *half = cut(&at, SIDE * SIDE * sizeof(uint16_t));
    t->precision = precision;
    t->type = weight_type(precision);
    t->w = t->type == HONE_BF16 ? half : t->b;
    if (t->type == HONE_BF16) t->kernels->to_bf16(half, t->b, SIDE * SIDE);
    t->workspace = at;
}

static double product_rate(trial *t, void (*run)(const trial *t)) {
    t->run = run;
    return 2.0 * SIDE * SIDE * SIDE / best_of(t);
}

static hone_status measure_products(hone_limits *out, trial t, const hone_device *device,
                                    hone_compute compute) {
    size_t count = SIDE * SIDE, matrices = 3 * count * sizeof(hone_real);
    hone_buffer memory = {0};
    HONE_TRY(hone_buffer_new(&memory, device, matrices + mode_bytes(t.kernels, compute)));
    t.a = memory.base, t.b = t.a + count, t.c = t.b + count;
    hone_status status = fill(t.a, device, 2 * (int64_t)count);
    if (status == HONE_OK) out->flops = product_rate(&t, run_f32);
    if (status == HONE_OK && compute == HONE_COMPUTE_INT8) {
        make_int8(&t, (unsigned char *)memory.base + matrices);
        out->mode_flops = product_rate(&t, run_int8);
    } else if (status == HONE_OK && compute != HONE_COMPUTE_F32) {
        make_reduced(&t, (unsigned char *)memory.base + matrices, hone_compute_precision(compute));
        out->mode_flops = product_rate(&t, run_reduced);
    }
    if (out->mode_flops > 0) out->mode = hone_compute_names[compute];
    hone_buffer_free(&memory);
    return status;
}

/* As much as fits twice. */
static hone_status measure_copy(hone_limits *out, trial t, const hone_device *device,
                                int64_t most) {
    int64_t bytes = most / 2 < MOST ? most / 2 : MOST;
    if (bytes < LEAST) bytes = LEAST;
    hone_buffer memory = {0};
    t.count = bytes / (int64_t)sizeof(hone_real);
    HONE_TRY(hone_buffer_new(&memory, device, 2 * (size_t)t.count * sizeof(hone_real)));
    t.a = memory.base, t.c = t.a + t.count, t.run = run_copy;
    t.kernels->zero(t.c, t.count);
    out->copied = (double)t.count * sizeof(hone_real);
    out->bytes = 2 * out->copied / best_of(&t);
    hone_buffer_free(&memory);
    return HONE_OK;
}

hone_status hone_limits_measure(hone_limits *out, const hone_device *device, hone_compute compute,
                                int64_t most) {
    trial t = {.kernels = device->kernels, .device = device};
    *out = (hone_limits){0};
    HONE_TRY(measure_products(out, t, device, compute));
    return measure_copy(out, t, device, most);
}
