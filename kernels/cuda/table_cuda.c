#include <stddef.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"

/* --- Pairs of attention: bookkeeping of segments that lie on the device --- */

double hone_attention_pairs_cuda(const hone_segment *segments, hone_attention_shape shape) {
    enum { CHUNK = 256 };
    hone_segment host[CHUNK];
    int64_t all = shape.segments;
    double pairs = 0;
    for (int64_t at = 0; at < all; at += CHUNK) {
        shape.segments = all - at < CHUNK ? all - at : CHUNK;
        size_t bytes = (size_t)shape.segments * sizeof *host;
        if (cudaMemcpyAsync(host, segments + at, bytes, cudaMemcpyDeviceToHost,
                            hone_cuda_stream()) != cudaSuccess ||
            cudaStreamSynchronize(hone_cuda_stream()) != cudaSuccess)
            return 0; /* the next copy_out tells */
        pairs += hone_kernels_ref()->attention_pairs(host, shape);
    }
    return pairs;
}

/* --- The table --- */

/* Every operation. */
#define OPERATIONS(X)                                                                              \
    X(gemm)                                                                                        \
    X(linear_fwd)                                                                                  \
    X(linear_bwd)                                                                                  \
    X(linear_workspace)                                                                            \
    X(reduced_fwd)                                                                                 \
    X(reduced_bwd)                                                                                 \
    X(reduced_workspace)                                                                           \
    X(bf16_fwd)                                                                                    \
    X(bf16_bwd)                                                                                    \
    X(bf16_workspace)                                                                              \
    X(round_rows)                                                                                  \
    X(gated_fwd_bf16)                                                                              \
    X(gated_bwd_bf16)                                                                              \
    X(rmsnorm_fwd_bf16)                                                                            \
    X(lora_fwd)                                                                                    \
    X(lora_bwd)                                                                                    \
    X(lora_workspace)                                                                              \
    X(int8_quantize)                                                                               \
    X(int8_fwd)                                                                                    \
    X(int8_bwd)                                                                                    \
    X(int8_workspace)                                                                              \
    X(int8_column_factors)                                                                         \
    X(int8_row_factors)                                                                            \
    X(int8_quantize_weight)                                                                        \
    X(embedding_fwd)                                                                               \
    X(embedding_bwd)                                                                               \
    X(rmsnorm_fwd)                                                                                 \
    X(rmsnorm_bwd)                                                                                 \
    X(layernorm_fwd)                                                                               \
    X(layernorm_bwd)                                                                               \
    X(rope)                                                                                        \
    X(attention_lacks)                                                                             \
    X(attention_fwd)                                                                               \
    X(attention_bwd)                                                                               \
    X(attention_workspace)                                                                         \
    X(attention_pairs)                                                                             \
    X(activation_fwd)                                                                              \
    X(activation_bwd)                                                                              \
    X(gated_fwd)                                                                                   \
    X(gated_bwd)                                                                                   \
    X(add)                                                                                         \
    X(scale)                                                                                       \
    X(bias_fwd)                                                                                    \
    X(bias_bwd)                                                                                    \
    X(softcap_fwd)                                                                                 \
    X(softcap_bwd)                                                                                 \
    X(copy)                                                                                        \
    X(zero)                                                                                        \
    X(to_bf16)                                                                                     \
    X(gather_rows)                                                                                 \
    X(scatter_rows)                                                                                \
    X(cross_entropy)                                                                               \
    X(dropout)                                                                                     \
    X(sum)                                                                                         \
    X(sum_squares)                                                                                 \
    X(adamw)                                                                                       \
    X(dequantize)

typedef void (*operation)(void);

static const struct {
    const char *name;
    size_t offset;
} operations[] = {
#define ROW(member) {#member, offsetof(hone_kernels, member)},
    OPERATIONS(ROW)
#undef ROW
};
enum { COUNT = sizeof operations / sizeof *operations };

/* One that was added to hone_kernels but not above would not be missed. */
_Static_assert(sizeof(hone_kernels) == (COUNT + 2) * sizeof(operation),
               "OPERATIONS lists every operation of hone_kernels");

#define ENTRY(member) .member = hone_##member##_cuda,
enum { PRECISIONS = HONE_TAKES_F32 | HONE_TAKES_TF32 | HONE_TAKES_BF16 };
static const hone_kernels table = {
    .name = "cuda", .precisions = PRECISIONS, .native = PRECISIONS, OPERATIONS(ENTRY)};

const hone_kernels *hone_kernels_cuda(void) {
    return &table;
}

hone_status hone_cuda_check_table(const hone_kernels *of) {
    for (size_t i = 0; i < COUNT; i++) {
        operation found;
        memcpy(&found, (const char *)of + operations[i].offset, sizeof found);
        if (found) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "this build of hone has no CUDA kernel for %s; use --device cpu",
                         operations[i].name);
    }
    return HONE_OK;
}
