#include "kernels/element.h"
#include "kernels/ref/ref.h"

void hone_dequantize_ref(hone_real *y, const void *x, hone_dtype type, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = (hone_real)hone_element(x, type, i);
}
