#include "tests/cuda/fake_cudart.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, UNIT = 256, MOST_PIECES = 4096, RUNTIME = 13000, GARBAGE = 0xff };
enum { MOST_LATE = 4096, MOST_PINNED = 64 };
static const size_t addresses = (size_t)64 << 30; /* enough, though none is given twice */

/* A piece of device memory, in whole pages of its own. */
typedef struct piece {
    unsigned char *base;
    size_t bytes;
} piece;

struct CUstream_st {
    bool open;
    int64_t given; /* launches and copies so far */
    int64_t seen;  /* of those of the first stream, what this one waits for */
};

struct CUevent_st {
    cudaStream_t stream; /* NULL: never recorded */
    int64_t given;       /* to it before the event */
};

/* A copy that is asked for and not made yet. */
typedef struct late_copy {
    cudaStream_t stream;
    int64_t number; /* of what its stream was given, from 1 */
    void *to;
    const void *from;
    size_t bytes;
} late_copy;

fake_cudart fake_cudart_settings;

static struct {
    unsigned char *begin, *end; /* of all addresses, and of those that were given */
    piece pieces[MOST_PIECES];
    size_t count;
    piece pinned[MOST_PINNED];
    size_t pinned_count;
    late_copy late[MOST_LATE]; /* in the order that they were asked for */
    size_t late_count;
    fake_cudart_use used;
    struct CUstream_st streams[8]; /* launches go to the first */
    cudaError_t last;              /* of a launch or a call; told once, unless `broken` */
    bool broken;
} fake;

fake_cudart_use fake_cudart_used(void) {
    return fake.used;
}

_Noreturn static void die(const char *what) {
    fprintf(stderr, "fake CUDA runtime: %s\n", what);
    abort();
}

static cudaError_t fail(cudaError_t error) {
    fake.last = error;
    return error;
}

/* --- The fence --- */

