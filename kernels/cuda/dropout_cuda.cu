#include "base/philox.h"
#include "kernels/cuda/map.cuh"

/* A thread takes the four elements of a draw, which are a group. */
void hone_dropout_cuda(float *y, const float *x, hone_dropout draw, int64_t tokens, int64_t width,
                       float beta) {
    int64_t draws = (width + 3) / 4;
    uint32_t least = (uint32_t)ceil(draw.rate * 0x1p24); /* of hone_uniform, in its own steps */
    float scale = (float)(1.0 / (1.0 - draw.rate));
    bool wide = rows_begin_groups(width, y, x);
    launch_each(tokens * draws, [=] __device__(int64_t i) {
        int64_t t = quotient(i, draws), draw_of = i - t * draws, c = draw_of * 4;
        hone_philox words =
            hone_philox_draw(draw.key[0], (uint32_t)draw_of, (uint32_t)draw.positions[t],
                             draw.records[t], draw.module);
        group_of<float> to = load_group(x + t * width, c, width, wide), before = {};
        if (beta != 0.0f) before = load_group(y + t * width, c, width, wide);
        for (int e = 0; e < GROUP; e++) {
            float value = words.word[e] >> 8 >= least ? to.at[e] * scale : 0.0f;
            to.at[e] = beta != 0.0f ? value + beta * before.at[e] : value;
        }
        store_group(y + t * width, c, width, wide, to);
    });
}
