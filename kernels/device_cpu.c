#include "kernels/device.h"

hone_status hone_device_open_cpu(hone_device *out) {
    *out = (hone_device){HONE_DEVICE_CPU, "cpu", NULL};
    return hone_kernels_cpu(&out->kernels);
}
