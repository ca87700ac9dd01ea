#include "kernels/cuda/cudnn.h"

#include "kernels/cuda/library.h"

static const hone_library_function functions[] = {
    {"cudnnGetVersion", offsetof(hone_cudnn, get_version)},
    {"cudnnGetErrorString", offsetof(hone_cudnn, get_error_string)},
    {"cudnnGetLastErrorString", offsetof(hone_cudnn, get_last_error_string)},
    {"cudnnCreate", offsetof(hone_cudnn, create)},
    {"cudnnDestroy", offsetof(hone_cudnn, destroy)},
    {"cudnnSetStream", offsetof(hone_cudnn, set_stream)},
    {"cudnnBackendCreateDescriptor", offsetof(hone_cudnn, descriptor_create)},
    {"cudnnBackendDestroyDescriptor", offsetof(hone_cudnn, descriptor_destroy)},
    {"cudnnBackendFinalize", offsetof(hone_cudnn, descriptor_finalize)},
    {"cudnnBackendSetAttribute", offsetof(hone_cudnn, attribute_set)},
    {"cudnnBackendGetAttribute", offsetof(hone_cudnn, attribute_get)},
    {"cudnnBackendExecute", offsetof(hone_cudnn, execute)},
};

static const hone_library library = {
    .name = "cuDNN",
    .purpose = "which attention can be left to",
    .files = {"libcudnn.so.9", "libcudnn.so"},
    .remedy = "install cuDNN 9.19 or later",
    .functions = functions,
    .count = sizeof functions / sizeof functions[0],
};

hone_status hone_cudnn_load(hone_cudnn *out, const char *file) {
    HONE_TRY(hone_library_load(out, &library, file));
    size_t version = out->get_version();
    if (version >= HONE_CUDNN_LEAST_VERSION) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED, "the cuDNN that was loaded is version %zu.%zu; %s",
                     version / 10000, version / 100 % 100, library.remedy);
}
