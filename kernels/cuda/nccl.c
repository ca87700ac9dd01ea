#include "kernels/cuda/nccl.h"

#include "kernels/cuda/library.h"

static const hone_library_function functions[] = {
    {"ncclGetVersion", offsetof(hone_nccl, get_version)},
    {"ncclGetUniqueId", offsetof(hone_nccl, get_unique_id)},
    {"ncclCommInitRankConfig", offsetof(hone_nccl, init_rank)},
    {"ncclCommGetAsyncError", offsetof(hone_nccl, get_async_error)},
    {"ncclCommFinalize", offsetof(hone_nccl, finalize)},
    {"ncclCommDestroy", offsetof(hone_nccl, destroy)},
    {"ncclGetErrorString", offsetof(hone_nccl, get_error_string)},
    {"ncclGetLastError", offsetof(hone_nccl, get_last_error)},
    {"ncclAllReduce", offsetof(hone_nccl, all_reduce)},
};

static const hone_library library = {
    .name = "NCCL",
    .purpose = "which several GPUs train together by",
    .files = {"libnccl.so.2", "libnccl.so"},
    .remedy = "install NCCL 2 for CUDA 13 (the package libnccl2 of NVIDIA)",
    .functions = functions,
    .count = sizeof functions / sizeof functions[0],
};

hone_status hone_nccl_load(hone_nccl *out, const char *file) {
    HONE_TRY(hone_library_load(out, &library, file));
    int version = 0;
    if (out->get_version(&version) == ncclSuccess && version / 10000 == 2 &&
        version >= HONE_NCCL_CONFIG_VERSION)
        return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "the NCCL that was loaded is version %d.%d, which is none of 2.14 to 2.99; %s",
                     version / 10000, version / 100 % 100, library.remedy);
}
