#include "kernels/cuda/cublaslt.h"

hone_status hone_cuda_libraries(hone_cublaslt *out) {
    return hone_cublaslt_load(out, NULL);
}
