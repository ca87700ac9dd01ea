#include "kernels/cuda/cublaslt.h"

#include <stddef.h>

#include "kernels/cuda/library.h"

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

static const hone_library_function functions[] = {
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

static const hone_library library = {
    .name = "cuBLASLt",
    .purpose = "which products on a GPU are made with",
    .files = {"libcublasLt.so." TEXT(CUBLAS_VER_MAJOR), "libcublasLt.so"},
    .remedy = "install the cuBLAS of CUDA " TEXT(CUBLAS_VER_MAJOR),
    .functions = functions,
    .count = sizeof functions / sizeof functions[0],
};

hone_status hone_cublaslt_load(hone_cublaslt *out, const char *file) {
    HONE_TRY(hone_library_load(out, &library, file));
    size_t version = out->get_version();
    if (version / 10000 != CUBLAS_VER_MAJOR)
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "the cuBLASLt that was loaded is version %zu.%zu; %s", version / 10000,
                         version / 100 % 100, library.remedy);
    return HONE_OK;
}
