#include "tests/cuda/fake_nccl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/cuda/fake_parts.h"
#include "tests/cuda/fake_stream.h"

enum { MOST = 8, CHUNK = 1 << 14, PENDING = 64, VERSION = 22809 };

/* A sum, as one rank asks for it. */
typedef struct request {
    int64_t count;
    int type;
} request;

/* What the processes of a communicator share. */
typedef struct shared {
    pthread_mutex_t alive[MOST]; /* robust; held by each rank as long as it lives */
    atomic_int size, joined[MOST], gone[MOST];
    atomic_int asked[MOST];           /* sums so far */
    atomic_int met[MOST];             /* points of meeting passed so far */
    request requests[MOST][PENDING];  /* the n-th at n % PENDING */
    unsigned char parts[MOST][CHUNK]; /* of the numbers that are summed now */
} shared;

struct ncclComm {
    shared *with;
    int rank, size;
    bool complete, ended;
    ncclResult_t error;
    int asked, made; /* sums */
    int meetings;
    int holders;
};

/* A sum in a stream: the n-th, from 1. */
typedef struct sum {
    ncclComm_t comm;
    request what;
    const void *send;
    void *recv;
    int n;
} sum;

static ncclComm_t present; /* the process's only one */
static char complaint[256];
static int sums;

const char *fake_nccl_complaint(void) {
    return complaint;
}

int fake_nccl_sums(void) {
    return sums;
}

