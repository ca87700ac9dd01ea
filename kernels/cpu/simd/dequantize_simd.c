#include <assert.h>

#include "base/parallel.h"
#include "kernels/cpu/simd/blocks.h"
#include "kernels/cpu/simd/levels.h"

enum { UNIT = 256, GRAIN = 64 }; /* elements that stay together; units a thread takes at least */

/* --- Plain types --- */

static void decode_f32(float *y, const void *x, int64_t n) {
    memcpy(y, x, (size_t)n * sizeof *y);
}

HONE_INLINE vf load_f16(const uint8_t *p) {
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#elif defined(__ARM_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
#else
    vf x;
    for (int lane = 0; lane < VW; lane++) x[lane] = load_half(p + 2 * lane);
    return x;
#endif
}

static void decode_f16(float *y, const void *x, int64_t n) {
    const uint8_t *p = x;
    int64_t i = 0;
    for (; i + VW <= n; i += VW) vf_store(y + i, load_f16(p + 2 * i));
    for (; i < n; i++) y[i] = load_half(p + 2 * i);
}

HONE_INLINE vf load_bf16(const uint8_t *p) {
#if defined(__AVX512F__)
    vu wide = (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__AVX2__)
    vu wide = (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    vh half;
    memcpy(&half, p, sizeof half);
    vu wide = __builtin_convertvector(half, vu);
#endif
    return (vf)(wide << 16);
}

static void decode_bf16(float *y, const void *x, int64_t n) {
    const uint8_t *p = x;
    int64_t i = 0;
    for (; i + VW <= n; i += VW) vf_store(y + i, load_bf16(p + 2 * i));
    for (; i < n; i++) {
        uint16_t half;
        memcpy(&half, p + 2 * i, sizeof half);
        y[i] = hone_bf16_to_f32(half);
    }
}

/* --- Types coded in blocks --- */

/* All arguments but the first three are constants at every use. */
HONE_INLINE void each_block(float *y, const void *x, int64_t n,
                            void (*block)(float *y, const uint8_t *b), int64_t elements,
                            int64_t bytes) {
    const uint8_t *b = x;
    for (int64_t i = 0; i < n; i += elements, b += bytes) block(y + i, b);
}

static void decode_q4_0(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q4_0, 32, 18);
}

static void decode_q4_1(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q4_1, 32, 20);
}

static void decode_q5_0(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q5_0, 32, 22);
}

static void decode_q5_1(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q5_1, 32, 24);
}

static void decode_q8_0(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q8_0, 32, 34);
}

static void decode_q2_k(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q2_k, 256, 84);
}

static void decode_q3_k(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q3_k, 256, 110);
}

static void decode_q4_k(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q4_k, 256, 144);
}

static void decode_q5_k(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q5_k, 256, 176);
}

static void decode_q6_k(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_q6_k, 256, 210);
}

static void decode_iq4_nl(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_iq4_nl, 32, 18);
}

static void decode_iq4_xs(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_iq4_xs, 256, 136);
}

static void decode_mxfp4(float *y, const void *x, int64_t n) {
    each_block(y, x, n, block_mxfp4, 32, 17);
}

hone_decode_fn HONE_SIMD(hone_decoder)(hone_dtype type) {
    switch (type) {
    case HONE_F32:
        return decode_f32;
    case HONE_F16:
        return decode_f16;
    case HONE_BF16:
        return decode_bf16;
    case HONE_Q4_0:
        return decode_q4_0;
    case HONE_Q4_1:
        return decode_q4_1;
    case HONE_Q5_0:
        return decode_q5_0;
    case HONE_Q5_1:
        return decode_q5_1;
    case HONE_Q8_0:
        return decode_q8_0;
    case HONE_Q2_K:
        return decode_q2_k;
    case HONE_Q3_K:
        return decode_q3_k;
    case HONE_Q4_K:
        return decode_q4_k;
    case HONE_Q5_K:
        return decode_q5_k;
    case HONE_Q6_K:
        return decode_q6_k;
    case HONE_IQ4_NL:
        return decode_iq4_nl;
    case HONE_IQ4_XS:
        return decode_iq4_xs;
    case HONE_MXFP4:
        return decode_mxfp4;
    case HONE_I32:
    case HONE_F64:
        break;
    }
    assert(!"a dtype that weights cannot have");
    return NULL;
}

typedef struct dequantize_call {
    float *y;
    const unsigned char *x;
    hone_decode_fn decode;
    size_t unit_bytes;
    int64_t n;
} dequantize_call;

static void body(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const dequantize_call *call = context;
    const unsigned char *x = call->x + (size_t)begin * call->unit_bytes;
    begin *= UNIT;
    end = end * UNIT < call->n ? end * UNIT : call->n;
    call->decode(call->y + begin, x, end - begin);
}

void HONE_SIMD(hone_dequantize)(float *y, const void *x, hone_dtype type, int64_t n) {
    dequantize_call call = {y, x, HONE_SIMD(hone_decoder)(type), hone_dtype_row_bytes(type, UNIT),
                            n};
    hone_parallel_for((n + UNIT - 1) / UNIT, GRAIN, body, &call);
}
