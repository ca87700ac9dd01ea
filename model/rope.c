/*
 * Angles of rotary embeddings under every scaling. Source: transformers, modeling_rope_utils.py.
 */
#include <math.h>

#include "model/arch.h"

/* theta^-(2i / rotated). */
static float plain(double theta, int64_t i, int64_t rotated) {
    double power = (double)((float)(2 * i) / (float)rotated);
    return (float)(1 / pow(theta, power));
}

void hone_rope_llama3_factors(float *factors, const hone_rotary *r, int64_t rotated) {
    for (int64_t i = 0; i < rotated / 2; i++) {
        factors[i] = 1;
        double frequency = pow(r->theta, -2.0 * (double)i / (double)rotated);
        double wavelength = 2 * M_PI / frequency;
        if (wavelength < r->original_context / r->high) continue;
        double smooth = (r->original_context / wavelength - r->low) / (r->high - r->low);
        if (smooth < 0) smooth = 0; /* slower than the low frequency: the whole factor */
        factors[i] = (float)(1 / ((1 - smooth) / r->factor + smooth));
    }
}

/* Theta for a text longer than the context. */
static double stretched_theta(const hone_rotary *r, int64_t rotated, int64_t length) {
    double times = (double)length / r->original_context;
    if (times <= 1 || rotated <= 2) return r->theta;
    double power = (double)rotated / (double)(rotated - 2);
    return r->theta * pow(r->factor * times - (r->factor - 1), power);
}

/* The pair that turns `rotations` times within the original context. */
static double yarn_pair(const hone_rotary *r, double rotations, int64_t rotated) {
    return (double)rotated * log(r->original_context / (rotations * 2 * M_PI)) /
           (2 * log(r->theta));
}

/* 1 where the frequency stays as it is, 0 where it is divided by the factor. */
static double yarn_kept(const hone_rotary *r, int64_t i, int64_t rotated) {
    double first = yarn_pair(r, r->high, rotated), last = yarn_pair(r, r->low, rotated);
    if (r->truncate) {
        first = floor(first);
        last = ceil(last);
    }
    first = fmax(first, 0);
    last = fmin(last, (double)(rotated - 1));
    if (first == last) last += 0.001;
    return 1 - fmin(fmax(((double)i - first) / (last - first), 0), 1);
}

static float yarn(const hone_rotary *r, int64_t i, int64_t rotated) {
    float kept = (float)yarn_kept(r, i, rotated);
    float frequency = plain(r->theta, i, rotated);
    return frequency / (float)r->factor * (1 - kept) + frequency * kept;
}

void hone_rope_frequencies(float *frequencies, const hone_rotary *r, int64_t rotated,
                           int64_t length) {
    double theta = r->theta;
    bool is_long = (double)length > r->original_context;
    float factors[HONE_MOST_ROTATED / 2];
    if (r->scaling == HONE_ROPE_LLAMA3) hone_rope_llama3_factors(factors, r, rotated);
    if (r->scaling == HONE_ROPE_DYNAMIC) theta = stretched_theta(r, rotated, length);
    for (int64_t i = 0; i < rotated / 2; i++) {
        frequencies[i] = plain(theta, i, rotated);
        if (r->scaling == HONE_ROPE_LINEAR) frequencies[i] /= (float)r->factor;
        if (r->scaling == HONE_ROPE_LLAMA3) frequencies[i] /= factors[i];
        if (r->scaling == HONE_ROPE_YARN) frequencies[i] = yarn(r, i, rotated);
        if (r->scaling == HONE_ROPE_LONGROPE) frequencies[i] /= r->divisors[is_long][i];
    }
}
