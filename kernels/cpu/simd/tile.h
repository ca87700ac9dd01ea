/*
 * Packing for products, and the one small product that attention is made of: MR rows of C[MR,n] (+)= A[MR,k] B[k,n], with A at any strides, B and
 * C in rows padded to whole vectors. The rows of C stay in registers over all of k.
 */
#ifndef HONE_KERNELS_CPU_SIMD_TILE_H
#define HONE_KERNELS_CPU_SIMD_TILE_H

#include <stdbool.h>

#include "kernels/cpu/simd/simd.h"
#include "kernels/kernels.h"

/* Rows of a tile, and its widest row in vectors: MR x NV accumulators, NV of B and one of A fit the registers. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { MR = 6, NV = 4 };
#else
enum { MR = 6, NV = 2 };
#endif

HONE_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

HONE_INLINE int64_t round_up(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* to = value + beta to, for the first n lanes of a vector; does not read `to` when beta is 0. */
HONE_INLINE void write_part(float *to, vf value, int64_t n, float beta) {
    if (n >= VW) {
        vf_store(to, beta != 0.0f ? value + beta * vf_load(to) : value);
    } else if (n > 0) {
        vf_store_part(to, beta != 0.0f ? value + beta * vf_load_part(to, n) : value, n);
    }
}

/* `nv` is a constant at every use. */
HONE_INLINE void tile_block(float *c, int64_t ldc, const float *a, int64_t row_stride,
                            int64_t k_stride, const float *b, int64_t ldb, int64_t k, const int nv,
                            bool accumulate) {
    vf sum[MR][NV];
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) sum[r][v] = (vf){0};
    }
    for (int64_t l = 0; l < k; l++) {
        vf row[NV];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) row[v] = vf_load(b + l * ldb + v * VW);
#pragma GCC unroll 8
        for (int r = 0; r < MR; r++) {
            vf factor = vf_set(a[r * row_stride + l * k_stride]);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) sum[r][v] += factor * row[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            float *at = c + r * ldc + v * VW;
            vf_store(at, accumulate ? vf_load(at) + sum[r][v] : sum[r][v]);
        }
    }
}

/* C[MR, vectors*VW] = A B, or += when `accumulate`. */
static inline __attribute__((unused)) void tile_rows(float *c, int64_t ldc, const float *a,
                                                     int64_t row_stride, int64_t k_stride,
                                                     const float *b, int64_t ldb, int64_t k,
                                                     int64_t vectors, bool accumulate) {
    for (; vectors >= NV; vectors -= NV, c += NV * VW, b += NV * VW)
        tile_block(c, ldc, a, row_stride, k_stride, b, ldb, k, NV, accumulate);
#if defined(__AVX512F__) || defined(__ARM_NEON)
    if (vectors == 3) tile_block(c, ldc, a, row_stride, k_stride, b, ldb, k, 3, accumulate);
    if (vectors == 2) tile_block(c, ldc, a, row_stride, k_stride, b, ldb, k, 2, accumulate);
#endif
    if (vectors == 1) tile_block(c, ldc, a, row_stride, k_stride, b, ldb, k, 1, accumulate);
}

HONE_INLINE v4 v4_load(const float *p) {
    v4 x;
    memcpy(&x, p, sizeof x);
    return x;
}

HONE_INLINE void transpose_4x4(float *to, int64_t ldt, const float *from, int64_t ldf) {
    v4 a = v4_load(from);
    v4 b = v4_load(from + ldf);
    v4 c = v4_load(from + 2 * ldf);
    v4 d = v4_load(from + 3 * ldf);
    v4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    v4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    v4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    v4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    v4 rows[4] = {
        __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
        __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
        __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
        __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7),
    };
    for (int i = 0; i < 4; i++) memcpy(to + i * ldt, &rows[i], sizeof rows[i]);
}

