#include "formats/quantize_fit.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LANES = 4, STEPS = 3, ROUNDS = 4 };

/* GNU vector types: every processor has four lanes, and sums have the same order on all of them. */
typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t masks __attribute__((vector_size(LANES * sizeof(int32_t))));

static floats all(float value) {
    return (floats){value, value, value, value};
}

static float sum(floats x) {
    return (x[0] + x[2]) + (x[1] + x[3]);
}

static floats load(const float *x) {
    floats out;
    memcpy(&out, x, sizeof out);
    return out;
}

static floats choose(masks where, floats yes, floats no) {
    return (floats)(((masks)yes & where) | ((masks)no & ~where));
}

static floats clamp(floats x, float low, float high) {
    x = choose(x < all(low), all(low), x);
    return choose(x > all(high), all(high), x);
}

/* Place of the value nearest to x. */
static int place(const int8_t *values, float x) {
    float twice = 2 * x;
    int at = 0;
    for (int step = 8; step > 0; step /= 2) {
        at += twice > (float)(values[at + step - 1] + values[at + step]) ? step : 0;
    }
    return at;
}

/* Adding and taking away 1.5 * 2^23 leaves the nearest integer. */
static floats nearest(floats x, const hone_grid *grid) {
    const float integers = 0x1.8p23f;
    if (!grid->values) return (clamp(x, grid->low, grid->high) + integers) - integers;
    for (int i = 0; i < LANES; i++) x[i] = (float)grid->values[place(grid->values, x[i])];
    return x;
}

static float inverse_of(float scale) {
    return fabsf(scale) > FLT_MIN ? 1 / scale : 0;
}

hone_residue hone_fit_measure(const float *x, int n, const hone_grid *grid, hone_affine at) {
    float inverse = inverse_of(at.scale);
    floats rr = all(0), rq = rr, r = rr, qq = rr, q = rr;
    for (int i = 0; i < n; i += LANES) {
        floats value = load(x + i) - at.offset;
        floats code = nearest(value * inverse, grid);
        floats left = value - at.scale * code;
        rr += left * left;
        rq += left * code;
        r += left;
        qq += code * code;
        q += code;
    }
    return (hone_residue){sum(rr), sum(rq), sum(r), sum(qq), sum(q)};
}

void hone_fit_codes(uint8_t *codes, const float *x, int n, const hone_grid *grid, hone_affine at) {
    float inverse = inverse_of(at.scale);
    for (int i = 0; i < n; i += LANES) {
        floats value = (load(x + i) - at.offset) * inverse;
        for (int lane = 0; lane < LANES; lane++) {
            codes[i + lane] =
                (uint8_t)(grid->values ? place(grid->values, value[lane])
                                       : (int)(nearest(value, grid)[lane] - grid->low));
        }
    }
}

/* --- Scale alone --- */

typedef struct search {
    const float *x;
    int n;
    const hone_grid *grid;
    bool below_zero;
    hone_affine best;
    float error; /* of the best */
} search;

/* Fits scales and codes in turn, while that helps. */
static void descend_scale(search *s, float scale, int rounds) {
    for (int round = 0; round < rounds; round++) {
        hone_residue left = hone_fit_measure(s->x, s->n, s->grid, (hone_affine){scale, 0});
        if (left.rr < s->error) {
            s->error = left.rr;
            s->best.scale = scale;
        } else if (round > 0) {
            return;
        }
        if (left.qq == 0) return;
        scale += left.rq / left.qq;
    }
}

/* The value of largest magnitude, with its sign. */
static float largest(const float *x, int n) {
    float most = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    }
    return most;
}

float hone_fit_scale(const float *x, int n, const hone_grid *grid) {
    float most = largest(x, n);
    search s = {.x = x, .n = n, .grid = grid, .error = INFINITY};
    if (most == 0) return 0;
    for (int step = -STEPS; step <= STEPS; step++) {
        float stretch = 1 + grid->reach * (float)step / STEPS;
        descend_scale(&s, most / (grid->low * stretch), 2);
        descend_scale(&s, most / (grid->high * stretch), 2);
    }
    descend_scale(&s, s.best.scale, ROUNDS);
    return s.best.scale;
}

/* --- Scale and offset --- */

/* The least-squares fit for the codes that left `r`. */
static hone_affine fitted(const search *s, hone_affine at, hone_residue r) {
    float n = (float)s->n, variance = n * r.qq - r.q * r.q;
    if (variance <= 0) return (hone_affine){at.scale, at.offset + r.r / n};
    hone_affine out = {at.scale + (n * r.rq - r.q * r.r) / variance,
                       at.offset + (r.qq * r.r - r.q * r.rq) / variance};
    if (!s->below_zero || out.offset <= 0) return out;
    return (hone_affine){at.scale + (r.rq + at.offset * r.q) / r.qq, 0};
}

static void descend_affine(search *s, hone_affine at, int rounds) {
    for (int round = 0; round < rounds; round++) {
        if (s->below_zero && at.offset > 0) at.offset = 0;
        hone_residue left = hone_fit_measure(s->x, s->n, s->grid, at);
        if (left.rr < s->error) {
            s->error = left.rr;
            s->best = at;
        } else if (round > 0) {
            return;
        }
        at = fitted(s, at, left);
    }
}

hone_affine hone_fit_affine(const float *x, int n, const hone_grid *grid, bool below_zero) {
    float low = x[0], high = x[0];
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (below_zero && low > 0) low = 0;
    if (high <= low) return (hone_affine){0, low};
    search s = {.x = x, .n = n, .grid = grid, .below_zero = below_zero, .error = INFINITY};
    for (int step = -STEPS; step <= STEPS; step++) {
        float stretch = 1 + grid->reach * (float)step / STEPS;
        descend_affine(&s, (hone_affine){(high - low) / (grid->high * stretch), low}, 2);
    }
    descend_affine(&s, s.best, ROUNDS);
    return s.best;
}
