#include "kernels/gpus.h"

#include <stdio.h>

#include "kernels/cuda/cublaslt.h"
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

static void find_cublaslt(hone_gpu_library *out) {
    hone_cublaslt library;
    out->name = "cuBLASLt";
    if (hone_cuda_libraries(&library) != HONE_OK) {
        snprintf(out->why_not, sizeof out->why_not, "%s", hone_fail_message());
        return;
    }
    size_t version = library.get_version();
    snprintf(out->version, sizeof out->version, "%zu.%zu.%zu", version / 10000, version / 100 % 100,
             version % 100);
}

void hone_gpus_look(hone_gpus *out) {
    *out = (hone_gpus){0};
    (void)cudaDriverGetVersion(&out->driver);
    (void)cudaRuntimeGetVersion(&out->built);
    find_cublaslt(&out->library[out->library_count++]);
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
