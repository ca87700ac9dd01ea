/*
 * Groups of GPUs, by NCCL. Sums go through a stream of their own: events order them after what was queued for the device
 * before them, and what is queued for it later after them. Nothing here waits without asking NCCL, again and again, whether
 * all processes are still there: its kernels would wait for a lost one for ever.
 */
#include "kernels/group.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kernels/cuda/nccl.h"
#include "kernels/cuda/stream.h"

static const double join_seconds = 300;
static const double ask_seconds = 1e-3;  /* between two questions to NCCL */
static const double busy_seconds = 2e-4; /* in which a wait does not sleep */

static struct group {
    ncclComm_t comm; /* NULL: there is no group */
    hone_nccl nccl;
    cudaStream_t stream;
    cudaEvent_t ready, done; /* gradients may be summed; sums are there */
    double *place;           /* on the device, HONE_GROUP_MOST */
} group;

static void sleep_a_little(void) {
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* --- Errors --- */

static void release(void) {
    if (group.stream) (void)cudaStreamDestroy(group.stream);
    if (group.ready) (void)cudaEventDestroy(group.ready);
    if (group.done) (void)cudaEventDestroy(group.done);
    if (group.place) (void)cudaFree(group.place);
    group.stream = NULL;
    group.ready = group.done = NULL;
    group.place = NULL;
}

/* The process is to end, and what is left of the group with it. Nothing else ends it: ncclCommAbort does not return before
 * the other processes of the machine have called it, too (its proxy waits for theirs), which know of nothing. */
static void abandon(void) {
    if (!group.comm) return;
    group = (struct group){.nccl = group.nccl};
    hone_cuda_give_up();
}

static hone_status fail(ncclResult_t error, const char *doing) {
    const char *said = group.comm ? group.nccl.get_last_error(group.comm) : NULL;
    hone_status status;
    if (error == ncclRemoteError) {
        status = hone_fail(HONE_ERR_PEER,
                           "another process of the run was lost (NCCL: %s; %s); go on from the "
                           "last checkpoint by --resume",
                           group.nccl.get_error_string(error), said ? said : "");
    } else {
        status = hone_fail(HONE_ERR_UNSUPPORTED,
                           "NCCL: %s: %s (%s); NCCL_DEBUG=WARN says more, and a run goes on from "
                           "its last checkpoint by --resume",
                           doing, group.nccl.get_error_string(error), said ? said : "");
    }
    abandon();
    return status;
}

/* What a call has come to that may not be done yet. `end` on hone's clock; 0: no end. */
static hone_status settle(ncclResult_t result, const char *doing, double end) {
    while (result == ncclInProgress && (end == 0 || hone_seconds() < end)) {
        sleep_a_little();
        ncclResult_t asked = group.nccl.get_async_error(group.comm, &result);
        if (asked != ncclSuccess) result = asked;
    }
    return result == ncclSuccess ? HONE_OK : fail(result, doing);
}

static const char failed[] = "a computation failed";

/* Asks again and again whether the stream, or else the event, is done. */
static hone_status poll(cudaStream_t stream, cudaEvent_t event) {
    double begin = hone_seconds(), asked = begin;
    for (;;) {
        cudaError_t error = stream ? cudaStreamQuery(stream) : cudaEventQuery(event);
        if (error != cudaErrorNotReady) return hone_cuda_check(error, failed);
        double now = hone_seconds();
        if (now - asked > ask_seconds) {
            ncclResult_t result = ncclSuccess;
            ncclResult_t answer = group.nccl.get_async_error(group.comm, &result);
            if (answer != ncclSuccess) result = answer;
            if (result != ncclSuccess && result != ncclInProgress)
                return fail(result, "a sum over the GPUs failed");
            asked = now;
        }
        if (now - begin > busy_seconds) sleep_a_little();
    }
}

hone_status hone_cuda_finish(cudaStream_t stream) {
    if (group.comm) return poll(stream, NULL);
    return hone_cuda_check(cudaStreamSynchronize(stream), failed);
}

hone_status hone_cuda_finish_group(cudaStream_t stream) {
    return group.comm ? poll(stream, NULL) : HONE_OK;
}

hone_status hone_cuda_await(cudaEvent_t event) {
    if (group.comm) return poll(NULL, event);
    return hone_cuda_check(cudaEventSynchronize(event), failed);
}

/* --- Sums --- */

static hone_status order(cudaEvent_t event, cudaStream_t after, cudaStream_t before) {
    static const char doing[] = "cannot order the work of two streams";
    HONE_TRY(hone_cuda_check(cudaEventRecord(event, before), doing));
    return hone_cuda_check(cudaStreamWaitEvent(after, event, 0), doing);
}

static hone_status lost(void) {
    return hone_fail(HONE_ERR_PEER, "the group of GPUs is gone");
}

static hone_status queue_sum(void *at, int64_t n, ncclDataType_t type) {
    if (!group.comm) return lost();
    static const char doing[] = "cannot sum over the GPUs";
    return settle(group.nccl.all_reduce(at, at, (size_t)n, type, ncclSum, group.comm, group.stream),
                  doing, 0);
}

static hone_status sum(float *at, int64_t n) {
    if (!group.comm) return lost();
    HONE_TRY(order(group.ready, group.stream, hone_cuda_stream()));
    return queue_sum(at, n, ncclFloat32);
}

static hone_status join_sums(void) {
    return group.comm ? order(group.done, hone_cuda_stream(), group.stream) : lost();
}

static hone_status copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    HONE_TRY(hone_cuda_check(cudaMemcpyAsync(to, from, bytes, kind, group.stream),
                             "cannot copy memory"));
    return hone_cuda_finish(group.stream);
}

