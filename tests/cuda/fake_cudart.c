#include "tests/cuda/fake_cudart.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, UNIT = 256, MOST_PIECES = 4096, RUNTIME = 13000, GARBAGE = 0xff };
static const size_t addresses = (size_t)64 << 30; /* enough, though none is given twice */

/* A piece of device memory, in whole pages of its own. */
typedef struct piece {
    unsigned char *base;
    size_t bytes;
    cudaStream_t copied; /* by which something was copied to it last */
} piece;

struct CUstream_st {
    bool open;
    int64_t after;      /* how much of the first stream's work its own comes after */
    cudaStream_t waits; /* for what another one had left to do; NULL: for none */
};

struct CUevent_st {
    bool open;
    cudaStream_t of;
    int64_t after;
};

fake_cudart fake_cudart_settings;
bool (*fake_cudart_settle)(cudaStream_t stream, bool wait);

static struct {
    unsigned char *begin, *end; /* of all addresses, and of those that were given */
    piece pieces[MOST_PIECES];
    size_t count;
    fake_cudart_use used;
    struct CUstream_st streams[8]; /* kernels run on the first */
    struct CUevent_st events[8];
    int64_t work;     /* queued on it so far */
    cudaError_t last; /* of a launch or a call; told once, unless `broken` */
    bool broken;
} fake;

fake_cudart_use fake_cudart_used(void) {
    return fake.used;
}

void fake_cudart_reset(void) {
    fake_cudart_settings = (fake_cudart){0};
    fake.last = cudaSuccess;
    fake.broken = false;
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
    piece span = {.base = first, .bytes = (size_t)(last - first)};
    set_fence(&span, protection);
}

