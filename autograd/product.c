#include "autograd/product.h"

#include "base/size.h"

/* In int8 the quantised rows lie first. */
static size_t rows_bytes(const hone_tensor *w, int64_t tokens, bool backward) {
    return hone_whole_lines(hone_int8_rows_bytes(tokens, w->shape[backward ? 0 : 1]));
}

size_t hone_product_workspace(const hone_kernels *kernels, const hone_tensor *w, int64_t tokens,
                              int64_t rank, bool backward) {
    int64_t out = w->shape[0], in = w->shape[1];
    if (w->int8) {
        return rows_bytes(w, tokens, backward) +
               hone_whole_lines(kernels->int8_workspace(w->int8, rank));
    }
    if (w->precision == HONE_PRODUCTS_F32)
        return hone_whole_lines(kernels->linear_workspace(w->dtype, in, out, rank));
    return hone_whole_lines(
        kernels->reduced_workspace(w->dtype, w->precision, tokens, in, out, rank, backward));
}

bool hone_product_quantize(const hone_kernels *kernels, void *workspace, const hone_real *x,
                           const hone_tensor *w, int64_t tokens, bool backward) {
    const hone_int8_weight *int8 = w->int8;
    if (!int8) return false;
    kernels->int8_quantize(workspace, int8->counts, x,
                           backward ? int8->row_factor : int8->column_factor, tokens,
                           w->shape[backward ? 0 : 1]);
    return true;
}

void hone_product_fwd(const hone_kernels *kernels, hone_real *y, const hone_real *x,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      void *workspace) {
    int64_t out = w->shape[0], in = w->shape[1];
    const hone_int8_weight *int8 = w->int8;
    if (int8) {
        void *after = (unsigned char *)workspace + rows_bytes(w, tokens, false);
        kernels->int8_fwd(y, workspace, int8, low, tokens, 0, after);
    } else if (w->precision == HONE_PRODUCTS_F32) {
        kernels->linear_fwd(y, x, w->data, w->dtype, low, tokens, in, out, 0, workspace);
    } else {
        kernels->reduced_fwd(y, x, w->data, w->dtype, w->precision, low, tokens, in, out, 0,
                             workspace);
    }
}

void hone_product_bwd(const hone_kernels *kernels, hone_real *dx, const hone_real *dy,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      hone_real beta, void *workspace) {
    int64_t out = w->shape[0], in = w->shape[1];
    const hone_int8_weight *int8 = w->int8;
    if (int8) {
        void *after = (unsigned char *)workspace + rows_bytes(w, tokens, true);
        kernels->int8_bwd(dx, workspace, int8, low, tokens, beta, after);
    } else if (w->precision == HONE_PRODUCTS_F32) {
        kernels->linear_bwd(dx, dy, w->data, w->dtype, low, tokens, in, out, beta, workspace);
    } else {
        kernels->reduced_bwd(dx, dy, w->data, w->dtype, w->precision, low, tokens, in, out, beta,
                             workspace);
    }
}

bool hone_product_takes_rounded(const hone_kernels *kernels, const hone_tensor *w) {
    return kernels->bf16_fwd && w->precision == HONE_PRODUCTS_BF16 && !w->int8 && !w->needs_grad;
}

const char *hone_product_mode(const hone_tensor *w) {
    if (w->int8) return "int8";
    return w->precision == HONE_PRODUCTS_F32 ? NULL : hone_precision_name(w->precision);
}

double hone_product_weight_bytes(const hone_tensor *w) {
    if (!w->int8 || !w->int8->q) return hone_tensor_bytes(w);
    double blocks = (double)(hone_int8_blocks(w->shape[0]) * hone_int8_blocks(w->shape[1]));
    return (double)hone_tensor_count(w) + blocks * sizeof(float);
}

/* In int8 bytes, with a scale and a sum for each block; residuals are not counted. */
double hone_product_rows_bytes(const hone_tensor *w, int64_t tokens, bool backward) {
    int64_t width = w->shape[backward ? 0 : 1];
    if (!w->int8) return (double)(tokens * width) * sizeof(hone_real);
    return (double)tokens * ((double)width + (double)hone_int8_blocks(width) * 8);
}
