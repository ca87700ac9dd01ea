#include "kernels/cuda/cudnn.h"

#include <dlfcn.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
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

static const char *error_text(void) {
    const char *text = dlerror();
    return text ? text : "no reason given";
}

hone_status hone_cudnn_load(hone_cudnn *out, const char *file) {
    void *library = dlopen(file ? file : "libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "cannot load cuDNN: %s; install cuDNN 9, or name the folder of "
                         "libcudnn.so.9 in LD_LIBRARY_PATH",
                         error_text());
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found)
            return hone_fail(HONE_ERR_UNSUPPORTED,
                             "the cuDNN that was loaded lacks %s (%s); install cuDNN 9",
                             functions[i].name, error_text());
        /* C has no cast from data to functions; dlsym's contract is that their pointers look the same. */
        memcpy((char *)out + functions[i].offset, &found, sizeof found);
    }
    size_t version = out->get_version();
    if (version < HONE_CUDNN_LEAST_VERSION)
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "the cuDNN that was loaded is version %zu.%zu; install %d.%d or later",
                         version / 10000, version / 100 % 100, HONE_CUDNN_LEAST_VERSION / 10000,
                         HONE_CUDNN_LEAST_VERSION / 100 % 100);
    return HONE_OK;
}
