/*
 * The functions of cuBLASLt that hone calls, under the library's own signatures. The library is found when a device is
 * opened, not linked: a program without it still runs on the processor. Tests fill in functions of their own.
 */
#ifndef HONE_KERNELS_CUDA_CUBLASLT_H
#define HONE_KERNELS_CUDA_CUBLASLT_H

#include <cublasLt.h>

#include "base/status.h"

typedef struct hone_cublaslt {
    __typeof__(cublasLtGetVersion) *get_version;
    __typeof__(cublasLtGetStatusName) *get_status_name;
    __typeof__(cublasLtCreate) *create;
    __typeof__(cublasLtDestroy) *destroy;
    __typeof__(cublasLtMatmulDescCreate) *desc_create;
    __typeof__(cublasLtMatmulDescDestroy) *desc_destroy;
    __typeof__(cublasLtMatmulDescSetAttribute) *desc_set;
    __typeof__(cublasLtMatrixLayoutCreate) *layout_create;
    __typeof__(cublasLtMatrixLayoutDestroy) *layout_destroy;
    __typeof__(cublasLtMatmulPreferenceCreate) *preference_create;
    __typeof__(cublasLtMatmulPreferenceDestroy) *preference_destroy;
    __typeof__(cublasLtMatmulPreferenceSetAttribute) *preference_set;
    __typeof__(cublasLtMatmulAlgoGetHeuristic) *get_heuristic;
    __typeof__(cublasLtMatmul) *matmul;
} hone_cublaslt;

/* Loads the library and finds the functions; `file` is its name or path, or NULL for the usual names. It stays loaded as
 * long as the process runs. Errors: UNSUPPORTED where the library, one of the functions or the right version is missing. */
HONE_MUST_USE hone_status hone_cublaslt_load(hone_cublaslt *out, const char *file);

/* The one that a device is opened with: loaded by its usual names. */
HONE_MUST_USE hone_status hone_cuda_cublaslt(hone_cublaslt *out);

#endif
