/*
 * The build without CUDA. Nothing else stands in this file: where there is a device, its own stands before it.
 */
#include <stdio.h>

#include "kernels/gpus.h"

const char hone_device_choices[] = "auto,cpu";

hone_status hone_device_open_cuda(hone_device *out, int index) {
    *out = (hone_device){0};
    (void)index;
    return hone_fail(HONE_ERR_USAGE,
                     "this build of hone has no CUDA: leave --device out, or build it with "
                     "-DHONE_CUDA=ON");
}

void hone_gpus_look(hone_gpus *out) {
    *out = (hone_gpus){0};
    snprintf(out->why_not, sizeof out->why_not,
             "this build of hone has no CUDA: build it with -DHONE_CUDA=ON to use one");
}
