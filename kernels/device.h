/*
 * Devices and buffers: where numbers live. Nothing above kernels/ dereferences a buffer's address; it hands it to a
 * kernel of the same device's table, or moves bytes with the calls below.
 */
#ifndef HONE_KERNELS_DEVICE_H
#define HONE_KERNELS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels/kernels.h"

typedef enum hone_device_kind {
    HONE_DEVICE_AUTO, /* to ask by: a GPU where one can be used, else the CPU */
    HONE_DEVICE_CPU,
    HONE_DEVICE_CUDA,
} hone_device_kind;
extern const char *const hone_device_words[]; /* "auto", "cpu", "cuda", NULL */
extern const char hone_device_choices[];      /* "auto,cpu", and what else this build has */

/* Bytes in use: of the process's memory, or of a GPU's by buffers. */
typedef struct hone_device_use {
    int64_t now, peak;
} hone_device_use;

/* Work that was recorded, to be queued again as a whole. */
typedef struct hone_recording hone_recording;

/* What a kind of device does about its memory: the calls below, without the cases of no bytes. */
typedef struct hone_device_memory {
    bool is_host;                                   /* the host reads and writes at its addresses */
    hone_status (*take)(void **base, size_t bytes); /* zeros */
    void (*give_back)(void *base, size_t bytes);
    hone_status (*commit)(void *base, size_t bytes);
    hone_status (*copy_in)(void *to, const void *from, size_t bytes);
    hone_status (*copy_out)(void *to, const void *from, size_t bytes);
    hone_status (*zero)(void *to, size_t bytes);
    hone_status (*wait)(void);
    hone_status (*look)(int64_t *available, int64_t *all);
    bool (*forgive)(void); /* NULL where kernels cannot fail */
    hone_device_use (*use)(void);
    hone_status (*record)(void); /* NULL, with the three below: it cannot */
    hone_status (*record_end)(hone_recording **out);
    hone_status (*replay)(hone_recording *recording);
    void (*recording_free)(hone_recording *recording);
    void (*close)(void);
    /* NULL where is_host. */
    hone_status (*take_host)(void **base, size_t bytes); /* zeros */
    void (*give_back_host)(void *base, size_t bytes);
    hone_status (*fetch)(int64_t *ticket, void *to, const void *from, size_t bytes);
    hone_status (*send)(int64_t *ticket, void *to, const void *from, size_t bytes);
    hone_status (*meet)(int64_t ticket);
} hone_device_memory;

enum { HONE_DEVICE_DOUBT = 256 };

typedef struct hone_device {
    hone_device_kind kind;
    const char *name; /* "cpu", "cuda" */
    const hone_kernels *kernels;
    const hone_device_memory *memory;
    char no_gpu[HONE_DEVICE_DOUBT]; /* why it is none, where one was looked for; else empty */
} hone_device;

/* A run of bytes on a device, owned; zeros at first. On the CPU its pages count as used memory only once they are
 * touched. */
typedef struct hone_buffer {
    const hone_device *device; /* borrowed: outlives the buffer */
    void *base;                /* aligned to 256 bytes at least; NULL when bytes is 0 */
    size_t bytes;
    bool pinned; /* it lies in the host's memory, for the copies that are made meanwhile */
} hone_buffer;

/* The processor, with the best kernels it can run (hone_kernels_cpu). Nothing to close. Not in the build in double. */
HONE_MUST_USE hone_status hone_device_open_cpu(hone_device *out);

/* The processor with the reference kernels, in the build's own hone_real. */
void hone_device_open_ref(hone_device *out);

/* The GPU of that number, as CUDA counts them; one at a time in a process. HONE_ERR_UNSUPPORTED without a GPU or a driver
 * that serves, HONE_ERR_USAGE in a build without CUDA. */
HONE_MUST_USE hone_status hone_device_open_cuda(hone_device *out, int index);

