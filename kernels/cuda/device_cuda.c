/*
 * A GPU as a device: its memory, its stream, and what it says when something goes wrong. One is open at a time.
 */
#include "kernels/device.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#include "base/size.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/copies.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/recording.h"
#include "kernels/cuda/staging.h"
#include "kernels/cuda/stream.h"
#include "kernels/group.h"

static struct {
    bool open;
    cudaStream_t stream;
    int64_t resident_blocks;
    void *scratch; /* for products without a workspace */
    hone_cuda_staging staging;
    hone_device_use use;
    hone_kernels kernels;
    char name[300]; /* of the table: on another GPU the same sums may have other bits */
} gpu;

cudaStream_t hone_cuda_stream(void) {
    return gpu.stream;
}

int64_t hone_cuda_resident_blocks(void) {
    return gpu.resident_blocks;
}

void *hone_cuda_scratch(size_t *bytes) {
    *bytes = hone_cuda_matmul_bytes();
    return gpu.scratch;
}

/* --- Errors --- */

/* Launches do not tell: theirs is found here. */
hone_status hone_cuda_launches_status(void) {
    HONE_TRY(hone_cuda_check(cudaGetLastError(), "a computation could not be started"));
    return gpu.open ? hone_cuda_products_status() : HONE_OK;
}

/* --- Memory --- */

static hone_status wait(void) {
    HONE_TRY(hone_cuda_launches_status());
    HONE_TRY(hone_cuda_copies_wait());
    return hone_cuda_finish(gpu.stream);
}

static hone_status zero(void *to, size_t bytes) {
    return hone_cuda_check(cudaMemsetAsync(to, 0, bytes, gpu.stream), "cannot set memory to zero");
}

static void give_back(void *base, size_t bytes) {
    gpu.use.now -= (int64_t)bytes;
    if (hone_cuda_is_lost()) return;         /* with its memory */
    (void)cudaStreamSynchronize(gpu.stream); /* what was queued may still use it */
    (void)!hone_cuda_copies_wait();
    (void)cudaFree(base);
}

static hone_status take(void **base, size_t bytes) {
    cudaError_t error = cudaMalloc(base, bytes);
    if (error == cudaErrorMemoryAllocation)
        return hone_cuda_fail_memory(hone_size((int64_t)bytes).text);
    HONE_TRY(hone_cuda_check(error, "cannot take memory"));
    gpu.use.now += (int64_t)bytes;
    if (gpu.use.now > gpu.use.peak) gpu.use.peak = gpu.use.now;
    hone_status status = zero(*base, bytes);
    if (status != HONE_OK) give_back(*base, bytes);
    return status;
}

/* It was, when it was taken. */
static hone_status commit(void *base, size_t bytes) {
    (void)base, (void)bytes;
    return HONE_OK;
}

static hone_status copy_in(void *to, const void *from, size_t bytes) {
    assert(!hone_cuda_is_recording()); /* it would bring the same bytes at every replay, or none */
    HONE_TRY(hone_cuda_launches_status());
    return hone_cuda_staging_copy(&gpu.staging, to, from, bytes);
}

static hone_status copy_out(void *to, const void *from, size_t bytes) {
    HONE_TRY(hone_cuda_launches_status());
    HONE_TRY(hone_cuda_finish_group(gpu.stream));
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, gpu.stream);
    HONE_TRY(hone_cuda_check(error, "cannot copy memory"));
    return hone_cuda_check(cudaStreamSynchronize(gpu.stream), "a computation failed");
}

static hone_status look(int64_t *available, int64_t *all) {
    size_t free_bytes = 0, all_bytes = 0;
    HONE_TRY(
        hone_cuda_check(cudaMemGetInfo(&free_bytes, &all_bytes), "cannot ask for free memory"));
    *available = (int64_t)free_bytes;
    *all = (int64_t)all_bytes;
    return HONE_OK;
}

static bool forgive(void) {
    if (hone_cuda_is_lost() || cudaStreamSynchronize(gpu.stream) != cudaSuccess) return false;
    return hone_cuda_products_forgive();
}

static hone_device_use use(void) {
    return gpu.use;
}

static void close_device(void) {
    hone_cuda_copies_close();
    hone_attention_cudnn_close();
    hone_cuda_products_close();
    if (gpu.scratch) give_back(gpu.scratch, hone_cuda_matmul_bytes());
    gpu.scratch = NULL;
    hone_cuda_staging_close(&gpu.staging);
    if (gpu.stream && !hone_cuda_is_lost()) (void)cudaStreamDestroy(gpu.stream);
    gpu.stream = NULL;
    gpu.open = false;
}