static hone_status sum_doubles(double *values, int n) {
    size_t bytes = (size_t)n * sizeof *values;
    if (!group.comm) return lost();
    HONE_TRY(hone_cuda_finish(group.stream)); /* copies would wait for it, deaf to NCCL */
    HONE_TRY(copy(group.place, values, bytes, cudaMemcpyHostToDevice));
    HONE_TRY(queue_sum(group.place, n, ncclFloat64));
    HONE_TRY(hone_cuda_finish(group.stream));
    return copy(values, group.place, bytes, cudaMemcpyDeviceToHost);
}

/* --- Making and ending --- */

static hone_status leave(void) {
    if (!group.comm) return HONE_OK;
    HONE_TRY(settle(group.nccl.finalize(group.comm), "cannot end the group", 0));
    (void)group.nccl.destroy(group.comm);
    group.comm = NULL;
    release();
    return HONE_OK;
}

static const hone_group_calls calls = {sum, join_sums, sum_doubles, leave, abandon};

static hone_status prepare(void) {
    HONE_TRY(hone_cuda_check(cudaStreamCreateWithFlags(&group.stream, cudaStreamNonBlocking),
                             "cannot make a stream"));
    static const char doing[] = "cannot make an event";
    HONE_TRY(
        hone_cuda_check(cudaEventCreateWithFlags(&group.ready, cudaEventDisableTiming), doing));
    HONE_TRY(hone_cuda_check(cudaEventCreateWithFlags(&group.done, cudaEventDisableTiming), doing));
    return hone_cuda_check(cudaMalloc((void **)&group.place, HONE_GROUP_MOST * sizeof(double)),
                           "cannot take memory");
}

/* The first sum of many numbers: what NCCL takes for it on the device, and what is wrong with its ways to the others, shows
 * before the memory of a run is planned. */
static hone_status sum_once(void) {
    enum { MANY = 1 << 20 };
    void *numbers;
    HONE_TRY(hone_cuda_check(cudaMalloc(&numbers, MANY * sizeof(float)), "cannot take memory"));
    hone_status status = hone_cuda_check(
        cudaMemsetAsync(numbers, 0, MANY * sizeof(float), group.stream), "cannot set memory");
    if (status == HONE_OK) status = queue_sum(numbers, MANY, ncclFloat32);
    if (status == HONE_OK) status = hone_cuda_finish(group.stream);
    if (status == HONE_OK) (void)cudaFree(numbers);
    return status;
}

hone_status hone_group_make_name(hone_group_name *out) {
    HONE_TRY(hone_cuda_nccl(&group.nccl));
    ncclUniqueId id;
    _Static_assert(sizeof id == sizeof *out, "a name is NCCL's");
    ncclResult_t result = group.nccl.get_unique_id(&id);
    if (result != ncclSuccess) return fail(result, "cannot begin a group");
    memcpy(out, &id, sizeof id);
    return HONE_OK;
}

hone_status hone_group_join(hone_group *out, const hone_group_name *name, int rank, int size) {
    assert(!group.comm && hone_cuda_stream() && size >= 2 && size <= HONE_GROUP_MOST);
    *out = (hone_group){0};
    HONE_TRY(hone_cuda_nccl(&group.nccl));
    hone_status status = prepare();
    if (status != HONE_OK) {
        release();
        return status;
    }
    ncclUniqueId id;
    memcpy(&id, name, sizeof id);
    ncclConfig_t config = {sizeof config, (unsigned)HONE_NCCL_MAGIC, HONE_NCCL_CONFIG_VERSION, 0};
    ncclResult_t result = group.nccl.init_rank(&group.comm, size, id, rank, &config);
    char doing[96];
    snprintf(doing, sizeof doing, "process %d of %d could not meet all others in %.0f seconds",
             rank, size, join_seconds);
    HONE_TRY(settle(result, doing, hone_seconds() + join_seconds));
    HONE_TRY(sum_once());
    *out = (hone_group){rank, size, &calls};
    return HONE_OK;
}
