/*
 * Products with a weight, in the way that it asks for: in int8 where it has factors for that, else in its precision. Kernels,
 * shapes, `low` and `beta` as in kernels/kernels.h.
 */
#ifndef HONE_AUTOGRAD_PRODUCT_H
#define HONE_AUTOGRAD_PRODUCT_H

#include "autograd/tensor.h"
#include "kernels/kernels.h"

/* Bytes for the product of so many tokens, or for that of its backward pass; whole lines. */
size_t hone_product_workspace(const hone_kernels *kernels, const hone_tensor *w, int64_t tokens,
                              int64_t rank, bool backward);

/* In int8, before either product: quantises its other side, x [T,in], or dy [T,out] for that of the backward pass, into the
 * workspace, where the product finds it. Else there is nothing to do, and the answer is false. */
bool hone_product_quantize(const hone_kernels *kernels, void *workspace, const hone_real *x,
                           const hone_tensor *w, int64_t tokens, bool backward);

/* y[T,out] = x[T,in] w^T + low. */
void hone_product_fwd(const hone_kernels *kernels, hone_real *y, const hone_real *x,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      void *workspace);

/* dx[T,in] = dy[T,out] w + low + beta dx. */
void hone_product_bwd(const hone_kernels *kernels, hone_real *dx, const hone_real *dy,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      hone_real beta, void *workspace);

/* Whether products with it are taken of rows that were rounded before (hone_round). */
bool hone_product_takes_rounded(const hone_kernels *kernels, const hone_tensor *w);

/* "tf32", "bf16", "fp8" or "int8"; NULL in f32. */
const char *hone_product_mode(const hone_tensor *w);
/* Bytes that a product reads: of the weight, and of the other side. */
double hone_product_weight_bytes(const hone_tensor *w);
double hone_product_rows_bytes(const hone_tensor *w, int64_t tokens, bool backward);

#endif