static const hone_device_memory device_memory = {
    .take = take,
    .give_back = give_back,
    .commit = commit,
    .copy_in = copy_in,
    .copy_out = copy_out,
    .zero = zero,
    .wait = wait,
    .look = look,
    .forgive = forgive,
    .use = use,
    .record = hone_cuda_record,
    .record_end = hone_cuda_record_end,
    .replay = hone_cuda_replay,
    .recording_free = hone_cuda_recording_free,
    .close = close_device,
    .take_host = hone_cuda_take_host,
    .give_back_host = hone_cuda_give_back_host,
    .fetch = hone_cuda_fetch,
    .send = hone_cuda_send,
    .meet = hone_cuda_meet,
};

/* --- Opening --- */

const char hone_device_choices[] = "auto,cpu,cuda";

/* A driver that is missing answers as one that is too old. */
static hone_status fail_driver(void) {
    int driver = 0, runtime = 0;
    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    int major = runtime / 1000, minor = runtime % 1000 / 10;
    if (driver == 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "no NVIDIA driver is loaded: install one that serves CUDA %d.%d or later, "
                         "or use --device cpu",
                         major, minor);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "the NVIDIA driver serves CUDA %d.%d, which is too old for the CUDA %d.%d of "
                     "this build: update the driver, or use --device cpu",
                     driver / 1000, driver % 1000 / 10, major, minor);
}

static hone_status count_gpus(int *count) {
    cudaError_t error = cudaGetDeviceCount(count);
    if (error == cudaErrorInsufficientDriver) return fail_driver();
    if (error == cudaErrorNoDevice || (error == cudaSuccess && *count == 0)) {
        (void)cudaGetLastError();
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "there is no GPU that CUDA can use: see nvidia-smi and "
                         "CUDA_VISIBLE_DEVICES, or use --device cpu");
    }
    return hone_cuda_check(error, "cannot count the GPUs");
}

hone_status hone_group_gpus(int *count) {
    *count = 0;
    return count_gpus(count);
}

static hone_status choose(int index) {
    int count = 0;
    HONE_TRY(count_gpus(&count));
    if (index < 0 || index >= count) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "there is no GPU %d: CUDA counts %d, from 0; choose one by "
                         "CUDA_VISIBLE_DEVICES",
                         index, count);
    }
    return hone_cuda_check(cudaSetDevice(index), "cannot use the GPU");
}

static hone_status measure(int index) {
    enum { BLOCK = 256, FP8_CAPABILITY = 89 };
    struct cudaDeviceProp has;
    HONE_TRY(hone_cuda_check(cudaGetDeviceProperties(&has, index), "cannot ask what the GPU is"));
    int each = has.maxThreadsPerMultiProcessor / BLOCK;
    gpu.resident_blocks = (int64_t)has.multiProcessorCount * (each > 0 ? each : 1);
    snprintf(gpu.name, sizeof gpu.name, "cuda, %s", has.name);
    gpu.kernels.name = gpu.name;
    if (has.major * 10 + has.minor >= FP8_CAPABILITY) {
        gpu.kernels.precisions |= HONE_TAKES_FP8;
        gpu.kernels.native |= HONE_TAKES_FP8;
    }
    return HONE_OK;
}

/* A first kernel: that there is code for this GPU shows here and not at the first step. */
static hone_status try_kernel(void) {
    void *place;
    float found = 0;
    HONE_TRY(take(&place, sizeof found));
    gpu.kernels.zero(place, 1);
    hone_status status = copy_out(&found, place, sizeof found);
    give_back(place, sizeof found);
    return status;
}

static hone_status prepare(int index) {
    hone_cuda_forget_errors();
    HONE_TRY(choose(index));
    HONE_TRY(measure(index));
    HONE_TRY(hone_cuda_check(cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking),
                             "cannot make a stream"));
    HONE_TRY(hone_cuda_staging_open(&gpu.staging));
    HONE_TRY(try_kernel());
    hone_cublaslt library;
    HONE_TRY(hone_cuda_cublaslt(&library));
    HONE_TRY(take(&gpu.scratch, hone_cuda_matmul_bytes()));
    gpu.use = (hone_device_use){0}; /* that is no buffer */
    return hone_cuda_products_open(&library);
}

hone_status hone_device_open_cuda(hone_device *out, int index) {
    *out = (hone_device){0};
    if (gpu.open) return hone_fail(HONE_ERR_UNSUPPORTED, "a GPU is open in this process already");
    gpu.kernels = *hone_kernels_cuda();
    HONE_TRY(hone_cuda_check_table(&gpu.kernels));
    hone_status status = prepare(index);
    if (status != HONE_OK) {
        close_device();
        return status;
    }
    gpu.open = true;
    *out = (hone_device){HONE_DEVICE_CUDA, "cuda", &gpu.kernels, &device_memory, ""};
    return HONE_OK;
}
