/*
 * Floats to the bytes that tensors have in files. Decoding lives in kernels/.
 *
 * F16 and BF16: round to nearest even. Q8_0: the bytes of gguf-py (gguf/quants.py). The other block types: the scales and
 * codes that leave little squared error, found as quantize_fit.h says; layouts in quantize_blocks.c and quantize_super.c.
 */
#ifndef HONE_FORMATS_QUANTIZE_H
#define HONE_FORMATS_QUANTIZE_H

#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

/* Writes rows x cols floats to `out`, which holds rows * hone_dtype_row_bytes(type, cols), in parallel over rows; the bytes
 * do not depend on the threads. Types: F32, F16, BF16 and all quantised ones (HONE_ERR_UNSUPPORTED otherwise).
 * HONE_ERR_USAGE when cols is no multiple of the block. F32 copies any bits; the others fail with HONE_ERR_NUMERIC, naming
 * row and column, at a NaN, an infinity, or a value the type cannot hold. */
HONE_MUST_USE hone_status hone_quantize(void *out, hone_dtype type, const float *in, int64_t rows,
                                        int64_t cols);

/* Whether hone_quantize can write rows of `cols` elements in this type. */
int hone_quantize_fits(hone_dtype type, int64_t cols);

#endif
