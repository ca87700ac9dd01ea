/*
 * Copies in a stream of their own. Events order the two streams, so that both may be captured into one graph: a copy waits
 * for an event of the stream that computes, and what meets a copy, for one of the copies' stream.
 */
#include "kernels/cuda/copies.h"

#include <string.h>

#include "base/size.h"
#include "kernels/cuda/stream.h"

/* Of the latest copies. As copies are made in order, an event that is used again stands for a later one, which to wait for
 * is no mistake. */
enum { TICKETS = 64 };

static struct {
    cudaStream_t stream;
    cudaEvent_t computed; /* what a copy waits for */
    cudaEvent_t done[TICKETS];
    int64_t count;
} copies;

static hone_status new_event(cudaEvent_t *out) {
    return hone_cuda_check(cudaEventCreateWithFlags(out, cudaEventDisableTiming),
                           "cannot make an event");
}

static hone_status open_copies(void) {
    if (!copies.stream) {
        HONE_TRY(hone_cuda_check(cudaStreamCreateWithFlags(&copies.stream, cudaStreamNonBlocking),
                                 "cannot make a stream for copies"));
    }
    if (!copies.computed) HONE_TRY(new_event(&copies.computed));
    for (int i = 0; i < TICKETS; i++) {
        if (!copies.done[i]) HONE_TRY(new_event(&copies.done[i]));
    }
    return HONE_OK;
}

static void free_copies(void) {
    if (copies.stream) (void)cudaStreamDestroy(copies.stream);
    if (copies.computed) (void)cudaEventDestroy(copies.computed);
    for (int i = 0; i < TICKETS; i++) {
        if (copies.done[i]) (void)cudaEventDestroy(copies.done[i]);
    }
}

void hone_cuda_copies_close(void) {
    if (!hone_cuda_is_lost()) free_copies();
    memset(&copies, 0, sizeof copies);
}

hone_status hone_cuda_copies_wait(void) {
    if (!copies.stream) return HONE_OK;
    return hone_cuda_finish(copies.stream);
}

hone_status hone_cuda_pin(void **base, size_t bytes) {
    cudaError_t error = cudaMallocHost(base, bytes);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return hone_fail(HONE_ERR_MEMORY,
                         "the machine does not give %s of memory to the GPU's copies: free some, "
                         "raise the limit of locked memory (ulimit -l), or ask for less by "
                         "--offload or --seq-len",
                         hone_size((int64_t)bytes).text);
    }
    return hone_cuda_check(error, "cannot take memory of the host");
}

hone_status hone_cuda_take_host(void **base, size_t bytes) {
    HONE_TRY(open_copies());
    HONE_TRY(hone_cuda_pin(base, bytes));
    memset(*base, 0, bytes);
    return HONE_OK;
}

void hone_cuda_give_back_host(void *base, size_t bytes) {
    (void)bytes;
    if (hone_cuda_is_lost()) return;
    (void)!hone_cuda_copies_wait();
    (void)cudaFreeHost(base);
}

static hone_status copy(int64_t *ticket, void *to, const void *from, size_t bytes,
                        enum cudaMemcpyKind kind) {
    static const char doing[] = "cannot copy memory meanwhile";
    int64_t number = copies.count++;
    HONE_TRY(hone_cuda_check(cudaEventRecord(copies.computed, hone_cuda_stream()), doing));
    HONE_TRY(hone_cuda_check(cudaStreamWaitEvent(copies.stream, copies.computed, 0), doing));
    HONE_TRY(hone_cuda_check(cudaMemcpyAsync(to, from, bytes, kind, copies.stream), doing));
    *ticket = number;
    return hone_cuda_check(cudaEventRecord(copies.done[number % TICKETS], copies.stream), doing);
}

hone_status hone_cuda_fetch(int64_t *ticket, void *to, const void *from, size_t bytes) {
    return copy(ticket, to, from, bytes, cudaMemcpyHostToDevice);
}

hone_status hone_cuda_send(int64_t *ticket, void *to, const void *from, size_t bytes) {
    return copy(ticket, to, from, bytes, cudaMemcpyDeviceToHost);
}

hone_status hone_cuda_meet(int64_t ticket) {
    return hone_cuda_check(
        cudaStreamWaitEvent(hone_cuda_stream(), copies.done[ticket % TICKETS], 0),
        "cannot wait for a copy");
}
