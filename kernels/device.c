#include "kernels/device.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/machine.h"

enum { SMALL_PAGE = 4096, HUGE_PAGE = 2 << 20 };

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* as Linux numbers it; older C libraries lack the name */
#endif

/* --- The host's memory --- */

static hone_status host_take(void **base, size_t bytes) {
    *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
    if (*base == MAP_FAILED) {
        return hone_fail_errno(HONE_ERR_MEMORY,
                               "cannot reserve %zu bytes of memory; free some or ask for a smaller "
                               "batch or sequence length",
                               bytes);
    }
    /* Huge pages are an optimisation: where the kernel refuses them, small ones do. */
    if (bytes >= (size_t)HUGE_PAGE) (void)madvise(*base, bytes, MADV_HUGEPAGE);
    return HONE_OK;
}

static void host_give_back(void *base, size_t bytes) {
    munmap(base, bytes);
}

/* For systems that cannot fill pages in on request (before Linux 5.14). */
static void touch_pages(void *base, size_t bytes) {
    volatile unsigned char *page = base;
    for (size_t at = 0; at < bytes; at += SMALL_PAGE) page[at] = page[at];
}

static hone_status host_commit(void *base, size_t bytes) {
    if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0) return HONE_OK;
    if (errno == ENOMEM || errno == EFAULT || errno == EHWPOISON) {
        return hone_fail_errno(HONE_ERR_MEMORY, "cannot take the %zu bytes of memory planned for",
                               bytes);
    }
    touch_pages(base, bytes);
    return HONE_OK;
}

static hone_status host_copy(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return HONE_OK;
}

static hone_status host_zero(void *to, size_t bytes) {
    memset(to, 0, bytes);
    return HONE_OK;
}

static hone_status host_wait(void) {
    return HONE_OK;
}

static hone_status host_look(int64_t *available, int64_t *all) {
    *available = *all = 0;
    return HONE_OK;
}

static hone_device_use host_use(void) {
    return (hone_device_use){hone_resident_now().all, hone_resident_peak()};
}

static void host_close(void) {
}

static const hone_device_memory host_memory = {
    .is_host = true,
    .take = host_take,
    .give_back = host_give_back,
    .commit = host_commit,
    .copy_in = host_copy,
    .copy_out = host_copy,
    .zero = host_zero,
    .wait = host_wait,
    .look = host_look,
    .use = host_use,
    .close = host_close,
};

/* --- Any device's --- */

void hone_device_open_ref(hone_device *out) {
    *out = (hone_device){HONE_DEVICE_CPU, "cpu", hone_kernels_ref(), &host_memory, ""};
}

void hone_device_close(hone_device *device) {
    if (device->memory) device->memory->close();
    *device = (hone_device){0};
}

hone_status hone_buffer_new(hone_buffer *out, const hone_device *device, size_t bytes) {
    *out = (hone_buffer){.device = device, .bytes = bytes};
    if (bytes == 0) return HONE_OK;
    hone_status status = device->memory->take(&out->base, bytes);
    if (status != HONE_OK) *out = (hone_buffer){0};
    return status;
}

hone_status hone_buffer_commit(const hone_buffer *buffer) {
    if (buffer->bytes == 0 || buffer->pinned) return HONE_OK;
    return buffer->device->memory->commit(buffer->base, buffer->bytes);
}

hone_status hone_buffer_new_pinned(hone_buffer *out, const hone_device *device, size_t bytes) {
    *out = (hone_buffer){.device = device, .bytes = bytes, .pinned = true};
    if (bytes == 0) return HONE_OK;
    hone_status status = device->memory->take_host(&out->base, bytes);
    if (status != HONE_OK) *out = (hone_buffer){0};
    return status;
}

void hone_buffer_free(hone_buffer *buffer) {
    if (!buffer) return;
    if (buffer->base && buffer->pinned) {
        buffer->device->memory->give_back_host(buffer->base, buffer->bytes);
    } else if (buffer->base) {
        buffer->device->memory->give_back(buffer->base, buffer->bytes);
    }
    *buffer = (hone_buffer){0};
}

hone_status hone_device_copy_in(const hone_device *device, void *to, const void *from,
                                size_t bytes) {
    return bytes ? device->memory->copy_in(to, from, bytes) : HONE_OK;
}

hone_status hone_device_copy_out(const hone_device *device, void *to, const void *from,
                                 size_t bytes) {
    return bytes ? device->memory->copy_out(to, from, bytes) : HONE_OK;
}

hone_status hone_device_zero(const hone_device *device, void *to, size_t bytes) {
    return bytes ? device->memory->zero(to, bytes) : HONE_OK;
}

hone_status hone_device_wait(const hone_device *device) {
    return device->memory->wait();
}

hone_status hone_device_record(const hone_device *device) {
    return device->memory->record();
}

hone_status hone_device_record_end(hone_recording **out, const hone_device *device) {
    return device->memory->record_end(out);
}

hone_status hone_device_replay(const hone_device *device, hone_recording *recording) {
    return device->memory->replay(recording);
}

void hone_recording_free(hone_recording *recording, const hone_device *device) {
    if (recording) device->memory->recording_free(recording);
}

hone_status hone_device_fetch(const hone_device *device, int64_t *ticket, void *to,
                              const void *from, size_t bytes) {
    return device->memory->fetch(ticket, to, from, bytes);
}

hone_status hone_device_send(const hone_device *device, int64_t *ticket, void *to, const void *from,
                             size_t bytes) {
    return device->memory->send(ticket, to, from, bytes);
}

hone_status hone_device_meet(const hone_device *device, int64_t ticket) {
    return device->memory->meet(ticket);
}

void *hone_buffer_on_host(const hone_buffer *buffer) {
    return buffer->pinned || buffer->device->memory->is_host ? buffer->base : NULL;
}

bool hone_device_forgive(const hone_device *device) {
    return device->memory->forgive && device->memory->forgive();
}

hone_device_use hone_device_used(const hone_device *device) {
    return device->memory->use();
}

hone_status hone_device_look(int64_t *available, int64_t *all, const hone_device *device) {
    return device->memory->look(available, all);
}
