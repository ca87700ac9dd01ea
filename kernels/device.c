#include "kernels/device.h"

#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void hone_device_open_ref(hone_device *out) {
    *out = (hone_device){HONE_DEVICE_CPU, "cpu", hone_kernels_ref()};
}

hone_status hone_buffer_new(hone_buffer *out, const hone_device *device, size_t bytes) {
    *out = (hone_buffer){.device = device, .bytes = bytes};
    if (bytes == 0) return HONE_OK;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        *out = (hone_buffer){0};
        return hone_fail_errno(HONE_ERR_MEMORY,
                               "cannot reserve %zu bytes of memory; free some or ask for a smaller "
                               "batch or sequence length",
                               bytes);
    }
    /* Huge pages are an optimisation: where the kernel refuses them, small ones do. */
    if (bytes >= (size_t)HUGE_PAGE) (void)madvise(base, bytes, MADV_HUGEPAGE);
    out->base = base;
    return HONE_OK;
}

void hone_buffer_free(hone_buffer *buffer) {
    if (!buffer) return;
    if (buffer->base) munmap(buffer->base, buffer->bytes);
    *buffer = (hone_buffer){0};
}

hone_status hone_device_copy_in(const hone_device *device, void *to, const void *from,
                                size_t bytes) {
    (void)device;
    if (bytes) memcpy(to, from, bytes);
    return HONE_OK;
}

hone_status hone_device_copy_out(const hone_device *device, void *to, const void *from,
                                 size_t bytes) {
    (void)device;
    if (bytes) memcpy(to, from, bytes);
    return HONE_OK;
}

hone_status hone_device_zero(const hone_device *device, void *to, size_t bytes) {
    (void)device;
    if (bytes) memset(to, 0, bytes);
    return HONE_OK;
}
