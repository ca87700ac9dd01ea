/*
 * Maps: the same done to every element of some arrays, at the speed of memory. A thread moves groups of four elements, 16
 * bytes of floats, with the loads of two groups under way together; where rows begin beside such groups, and behind the last
 * of them, it moves single elements. What an element becomes does not depend on that.
 */
#ifndef HONE_KERNELS_CUDA_MAP_CUH
#define HONE_KERNELS_CUDA_MAP_CUH

#include <type_traits>

#include "kernels/cuda/device.cuh"

/* a / b of numbers that are not negative: GPUs divide 64 bits several times more slowly than 32. */
__device__ static inline int64_t quotient(int64_t a, int64_t b) {
    return (a | b) >> 32 != 0 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

/* --- Groups of elements: what a thread moves at once --- */

enum { GROUP = 4 };

/* 16 bytes of floats. It begins at a multiple of its size. */
template <typename T> struct alignas(GROUP * sizeof(T)) group_of { T at[GROUP]; };

template <typename... T> static bool begin_groups(const T *...array) {
    return (((uintptr_t)array % sizeof(group_of<T>) == 0) && ...);
}

/* Whether every row of so many elements begins a group in all of these. */
template <typename... T> static bool rows_begin_groups(int64_t width, const T *...array) {
    return width % GROUP == 0 && begin_groups(array...);
}

/* Elements of a row from a column on, as many as the row has there; 0 for the others. */
template <typename T>
__device__ static inline group_of<T> load_group(const T *row, int64_t column, int64_t width,
                                                bool wide) {
    group_of<T> group = {};
    if (wide) {
        if (column < width) group = *reinterpret_cast<const group_of<T> *>(row + column);
    } else {
        HONE_UNROLL
        for (int i = 0; i < GROUP; i++)
            if (column + i < width) group.at[i] = row[column + i];
    }
    return group;
}

template <typename T>
__device__ static inline void store_group(T *row, int64_t column, int64_t width, bool wide,
                                          const group_of<T> &group) {
    if (wide) {
        if (column < width) *reinterpret_cast<group_of<T> *>(row + column) = group;
    } else {
        HONE_UNROLL
        for (int i = 0; i < GROUP; i++)
            if (column + i < width) row[column + i] = group.at[i];
    }
}

/* --- Maps --- */

/* Groups of a thread, whose loads are under way together. */
enum { GROUPS = 2 };

/* What a thread has of an array: of a T that is const it was loaded, of another it is to be stored. */
template <typename T> struct part {
    T *from[GROUPS];
    group_of<std::remove_const_t<T>> group[GROUPS];
};

template <typename T> __device__ static inline void load_part(part<const T> &p, int g) {
    p.group[g] = *reinterpret_cast<const group_of<T> *>(p.from[g]);
}

template <typename T> __device__ static inline void load_part(part<T> &, int) {
}

template <typename T> __device__ static inline void store_part(const part<const T> &, int) {
}

template <typename T> __device__ static inline void store_part(const part<T> &p, int g) {
    *reinterpret_cast<group_of<T> *>(p.from[g]) = p.group[g];
}

template <typename Item, typename... T>
__device__ static inline void map_groups(const Item &item, part<T>... parts) {
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++)
        if ((parts.from[g] && ...)) (load_part(parts, g), ...);
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        if (!(parts.from[g] && ...)) continue;
        HONE_UNROLL
        for (int i = 0; i < GROUP; i++) item(parts.group[g].at[i]...);
        (store_part(parts, g), ...);
    }
}

template <typename Item, typename... T>
__device__ static inline void map_element(const Item &item, T *...at) {
    if ((at && ...)) item(*at...);
}

struct cell {
    int64_t row, column;
};

template <bool ROWS> __device__ static inline cell cell_of(int64_t i, int64_t columns) {
    int64_t row = ROWS ? quotient(i, columns) : 0;
    return {row, i - row * columns};
}

template <typename Place>
__device__ static inline auto part_of(const Place &place, const cell at[GROUPS],
                                      const bool whole[GROUPS]) {
    part<std::remove_pointer_t<decltype(place(0, 0))>> p;
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++)
        p.from[g] = whole[g] ? place(at[g].row, at[g].column) : nullptr;
    return p;
}

template <bool ROWS, typename Item, typename... Place>
__global__ void map(int64_t n, int64_t columns, bool wide, Item item, Place... place) {
    int64_t first = ((int64_t)blockIdx.x * (GROUPS * BLOCK) + threadIdx.x) * GROUP;
    cell at[GROUPS];
    bool whole[GROUPS];
    bool all = true;
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        int64_t i = first + g * (BLOCK * GROUP);
        at[g] = cell_of<ROWS>(i, columns);
        whole[g] = wide && i + GROUP <= n;
        all = all && whole[g];
    }
    map_groups(item, part_of(place, at, whole)...);
    if (all) return;
    HONE_ROLLED
    for (int e = 0; e < GROUPS * GROUP; e++) { /* the elements of groups that are not whole */
        int64_t group = first + e / GROUP * (BLOCK * GROUP), i = group + e % GROUP;
        if (i >= n || (wide && group + GROUP <= n)) continue;
        cell of = cell_of<ROWS>(i, columns);
        map_element(item, place(of.row, of.column)...);
    }
}

template <bool ROWS, typename Item, typename... Place>
static void launch_map_of(int64_t n, int64_t columns, bool wide, Item item, Place... place) {
    constexpr int64_t EACH = BLOCK * GROUPS * GROUP;
    auto *kernel = map<ROWS, Item, Place...>;
    int64_t blocks = (n + EACH - 1) / EACH;
    if (blocks > 0) HONE_LAUNCH(kernel, (unsigned)blocks, BLOCK, n, columns, wide, item, place...);
}

/* Calls item(element of each array ...) for all elements of a row, columns from 0 on, of 0 <= row < rows. place(row, column)
 * is where an array has its element, the next columns behind it; nothing is done where one is NULL. What has a place of
 * const elements is read, all else is written and not read. `wide`: rows begin groups. */
template <typename Item, typename... Place>
static void launch_map_rows(int64_t rows, int64_t columns, bool wide, Item item, Place... place) {
    launch_map_of<true>(rows * columns, columns, wide, item, place...);
}

/* The place of rows that lie `width` elements apart; of 0, all are the same. */
template <typename T> struct rows_of {
    T *array;
    int64_t width;
    __device__ T *operator()(int64_t row, int64_t column) const {
        return array + row * width + column;
    }
};

/* That of rows that were chosen. */
template <typename T> struct rows_at {
    T *array;
    const int32_t *rows;
    int64_t width;
    __device__ T *operator()(int64_t row, int64_t column) const {
        return array + rows[row] * width + column;
    }
};

/* The same for 0 <= i < n of arrays: launch_map(n, [=] __device__(float &y, float x) { y = x; }, y, x). An output may be an
 * input. */
template <typename Item, typename... T> static void launch_map(int64_t n, Item item, T *...array) {
    launch_map_of<false>(n, n, begin_groups(array...), item, rows_of<T>{array, 0}...);
}

#endif
