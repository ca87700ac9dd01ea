/*
 * Devices and buffers: where numbers live. Nothing above kernels/ dereferences a buffer's address; it hands it to a
 * kernel of the same device's table, or moves bytes with the calls below.
 */
#ifndef HONE_KERNELS_DEVICE_H
#define HONE_KERNELS_DEVICE_H

#include <stddef.h>

#include "base/status.h"
#include "kernels/kernels.h"

typedef enum hone_device_kind {
    HONE_DEVICE_CPU,
} hone_device_kind;

typedef struct hone_device {
    hone_device_kind kind;
    const char *name; /* "cpu" */
    const hone_kernels *kernels;
} hone_device;

/* A run of bytes on a device, owned. On the CPU its pages count as used memory only once they are touched, and hold
 * zeros until then. */
typedef struct hone_buffer {
    const hone_device *device; /* borrowed: outlives the buffer */
    void *base;                /* aligned to a page; NULL when bytes is 0 */
    size_t bytes;
} hone_buffer;

/* The processor, with the best kernels it can run (hone_kernels_cpu). Nothing to close. Not in the build in double. */
HONE_MUST_USE hone_status hone_device_open_cpu(hone_device *out);

/* The processor with the reference kernels, in the build's own hone_real. */
void hone_device_open_ref(hone_device *out);

HONE_MUST_USE hone_status hone_buffer_new(hone_buffer *out, const hone_device *device,
                                          size_t bytes);
void hone_buffer_free(hone_buffer *buffer); /* takes NULL and a zeroed one */

/* Takes the pages of a buffer now, with what they hold, so that a lack of memory shows here and not at the first use. */
HONE_MUST_USE hone_status hone_buffer_commit(const hone_buffer *buffer);

/* Moves bytes between the host and a device address; done when it returns. Ranges lie in one buffer. */
HONE_MUST_USE hone_status hone_device_copy_in(const hone_device *device, void *to, const void *from,
                                              size_t bytes);
HONE_MUST_USE hone_status hone_device_copy_out(const hone_device *device, void *to,
                                               const void *from, size_t bytes);
/* Where the host reads and writes what lies at a device's address. */
void *hone_device_host_address(const hone_device *device, void *address);
HONE_MUST_USE hone_status hone_device_zero(const hone_device *device, void *to, size_t bytes);

#endif
