#include "tests/cuda/fake_cudart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_parts.h"
#include "tests/cuda/fake_stream.h"

enum {
    PAGE = 4096,
    UNIT = 256,
    MOST_PIECES = 4096,
    MOST_PINNED = 64,
    RUNTIME = 13000,
    GARBAGE = 0xff
};
static const size_t addresses = (size_t)64 << 30; /* enough, though none is given twice */

/* A piece of device memory, in whole pages of its own. */
typedef struct piece {
    unsigned char *base;
    size_t bytes;
} piece;

fake_cudart fake_cudart_settings;

static struct {
    unsigned char *begin, *end; /* of all addresses, and of those that were given */
    piece pieces[MOST_PIECES];
    size_t count;
    piece pinned[MOST_PINNED]; /* of the host */
    size_t pinned_count;
    fake_cudart_use used;
    cudaError_t last; /* of a launch or a call; told once, unless `broken` */
    bool broken;
    bool open; /* the fence, for the work that runs now */
} fake;

fake_cudart_use fake_cudart_used(void) {
    return fake.used;
}

_Noreturn void fake_die(const char *what) {
    fprintf(stderr, "fake CUDA runtime: %s\n", what);
    abort();
}

cudaError_t fake_fail(cudaError_t error) {
    fake.last = error;
    return error;
}

cudaError_t fake_last(void) {
    return fake.last;
}

bool fake_is_broken(void) {
    return fake.broken;
}

fake_cudart_use *fake_count(void) {
    return &fake.used;
}

/* --- The fence --- */

