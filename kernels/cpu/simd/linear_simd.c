/*
 * Products with frozen weights. F32 weights go to GEMM where they lie; others are dequantised by panels of output rows
 * into the workspace first, so that no full f32 copy ever exists. Few tokens, as in generation, read each weight once.
 */
#include "kernels/cpu/simd/levels.h"

enum {
    PANEL_BYTES =
        4 << 20,   /* large enough for GEMM to run at full speed, small enough for the caches */
    FEW_TOKENS = 8 /* up to so many, reading the weights is what takes the time */
};

/* Output rows of a panel. */
static int64_t panel_rows(int64_t in, int64_t out) {
    int64_t rows = PANEL_BYTES / (in * 4) / 16 * 16;
    if (rows < 64) rows = 64;
    return rows < out ? rows : out;
}

size_t HONE_SIMD(hone_linear_workspace)(hone_dtype type, int64_t tokens, int64_t in, int64_t out) {
    (void)tokens;
    if (type == HONE_F32) return 0;
    return (size_t)panel_rows(in, out) * (size_t)in * 4;
}

/* Rows [begin, begin + rows) of w [.,in] in f32: in place, or dequantised into the workspace. */
static const float *panel_of(const void *w, hone_dtype type, int64_t begin, int64_t rows,
                             int64_t in, void *workspace) {
    const char *first = (const char *)w + hone_dtype_row_bytes(type, begin * in);
    if (type == HONE_F32) return (const float *)(const void *)first;
    HONE_SIMD(hone_dequantize)(workspace, first, type, rows * in);
    return workspace;
}

void HONE_SIMD(hone_linear_fwd)(float *y, const float *x, const void *w, hone_dtype type,
                                int64_t tokens, int64_t in, int64_t out, float beta,
                                void *workspace) {
    if (tokens <= FEW_TOKENS) {
        HONE_SIMD(hone_matvec)(y, x, w, type, tokens, in, out, beta);
        return;
    }
    int64_t step = type == HONE_F32 ? out : panel_rows(in, out);
    for (int64_t begin = 0; begin < out; begin += step) {
        int64_t rows = out - begin < step ? out - begin : step;
        const float *panel = panel_of(w, type, begin, rows, in, workspace);
        HONE_GEMM(y + begin, x, panel, tokens, rows, in, false, true, in, in, out, 1.0f, beta);
    }
}

void HONE_SIMD(hone_linear_bwd)(float *dx, const float *dy, const void *w, hone_dtype type,
                                int64_t tokens, int64_t in, int64_t out, float beta,
                                void *workspace) {
    int64_t step = type == HONE_F32 ? out : panel_rows(in, out);
    for (int64_t begin = 0; begin < out; begin += step) {
        int64_t rows = out - begin < step ? out - begin : step;
        const float *panel = panel_of(w, type, begin, rows, in, workspace);
        HONE_GEMM(dx, dy + begin, panel, tokens, in, rows, false, false, out, in, in, 1.0f,
                  begin == 0 ? beta : 1.0f);
    }
}
