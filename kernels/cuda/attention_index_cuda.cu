/*
 * What attention by cuDNN needs beside it: where the documents lie, and numbers from bf16.
 */
#include "kernels/cuda/map.cuh"

extern "C" {
#include "kernels/cuda/attention_cudnn.h"
}

static void launch_offsets(const hone_attention_index &out, const hone_segment *segments,
                           const hone_attention_shape &shape, int64_t room) {
    int64_t count = shape.segments, size = shape.head_size;
    int64_t heads = shape.heads, kv_heads = shape.kv_heads;
    launch_each(room + 1, [=] __device__(int64_t i) {
        const hone_segment &run = segments[i < count ? i : count - 1];
        int64_t begin = run.q_begin + (i < count ? 0 : run.q_len);
        if (i < room) out.lengths[i] = i < count ? run.q_len : 0;
        out.q_offsets[i] = begin * heads * size;
        out.k_offsets[i] = begin * kv_heads * size;
        out.s_offsets[i] = begin * heads;
    });
}

void hone_attention_index_cuda(const hone_attention_index *out, const hone_segment *segments,
                               hone_attention_shape shape, int64_t room) {
    launch_offsets(*out, segments, shape, room);
    uint8_t *inside = out->inside;
    launch_each(shape.tokens, [=] __device__(int64_t i) { inside[i] = 0; });
    launch_each_row(shape.segments, [=] __device__(int64_t s, int lane) {
        for (int64_t i = lane; i < segments[s].q_len; i += WARP)
            inside[segments[s].q_begin + i] = 1;
    });
}

void hone_attention_from_bf16_cuda(float *y, const uint16_t *x, const uint8_t *inside,
                                   int64_t tokens, int64_t width) {
    auto item = [=] __device__(float &to, uint16_t from) { to = hone_bf16_to_f32(from); };
    auto place = [=] __device__(int64_t t, int64_t c) -> float * {
        return inside[t] ? y + t * width + c : nullptr;
    };
    launch_map_rows(tokens, width, rows_begin_groups(width, y, x), item, place,
                    rows_of<const uint16_t>{x, width});
}