static size_t rounded(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

static void set_fence(const piece *p, int protection) {
    if (mprotect(p->base, rounded(p->bytes, PAGE), protection) != 0) fake_die("mprotect failed");
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

cudaError_t fake_launch_error(void) {
    fake.used.launches++;
    bool refused = fake_cudart_settings.bad_launch;
    fake_cudart_settings.bad_launch = false;
    if (refused) return fake_fail(cudaErrorInvalidConfiguration);
    if (fake_cudart_settings.refused_after > 0 && --fake_cudart_settings.refused_after == 0)
        return fake_fail(cudaErrorMemoryAllocation);
    return fake.broken ? fake.last : cudaSuccess;
}

bool fake_fence_open(void) {
    if (fake_cudart_settings.broken_after > 0 && --fake_cudart_settings.broken_after == 0) {
        fake.broken = true;
        fake.last = fake_cudart_settings.error ? (cudaError_t)fake_cudart_settings.error
                                               : cudaErrorIllegalAddress;
    }
    if (!fake.broken && !fake.open) set_fences(PROT_READ | PROT_WRITE);
    fake.open = !fake.broken;
    return fake.open;
}

void fake_fence_close(void) {
    if (fake.open) set_fences(PROT_NONE);
    fake.open = false;
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
        if (fake.begin == MAP_FAILED) fake_die("mmap failed");
        fake.end = fake.begin;
    }
    unsigned char *base = fake.end;
    fake.end += rounded(bytes, PAGE) + PAGE;
    if (fake.end > fake.begin + addresses) fake_die("out of addresses");
    return base;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    if (fake.broken) return fake.last;
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    if (fake.used.bytes + (int64_t)rounded(bytes, UNIT) > all_memory())
        return fake_fail(cudaErrorMemoryAllocation);
    if (fake.count == MOST_PIECES) fake_die("too many pieces of memory");
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

cudaError_t cudaFree(void *base) {
    if (!base) return cudaSuccess;
    fake.used.lost_calls += fake.broken;
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    fake_stream_finish();
    for (size_t i = 0; i < fake.count; i++) {
        piece p = fake.pieces[i];
        if (p.base != base) continue;
        (void)madvise(p.base, rounded(p.bytes, PAGE), MADV_DONTNEED);
        fake.pieces[i] = fake.pieces[--fake.count];
        fake.used.bytes -= (int64_t)rounded(p.bytes, UNIT);
        fake.used.pieces--;
        return cudaSuccess;
    }
    if (fake.broken) return fake.last;
    fake_die("cudaFree of what is no piece of device memory, or was freed");
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    *all = (size_t)all_memory();
    *available = *all - (size_t)fake.used.bytes;
    return fake.broken ? fake.last : cudaSuccess;
}

/* --- Pinned memory of the host --- */

static bool is_pinned(const void *at, size_t bytes) {
    const unsigned char *from = at;
    for (size_t i = 0; i < fake.pinned_count; i++) {
        const piece *p = &fake.pinned[i];
        if (from >= p->base && from + bytes <= p->base + p->bytes) return true;
    }
    return false;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    if (fake.broken) return fake.last;
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    if (fake_cudart_settings.no_host) return fake_fail(cudaErrorMemoryAllocation);
    if (fake.pinned_count == MOST_PINNED) fake_die("too many pieces of pinned memory");
    *out = malloc(bytes);
    if (!*out) fake_die("no memory");
    memset(*out, GARBAGE, bytes);
    fake.pinned[fake.pinned_count++] = (piece){*out, bytes};
    fake.used.pinned++;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *base) {
    fake.used.lost_calls += fake.broken;
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    fake_stream_finish();
    for (size_t i = 0; i < fake.pinned_count; i++) {
        if (fake.pinned[i].base != base) continue;
        fake.pinned[i] = fake.pinned[--fake.pinned_count];
        fake.used.pinned--;
        free(base);
        return cudaSuccess;
    }
    fake_die("cudaFreeHost of what is no pinned memory, or was freed");
}

/* What a process that ends leaves behind. */
static void lose_all(void) {
    fake_stream_lose_all();
    while (fake.count > 0) (void)cudaFree(fake.pieces[0].base);
    while (fake.pinned_count > 0) (void)cudaFreeHost(fake.pinned[0].base);
    fake.used.lost_calls = 0;
}

void fake_cudart_reset(void) {
    fake_cudart_settings = (fake_cudart){0};
    fake.last = cudaSuccess;
    if (fake.broken) lose_all();
    fake.broken = false;
}

/* --- Copies --- */

bool fake_holds(const void *at, size_t bytes) {
    return piece_of(at, bytes) != NULL;
}

/* What a transfer touches of the device, with the fence open around it. */
static const piece *begin_transfer(const void *device, size_t bytes) {
    const piece *p = piece_of(device, bytes);
    if (!p) fake_die("a copy to or from memory that was given back");
    if (!fake.open) set_fence(p, PROT_READ | PROT_WRITE);
    return p;
}

static void end_transfer(const piece *p) {
    if (!fake.open) set_fence(p, PROT_NONE);
}

/* Between the host's memory and a range that lies in one piece. */
static void move(void *to, const void *from, size_t bytes, const void *device) {
    const piece *p = begin_transfer(device, bytes);
    memcpy(to, from, bytes);
    end_transfer(p);
}

void fake_peek(void *to, const void *at, size_t bytes) {
    move(to, at, bytes, at);
}

void fake_poke(void *at, const void *from, size_t bytes) {
    move(at, from, bytes, at);
}

/* A copy, or a setting, on its way. */
typedef struct transfer {
    void *to;
    const void *from; /* NULL: `value` is set */
    int value;
    size_t bytes;
    const void *device; /* that of the addresses which is the device's */
    unsigned char kept[];
} transfer;

static void make_transfer(void *context) {
    const transfer *t = context;
    if (t->from) {
        move(t->to, t->from, t->bytes, t->device);
        return;
    }
    const piece *p = begin_transfer(t->device, t->bytes);
    memset(t->to, t->value, t->bytes);
    end_transfer(p);
}

static cudaError_t queue_transfer(transfer t, bool keeps, cudaStream_t stream) {
    transfer *queued = malloc(sizeof t + (keeps ? t.bytes : 0));
    if (!queued) fake_die("no memory");
    *queued = t;
    if (keeps) queued->from = memcpy(queued->kept, t.from, t.bytes);
    return fake_stream_queue(stream, (fake_work){make_transfer, free, queued});
}

/* What goes out to memory that is not pinned is there when the call returns; what comes in from there was read. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    if (fake.broken) return fake.last;
    bool in = kind == cudaMemcpyHostToDevice, out = kind == cudaMemcpyDeviceToHost;
    const void *device = in ? to : from, *host = in ? from : to;
    if ((!in && !out) || !piece_of(device, bytes) || touches_device(host, bytes))
        return fake_fail(cudaErrorInvalidValue);
    bool pinned = is_pinned(host, bytes);
    if (!pinned && !fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    fake.used.copies++;
    bool late = stream != hone_cuda_stream();
    if (late) fake.used.late_copies++;
    transfer t = {.to = to, .from = from, .bytes = bytes, .device = device};
    cudaError_t error = queue_transfer(t, in && !pinned, stream);
    bool waits = (out && !pinned) || (late && fake_cudart_settings.early);
    return error == cudaSuccess && waits ? cudaStreamSynchronize(stream) : error;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    if (fake.broken) return fake.last;
    if (!piece_of(to, bytes)) return fake_fail(cudaErrorInvalidValue);
    transfer t = {.to = to, .value = value, .bytes = bytes, .device = to};
    return queue_transfer(t, false, stream);
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
    if (driver_version() < RUNTIME) return fake_fail(cudaErrorInsufficientDriver);
    if (devices < 0) return fake_fail(cudaErrorNoDevice);
    const char *told = getenv("FAKE_GPUS");
    *out = devices == 0 ? (told ? atoi(told) : 1) : devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
    int count;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) return error;
    const char *faulty = getenv("FAKE_FAULTY_GPU");
    if (faulty && atoi(faulty) == index) return fake_fail(cudaErrorECCUncorrectable);
    return index < count ? cudaSuccess : fake_fail(cudaErrorInvalidDevice);
}

/* So few threads at once that loops over items go round. */
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int index) {
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "Fenced %d", index);
    out->multiProcessorCount = 1;
    out->maxThreadsPerMultiProcessor = 768;
    int capability = fake_cudart_settings.capability;
    out->major = capability == 0 ? 9 : capability / 10;
    out->minor = capability % 10;
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
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "refused"},
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
