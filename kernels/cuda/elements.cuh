/*
 * Maps from tensors of any dtype: item(to, value as a float) for all elements. Plain types are moved in groups, as other
 * arrays are. Of types in blocks four threads share 32 elements: each takes two groups, 16 apart, so that it decodes what
 * those share once, and threads side by side store side by side.
 */
#ifndef HONE_KERNELS_CUDA_ELEMENTS_CUH
#define HONE_KERNELS_CUDA_ELEMENTS_CUH

#include "kernels/cuda/map.cuh"

/* Of a plain type, at any address. */
template <hone_dtype TYPE, int BYTES> struct element_of {
    uint8_t byte[BYTES];
    __device__ operator float() const {
        return hone_element_float(byte, TYPE, 0);
    }
};

/* Calls use(x as an array) when the type is plain; else false. */
template <typename Use> static bool use_plain(const void *x, hone_dtype type, Use use) {
    switch (type) {
    case HONE_F32:
        use(static_cast<const element_of<HONE_F32, 4> *>(x));
        return true;
    case HONE_F64:
        use(static_cast<const element_of<HONE_F64, 8> *>(x));
        return true;
    case HONE_F16:
        use(static_cast<const element_of<HONE_F16, 2> *>(x));
        return true;
    case HONE_BF16:
        use(static_cast<const element_of<HONE_BF16, 2> *>(x));
        return true;
    default:
        return false;
    }
}

enum { PIECE = 32, TAKERS = 4, HALF_PIECE = PIECE / 2 };

/* x [..][row_pieces] pieces, those of row rows[r] for row r of y; rows may be NULL. Rows of y have `gap` elements between
 * them. */
template <typename Item, typename Y>
__global__ void map_pieces(Y *y, int64_t gap, const uint8_t *x, hone_dtype type,
                           const int32_t *rows, int64_t pieces, int64_t row_pieces, bool wide,
                           Item item) {
    int64_t piece = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) / TAKERS, from = piece;
    int first = (int)(threadIdx.x % TAKERS) * GROUP;
    if (piece >= pieces) return;
    int64_t row = quotient(piece, row_pieces);
    if (rows) from += (rows[row] - row) * row_pieces;
    float value[2][GROUP];
    switch (type) {
#define HONE_PIECE(type, element, elements, bytes)                                                 \
    case type: {                                                                                   \
        uint64_t per = (elements) / PIECE, at = (uint64_t)from;                                    \
        const uint8_t *block = x + at / per * (bytes);                                             \
        int begin = (int)(at % per) * PIECE + first;                                               \
        for (int half = 0; half < 2; half++)                                                       \
            for (int i = 0; i < GROUP; i++)                                                        \
                value[half][i] = element(block, begin | half * HALF_PIECE | i);                    \
        break;                                                                                     \
    }
        HONE_BLOCK_TYPES(HONE_PIECE)
    default:
        return;
    }
    Y *to = y + piece * PIECE + row * gap + first;
    for (int half = 0; half < 2; half++) {
        group_of<Y> group;
        for (int i = 0; i < GROUP; i++) item(group.at[i], value[half][i]);
        store_group(to, half * HALF_PIECE, PIECE, wide, group);
    }
}

template <typename Item, typename Y>
static void launch_map_pieces(Y *y, int64_t stride, const void *x, hone_dtype type,
                              const int32_t *rows, int64_t n, int64_t width, Item item) {
    int64_t pieces = n * width / PIECE, row_pieces = width / PIECE, gap = stride - width;
    auto *kernel = map_pieces<Item, Y>;
    if (pieces > 0)
        HONE_LAUNCH(kernel, (unsigned)((pieces * TAKERS + BLOCK - 1) / BLOCK), BLOCK, y, gap,
                    static_cast<const uint8_t *>(x), type, rows, pieces, row_pieces,
                    begin_groups(y) && gap % GROUP == 0, item);
}

/* The same for all n elements of x. */
template <typename Item, typename Y>
static void launch_elements(Y *y, const void *x, hone_dtype type, int64_t n, Item item) {
    auto plain = [=](auto *from) { launch_map(n, item, y, from); };
    if (!use_plain(x, type, plain))
        launch_map_pieces(y, n, x, type, (const int32_t *)nullptr, 1, n, item);
}

/* For rows of x [rows][width], to rows of y that begin every `stride` elements. */
template <typename Item, typename Y>
static void launch_element_rows_apart(Y *y, int64_t stride, const void *x, hone_dtype type,
                                      int64_t rows, int64_t width, Item item) {
    auto plain = [=](auto *from) {
        using X = std::remove_pointer_t<decltype(from)>;
        bool wide = rows_begin_groups(width, y, from) && stride % GROUP == 0;
        launch_map_rows(rows, width, wide, item, rows_of<Y>{y, stride}, rows_of<X>{from, width});
    };
    if (!use_plain(x, type, plain))
        launch_map_pieces(y, stride, x, type, (const int32_t *)nullptr, rows, width, item);
}

/* And for the rows of x [..][width] that `rows` names, n of them. */
template <typename Item, typename Y>
static void launch_element_rows(Y *y, const void *x, hone_dtype type, const int32_t *rows,
                                int64_t n, int64_t width, Item item) {
    auto plain = [=](auto *from) {
        using X = std::remove_pointer_t<decltype(from)>;
        launch_map_rows(n, width, rows_begin_groups(width, y, from), item, rows_of<Y>{y, width},
                        rows_at<X>{from, rows, width});
    };
    if (!use_plain(x, type, plain)) launch_map_pieces(y, width, x, type, rows, n, width, item);
}

#endif
