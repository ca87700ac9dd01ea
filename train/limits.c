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
    uint16_t *half;
    const void *w; /* b as a weight of `type`: itself, or rounded in `half` */
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

/* The next bytes of `memory`, in whole lines; `used` counts on, also where there is no memory yet (NULL). */
static void *cut(size_t *used, void *memory, size_t bytes) {
    void *part = memory ? (unsigned char *)memory + *used : NULL;
    *used += hone_whole_lines(bytes);
    return part;
}

/* Of weights in which nothing is left to round, and no bit is too many. */
static hone_dtype weight_type(hone_precision precision) {
    return precision == HONE_PRODUCTS_TF32 ? HONE_F32 : HONE_BF16;
}

/* The parts of an int8 weight, to be written. */
typedef struct int8_parts {
    float *row_factor, *column_factor, *scale;
    int8_t *q;
} int8_parts;

/* Where what the product in a mode needs besides its matrices lies. */
static int8_parts divide(trial *t, hone_compute compute, size_t *used, void *memory) {
    const size_t blocks = SIDE / HONE_INT8_BLOCK;
    const hone_kernels *kernels = t->kernels;
    int8_parts p = {0};
    t->precision = hone_compute_precision(compute);
    if (t->precision != HONE_PRODUCTS_F32) {
        size_t workspace = kernels->reduced_workspace(weight_type(t->precision), t->precision, SIDE,
                                                      SIDE, SIDE, 0, false);
        t->half = cut(used, memory, SIDE * SIDE * sizeof(uint16_t));
        t->workspace = cut(used, memory, workspace);
    }
    if (compute != HONE_COMPUTE_INT8) return p;
    p.row_factor = cut(used, memory, SIDE * sizeof(float));
    p.column_factor = cut(used, memory, SIDE * sizeof(float));
    p.scale = cut(used, memory, blocks * blocks * sizeof(float));
    p.q = cut(used, memory, SIDE * SIDE);
    t->int8 = (hone_int8_weight){.out = SIDE, .in = SIDE, .source = t->b};
    t->rows = cut(used, memory, hone_int8_rows_bytes(SIDE, SIDE));
    t->workspace = cut(used, memory, kernels->int8_workspace(&t->int8, 0));
    return p;
}

/* Both sides of the product in int8. */
static void make_int8(trial *t, const int8_parts *p) {
    const hone_kernels *kernels = t->kernels;
    hone_int8_weight *w = &t->int8;
    w->row_factor = p->row_factor;
    w->column_factor = p->column_factor;
    kernels->int8_column_factors(p->column_factor, w);
    kernels->int8_row_factors(p->row_factor, w);
    kernels->int8_quantize_weight(p->q, p->scale, w, 0, SIDE);
    w->q = p->q;
    w->block_scale = p->scale;
    kernels->int8_quantize(t->rows, NULL, t->a, p->column_factor, SIDE, SIDE);
}

static void make_reduced(trial *t) {
    t->type = weight_type(t->precision);
    t->w = t->b;
    if (t->type != HONE_BF16) return;
    t->w = t->half;
    t->kernels->to_bf16(t->half, t->b, SIDE * SIDE);
}

static double product_rate(trial *t, void (*run)(const trial *t)) {
    t->run = run;
    return 2.0 * SIDE * SIDE * SIDE / best_of(t);
}

static hone_status measure_products(hone_limits *out, trial t, const hone_device *device,
                                    hone_compute compute) {
    size_t count = SIDE * SIDE, matrices = 3 * count * sizeof(hone_real), used = matrices;
    hone_buffer memory = {0};
    (void)divide(&t, compute, &used, NULL);
    HONE_TRY(hone_buffer_new(&memory, device, used));
    t.a = memory.base, t.b = t.a + count, t.c = t.b + count;
    used = matrices;
    int8_parts parts = divide(&t, compute, &used, memory.base);
    hone_status status = fill(t.a, device, 2 * (int64_t)count);
    if (status == HONE_OK) out->flops = product_rate(&t, run_f32);
    if (status == HONE_OK && compute == HONE_COMPUTE_INT8) {
        make_int8(&t, &parts);
        out->mode_flops = product_rate(&t, run_int8);
    } else if (status == HONE_OK && compute != HONE_COMPUTE_F32) {
        make_reduced(&t);
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
