#include "kernels/device.h"

#include <stdio.h>
#include <string.h>

const char *const hone_device_words[] = {"auto", "cpu", "cuda", NULL};

hone_status hone_device_open_cpu(hone_device *out) {
    hone_device_open_ref(out);
    return hone_kernels_cpu(&out->kernels);
}

hone_status hone_device_open(hone_device *out, hone_device_kind kind, int gpu) {
    if (kind == HONE_DEVICE_CUDA) return hone_device_open_cuda(out, gpu);
    hone_status status = HONE_ERR_USAGE;
    if (kind == HONE_DEVICE_AUTO) status = hone_device_open_cuda(out, gpu);
    if (status == HONE_OK) return HONE_OK;
    char reason[HONE_DEVICE_DOUBT] = "";
    if (status != HONE_ERR_USAGE) /* which a build without CUDA answers */
        snprintf(reason, sizeof reason, "%s", hone_fail_message());
    HONE_TRY(hone_device_open_cpu(out));
    memcpy(out->no_gpu, reason, sizeof reason);
    return HONE_OK;
}
