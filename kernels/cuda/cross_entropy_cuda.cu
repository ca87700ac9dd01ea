#include "kernels/cuda/device.cuh"

/* A block takes a row. */
__global__ static void cross_entropy(float *loss, float *logits, const int32_t *targets,
                                     int64_t vocabulary, const double *weight, float softcap,
                                     bool backward) {
    float *row = logits + blockIdx.x * vocabulary;
    int64_t target = targets[blockIdx.x];
    if (target < 0) {
        if (threadIdx.x == 0) loss[blockIdx.x] = 0.0f;
        for (int64_t i = threadIdx.x; i < vocabulary; i += BLOCK) row[i] = 0.0f;
        return;
    }
    float largest = -FLT_MAX, sum = 0.0f; /* of this thread's elements; sum of exp(z - largest) */
    for (int64_t i = threadIdx.x; i < vocabulary; i += BLOCK) {
        float z = capped(row[i], softcap);
        if (z > largest) {
            sum = sum * expf(largest - z) + 1.0f;
            largest = z;
        } else {
            sum += expf(z - largest);
        }
    }
    float scale = backward ? (float)*weight : 0.0f;
    float all = block_max(largest);
    float lse = all + logf(block_sum(sum * expf(largest - all)));
    for (int64_t i = threadIdx.x; i < vocabulary; i += BLOCK) {
        float z = capped(row[i], softcap);
        if (i == target) loss[blockIdx.x] = lse - z;
        float slope = scale * (expf(z - lse) - (i == target ? 1.0f : 0.0f));
        row[i] = backward ? slope * capped_slope(z, softcap) : z;
    }
}

void hone_cross_entropy_cuda(float *loss, float *logits, const int32_t *targets, int64_t n,
                             int64_t vocabulary, const double *weight, double softcap,
                             bool backward) {
    if (n == 0) return;
    HONE_LAUNCH(cross_entropy, (unsigned)n, BLOCK, loss, logits, targets, vocabulary, weight,
                (float)softcap, backward);
}
