#include "kernels/device.h"

const char *const hone_device_words[] = {"auto", "cpu", "cuda", NULL};

hone_status hone_device_open_cpu(hone_device *out) {
    hone_device_open_ref(out);
    return hone_kernels_cpu(&out->kernels);
}

hone_status hone_device_open(hone_device *out, hone_device_kind kind) {
    if (kind == HONE_DEVICE_CUDA) return hone_device_open_cuda(out, 0);
    if (kind == HONE_DEVICE_AUTO && hone_device_open_cuda(out, 0) == HONE_OK) return HONE_OK;
    return hone_device_open_cpu(out);
}
