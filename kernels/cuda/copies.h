/*
 * Pinned memory of the host, and copies between it and the device's while that computes: the calls of hone_device_memory.
 */
#ifndef HONE_KERNELS_CUDA_COPIES_H
#define HONE_KERNELS_CUDA_COPIES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Pinned memory, with anything in it. */
HONE_MUST_USE hone_status hone_cuda_pin(void **base, size_t bytes);

/* The first opens what copies need. */
HONE_MUST_USE hone_status hone_cuda_take_host(void **base, size_t bytes);
void hone_cuda_give_back_host(void *base, size_t bytes);

HONE_MUST_USE hone_status hone_cuda_fetch(int64_t *ticket, void *to, const void *from,
                                          size_t bytes);
HONE_MUST_USE hone_status hone_cuda_send(int64_t *ticket, void *to, const void *from, size_t bytes);
HONE_MUST_USE hone_status hone_cuda_meet(int64_t ticket);

/* Until all are made; at once where there never were any. */
HONE_MUST_USE hone_status hone_cuda_copies_wait(void);
void hone_cuda_copies_close(void);

#endif