#if defined(__AVX512F__)
/* Sixteen rows and columns of pack_transposed, whose rows from `n` on are zero. */
HONE_INLINE void transpose_16x16(float *to, int64_t ldt, const float *from, int64_t ldf,
                                 int64_t n) {
    __m512 row[16], pair[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        row[i] = i < n ? _mm512_loadu_ps(from + i * ldf) : _mm512_setzero_ps();
    }
    /* Inside lanes of four: pairs of rows, then fours, of which [4 g + c] has columns c, c + 4, c + 8 and c + 12. */
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        pair[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < 16; g += 4) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m512d a = _mm512_castps_pd(pair[g + half]), b = _mm512_castps_pd(pair[g + 2 + half]);
            row[g + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            row[g + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    /* Then the lanes among the four groups. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        __m512 even_01 = _mm512_shuffle_f32x4(row[c], row[4 + c], 0x88);
        __m512 odd_01 = _mm512_shuffle_f32x4(row[c], row[4 + c], 0xdd);
        __m512 even_23 = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0x88);
        __m512 odd_23 = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0xdd);
        _mm512_storeu_ps(to + c * ldt, _mm512_shuffle_f32x4(even_01, even_23, 0x88));
        _mm512_storeu_ps(to + (4 + c) * ldt, _mm512_shuffle_f32x4(odd_01, odd_23, 0x88));
        _mm512_storeu_ps(to + (8 + c) * ldt, _mm512_shuffle_f32x4(even_01, even_23, 0xdd));
        _mm512_storeu_ps(to + (12 + c) * ldt, _mm512_shuffle_f32x4(odd_01, odd_23, 0xdd));
    }
}
#endif

/* to[columns, ldt] = the transpose of from[n, columns]; columns of `to` from n on become zero. */
static inline __attribute__((unused)) void pack_transposed(float *to, int64_t ldt,
                                                           const float *from, int64_t ldf,
                                                           int64_t n, int64_t columns) {
    int64_t done = 0; /* columns */
#if defined(__AVX512F__)
    for (; ldt % 16 == 0 && done + 16 <= columns; done += 16) {
        for (int64_t j = 0; j < ldt; j += 16)
            transpose_16x16(to + done * ldt + j, ldt, from + (j < n ? j : 0) * ldf + done, ldf,
                            n - j);
    }
#endif
    int64_t whole_n = n / 4 * 4;
    int64_t whole_columns = done + (columns - done) / 4 * 4;
    for (int64_t d = done; d < whole_columns; d += 4) { /* rows of `to` are written whole */
        for (int64_t j = 0; j < whole_n; j += 4)
            transpose_4x4(to + d * ldt + j, ldt, from + j * ldf + d, ldf);
    }
    for (int64_t d = done; d < columns; d++) {
        for (int64_t j = d < whole_columns ? whole_n : 0; j < n; j++)
            to[d * ldt + j] = from[j * ldf + d];
        for (int64_t j = n; j < ldt; j++) to[d * ldt + j] = 0.0f;
    }
}

/* to[n, padded] = scale from[n, columns], with zeros in the columns beyond. */
static inline __attribute__((unused)) void pack_rows(float *to, int64_t padded, const float *from,
                                                     int64_t ldf, int64_t n, int64_t columns,
                                                     float scale) {
    for (int64_t j = 0; j < n; j++) {
        int64_t d = 0;
        for (; d + VW <= columns; d += VW)
            vf_store(to + j * padded + d, vf_load(from + j * ldf + d) * scale);
        if (d < columns) {
            vf_store(to + j * padded + d, vf_load_part(from + j * ldf + d, columns - d) * scale);
            d += VW;
        }
        for (; d < padded; d += VW) vf_store(to + j * padded + d, (vf){0});
    }
}

/* to[R, panel] = the low-rank factor's part for `columns` columns of a result from `column` on, times its scale, with zeros
 * beyond. The factor is [columns of the result, R] when `forward`, else [R, across]. */
static inline __attribute__((unused)) void pack_low_rank(float *to, int64_t panel,
                                                         const hone_low_rank *low, bool forward,
                                                         int64_t column, int64_t columns,
                                                         int64_t across) {
    float scale = (float)low->scale;
    for (int64_t r = 0; r < low->rank; r++, to += panel) {
        for (int64_t n = 0; n < panel; n++) {
            int64_t at = forward ? (column + n) * low->rank + r : r * across + column + n;
            to[n] = n < columns ? low->factor[at] * scale : 0.0f;
        }
    }
}

#endif
