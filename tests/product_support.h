/*
 * What the suites of products with frozen weights share: weights of several dtypes, operands, and comparison by the sizes of
 * the terms.
 */
#ifndef HONE_TESTS_PRODUCT_SUPPORT_H
#define HONE_TESTS_PRODUCT_SUPPORT_H

#include "tests/kernel_support.h"

static const hone_dtype dtypes[] = {HONE_F32, HONE_F16, HONE_BF16, HONE_Q8_0};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* Random weights of a dtype, without NaN or infinity; to be freed. */
static inline void *weights_new(hone_dtype type, int64_t n, uint32_t seed) {
    size_t bytes = hone_dtype_row_bytes(type, n);
    char *w = hone_alloc(bytes + 1, 1);
    ck_assert_ptr_nonnull(w);
    float *values = floats_new(n, seed);
    for (int64_t i = 0; i < n; i++) {
        uint16_t half =
            type == HONE_F16 ? hone_f16_from_f32(values[i]) : hone_bf16_from_f32(values[i]);
        if (type == HONE_F32) memcpy(w + i * 4, &values[i], 4);
        if (type == HONE_F16 || type == HONE_BF16) memcpy(w + i * 2, &half, 2);
        if (type != HONE_Q8_0) continue;
        uint16_t scale = hone_f16_from_f32(values[i / 32 * 32] / 127.0f);
        memcpy(w + i / 32 * 34, &scale, 2);
        w[i / 32 * 34 + 2 + i % 32] = (char)(values[i] * 127.0f);
    }
    hone_free(values);
    return w;
}

static inline void fill_nan(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = NAN;
}

/* Fails where a product differs from the reference by more than 1e-5 of the sum of magnitudes of its terms. */
static inline void expect_product(const float *found, const float *expected, const float *magnitude,
                                  int64_t n, const char *what) {
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        ck_each(difference <= 1e-5 * (double)magnitude[i] + 1e-30,
                "%s: element %lld: %g, expected %g", what, (long long)i, (double)found[i],
                (double)expected[i]);
    }
}

static inline void magnitudes(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = fabsf(x[i]);
}

typedef struct linear_case {
    int64_t tokens, in, out;
} linear_case;

typedef struct product {
    float *input, *output, *expected, *size;
    int64_t n;
    float *t, *factor;
    hone_low_rank low;
} product;

static inline product product_new(linear_case l, int64_t inputs, int64_t outputs, float beta) {
    int64_t rank = 3;
    product p = {floats_new(l.tokens * inputs, 4),
                 floats_new(l.tokens * outputs, 5),
                 NULL,
                 NULL,
                 l.tokens * outputs,
                 tf32_floats_new(l.tokens * rank, 8),
                 tf32_floats_new(outputs * rank, 9),
                 {0}};
    if (beta == 0.0f) fill_nan(p.output, p.n);
    p.expected = floats_copy(p.output, p.n);
    p.size = floats_new(p.n, 5);
    p.low = (hone_low_rank){p.t, p.factor, rank, 0.5};
    return p;
}

/* From here on the reference gives the sums of magnitudes. */
static inline void product_sizes(product *p, linear_case l, int64_t inputs, int64_t outputs) {
    magnitudes(p->size, p->n);
    magnitudes(p->input, l.tokens * inputs);
    magnitudes(p->t, l.tokens * p->low.rank);
    magnitudes(p->factor, outputs * p->low.rank);
}

static inline void product_free(product *p) {
    float *all[] = {p->input, p->output, p->expected, p->size, p->t, p->factor};
    for (int i = 0; i < 6; i++) hone_free(all[i]);
}

#endif
