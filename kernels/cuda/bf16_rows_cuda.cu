/*
 * Rows and factors in bf16, as products take them: rounded, moved and filled up with zeros.
 */
#include "kernels/cuda/elements.cuh"

extern "C" {
#include "kernels/cuda/products.h"
}

void hone_round_rows_cuda(uint16_t *y, const float *x, int64_t tokens, int64_t width,
                          int64_t stride) {
    auto item = [=] __device__(uint16_t & to, float from) { to = hone_bf16_from_f32(from); };
    bool wide = rows_begin_groups(width, y, x) && stride % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{y, stride},
                    rows_of<const float>{x, width});
}

void hone_copy_columns_cuda(uint16_t *y, int64_t stride, const uint16_t *x, int64_t tokens,
                            int64_t width) {
    auto item = [=] __device__(uint16_t & to, uint16_t from) { to = from; };
    bool wide = rows_begin_groups(width, y, x) && stride % GROUP == 0;
    launch_map_rows(tokens, width, wide, item, rows_of<uint16_t>{y, stride},
                    rows_of<const uint16_t>{x, width});
}

/* --- Slabs --- */

/* What stands beside and below the weight of a layer, element by element. */
struct factors {
    hone_bf16_linear layer;
    uint16_t *slab;
    int64_t stride, below;

    __host__ __device__ int64_t beside() const {
        return layer.rank > 0 ? layer.out * (stride - layer.in) : 0;
    }
    __host__ __device__ int64_t count() const {
        return beside() + below * stride;
    }

    /* sb, and zeros behind it. */
    __device__ void place_beside(int64_t i) const {
        int64_t row = quotient(i, stride - layer.in), column = i - row * (stride - layer.in);
        float value =
            column < layer.rank ? (float)layer.scale * layer.b[row * layer.rank + column] : 0.0f;
        slab[row * stride + layer.in + column] = hone_bf16_from_f32(value);
    }

    /* a, and zeros below and behind it. */
    __device__ void place_below(int64_t i) const {
        int64_t row = quotient(i, stride), column = i - row * stride;
        bool within = row < layer.rank && column < layer.in;
        float value = within ? layer.a[row * layer.in + column] : 0.0f;
        slab[(layer.out + row) * stride + column] = hone_bf16_from_f32(value);
    }

    __device__ void place(int64_t i) const {
        if (i < beside())
            place_beside(i);
        else
            place_below(i - beside());
    }
};

/* A weight of a plain type and its factors, in one go. */
template <typename X> static void fill_plain(const X *w, const factors &f, bool wide) {
    int64_t in = f.layer.in, groups = (in + GROUP - 1) / GROUP, of_w = f.layer.out * groups;
    launch_each(of_w + f.count(), [=] __device__(int64_t i) {
        if (i >= of_w) {
            f.place(i - of_w);
            return;
        }
        int64_t row = quotient(i, groups), column = (i - row * groups) * GROUP;
        group_of<X> from = load_group(w + row * in, column, in, wide);
        group_of<uint16_t> to;
        for (int k = 0; k < GROUP; k++) to.at[k] = hone_bf16_from_f32((float)from.at[k]);
        store_group(f.slab + row * f.stride, column, in, wide, to);
    });
}

void hone_fill_slab_cuda(uint16_t *slab, int64_t stride, const hone_bf16_linear *layer,
                         int64_t below) {
    factors f = {*layer, slab, stride, below};
    auto plain = [&](auto *w) {
        fill_plain(w, f, rows_begin_groups(layer->in, w, slab) && stride % GROUP == 0);
    };
    if (use_plain(layer->w, layer->type, plain)) return;
    hone_dequantize_rows_cuda(slab, stride, layer->w, layer->type, layer->out, layer->in);
    launch_each(f.count(), [=] __device__(int64_t i) { f.place(i); });
}
