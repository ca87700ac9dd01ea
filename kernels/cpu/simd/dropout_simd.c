/*
 * Dropout from Philox4x32-10 (base/philox.h), many counters at a time. Element e of a row is word e % 4 of counter
 * e / 4; the comparison hone_uniform(word) >= rate is made on the 24 bits it is drawn from, which is the same.
 */
#include <math.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum {
    TOKEN_GRAIN = 8,
    COUNTERS = VW / 2, /* 64-bit lanes, each with a 32-bit number in its low half */
    WORDS = COUNTERS * 4
};

typedef uint64_t vl __attribute__((vector_size(COUNTERS * 8)));

typedef struct dropout_call {
    float *y;
    const float *x;
    hone_dropout draw;
    int64_t width;
    float beta, scale;
    int32_t threshold; /* kept when the top 24 bits of a word are at least this */
} dropout_call;

/* Products of the low halves of lanes. */
HONE_INLINE vl multiply_low(vl a, uint32_t b) {
    vl factor = (vl){0} + (uint64_t)b;
#if defined(__AVX512F__)
    return (vl)_mm512_mul_epu32((__m512i)a, (__m512i)factor);
#elif defined(__AVX2__)
    return (vl)_mm256_mul_epu32((__m256i)a, (__m256i)factor);
#elif defined(__SSE2__)
    return (vl)_mm_mul_epu32((__m128i)a, (__m128i)factor);
#elif defined(__ARM_NEON)
    return (vl)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)factor));
#else
    return (a & 0xffffffffu) * factor;
#endif
}

/* Writes the lanes of `low` and `high` in turn. */
HONE_INLINE void store_pairs(uint32_t *words, vl low, vl high) {
#if defined(__AVX512F__)
    vl first = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
    vl second = __builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
    vl first = __builtin_shufflevector(low, high, 0, 4, 1, 5);
    vl second = __builtin_shufflevector(low, high, 2, 6, 3, 7);
#else
    vl first = __builtin_shufflevector(low, high, 0, 2);
    vl second = __builtin_shufflevector(low, high, 1, 3);
#endif
    memcpy(words, &first, sizeof first);
    memcpy(words + 2 * COUNTERS, &second, sizeof second);
}

/* words[WORDS] of counters first, first + 1, … High halves of lanes gather rubbish that no product reads. */
static void draw_words(uint32_t *words, uint64_t key, uint32_t first, uint32_t position,
                       uint32_t record, uint32_t module) {
    vl c0;
#pragma GCC unroll 8
    for (uint32_t i = 0; i < COUNTERS; i++) c0[i] = i;
    c0 += (uint64_t)first;
    vl c1 = (vl){0} + (uint64_t)position;
    vl c2 = (vl){0} + (uint64_t)record;
    vl c3 = (vl){0} + (uint64_t)module;
    uint32_t k0 = (uint32_t)key;
    uint32_t k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        vl p0 = multiply_low(c0, 0xD2511F53u);
        vl p1 = multiply_low(c2, 0xCD9E8D57u);
        c0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0;
        c1 = p1;
        c2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
        c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    vl low = (c0 & 0xffffffffu) | (c1 << 32); /* words 0 and 1 of each counter */
    vl high = (c2 & 0xffffffffu) | (c3 << 32);
    store_pairs(words, low, high);
}

HONE_INLINE vf drop(const dropout_call *call, vf x, const uint32_t *words) {
    vu word;
    memcpy(&word, words, sizeof word);
    vi kept = (vi)(word >> 8) >= call->threshold;
    return vf_select(kept, x * call->scale, (vf){0});
}

/* The first n <= VW elements. */
static void drop_part(const dropout_call *call, float *y, const float *x, const uint32_t *words,
                      int64_t n) {
    bool accumulate = call->beta != 0.0f;
    if (n >= VW) {
        vf found = drop(call, vf_load(x), words);
        vf_store(y, accumulate ? found + call->beta * vf_load(y) : found);
    } else {
        vf found = drop(call, vf_load_part(x, n), words);
        vf_store_part(y, accumulate ? found + call->beta * vf_load_part(y, n) : found, n);
    }
}

static void row_dropout(const dropout_call *call, int64_t t) {
    float *y = call->y + t * call->width;
    const float *x = call->x + t * call->width;
    hone_dropout draw = call->draw;
    for (int64_t c = 0; c < call->width; c += WORDS) {
        uint32_t words[WORDS];
        draw_words(words, draw.key[0], (uint32_t)(c / 4), (uint32_t)draw.positions[t],
                   draw.records[t], draw.module);
        for (int64_t w = 0; w < WORDS && c + w < call->width; w += VW)
            drop_part(call, y + c + w, x + c + w, words + w, call->width - c - w);
    }
}

static void tokens_dropout(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    for (int64_t t = begin; t < end; t++) row_dropout(context, t);
}

void HONE_SIMD(hone_dropout)(float *y, const float *x, hone_dropout draw, int64_t tokens,
                             int64_t width, float beta) {
    dropout_call call = {y,
                         x,
                         draw,
                         width,
                         beta,
                         (float)(1.0 / (1.0 - draw.rate)),
                         (int32_t)ceil(draw.rate * 0x1p24)};
    hone_parallel_for(tokens, TOKEN_GRAIN, tokens_dropout, &call);
}
