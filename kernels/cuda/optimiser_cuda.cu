/*
 * The optimiser's step, and the sums that it and the loss take.
 */
#include "kernels/cuda/map.cuh"

/* So many, whatever the device: the order of a sum must not depend on it. */
enum { PARTS = 512 };

/* The parts of a sum, on their way to its second kernel; the stream runs one sum at a time. */
__device__ static double parts[PARTS];

template <typename Value> __global__ void sum_parts(int64_t n, Value value) {
    double sum = 0.0;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += PARTS * BLOCK)
        sum += (double)value(i);
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ static void sum_of_parts(double *out, bool adds) {
    double sum = 0.0;
    for (int i = (int)threadIdx.x; i < PARTS; i += BLOCK) sum += parts[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = adds ? *out + sum : sum;
}

template <typename Value> static void launch_sum(double *out, int64_t n, bool adds, Value value) {
    HONE_LAUNCH(sum_parts<Value>, PARTS, BLOCK, n, value);
    HONE_LAUNCH(sum_of_parts, 1, BLOCK, out, adds);
}

void hone_sum_cuda(double *out, const float *x, int64_t n) {
    launch_sum(out, n, true, [=] __device__(int64_t i) { return (double)x[i]; });
}

void hone_sum_squares_cuda(double *out, const float *x, int64_t n) {
    launch_sum(out, n, false, [=] __device__(int64_t i) { return (double)x[i] * (double)x[i]; });
}

void hone_adamw_cuda(float *p, const float *grad, float *m, float *v, int64_t n,
                     const hone_adamw_step *step, double decay) {
    float shrink = (float)decay;
    auto item = [=] __device__(float &new_p, float &new_m, float &new_v, float at, float first,
                               float second, float slope) {
        float g = slope * step->grad_scale;
        first = step->beta1 * first + (1.0f - step->beta1) * g;
        second = step->beta2 * second + (1.0f - step->beta2) * g * g;
        float root = sqrtf(second / step->correction2);
        float update = first / step->correction1 / (root + step->epsilon);
        new_p = at - step->lr * (update + shrink * at);
        new_m = first;
        new_v = second;
    };
    launch_map(n, item, p, m, v, (const float *)p, (const float *)m, (const float *)v, grad);
}
