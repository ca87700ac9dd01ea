#include "kernels/cuda/staging.h"

#include <string.h>

#include "base/parallel.h"
#include "kernels/cuda/copies.h"
#include "kernels/cuda/stream.h"

enum { ALIGNMENT = 64, SHARE = 512 << 10 /* bytes that are worth a thread */ };

hone_status hone_cuda_staging_open(hone_cuda_staging *staging) {
    *staging = (hone_cuda_staging){0};
    for (int i = 0; i < 2; i++) {
        void *half;
        HONE_TRY(hone_cuda_pin(&half, HONE_CUDA_STAGING_HALF));
        staging->half[i] = half;
        HONE_TRY(
            hone_cuda_check(cudaEventCreateWithFlags(&staging->fetched[i], cudaEventDisableTiming),
                            "cannot make an event"));
    }
    return HONE_OK;
}

void hone_cuda_staging_close(hone_cuda_staging *staging) {
    bool lost = hone_cuda_is_lost();
    if (staging->half[0] && !lost) (void)cudaStreamSynchronize(hone_cuda_stream());
    for (int i = 0; i < 2 && !lost; i++) {
        if (staging->half[i]) (void)cudaFreeHost(staging->half[i]);
        if (staging->fetched[i]) (void)cudaEventDestroy(staging->fetched[i]);
    }
    *staging = (hone_cuda_staging){0};
}

/* The other half, once what was copied from it last has been fetched. */
static hone_status turn(hone_cuda_staging *staging) {
    HONE_TRY(
        hone_cuda_check(cudaEventRecord(staging->fetched[staging->filling], hone_cuda_stream()),
                        "cannot record an event"));
    staging->filling = !staging->filling;
    staging->used = 0;
    return hone_cuda_await(staging->fetched[staging->filling]);
}

typedef struct stretch {
    unsigned char *to;
    const unsigned char *from;
} stretch;

static void copy_bytes(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const stretch *s = context;
    memcpy(s->to + begin, s->from + begin, (size_t)(end - begin));
}

/* One thread reads slower than a GPU fetches, the more so the pages of a file for the first time. */
hone_status hone_cuda_staging_copy(hone_cuda_staging *staging, void *to, const void *from,
                                   size_t bytes) {
    const unsigned char *source = from;
    unsigned char *goal = to;
    while (bytes > 0) {
        if (staging->used == HONE_CUDA_STAGING_HALF) HONE_TRY(turn(staging));
        size_t room = HONE_CUDA_STAGING_HALF - staging->used;
        size_t piece = bytes < room ? bytes : room;
        unsigned char *slot = staging->half[staging->filling] + staging->used;
        hone_parallel_for((int64_t)piece, SHARE, copy_bytes, &(stretch){slot, source});
        cudaError_t error =
            cudaMemcpyAsync(goal, slot, piece, cudaMemcpyHostToDevice, hone_cuda_stream());
        HONE_TRY(hone_cuda_check(error, "cannot copy memory"));
        staging->used += (piece + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        source += piece;
        goal += piece;
        bytes -= piece;
    }
    return HONE_OK;
}
