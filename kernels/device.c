#include "kernels/device.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { SMALL_PAGE = 4096, HUGE_PAGE = 2 << 20 };

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* as Linux numbers it; older C libraries lack the name */
#endif

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

/* For systems that cannot fill pages in on request (before Linux 5.14). */
static void touch_pages(const hone_buffer *buffer) {
    volatile unsigned char *base = buffer->base;
    for (size_t at = 0; at < buffer->bytes; at += SMALL_PAGE) base[at] = base[at];
}

hone_status hone_buffer_commit(const hone_buffer *buffer) {
    if (buffer->bytes == 0 || madvise(buffer->base, buffer->bytes, MADV_POPULATE_WRITE) == 0)
        return HONE_OK;
    if (errno == ENOMEM || errno == EFAULT || errno == EHWPOISON) {
        return hone_fail_errno(HONE_ERR_MEMORY, "cannot take the %zu bytes of memory planned for",
                               buffer->bytes);
    }
    touch_pages(buffer);
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

void *hone_device_host_address(const hone_device *device, void *address) {
    (void)device;
    return address;
}

hone_status hone_device_zero(const hone_device *device, void *to, size_t bytes) {
    (void)device;
    if (bytes) memset(to, 0, bytes);
    return HONE_OK;
}
