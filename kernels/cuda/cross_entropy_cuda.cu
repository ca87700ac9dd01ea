/*
 * Cross-entropy over rows of logits. A block takes a row and reads it twice: from its end to its beginning for the largest
 * logit and the sum, and back for the gradient, as a cache still has what was read last. The row goes by in stretches, of
 * which a thread holds some groups of four logits side by side: that many loads are under way at once.
 *
 * The gradient in bf16 is written over the logits. Those of a stretch go to the first half of what was read up to there, so
 * that all threads have to have read the stretch before one writes; what is read later lies behind all of that.
 */
#include "kernels/cuda/mma.cuh"

enum { THREADS = 512, GROUPS = 4, GROUP = 4, STRETCH = THREADS * GROUPS * GROUP };

struct alignas(16) group_f32 {
    float at[GROUP];
};
struct alignas(8) group_bf16 {
    uint32_t pair[GROUP / 2];
};

/* A row: its logits, their number below 2^31, and where they are capped. */
struct logits_row {
    float *x;
    int n;
    float softcap;
};

/* The first logit of a group of this thread's, in the stretch from `begin` on. */
__device__ static inline int first_of(int group, int begin) {
    return begin + (group * THREADS + (int)threadIdx.x) * GROUP;
}

/* Calls act(&z[g][k], i) for each element i of this thread's that the row has: all of a group or none where rows are
 * aligned. */
template <bool ALIGNED, typename Act>
__device__ static inline void each_of(float z[GROUPS][GROUP], int begin, int n, Act act) {
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        HONE_UNROLL
        for (int k = 0; k < GROUP; k++) {
            int first = first_of(g, begin);
            if (ALIGNED ? first < n : first + k < n) act(&z[g][k], first + k);
        }
    }
}

/* This thread's logits of a stretch, capped; beyond the row's end those of no weight. */
template <bool ALIGNED>
__device__ static inline void read_stretch(float z[GROUPS][GROUP], const logits_row &row,
                                           int begin) {
    HONE_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        int first = first_of(g, begin);
        group_f32 found = {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
        if constexpr (ALIGNED) {
            if (first < row.n) found = *reinterpret_cast<const group_f32 *>(row.x + first);
        } else {
            HONE_UNROLL
            for (int k = 0; k < GROUP; k++)
                if (first + k < row.n) found.at[k] = row.x[first + k];
        }
        HONE_UNROLL
        for (int k = 0; k < GROUP; k++) z[g][k] = found.at[k];
    }
    if (row.softcap > 0.0f)
        each_of<ALIGNED>(z, begin, row.n, [&](float *at, int) { *at = capped(*at, row.softcap); });
}

/* log of the sum of exp(z) over a row; every thread gets it. */
template <bool ALIGNED> __device__ static float log_sum_exp(const logits_row &row) {
    float z[GROUPS][GROUP];
    float largest = -FLT_MAX, sum = 0.0f; /* of this thread's; sum of exp(z - largest) */
    for (int begin = (row.n - 1) / STRETCH * STRETCH; begin >= 0; begin -= STRETCH) {
        read_stretch<ALIGNED>(z, row, begin);
        float before = largest;
        HONE_UNROLL
        for (int i = 0; i < GROUPS * GROUP; i++) largest = fmaxf(largest, z[i / GROUP][i % GROUP]);
        sum *= expf(before - largest);
        HONE_UNROLL
        for (int i = 0; i < GROUPS * GROUP; i++) sum += expf(z[i / GROUP][i % GROUP] - largest);
    }
    float all = block_max<THREADS>(largest);
    return all + logf(block_sum<THREADS>(sum * expf(largest - all)));
}

/* This thread's elements of a stretch of the gradient. */
template <bool ALIGNED>
__device__ static inline void write_stretch(const logits_row &row, float z[GROUPS][GROUP],
                                            int begin, bool bf16) {
    uint16_t *rounded = reinterpret_cast<uint16_t *>(row.x);
    if constexpr (ALIGNED) {
        HONE_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            int first = first_of(g, begin);
            const float *at = z[g];
            if (first >= row.n) continue;
            if (bf16)
                *reinterpret_cast<group_bf16 *>(rounded + first) = {
                    {bf16_pair(at[0], at[1]), bf16_pair(at[2], at[3])}};
            else
                *reinterpret_cast<group_f32 *>(row.x + first) = {{at[0], at[1], at[2], at[3]}};
        }
    } else {
        each_of<false>(z, begin, row.n, [&](const float *at, int i) {
            if (bf16)
                rounded[i] = hone_bf16_from_f32(*at);
            else
                row.x[i] = *at;
        });
    }
}

/* weight (softmax(z) - onehot(target)), times the slope of the cap. */
template <bool ALIGNED>
__device__ static void write_gradient(const logits_row &row, float lse, float weight, int target,
                                      float z_target, bool bf16) {
    float z[GROUPS][GROUP];
    for (int begin = 0; begin < row.n; begin += STRETCH) {
        read_stretch<ALIGNED>(z, row, begin);
        HONE_UNROLL
        for (int i = 0; i < GROUPS * GROUP; i++) {
            float *at = &z[i / GROUP][i % GROUP];
            *at = weight * expf(*at - lse) * capped_slope(*at, row.softcap);
        }
        if (bf16) __syncthreads();
        write_stretch<ALIGNED>(row, z, begin, bf16);
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    float at_target = weight * (expf(z_target - lse) - 1.0f) * capped_slope(z_target, row.softcap);
    if (bf16)
        reinterpret_cast<uint16_t *>(row.x)[target] = hone_bf16_from_f32(at_target);
    else
        row.x[target] = at_target;
}

template <bool ALIGNED>
__global__ __launch_bounds__(THREADS) static void cross_entropy(float *loss, float *logits,
                                                                const int32_t *targets,
                                                                int64_t vocabulary,
                                                                const double *weight, float softcap,
                                                                hone_loss_gradient gradient) {
    logits_row row = {logits + blockIdx.x * vocabulary, (int)vocabulary, softcap};
    bool bf16 = gradient == HONE_LOSS_GRADIENT_BF16;
    int target = targets[blockIdx.x];
    if (target < 0) {
        if (threadIdx.x == 0) loss[blockIdx.x] = 0.0f;
        for (int i = (int)threadIdx.x; i < row.n; i += THREADS) row.x[i] = 0.0f;
        return;
    }
    float z_target = capped(row.x[target], softcap);
    float lse = log_sum_exp<ALIGNED>(row);
    if (threadIdx.x == 0) loss[blockIdx.x] = lse - z_target;
    if (gradient == HONE_LOSS_ALONE) return;
    write_gradient<ALIGNED>(row, lse, (float)*weight, target, z_target, bf16);
}

void hone_cross_entropy_cuda(float *loss, float *logits, const int32_t *targets, int64_t n,
                             int64_t vocabulary, const double *weight, double softcap,
                             hone_loss_gradient gradient) {
    if (n == 0) return;
    bool aligned = vocabulary % GROUP == 0 && (uintptr_t)logits % sizeof(group_f32) == 0;
    HONE_LAUNCH((aligned ? cross_entropy<true> : cross_entropy<false>), (unsigned)n, THREADS, loss,
                logits, targets, vocabulary, weight, (float)softcap, gradient);
}