static ncclResult_t refuse(ncclResult_t result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static ncclResult_t refuse(ncclResult_t result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(complaint, sizeof complaint, format, arguments);
    va_end(arguments);
    return result;
}

_Noreturn static void die(const char *what) {
    fprintf(stderr, "fake NCCL: %s\n", what);
    abort();
}

static bool deaf(void) {
    return getenv("FAKE_NCCL_DEAF") != NULL;
}

/* Whether rank `rank` is to fail at its n-th sum. */
static bool is_to_fail(int rank, int n) {
    const char *text = getenv("FAKE_NCCL_FAIL");
    int who, when;
    return text && sscanf(text, "%d:%d", &who, &when) == 2 && who == rank && when == n;
}

/* --- Peers --- */

static bool has_ended(shared *with, int rank) {
    if (!atomic_load(&with->joined[rank])) return false;
    int found = pthread_mutex_trylock(&with->alive[rank]);
    if (found == EOWNERDEAD) pthread_mutex_consistent(&with->alive[rank]);
    if (found == 0 || found == EOWNERDEAD) {
        atomic_store(&with->gone[rank], 1);
        pthread_mutex_unlock(&with->alive[rank]);
    }
    return atomic_load(&with->gone[rank]) != 0;
}

static bool any_ended(ncclComm_t comm) {
    if (deaf()) return false;
    for (int r = 0; r < comm->size; r++) {
        if (r != comm->rank && has_ended(comm->with, r)) return true;
    }
    return false;
}

static bool all_have(ncclComm_t comm, atomic_int *counts, int n) {
    for (int r = 0; r < comm->size; r++) {
        if (atomic_load(&counts[r]) < n) return false;
    }
    return true;
}

/* False when another ended first. */
static bool meet(ncclComm_t comm) {
    int n = ++comm->meetings;
    atomic_store(&comm->with->met[comm->rank], n);
    while (!all_have(comm, comm->with->met, n)) {
        if (any_ended(comm) && !all_have(comm, comm->with->met, n)) return false;
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return true;
}

/* --- Sums --- */

static size_t size_of(int type) {
    return type == ncclFloat64 ? sizeof(double) : sizeof(float);
}

static void add(void *to, const void *from, size_t bytes, int type) {
    for (size_t i = 0; i < bytes / size_of(type); i++) {
        if (type == ncclFloat64) {
            ((double *)to)[i] += ((const double *)from)[i];
        } else {
            ((float *)to)[i] += ((const float *)from)[i];
        }
    }
}

static bool sum_chunk(const sum *s, size_t at, size_t bytes) {
    _Alignas(8) unsigned char total[CHUNK];
    ncclComm_t comm = s->comm;
    shared *with = comm->with;
    fake_peek(with->parts[comm->rank], (const unsigned char *)s->send + at, bytes);
    if (!meet(comm)) return false;
    memcpy(total, with->parts[0], bytes);
    for (int r = 1; r < comm->size; r++) add(total, with->parts[r], bytes, s->what.type);
    fake_poke((unsigned char *)s->recv + at, total, bytes);
    return meet(comm);
}

static ncclResult_t make_sum(const sum *s) {
    ncclComm_t comm = s->comm;
    for (int r = 0; r < comm->size; r++) {
        request other = comm->with->requests[r][s->n % PENDING];
        if (other.count != s->what.count || other.type != s->what.type)
            return refuse(ncclInvalidUsage, "rank %d sums %lld of type %d, rank %d %lld of type %d",
                          r, (long long)other.count, other.type, comm->rank,
                          (long long)s->what.count, s->what.type);
    }
    size_t bytes = (size_t)s->what.count * size_of(s->what.type);
    for (size_t at = 0; at < bytes; at += CHUNK) {
        if (!sum_chunk(s, at, bytes - at < CHUNK ? bytes - at : CHUNK))
            return refuse(ncclRemoteError, "a rank has ended");
    }
    return ncclSuccess;
}

/* Once all have asked for it. After an error the stream hangs. */
static fake_progress attempt_sum(void *context) {
    sum *s = context;
    ncclComm_t comm = s->comm;
    if (comm->error == ncclSuccess && !all_have(comm, comm->with->asked, s->n)) {
        if (!any_ended(comm) || all_have(comm, comm->with->asked, s->n)) return FAKE_LATER;
        comm->error = refuse(ncclRemoteError, "a rank has ended");
    }
    if (comm->error == ncclSuccess) comm->error = make_sum(s);
    if (comm->error != ncclSuccess) return FAKE_NEVER;
    comm->made = s->n;
    return FAKE_DONE;
}

static void let_go(ncclComm_t comm) {
    if (--comm->holders == 0) free(comm);
}

static void drop_sum(void *context) {
    sum *s = context;
    let_go(s->comm);
    free(s);
}

static ncclResult_t check_buffers(const void *send, const void *recv, size_t bytes) {
    if (!send || !recv) return refuse(ncclInvalidArgument, "a buffer is NULL");
    if (!fake_holds(send, bytes) || !fake_holds(recv, bytes))
        return refuse(ncclInvalidArgument, "a buffer is not in one piece of device memory");
    const unsigned char *a = send, *b = recv;
    if (a != b && a < b + bytes && b < a + bytes)
        return refuse(ncclInvalidArgument, "the buffers overlap and are not the same");
    return ncclSuccess;
}

static ncclResult_t check_comm(ncclComm_t comm) {
    if (!comm || comm != present || comm->ended)
        return refuse(ncclInvalidArgument, "that is no communicator");
    if (!comm->complete) return refuse(ncclInvalidUsage, "the communicator is not complete yet");
    return comm->error;
}

static ncclResult_t all_reduce(const void *send, void *recv, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
    ncclResult_t result = check_comm(comm);
    if (result != ncclSuccess) return result;
    if (type != ncclFloat32 && type != ncclFloat64)
        return refuse(ncclInvalidArgument, "%d is no type", (int)type);
    if (op != ncclSum) return refuse(ncclInvalidArgument, "%d is no sum", (int)op);
    size_t bytes = count * size_of((int)type);
    result = check_buffers(send, recv, bytes);
    if (result != ncclSuccess) return result;
    if (comm->asked - comm->made == PENDING) die("too many sums at once");
    sum *s = malloc(sizeof *s);
    if (!s) die("out of memory");
    *s = (sum){comm, {(int64_t)count, (int)type}, send, recv, ++comm->asked};
    comm->holders++;
    comm->with->requests[comm->rank][s->n % PENDING] = s->what;
    sums = s->n;
    if (is_to_fail(comm->rank, s->n)) comm->error = refuse(ncclSystemError, "as told");
    atomic_store(&comm->with->asked[comm->rank], s->n);
    if (fake_stream_attempt(stream, attempt_sum, drop_sum, s) != cudaSuccess) die("no stream");
    return ncclInProgress;
}

/* --- Communicators --- */

static shared *map(int file) {
    shared *with = MAP_FAILED;
    if (file >= 0) with = mmap(NULL, sizeof *with, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return with == MAP_FAILED ? NULL : with;
}

/* The id is the path of a file without a name, which is gone when the last process has ended. */
static ncclResult_t get_unique_id(ncclUniqueId *id) {
    if (!id) return refuse(ncclInvalidArgument, "the id is NULL");
    memset(id, 0, sizeof *id);
    int file = memfd_create("fake-nccl", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, sizeof(shared)) != 0)
        return refuse(ncclSystemError, "no shared memory");
    snprintf(id->internal, sizeof id->internal, "/proc/%d/fd/%d", (int)getpid(), file);
    shared *with = map(file);
    if (!with) return refuse(ncclSystemError, "no shared memory");
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    for (int r = 0; r < MOST; r++) pthread_mutex_init(&with->alive[r], &kind);
    pthread_mutexattr_destroy(&kind);
    munmap(with, sizeof *with);
    return ncclSuccess;
}

static ncclResult_t check_init(int size, int rank, const ncclConfig_t *config) {
    if (size < 1 || size > MOST || rank < 0 || rank >= size)
        return refuse(ncclInvalidArgument, "there is no rank %d of %d", rank, size);
    if (!config || config->magic != 0xcafebeef || config->version < 21400 ||
        config->size < sizeof *config)
        return refuse(ncclInvalidArgument, "the configuration is not initialised");
    if (config->blocking != 0) return refuse(ncclInvalidUsage, "this fake does not block");
    return present ? refuse(ncclInvalidUsage, "one communicator at a time") : ncclSuccess;
}

static ncclResult_t init_rank(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                              ncclConfig_t *config) {
    ncclResult_t result = check_init(size, rank, config);
    if (result != ncclSuccess) return result;
    ncclComm_t comm = calloc(1, sizeof *comm);
    if (!comm) die("out of memory");
    comm->rank = rank;
    comm->size = size;
    int file = open(id.internal, O_RDWR | O_CLOEXEC);
    comm->with = map(file);
    if (file >= 0) close(file);
    int none = 0;
    if (!comm->with || pthread_mutex_trylock(&comm->with->alive[rank]) != 0 ||
        !atomic_compare_exchange_strong(&comm->with->joined[rank], &none, 1)) {
        free(comm);
        return refuse(ncclInternalError, "no such id, or the rank is taken");
    }
    if (is_to_fail(rank, 0)) comm->error = refuse(ncclSystemError, "as told");
    comm->holders = 1;
    *out = present = comm;
    return ncclInProgress;
}

static ncclResult_t get_async_error(ncclComm_t comm, ncclResult_t *out) {
    if (!comm || comm != present || !out) return refuse(ncclInvalidArgument, "no communicator");
    if (!comm->complete && comm->error == ncclSuccess) {
        comm->complete = all_have(comm, comm->with->joined, 1);
        if (!comm->complete && any_ended(comm)) comm->error = ncclRemoteError;
    }
    *out = comm->error != ncclSuccess ? comm->error : comm->complete ? ncclSuccess : ncclInProgress;
    return ncclSuccess;
}

static void end(ncclComm_t comm) {
    atomic_store(&comm->with->gone[comm->rank], 1);
    pthread_mutex_unlock(&comm->with->alive[comm->rank]);
    munmap(comm->with, sizeof *comm->with);
    present = NULL;
    let_go(comm);
}

static ncclResult_t finalize(ncclComm_t comm) {
    ncclResult_t result = check_comm(comm);
    if (result != ncclSuccess) return result;
    if (comm->made < comm->asked) fake_stream_finish();
    comm->ended = comm->error == ncclSuccess;
    return comm->error;
}

static ncclResult_t destroy(ncclComm_t comm) {
    if (!comm || comm != present) return refuse(ncclInvalidArgument, "no communicator");
    if (comm->made < comm->asked) die("a communicator is destroyed that has work to do");
    end(comm);
    return ncclSuccess;
}

static ncclResult_t get_version(int *version) {
    *version = VERSION;
    return ncclSuccess;
}

static const char *get_error_string(ncclResult_t result) {
    static const char *const texts[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};
    return texts[result];
}

static const char *get_last_error(ncclComm_t comm) {
    (void)comm;
    return complaint;
}

hone_nccl fake_nccl_functions(void) {
    return (hone_nccl){
        .get_version = get_version,
        .get_unique_id = get_unique_id,
        .init_rank = init_rank,
        .get_async_error = get_async_error,
        .finalize = finalize,
        .destroy = destroy,
        .get_error_string = get_error_string,
        .get_last_error = get_last_error,
        .all_reduce = all_reduce,
    };
}
