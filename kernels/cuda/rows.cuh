/*
 * Rows that threads hold in registers, so that kernels that go over a row again read it once. A team of threads takes a row:
 * a warp, of which a block has some, or a block that is no larger than the row needs. Rows that are wider than what the
 * largest team holds are taken by pieces, and those read again. The order of sums depends on the width alone.
 */
#ifndef HONE_KERNELS_CUDA_ROWS_CUH
#define HONE_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/map.cuh"

enum {
    WIDEST_TEAM = 1024, /* it takes rows by pieces */
    /* Threads that share the registers of a multiprocessor, so that some load while others add. */
    BUSY_THREADS = 768,
};

/* Threads of a block of such teams. */
__host__ __device__ constexpr int threads_of_teams(int team) {
    return team == WARP ? BLOCK : team;
}

__host__ __device__ constexpr int blocks_at_once(int team) {
    int threads = threads_of_teams(team);
    return threads < BUSY_THREADS ? BUSY_THREADS / threads : 1;
}

/* A kernel for rows of a team. */
#define HONE_ROW_KERNEL(team)                                                                      \
    template <int team>                                                                            \
    __global__ void __launch_bounds__(threads_of_teams(team), blocks_at_once(team))

/* `wide`: rows begin groups in all arrays. */
struct row_shape {
    int64_t rows, width;
    bool wide;
};

/* As a float, or rounded to bf16. */
template <typename T> __device__ static inline T as_stored(float x) {
    if constexpr (sizeof(T) == sizeof(float)) {
        return x;
    } else {
        return hone_bf16_from_f32(x);
    }
}

template <int TEAM> struct held_row {
    static constexpr int HELD = TEAM == WIDEST_TEAM ? 2 : 4; /* groups of a thread */
    static constexpr int64_t PIECE = TEAM * HELD * GROUP;
    row_shape shape;
    int64_t number;
    int lane; /* of the team */

    __device__ explicit held_row(const row_shape &of)
        : shape(of), number(((int64_t)blockIdx.x * threads_of_teams(TEAM) + threadIdx.x) / TEAM),
          lane((int)threadIdx.x % TEAM) {
    }

    /* Pieces are those from columns 0, PIECE .. below this. */
    __device__ int64_t end() const {
        return TEAM == WIDEST_TEAM ? shape.width : 1;
    }

    /* Whether they push each other out of the registers. */
    __device__ bool has_pieces() const {
        return TEAM == WIDEST_TEAM && shape.width > PIECE;
    }

    __device__ int64_t column(int64_t from, int k) const {
        return from + (k * TEAM + lane) * GROUP;
    }

    /* Whether element i of group k of the piece from a column on is one of the row's. */
    __device__ bool has(int64_t from, int k, int i) const {
        return column(from, k) + i < shape.width;
    }

    /* The piece from a column on; zeros behind the row's end. */
    __device__ void load(group_of<float> held[HELD], const float *row, int64_t from) const {
        if (shape.wide) {
            HONE_UNROLL
            for (int k = 0; k < HELD; k++)
                held[k] = load_group(row, column(from, k), shape.width, true);
        } else {
            HONE_UNROLL
            for (int k = 0; k < HELD; k++)
                held[k] = load_group(row, column(from, k), shape.width, false);
        }
    }

    template <typename T>
    __device__ void store(T *row, const group_of<float> held[HELD], int64_t from) const {
        HONE_UNROLL
        for (int k = 0; k < HELD; k++) {
            group_of<T> group;
            for (int i = 0; i < GROUP; i++) group.at[i] = as_stored<T>(held[k].at[i]);
            store_group(row, column(from, k), shape.width, shape.wide, group);
        }
    }

    /* Of the team; every thread gets it. */
    __device__ float sum(float x) const {
        if constexpr (TEAM == WARP) {
            return warp_sum(x);
        } else {
            return block_sum<TEAM>(x);
        }
    }
};

struct row_launch {
    int team; /* 0 for one of 32 threads, 1 for one of 64 .. */
    unsigned blocks, threads;
};

/* The least team that holds a row whole, else the widest. */
static inline row_launch launch_of_rows(const row_shape &shape) {
    int team = 0, size = WARP;
    for (; size < WIDEST_TEAM && shape.width > held_row<WARP>::PIECE << team; size *= 2) team++;
    int threads = threads_of_teams(size);
    int64_t rows = threads / size; /* of a block */
    return {team, (unsigned)((shape.rows + rows - 1) / rows), (unsigned)threads};
}

/* Starts a HONE_ROW_KERNEL. */
#define HONE_LAUNCH_ROWS(kernel, shape, ...)                                                       \
    do {                                                                                           \
        decltype(&kernel<32>) of_team[] = {kernel<32>,  kernel<64>,  kernel<128>,                  \
                                           kernel<256>, kernel<512>, kernel<1024>};                \
        row_launch at = launch_of_rows(shape);                                                     \
        if (at.blocks > 0) HONE_LAUNCH(of_team[at.team], at.blocks, at.threads, __VA_ARGS__);      \
    } while (0)

#endif
