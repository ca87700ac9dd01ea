/*
 * The build without CUDA. Nothing else stands in this file: where there is a device, its own stands before it.
 */
#include <stdio.h>

#include "kernels/gpus.h"
#include "kernels/group.h"

const char hone_device_choices[] = "auto,cpu";

hone_status hone_device_open_cuda(hone_device *out, int index) {
    *out = (hone_device){0};
    (void)index;
    return hone_fail(HONE_ERR_USAGE,
                     "this build of hone has no CUDA: leave --device out, or build it with "
                     "-DHONE_CUDA=ON");
}

static hone_status refuse_group(void) {
    return hone_fail(HONE_ERR_USAGE,
                     "this build of hone has no CUDA, and several processes train together on GPUs "
                     "only: leave --gpus and mpirun out, or build it with -DHONE_CUDA=ON");
}

hone_status hone_group_gpus(int *count) {
    *count = 0;
    return refuse_group();
}

hone_status hone_group_make_name(hone_group_name *out) {
    *out = (hone_group_name){0};
    return refuse_group();
}

hone_status hone_group_join(hone_group *out, const hone_group_name *name, int rank, int size) {
    *out = (hone_group){0};
    (void)name, (void)rank, (void)size;
    return refuse_group();
}

void hone_gpus_look(hone_gpus *out) {
    *out = (hone_gpus){0};
    snprintf(out->why_not, sizeof out->why_not,
             "this build of hone has no CUDA: build it with -DHONE_CUDA=ON to use one");
}
