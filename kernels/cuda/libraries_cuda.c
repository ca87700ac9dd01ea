#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/nccl.h"

hone_status hone_cuda_cublaslt(hone_cublaslt *out) {
    return hone_cublaslt_load(out, NULL);
}

hone_status hone_cuda_nccl(hone_nccl *out) {
    return hone_nccl_load(out, NULL);
}

hone_status hone_cuda_cudnn(hone_cudnn *out) {
    return hone_cudnn_load(out, NULL);
}
