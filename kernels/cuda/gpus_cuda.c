#include "kernels/gpus.h"

#include <stdio.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/nccl.h"
#include "kernels/cuda/stream.h"

static void look_at(hone_gpu *out, int index) {
    struct cudaDeviceProp has;
    size_t available = 0, all = 0;
    if (cudaGetDeviceProperties(&has, index) != cudaSuccess) return;
    snprintf(out->name, sizeof out->name, "%s", has.name);
    out->major = has.major;
    out->minor = has.minor;
    if (cudaSetDevice(index) != cudaSuccess || cudaMemGetInfo(&available, &all) != cudaSuccess)
        return;
    out->available = (int64_t)available;
    out->memory = (int64_t)all;
}

static void say_version(hone_gpu_library *out, size_t major, size_t minor, size_t patch) {
    snprintf(out->version, sizeof out->version, "%zu.%zu.%zu", major, minor, patch);
}

/* The next library of the list, by name and by what came of loading it. */
static hone_gpu_library *note(hone_gpus *out, const char *name, hone_status status) {
    hone_gpu_library *library = &out->library[out->library_count++];
    library->name = name;
    if (status == HONE_OK) return library;
    snprintf(library->why_not, sizeof library->why_not, "%s", hone_fail_message());
    return NULL;
}

static void find_libraries(hone_gpus *out) {
    hone_cublaslt cublaslt;
    hone_gpu_library *found = note(out, "cuBLASLt", hone_cuda_cublaslt(&cublaslt));
    size_t v = found ? cublaslt.get_version() : 0;
    if (found) say_version(found, v / 10000, v / 100 % 100, v % 100);
    hone_cudnn cudnn;
    found = note(out, "cuDNN", hone_cuda_cudnn(&cudnn));
    v = found ? cudnn.get_version() : 0;
    if (found) say_version(found, v / 10000, v / 100 % 100, v % 100);
    hone_nccl nccl;
    int version = 0;
    found = note(out, "NCCL", hone_cuda_nccl(&nccl));
    if (found && nccl.get_version(&version) == ncclSuccess) v = (size_t)version;
    if (found) say_version(found, v / 10000, v / 100 % 100, v % 100);
}

void hone_gpus_look(hone_gpus *out) {
    *out = (hone_gpus){0};
    (void)cudaDriverGetVersion(&out->driver);
    (void)cudaRuntimeGetVersion(&out->built);
    find_libraries(out);
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess)
        out->count = count < HONE_GPUS ? count : HONE_GPUS;
    for (int i = 0; i < out->count; i++) look_at(&out->gpu[i], i);
    (void)cudaGetLastError(); /* what could not be asked is shown as not known */
    hone_device device;
    if (hone_device_open_cuda(&device, 0) != HONE_OK)
        snprintf(out->why_not, sizeof out->why_not, "%s", hone_fail_message());
    hone_device_close(&device);
}
