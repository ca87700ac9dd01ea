#include "kernels/ref/ref.h"

void hone_lora_fwd_ref(hone_real *t, const hone_real *x, const hone_real *a, hone_lora_shape shape,
                       void *workspace) {
    (void)workspace;
    hone_gemm_ref(t, x, a, shape.tokens, shape.rank, shape.in, false, true, shape.in, shape.in,
                  shape.rank, 1, 0);
}

void hone_lora_bwd_ref(hone_real *dt, hone_real *da, hone_real *db, const hone_real *dy,
                       const hone_real *x, const hone_real *t, const hone_real *b,
                       hone_lora_shape shape, void *workspace) {
    (void)workspace;
    int64_t tokens = shape.tokens, in = shape.in, out = shape.out, rank = shape.rank;
    hone_real scale = (hone_real)shape.scale;
    hone_gemm_ref(dt, dy, b, tokens, rank, out, false, false, out, rank, rank, scale, 0);
    if (db) hone_gemm_ref(db, dy, t, out, rank, tokens, true, false, out, rank, rank, scale, 1);
    if (da) hone_gemm_ref(da, dt, x, rank, in, tokens, true, false, rank, in, in, 1, 1);
}

size_t hone_lora_workspace_ref(hone_lora_shape shape) {
    (void)shape;
    return 0;
}