/* One of that kind: the processor, or the GPU of that number. */
HONE_MUST_USE hone_status hone_device_open(hone_device *out, hone_device_kind kind, int gpu);

/* After its buffers are freed. Takes a zeroed one. */
void hone_device_close(hone_device *device);

HONE_MUST_USE hone_status hone_buffer_new(hone_buffer *out, const hone_device *device,
                                          size_t bytes);
void hone_buffer_free(hone_buffer *buffer); /* takes NULL and a zeroed one */

/* Memory of the host that a device with memory of its own copies from and to while it computes; counts as none of the
 * device's. Only for such a device. */
HONE_MUST_USE hone_status hone_buffer_new_pinned(hone_buffer *out, const hone_device *device,
                                                 size_t bytes);

/* Takes the pages of a buffer now, with what they hold, so that a lack of memory shows here and not at the first use. */
HONE_MUST_USE hone_status hone_buffer_commit(const hone_buffer *buffer);

/* Moves bytes between the host and a device address. Ranges lie in one buffer. What is copied in may be changed at once,
 * and is there for all work that is queued later; what is copied out is there. That waits for what was queued before, and
 * what went wrong in it shows. */
HONE_MUST_USE hone_status hone_device_copy_in(const hone_device *device, void *to, const void *from,
                                              size_t bytes);
HONE_MUST_USE hone_status hone_device_copy_out(const hone_device *device, void *to,
                                               const void *from, size_t bytes);
HONE_MUST_USE hone_status hone_device_zero(const hone_device *device, void *to, size_t bytes);

/* Returns when all work that was queued is done. */
HONE_MUST_USE hone_status hone_device_wait(const hone_device *device);

/* Whether it can record work. Then kernels that are called from hone_device_record to hone_device_record_end do not run but
 * are noted with their arguments, addresses too; hone_device_replay queues them all, at a fraction of the time that the
 * calls take. In between nothing else may be asked of the device; what was is an error at the end, and so is a computation
 * that cannot be recorded. */
static inline bool hone_device_records(const hone_device *device) {
    return device->memory->record != NULL;
}
HONE_MUST_USE hone_status hone_device_record(const hone_device *device);
HONE_MUST_USE hone_status hone_device_record_end(hone_recording **out, const hone_device *device);
HONE_MUST_USE hone_status hone_device_replay(const hone_device *device, hone_recording *recording);
void hone_recording_free(hone_recording *recording, const hone_device *device); /* takes NULL */

/* Copies that are made meanwhile, between pinned memory and that of a device: fetch brings in, send takes out. They are
 * made one after the other; each waits for all that was queued for computing before it was asked for, and nothing that
 * is queued later waits for it, until it is met by its number: what is queued from there on finds it and all before
 * it done. Neither side may be changed, nor what comes in be read, before that. */
HONE_MUST_USE hone_status hone_device_fetch(const hone_device *device, int64_t *ticket, void *to,
                                            const void *from, size_t bytes);
HONE_MUST_USE hone_status hone_device_send(const hone_device *device, int64_t *ticket, void *to,
                                           const void *from, size_t bytes);
HONE_MUST_USE hone_status hone_device_meet(const hone_device *device, int64_t ticket);

/* Where the host reads and writes what a buffer holds; NULL where it cannot. */
void *hone_buffer_on_host(const hone_buffer *buffer);

/* Whether the kernels can read what lies in the host's memory, as mapped files do. */
static inline bool hone_device_is_host(const hone_device *device) {
    return device->memory->is_host;
}

/* Where a library that kernels are made with has failed at something that was only tried: forgets it, as nothing depends on
 * what was to be computed. False where that was not the failure. */
bool hone_device_forgive(const hone_device *device);

/* Bytes of a device's own memory: those that can be had now, and all. Both are 0 where that is the host's. */
HONE_MUST_USE hone_status hone_device_look(int64_t *available, int64_t *all,
                                           const hone_device *device);

hone_device_use hone_device_used(const hone_device *device);

#endif
