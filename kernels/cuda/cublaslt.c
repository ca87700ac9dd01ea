#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef struct function {
    const char *name;
    size_t offset; /* of its pointer in hone_cublaslt */
} function;

static const function functions[] = {
    {"cublasLtGetVersion", offsetof(hone_cublaslt, get_version)},
    {"cublasLtGetStatusName", offsetof(hone_cublaslt, get_status_name)},
    {"cublasLtCreate", offsetof(hone_cublaslt, create)},
    {"cublasLtDestroy", offsetof(hone_cublaslt, destroy)},
    {"cublasLtMatmulDescCreate", offsetof(hone_cublaslt, desc_create)},
    {"cublasLtMatmulDescDestroy", offsetof(hone_cublaslt, desc_destroy)},
    {"cublasLtMatmulDescSetAttribute", offsetof(hone_cublaslt, desc_set)},
    {"cublasLtMatrixLayoutCreate", offsetof(hone_cublaslt, layout_create)},
    {"cublasLtMatrixLayoutDestroy", offsetof(hone_cublaslt, layout_destroy)},
    {"cublasLtMatmulPreferenceCreate", offsetof(hone_cublaslt, preference_create)},
    {"cublasLtMatmulPreferenceDestroy", offsetof(hone_cublaslt, preference_destroy)},
    {"cublasLtMatmulPreferenceSetAttribute", offsetof(hone_cublaslt, preference_set)},
    {"cublasLtMatmulAlgoGetHeuristic", offsetof(hone_cublaslt, get_heuristic)},
    {"cublasLtMatmul", offsetof(hone_cublaslt, matmul)},
};

static const char *error_text(void) {
    const char *text = dlerror();
    return text ? text : "no reason given";
}

/* NULL with the message set. */
static void *library_open(const char *file) {
    void *library = dlopen(file ? file : "libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    if (!library && !file) library = dlopen("libcublasLt.so", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        (void)hone_fail(HONE_ERR_UNSUPPORTED,
                        "cannot load cuBLASLt, which products on a GPU are made with: %s; install "
                        "the cuBLAS of "
                        "CUDA %d, or name the folder of libcublasLt.so.%d in LD_LIBRARY_PATH",
                        error_text(), CUBLAS_VER_MAJOR, CUBLAS_VER_MAJOR);
    return library;
}

hone_status hone_cublaslt_load(hone_cublaslt *out, const char *file) {
    void *library = library_open(file);
    if (!library) return HONE_ERR_UNSUPPORTED;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found)
            return hone_fail(
                HONE_ERR_UNSUPPORTED,
                "the cuBLASLt that was loaded lacks %s (%s); install the cuBLAS of CUDA %d",
                functions[i].name, error_text(), CUBLAS_VER_MAJOR);
        /* C has no cast from data to functions; dlsym's contract is that their pointers look the same. */
        memcpy((char *)out + functions[i].offset, &found, sizeof found);
    }
    size_t version = out->get_version();
    if (version / 10000 != CUBLAS_VER_MAJOR)
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "the cuBLASLt that was loaded is version %zu.%zu; install the cuBLAS of CUDA %d",
            version / 10000, version / 100 % 100, CUBLAS_VER_MAJOR);
    return HONE_OK;
}
