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
    return hone_whole_lines(w->bf16
                                ? kernels->bf16_workspace(w->dtype, tokens, in, out, rank, backward)
                                : kernels->linear_workspace(w->dtype, in, out, rank));
}

void hone_product_fwd(const hone_kernels *kernels, hone_real *y, const hone_real *x,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      void *workspace) {
    int64_t out = w->shape[0], in = w->shape[1];
    const hone_int8_weight *int8 = w->int8;
    if (int8) {
        void *after = (unsigned char *)workspace + rows_bytes(w, tokens, false);
        kernels->int8_quantize(workspace, int8->counts, x, int8->column_factor, tokens, in);
        kernels->int8_fwd(y, workspace, int8, low, tokens, 0, after);
    } else if (w->bf16) {
        kernels->bf16_fwd(y, x, w->data, w->dtype, low, tokens, in, out, 0, workspace);
    } else {
        kernels->linear_fwd(y, x, w->data, w->dtype, low, tokens, in, out, 0, workspace);
    }
}

void hone_product_bwd(const hone_kernels *kernels, hone_real *dx, const hone_real *dy,
                      const hone_tensor *w, const hone_low_rank *low, int64_t tokens,
                      hone_real beta, void *workspace) {
    int64_t out = w->shape[0], in = w->shape[1];
    const hone_int8_weight *int8 = w->int8;
    if (int8) {
        void *after = (unsigned char *)workspace + rows_bytes(w, tokens, true);
        kernels->int8_quantize(workspace, int8->counts, dy, int8->row_factor, tokens, out);
        kernels->int8_bwd(dx, workspace, int8, low, tokens, beta, after);
    } else if (w->bf16) {
        kernels->bf16_bwd(dx, dy, w->data, w->dtype, low, tokens, in, out, beta, workspace);
    } else {
        kernels->linear_bwd(dx, dy, w->data, w->dtype, low, tokens, in, out, beta, workspace);
    }
}
