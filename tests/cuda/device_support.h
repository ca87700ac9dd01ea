/*
 * What the suites of devices share: for the fenced one, and in a build with CUDA for a real one.
 */
#ifndef HONE_TESTS_CUDA_DEVICE_SUPPORT_H
#define HONE_TESTS_CUDA_DEVICE_SUPPORT_H

#include "kernels/device.h"
#include "tests/model_support.h"

#ifdef HONE_CUDA
static inline void start(void) {
    make_test_folder();
}

static inline void stop(void) {
    remove_test_folder();
}
#else
#include "tests/cuda/fake_cudart.h"

static inline void start(void) {
    make_test_folder();
    fake_cudart_reset();
}

/* Nothing of the device is left. */
static inline void stop(void) {
    remove_test_folder();
    fake_cudart_reset(); /* a device that was broken takes all with it */
    fake_cudart_use left = fake_cudart_used();
    ck_assert_int_eq(left.pieces, 0);
    ck_assert_int_eq(left.bytes, 0);
    ck_assert_int_eq(left.streams, 0);
    ck_assert_int_eq(left.pinned, 0);
    ck_assert_int_eq(left.events, 0);
    ck_assert_int_eq(left.graphs, 0);
}
#endif

static inline void open_cuda(hone_device *device) {
    ck_ok(hone_device_open_cuda(device, 0));
    ck_assert_int_eq(device->kind, HONE_DEVICE_CUDA);
    ck_assert(!hone_device_is_host(device));
}

#endif
