#include "base/philox.h"
#include "kernels/ref/ref.h"

void hone_dropout_ref(hone_real *y, const hone_real *x, hone_dropout draw, int64_t tokens,
                      int64_t width, hone_real beta) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t c = 0; c < width; c++) {
            hone_philox words =
                hone_philox_draw(draw.key[0], (uint32_t)(c / 4), (uint32_t)draw.positions[t],
                                 draw.records[t], draw.module);
            bool kept = (double)hone_uniform(words.word[c % 4]) >= draw.rate;
            int64_t i = t * width + c;
            double value = kept ? (double)x[i] / (1.0 - draw.rate) : 0.0;
            if (beta != 0) value += (double)beta * (double)y[i];
            y[i] = (hone_real)value;
        }
    }
}
