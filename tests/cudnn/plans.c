/*
 * Has a real cuDNN compile attention's graphs for a device that is described, on a machine without one.
 *
 *     cudnn_plans LIBCUDNN DRIVER DEVICE <shapes
 *
 * DRIVER is loaded first (driver.c); DEVICE is what cuDNN takes for a device's properties, in JSON. A line of standard
 * input is a graph: backward batch longest heads kv_heads heads_taken kv_heads_taken head_size windowed. For each a line
 * is printed: "plan", bytes of workspace, and what hone takes them for; or "none" and why. An exit status of 3 says that
 * the library cannot be loaded, or does not do this.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/attention_graphs.h"

enum { UNAVAILABLE = 3 };

static cudnnStatus_t describe(hone_cudnn_target *target, const char *device) {
    const hone_cudnn *l = target->library;
    cudnnStatus_t status =
        l->descriptor_create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &target->device);
    if (status == CUDNN_STATUS_SUCCESS)
        status = l->attribute_set(target->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                  CUDNN_TYPE_CHAR, (int64_t)strlen(device), device);
    return status == CUDNN_STATUS_SUCCESS ? l->descriptor_finalize(target->device) : status;
}

static int read_shape(hone_attention_graph *s) {
    int backward = 0, windowed = 0;
    long long n[7];
    int found = scanf("%d %lld %lld %lld %lld %lld %lld %lld %d", &backward, &n[0], &n[1], &n[2],
                      &n[3], &n[4], &n[5], &n[6], &windowed);
    *s = (hone_attention_graph){backward, n[0], n[1], n[2], n[3], n[4], n[5], n[6], windowed};
    return found == 9;
}

int main(int count, char **arguments) {
    hone_cudnn library;
    if (count != 4) return 2;
    if (!dlopen(arguments[2], RTLD_NOW | RTLD_GLOBAL)) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (hone_cudnn_load(&library, arguments[1]) != HONE_OK) {
        fprintf(stderr, "%s\n", hone_fail_message());
        return UNAVAILABLE;
    }
    hone_cudnn_target target = {.library = &library};
    cudnnStatus_t status = describe(&target, arguments[3]);
    if (status != CUDNN_STATUS_SUCCESS) {
        fprintf(stderr, "cuDNN %zu takes no description of a device: %s\n", library.get_version(),
                library.get_error_string(status));
        return UNAVAILABLE;
    }
    hone_attention_graph shape;
    while (read_shape(&shape)) {
        hone_cudnn_plan plan;
        if (hone_attention_plan(&plan, &target, &shape) == HONE_OK) {
            printf("plan %lld %lld\n", (long long)plan.bytes,
                   (long long)hone_attention_graph_bytes(&shape));
            hone_cudnn_plan_free(&plan, &library);
        } else {
            printf("none %s\n", hone_fail_message());
        }
    }
    (void)library.descriptor_destroy(target.device);
    return 0;
}
