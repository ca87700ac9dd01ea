#include "kernels/cuda/map.cuh"

/* Rows are heads of tokens here, columns their pairs. Where the first elements of pairs stand, or what lies `behind` elements
 * after them: T is what is moved there. */
template <typename T> struct pair_place {
    float *x;
    hone_rope_shape shape;
    int64_t behind;
    __device__ T *operator()(int64_t row, int64_t pair) const {
        float *head = x + row * shape.head_size + behind;
        return reinterpret_cast<T *>(head + (shape.interleaved ? 2 * pair : pair));
    }
};

/* Where the cosines or sines of their angles stand. */
struct angle_place {
    const float *values;
    const int32_t *positions;
    hone_rope_shape shape;
    __device__ const float *operator()(int64_t row, int64_t pair) const {
        uint32_t token = (uint32_t)row / (uint32_t)shape.heads; /* of fewer than 2^32 heads */
        return values + positions[token] * (shape.rotated / 2) + pair;
    }
};

struct two {
    float first, second;
};

__device__ static inline two turned(float a, float b, float c, float s) {
    return {a * c - b * s, a * s + b * c};
}

void hone_rope_cuda(float *x, const float *cosine, const float *sine, const int32_t *positions,
                    hone_rope_shape shape, bool inverse) {
    int64_t pairs = shape.rotated / 2, rows = shape.tokens * shape.heads;
    float sign = inverse ? -1.0f : 1.0f;
    angle_place cosines = {cosine, positions, shape}, sines = {sine, positions, shape};
    bool wide = rows_begin_groups(pairs, cosine, sine);
    if (shape.interleaved) {
        auto item = [=] __device__(two & to, two from, float c, float s) {
            to = turned(from.first, from.second, c, sign * s);
        };
        wide = wide && shape.head_size % (2 * GROUP) == 0 && begin_groups((const two *)x);
        launch_map_rows(rows, pairs, wide, item, pair_place<two>{x, shape, 0},
                        pair_place<const two>{x, shape, 0}, cosines, sines);
        return;
    }
    auto item = [=] __device__(float &first, float &second, float a, float b, float c, float s) {
        two to = turned(a, b, c, sign * s);
        first = to.first;
        second = to.second;
    };
    wide = wide && rows_begin_groups(shape.head_size, x);
    launch_map_rows(rows, pairs, wide, item, pair_place<float>{x, shape, 0},
                    pair_place<float>{x, shape, pairs}, pair_place<const float>{x, shape, 0},
                    pair_place<const float>{x, shape, pairs}, cosines, sines);
}