static size_t rounded(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

static void set_fence(const piece *p, int protection) {
    if (mprotect(p->base, rounded(p->bytes, PAGE), protection) != 0) die("mprotect failed");
}

/* All from the first piece to the last: one call is quick, and there is one before and after every kernel. */
static void set_fences(int protection) {
    unsigned char *first = fake.end, *last = fake.begin;
    for (size_t i = 0; i < fake.count; i++) {
        const piece *p = &fake.pieces[i];
        if (p->base < first) first = p->base;
        if (p->base + p->bytes > last) last = p->base + p->bytes;
    }
    if (fake.count == 0) return;
    piece span = {first, (size_t)(last - first)};
    set_fence(&span, protection);
}

bool fake_cudart_launch_begin(void) {
    fake.used.launches++;
    fake.streams[0].given++;
    if (fake_cudart_settings.broken_after > 0 && --fake_cudart_settings.broken_after == 0) {
        fake.broken = true;
        fake.last = fake_cudart_settings.error ? (cudaError_t)fake_cudart_settings.error
                                               : cudaErrorIllegalAddress;
    }
    if (fake_cudart_settings.bad_launch) fake.last = cudaErrorInvalidConfiguration;
    bool refused =
        fake_cudart_settings.refused_after > 0 && --fake_cudart_settings.refused_after == 0;
    if (refused) fake.last = cudaErrorMemoryAllocation;
    bool runs = !fake.broken && !fake_cudart_settings.bad_launch && !refused;
    fake_cudart_settings.bad_launch = false;
    if (runs) set_fences(PROT_READ | PROT_WRITE);
    return runs;
}

void fake_cudart_launch_end(void) {
    set_fences(PROT_NONE);
}

__attribute__((constructor)) static void fence_launches(void) {
    fake_cudart_fence_launches();
}

/* --- Memory --- */

static int64_t all_memory(void) {
    return fake_cudart_settings.memory > 0 ? fake_cudart_settings.memory : (int64_t)1 << 30;
}

/* The piece that a range of device memory lies in; NULL where it does not lie in one. */
static const piece *piece_of(const void *at, size_t bytes) {
    const unsigned char *from = at;
    for (size_t i = 0; i < fake.count; i++) {
        const piece *p = &fake.pieces[i];
        if (from >= p->base && from + bytes <= p->base + p->bytes) return p;
    }
    return NULL;
}

/* Whether any byte of a range is, or was, device memory. */
static bool touches_device(const void *at, size_t bytes) {
    const unsigned char *from = at;
    return from < fake.end && from + bytes > fake.begin;
}

/* The next addresses, a page of which nobody has. */
static unsigned char *take_addresses(size_t bytes) {
    if (!fake.begin) {
        fake.begin =
            mmap(NULL, addresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (fake.begin == MAP_FAILED) die("mmap failed");
        fake.end = fake.begin;
    }
    unsigned char *base = fake.end;
    fake.end += rounded(bytes, PAGE) + PAGE;
    if (fake.end > fake.begin + addresses) die("out of addresses");
    return base;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    if (fake.broken) return fake.last;
    if (fake.used.bytes + (int64_t)rounded(bytes, UNIT) > all_memory())
        return fail(cudaErrorMemoryAllocation);
    if (fake.count == MOST_PIECES) die("too many pieces of memory");
    piece p = {take_addresses(bytes), bytes};
    set_fence(&p, PROT_READ | PROT_WRITE);
    memset(p.base, GARBAGE, bytes);
    set_fence(&p, PROT_NONE);
    fake.pieces[fake.count++] = p;
    fake.used.bytes += (int64_t)rounded(bytes, UNIT);
    fake.used.pieces++;
    *out = p.base;
    return cudaSuccess;
}

/* Memory that a copy is yet to be made of must not go. */
static void refuse_pending(const piece *p) {
    for (size_t i = 0; i < fake.late_count; i++) {
        const unsigned char *to = fake.late[i].to, *from = fake.late[i].from;
        if ((to >= p->base && to < p->base + p->bytes) ||
            (from >= p->base && from < p->base + p->bytes))
            die("memory is freed while a copy of it is pending");
    }
}

cudaError_t cudaFree(void *base) {
    if (!base) return cudaSuccess;
    fake.used.lost_calls += fake.broken;
    for (size_t i = 0; i < fake.count; i++) {
        piece p = fake.pieces[i];
        if (p.base != base) continue;
        refuse_pending(&p);
        (void)madvise(p.base, rounded(p.bytes, PAGE), MADV_DONTNEED);
        fake.pieces[i] = fake.pieces[--fake.count];
        fake.used.bytes -= (int64_t)rounded(p.bytes, UNIT);
        fake.used.pieces--;
        return cudaSuccess;
    }
    if (fake.broken) return fake.last;
    die("cudaFree of what is no piece of device memory, or was freed");
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    *all = (size_t)all_memory();
    *available = *all - (size_t)fake.used.bytes;
    return fake.broken ? fake.last : cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    if (fake.broken) return fake.last;
    if (fake_cudart_settings.no_host) return fail(cudaErrorMemoryAllocation);
    if (fake.pinned_count == MOST_PINNED) die("too many pieces of pinned memory");
    piece p = {malloc(bytes), bytes};
    if (!p.base) die("out of memory");
    memset(p.base, GARBAGE, bytes);
    fake.pinned[fake.pinned_count++] = p;
    fake.used.pinned++;
    *out = p.base;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *base) {
    fake.used.lost_calls += fake.broken;
    for (size_t i = 0; i < fake.pinned_count; i++) {
        piece p = fake.pinned[i];
        if (p.base != base) continue;
        refuse_pending(&p);
        fake.pinned[i] = fake.pinned[--fake.pinned_count];
        fake.used.pinned--;
        free(base);
        return cudaSuccess;
    }
    die("cudaFreeHost of what is no piece of pinned memory, or was freed");
}

static bool is_pinned(const void *at, size_t bytes) {
    const unsigned char *from = at;
    for (size_t i = 0; i < fake.pinned_count; i++) {
        const piece *p = &fake.pinned[i];
        if (from >= p->base && from + bytes <= p->base + p->bytes) return true;
    }
    return false;
}

static void check_stream(cudaStream_t stream) {
    if (!stream || !stream->open) die("work for a stream that is not open");
}

static void make_copy(void *to, const void *from, size_t bytes) {
    const piece *p = piece_of(to, bytes);
    if (!p) p = piece_of(from, bytes);
    set_fence(p, PROT_READ | PROT_WRITE);
    memcpy(to, from, bytes);
    set_fence(p, PROT_NONE);
}

/* Makes the copies of a stream, up to that number; where the device is broken, none. */
static void make_late_copies(cudaStream_t stream, int64_t number) {
    size_t left = 0;
    for (size_t i = 0; i < fake.late_count; i++) {
        late_copy c = fake.late[i];
        if (c.stream != stream || c.number > number) {
            fake.late[left++] = c;
        } else if (!fake.broken) {
            make_copy(c.to, c.from, c.bytes);
        }
    }
    fake.late_count = left;
}

/* In a stream beside the first. */
static cudaError_t copy_late(void *to, const void *from, size_t bytes, const void *host,
                             cudaStream_t stream) {
    if (!is_pinned(host, bytes)) die("a copy meanwhile from or to memory that is not pinned");
    if (stream->seen < fake.streams[0].given)
        die("a copy meanwhile that does not wait for what was computed before");
    if (fake.late_count == MOST_LATE) die("too many copies pending");
    fake.late[fake.late_count++] = (late_copy){stream, ++stream->given, to, from, bytes};
    fake.used.late_copies++;
    if (fake_cudart_settings.early) make_late_copies(stream, stream->given);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    check_stream(stream);
    if (fake.broken) return fake.last;
    bool in = kind == cudaMemcpyHostToDevice, out = kind == cudaMemcpyDeviceToHost;
    const void *device = in ? to : from, *host = in ? from : to;
    if ((!in && !out) || !piece_of(device, bytes) || touches_device(host, bytes))
        return fail(cudaErrorInvalidValue);
    if (stream != fake.streams) return copy_late(to, from, bytes, host, stream);
    make_copy(to, from, bytes);
    stream->given++;
    fake.used.copies++;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    check_stream(stream);
    if (fake.broken) return fake.last;
    const piece *p = piece_of(to, bytes);
    if (!p) return fail(cudaErrorInvalidValue);
    set_fence(p, PROT_READ | PROT_WRITE);
    memset(to, value, bytes);
    set_fence(p, PROT_NONE);
    stream->given++;
    return cudaSuccess;
}

/* What a process that ends leaves behind. */
static void lose_all(void) {
    while (fake.count > 0) (void)cudaFree(fake.pieces[0].base);
    while (fake.pinned_count > 0) (void)cudaFreeHost(fake.pinned[0].base);
    memset(fake.streams, 0, sizeof fake.streams);
    fake.used.streams = fake.used.events = fake.used.lost_calls = 0;
}

void fake_cudart_reset(void) {
    fake_cudart_settings = (fake_cudart){0};
    fake.last = cudaSuccess;
    if (fake.broken) fake.late_count = 0;
    if (fake.broken) lose_all();
    fake.broken = false;
}

/* --- Streams --- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    (void)flags;
    if (fake.broken) return fake.last;
    for (size_t i = 0; i < sizeof fake.streams / sizeof *fake.streams; i++) {
        if (fake.streams[i].open) continue;
        fake.streams[i] = (struct CUstream_st){.open = true};
        fake.used.streams++;
        *out = &fake.streams[i];
        return cudaSuccess;
    }
    die("too many streams");
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    check_stream(stream);
    fake.used.lost_calls += fake.broken;
    make_late_copies(stream, stream->given);
    stream->open = false;
    fake.used.streams--;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    check_stream(stream);
    fake.used.lost_calls += fake.broken;
    make_late_copies(stream, stream->given);
    return fake.broken ? fake.last : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    if (flags != cudaEventDisableTiming) die("an event that takes the time, which costs some");
    if (fake.broken) return fake.last;
    *out = calloc(1, sizeof **out);
    if (!*out) die("out of memory");
    fake.used.events++;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    fake.used.events--;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    check_stream(stream);
    if (fake.broken) return fake.last;
    *event = (struct CUevent_st){stream, stream->given};
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    check_stream(stream);
    if (flags != cudaEventWaitDefault) return fail(cudaErrorInvalidValue);
    if (fake.broken) return fake.last;
    if (!event->stream) die("a stream waits for an event that was never recorded");
    make_late_copies(event->stream, event->given);
    if (event->stream == fake.streams && stream->seen < event->given) stream->seen = event->given;
    return cudaSuccess;
}

/* --- Devices --- */

static int driver_version(void) {
    int version = fake_cudart_settings.driver;
    return version < 0 ? 0 : version == 0 ? RUNTIME : version;
}

cudaError_t cudaDriverGetVersion(int *out) {
    *out = driver_version();
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *out) {
    *out = RUNTIME;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *out) {
    int devices = fake_cudart_settings.devices;
    *out = 0;
    if (driver_version() < RUNTIME) return fail(cudaErrorInsufficientDriver);
    if (devices < 0) return fail(cudaErrorNoDevice);
    *out = devices == 0 ? 1 : devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
    int count;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) return error;
    return index < count ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

/* So few threads at once that loops over items go round. */
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int index) {
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "Fenced %d", index);
    out->multiProcessorCount = 1;
    out->maxThreadsPerMultiProcessor = 768;
    out->major = 9;
    return cudaSuccess;
}

/* --- Errors --- */

cudaError_t cudaGetLastError(void) {
    cudaError_t error = fake.last;
    if (!fake.broken) fake.last = cudaSuccess;
    return error;
}

/* Of those that tests have. */
static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "refused"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "refused"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
};

const char *cudaGetErrorName(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].error == error) return errors[i].name;
    }
    return "cudaError";
}

const char *cudaGetErrorString(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].error == error) return errors[i].text;
    }
    return "refused";
}
