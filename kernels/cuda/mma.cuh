/*
 * Products on tensor cores, made by a whole warp: m16n8k16 of bf16, d += a b with a [16,16] by rows, b [16,8] by columns and
 * d [16,8] in f32. Lane l, with g = l / 4 and t = l % 4, holds
 *
 *     d    rows g, g, g + 8, g + 8 at columns 2t, 2t + 1, 2t, 2t + 1
 *     a    rows g, g + 8, g, g + 8, two elements to a word, from columns 2t, 2t, 2t + 8, 2t + 8 on
 *     b    column g, two elements to a word, from rows 2t and 2t + 8 on
 *
 * so that two fragments of d side by side, rounded, are one of a. (PTX ISA 9.0, sections 9.7.14.5.8 and 9.7.14.5.15)
 */
#ifndef HONE_KERNELS_CUDA_MMA_CUH
#define HONE_KERNELS_CUDA_MMA_CUH

#include "kernels/cuda/device.cuh"

/* 16 bytes that are moved at once, from and to multiples of 16. */
typedef struct alignas(16) quad {
    uint32_t word[4];
} quad;

#ifdef __CUDACC__
/* To shared memory. */
__device__ static inline void store_quad(uint32_t *to, const quad &from) {
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};"
                 :
                 : "r"(at), "r"(from.word[0]), "r"(from.word[1]), "r"(from.word[2]),
                   "r"(from.word[3])
                 : "memory");
}

__device__ static inline void mma_bf16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* m16n8k32 of s8, exact in int32: four elements to a word, else dealt out in the same way. */
__device__ static inline void mma_s8(int d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Four squares of 8 x 8 elements of 16 bits from shared memory: lane l gives row l % 8 of square l / 8, 16 bytes that begin
 * at a multiple of 16, and gets of square i in out[i] two elements of row g from column 2t on. */
__device__ static inline void load_squares(uint32_t out[4], const uint32_t *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* As load_squares(), two elements of column g from row 2t on. */
__device__ static inline void load_squares_aside(uint32_t out[4], const uint32_t *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* Two elements as a word, rounded to nearest even. */
__device__ static inline uint32_t bf16_pair(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/* 2^x, to 2 in the last place; 0 below the smallest normal number. */
__device__ static inline float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#else
#define mma_bf16(d, a, b0, b1)       emulator::multiply_bf16(HONE_SITE, d, a, b0, b1)
#define mma_s8(d, a, b0, b1)         emulator::multiply_s8(HONE_SITE, d, a, b0, b1)
#define store_quad(to, from)         emulator::write_quad(HONE_SITE, to, (from).word)
#define load_squares(out, row)       emulator::squares_of(HONE_SITE, out, row, false)
#define load_squares_aside(out, row) emulator::squares_of(HONE_SITE, out, row, true)

static inline float exp2_of(float x) {
    return exp2f(x);
}

static inline uint32_t bf16_pair(float low, float high) {
    return hone_bf16_from_f32(low) | (uint32_t)hone_bf16_from_f32(high) << 16;
}
#endif

#endif
