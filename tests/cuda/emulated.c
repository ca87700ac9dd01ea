#include "tests/cuda/emulated.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/products.h"
#include "kernels/device.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/cuda/fake_cudart.h"
#include "tests/cuda/fake_cudnn.h"
#include "tests/cuda/fake_nccl.h"

enum { SLAB_BYTES = 1 << 16, MATMUL_BYTES = 1 << 16, ATTENTION_BYTES = 1 << 19 };

/* Slabs are small, so that weights have several; so is what cuBLASLt gets, which takes time to give. */
hone_status hone_cuda_cublaslt(hone_cublaslt *out) {
    hone_cuda_products_sizes(SLAB_BYTES, MATMUL_BYTES);
    *out = fake_cublaslt_functions();
    return HONE_OK;
}

hone_status hone_cuda_nccl(hone_nccl *out) {
    *out = fake_nccl_functions();
    return HONE_OK;
}

/* Room for backward is small, so that it takes several calls. */
hone_status hone_cuda_cudnn(hone_cudnn *out) {
    hone_attention_cudnn_size(ATTENTION_BYTES);
    *out = fake_cudnn_functions();
    if (!fake_cudnn_state()->missing) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED, "cannot load cuDNN");
}

const hone_kernels *hone_kernels_emulated(void) {
    static hone_device device;
    fake_cudart_settings.at_once = true;
    if (!device.kernels && hone_device_open_cuda(&device, 0) != HONE_OK) {
        fprintf(stderr, "%s\n", hone_fail_message());
        abort();
    }
    return device.kernels;
}

hone_status hone_emulated_status(void) {
    hone_status status = hone_cuda_products_status();
    if (status == HONE_OK) return HONE_OK;
    return hone_fail_context(status, "%s; %s", fake_cublaslt_state()->complaint,
                             fake_cudnn_state()->complaint);
}
