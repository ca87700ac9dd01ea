#include "kernels/element.h"
#include "kernels/ref/ref.h"

void hone_embedding_fwd_ref(hone_real *y, const int32_t *ids, const void *table, hone_dtype type,
                            int64_t tokens, int64_t width) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t c = 0; c < width; c++)
            y[t * width + c] = (hone_real)hone_element(table, type, ids[t] * width + c);
    }
}

void hone_embedding_bwd_ref(hone_real *dtable, const int32_t *ids, const hone_real *dy,
                            int64_t tokens, int64_t width) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t c = 0; c < width; c++) dtable[ids[t] * width + c] += dy[t * width + c];
    }
}
