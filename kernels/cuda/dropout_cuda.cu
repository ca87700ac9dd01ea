#include "base/philox.h"
#include "kernels/cuda/device.cuh"

/* A thread takes the four elements of a draw. */
void hone_dropout_cuda(float *y, const float *x, hone_dropout draw, int64_t tokens, int64_t width,
                       float beta) {
    int64_t draws = (width + 3) / 4;
    uint32_t least = (uint32_t)ceil(draw.rate * 0x1p24); /* of hone_uniform, in its own steps */
    float scale = (float)(1.0 / (1.0 - draw.rate));
    launch_each(tokens * draws, [=] __device__(int64_t i) {
        int64_t t = i / draws, first = i % draws * 4;
        hone_philox words =
            hone_philox_draw(draw.key[0], (uint32_t)(first / 4), (uint32_t)draw.positions[t],
                             draw.records[t], draw.module);
        for (int64_t c = first; c < width && c < first + 4; c++) {
            int64_t at = t * width + c;
            float value = words.word[c - first] >> 8 >= least ? x[at] * scale : 0.0f;
            y[at] = beta != 0.0f ? value + beta * y[at] : value;
        }
    });
}