bool fake_cudart_launch_begin(void) {
    fake.used.launches++;
    fake.work++;
    if (fake_cudart_settings.broken_after > 0 && --fake_cudart_settings.broken_after == 0) {
        fake.broken = true;
        fake.last = cudaErrorIllegalAddress;
    }
    if (fake_cudart_settings.bad_launch) fake.last = cudaErrorInvalidConfiguration;
    bool runs = !fake.broken && !fake_cudart_settings.bad_launch;
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
static piece *piece_of(const void *at, size_t bytes) {
    const unsigned char *from = at;
    for (size_t i = 0; i < fake.count; i++) {
        piece *p = &fake.pieces[i];
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
    piece p = {.base = take_addresses(bytes), .bytes = bytes};
    set_fence(&p, PROT_READ | PROT_WRITE);
    memset(p.base, GARBAGE, bytes);
    set_fence(&p, PROT_NONE);
    fake.pieces[fake.count++] = p;
    fake.used.bytes += (int64_t)rounded(bytes, UNIT);
    fake.used.pieces++;
    *out = p.base;
    return cudaSuccess;
}

cudaError_t cudaFree(void *base) {
    if (!base) return cudaSuccess;
    for (size_t i = 0; i < fake.count; i++) {
        piece p = fake.pieces[i];
        if (p.base != base) continue;
        (void)madvise(p.base, rounded(p.bytes, PAGE), MADV_DONTNEED);
        fake.pieces[i] = fake.pieces[--fake.count];
        fake.used.bytes -= (int64_t)rounded(p.bytes, UNIT);
        fake.used.pieces--;
        return cudaSuccess;
    }
    die("cudaFree of what is no piece of device memory, or was freed");
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    *all = (size_t)all_memory();
    *available = *all - (size_t)fake.used.bytes;
    return fake.broken ? fake.last : cudaSuccess;
}

static void check_stream(cudaStream_t stream) {
    if (!stream || !stream->open) die("work for a stream that is not open");
}

/* Whether a stream has done what it had left to do. */
static bool settle(cudaStream_t stream, bool wait) {
    if (!fake_cudart_settle) return true;
    if (stream->waits && !fake_cudart_settle(stream->waits, wait)) return false;
    stream->waits = NULL;
    return fake_cudart_settle(stream, wait);
}

/* Of a call that is made at once here: a stream that waits for ever would keep it waiting. */
static void begin_work(cudaStream_t stream) {
    check_stream(stream);
    if (!settle(stream, true)) die("a call for a stream that will never be ready");
    if (stream == fake.streams) fake.work++;
}

bool fake_cudart_holds(const void *at, size_t bytes) {
    return piece_of(at, bytes) != NULL;
}

void fake_cudart_peek(void *to, const void *at, size_t bytes) {
    const piece *p = piece_of(at, bytes);
    set_fence(p, PROT_READ | PROT_WRITE);
    memcpy(to, at, bytes);
    set_fence(p, PROT_NONE);
}

void fake_cudart_poke(void *at, const void *from, size_t bytes) {
    const piece *p = piece_of(at, bytes);
    set_fence(p, PROT_READ | PROT_WRITE);
    memcpy(at, from, bytes);
    set_fence(p, PROT_NONE);
}

bool fake_cudart_is_ordered(cudaStream_t stream, const void *at) {
    check_stream(stream);
    bool own = stream == fake.streams || piece_of(at, 1)->copied == stream;
    return own || stream->after == fake.work;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    begin_work(stream);
    if (fake.broken) return fake.last;
    bool in = kind == cudaMemcpyHostToDevice, out = kind == cudaMemcpyDeviceToHost;
    const void *device = in ? to : from, *host = in ? from : to;
    if ((!in && !out) || !piece_of(device, bytes) || touches_device(host, bytes))
        return fail(cudaErrorInvalidValue);
    piece *p = piece_of(device, bytes);
    if (in) p->copied = stream;
    set_fence(p, PROT_READ | PROT_WRITE);
    memcpy(to, from, bytes);
    set_fence(p, PROT_NONE);
    fake.used.copies++;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    begin_work(stream);
    if (fake.broken) return fake.last;
    piece *p = piece_of(to, bytes);
    if (!p) return fail(cudaErrorInvalidValue);
    p->copied = stream;
    set_fence(p, PROT_READ | PROT_WRITE);
    memset(to, value, bytes);
    set_fence(p, PROT_NONE);
    return cudaSuccess;
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
    stream->open = false;
    fake.used.streams--;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    check_stream(stream);
    if (!settle(stream, true)) die("a wait for a stream that will never be ready");
    return fake.broken ? fake.last : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    check_stream(stream);
    if (fake.broken) return fake.last;
    return settle(stream, false) ? cudaSuccess : cudaErrorNotReady;
}

/* --- Events --- */

static void check_event(cudaEvent_t event) {
    if (!event || !event->open) die("an event that does not exist");
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    (void)flags;
    if (fake.broken) return fake.last;
    for (size_t i = 0; i < sizeof fake.events / sizeof *fake.events; i++) {
        if (fake.events[i].open) continue;
        fake.events[i] = (struct CUevent_st){.open = true};
        fake.used.events++;
        *out = &fake.events[i];
        return cudaSuccess;
    }
    die("too many events");
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    check_event(event);
    event->open = false;
    fake.used.events--;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    check_event(event);
    check_stream(stream);
    event->of = stream;
    event->after = stream == fake.streams ? fake.work : stream->after;
    return fake.broken ? fake.last : cudaSuccess;
}

/* What the other stream has left to do is done now, if it can be. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    (void)flags;
    check_event(event);
    check_stream(stream);
    if (!event->of) return cudaSuccess; /* as CUDA has it for one that was never recorded */
    if (event->after > stream->after) stream->after = event->after;
    if (event->of != stream && fake_cudart_settle && !fake_cudart_settle(event->of, true))
        stream->waits = event->of;
    return fake.broken ? fake.last : cudaSuccess;
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
    const char *told = getenv("FAKE_GPUS");
    *out = devices == 0 ? (told ? atoi(told) : 1) : devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
    int count;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) return error;
    const char *faulty = getenv("FAKE_FAULTY_GPU");
    if (faulty && atoi(faulty) == index) return fail(cudaErrorECCUncorrectable);
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

const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaErrorIllegalAddress:
        return "cudaErrorIllegalAddress";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    default:
        return "cudaError";
    }
}

const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorIllegalAddress ? "an illegal memory access was encountered"
                                            : "refused";
}
