/*
 * GPUs as devices, without one: hone's own CUDA code over a runtime whose memory nobody may touch but kernels and copies
 * (tests/cuda/fake_cudart.h). Memory and errors.
 */
#include <signal.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda/device_support.h"

/* --- Memory --- */

START_TEST(buffer_on_device_holds_zeros_and_copies) {
    hone_device device;
    open_cuda(&device);
    hone_buffer buffer;
    int64_t pieces = fake_cudart_used().pieces; /* the device's own */
    ck_ok(hone_buffer_new(&buffer, &device, 100));
    ck_assert_uint_eq((uintptr_t)buffer.base % 256, 0);
    ck_assert_ptr_null(hone_buffer_on_host(&buffer));
    ck_ok(hone_buffer_commit(&buffer));
    const float numbers[] = {1, 2, 3};
    float back[4] = {9, 9, 9, 9};
    ck_ok(hone_device_copy_in(&device, buffer.base, numbers, sizeof numbers));
    ck_ok(hone_device_copy_out(&device, back, buffer.base, sizeof back));
    ck_assert_mem_eq(back, ((const float[]){1, 2, 3, 0}), sizeof back);
    device.kernels->scale(buffer.base, buffer.base, 4, 2);
    ck_ok(hone_device_copy_out(&device, back, buffer.base, sizeof back));
    ck_assert_mem_eq(back, ((const float[]){2, 4, 6, 0}), sizeof back);
    ck_ok(hone_device_zero(&device, buffer.base, sizeof(float)));
    ck_ok(hone_device_copy_out(&device, back, buffer.base, sizeof *back));
    ck_assert(back[0] == 0);
    ck_assert_int_eq(fake_cudart_used().pieces, pieces + 1);
    hone_buffer_free(&buffer);
    ck_ok(hone_buffer_new(&buffer, &device, 0));
    hone_buffer_free(&buffer);
    hone_device_close(&device);
    hone_device_close(&device);
}
END_TEST

START_TEST(device_says_how_much_memory_is_left) {
    hone_device device;
    hone_buffer buffer;
    int64_t available, all;
    fake_cudart_settings.memory = 1 << 20;
    open_cuda(&device);
    fake_cudart_use own = fake_cudart_used();
    ck_ok(hone_buffer_new(&buffer, &device, 1 << 18));
    ck_ok(hone_device_look(&available, &all, &device));
    ck_assert_int_eq(all, 1 << 20);
    ck_assert_int_eq(available, (3 << 18) - own.bytes);
    ck_assert_int_eq(own.bytes, 64 << 10);
    ck_fails(hone_buffer_new(&buffer, &device, 1 << 20), HONE_ERR_MEMORY,
             "the GPU has no room for 1.0 MiB: 704 KiB of its 1.0 MiB are free");
    ck_assert_ptr_null(buffer.base);
    ck_assert_int_eq(fake_cudart_used().pieces, own.pieces + 1);
    hone_device_close(&device);
}
END_TEST

START_TEST(attention_pairs_of_segments_on_device_are_those_of_the_reference) {
    enum { SEGMENTS = 600 };
    static hone_segment segments[SEGMENTS];
    int32_t at = 0;
    for (int32_t i = 0; i < SEGMENTS; at += segments[i++].q_len)
        segments[i] = (hone_segment){at, 1 + i % 5, at, 1 + i % 5};
    hone_attention_shape shape = {
        .segments = SEGMENTS, .heads = 2, .kv_heads = 1, .head_size = 8, .scale = 1, .window = 3};
    hone_device device;
    hone_buffer buffer;
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, sizeof segments));
    ck_ok(hone_device_copy_in(&device, buffer.base, segments, sizeof segments));
    ck_assert_double_eq(device.kernels->attention_pairs(buffer.base, shape),
                        hone_kernels_ref()->attention_pairs(segments, shape));
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

/* --- Copies that nobody waits for --- */

START_TEST(bytes_copied_in_are_those_of_the_call_and_nobody_waits) {
    hone_device device;
    hone_buffer buffer;
    float number, back[2];
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, sizeof back));
    int64_t waits = fake_cudart_used().waits;
    float *at = buffer.base;
    ck_ok(hone_device_copy_in(&device, at, &(float){1}, sizeof number));
    for (int i = 0; i < 100; i++) {
        number = (float)i;
        ck_ok(hone_device_copy_in(&device, at + 1, &number, sizeof number));
        device.kernels->add(at, at, at + 1, 1);
        number = NAN;
    }
    ck_assert_int_eq(fake_cudart_used().waits, waits);
    ck_ok(hone_device_copy_out(&device, back, at, sizeof back));
    ck_assert(back[0] == 1 + 4950 && back[1] == 99);
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

/* More than what is on its way at once: pinned memory is taken again, but not before it was read. */
START_TEST(bytes_of_many_large_copies_arrive) {
    enum { COPIES = 5, NUMBERS = 3 << 18 };
    hone_device device;
    hone_buffer buffer;
    int32_t *numbers = hone_alloc(NUMBERS, sizeof *numbers);
    const size_t bytes = NUMBERS * sizeof *numbers;
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, COPIES * bytes));
    for (int32_t c = 0; c < COPIES; c++) {
        for (int32_t i = 0; i < NUMBERS; i++) numbers[i] = c * NUMBERS + i;
        ck_ok(
            hone_device_copy_in(&device, (char *)buffer.base + (size_t)c * bytes, numbers, bytes));
    }
    for (int32_t c = 0; c < COPIES; c++) {
        ck_ok(
            hone_device_copy_out(&device, numbers, (char *)buffer.base + (size_t)c * bytes, bytes));
        for (int32_t i = 0; i < NUMBERS; i++)
            ck_each(numbers[i] == c * NUMBERS + i, "copy %d, number %d", c, i);
    }
    hone_free(numbers);
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

/* --- Recordings --- */

START_TEST(recording_runs_when_it_is_replayed_with_what_then_is_in_memory) {
    hone_device device;
    hone_buffer buffer;
    hone_recording *doubled;
    float back = 0;
    open_cuda(&device);
    ck_assert(hone_device_records(&device));
    ck_ok(hone_buffer_new(&buffer, &device, sizeof back));
    ck_ok(hone_device_copy_in(&device, buffer.base, &(float){3}, sizeof back));
    ck_ok(hone_device_record(&device));
    device.kernels->scale(buffer.base, buffer.base, 1, 2);
    ck_ok(hone_device_record_end(&doubled, &device));
    ck_ok(hone_device_copy_out(&device, &back, buffer.base, sizeof back));
    ck_assert(back == 3);
    int64_t launches = fake_cudart_used().launches;
    for (int i = 0; i < 2; i++) ck_ok(hone_device_replay(&device, doubled));
    ck_ok(hone_device_copy_out(&device, &back, buffer.base, sizeof back));
    ck_assert(back == 12);
    ck_ok(hone_device_copy_in(&device, buffer.base, &(float){5}, sizeof back));
    ck_ok(hone_device_replay(&device, doubled));
    ck_ok(hone_device_copy_out(&device, &back, buffer.base, sizeof back));
    ck_assert(back == 10);
    ck_assert_int_eq(fake_cudart_used().launches, launches);
    hone_recording_free(doubled, &device);
    hone_recording_free(NULL, &device);
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

/* Each spoils the recording, which is told, and nothing after it. */
START_TEST(recording_of_what_cannot_be_recorded_is_refused) {
    hone_device device;
    hone_buffer buffer, other;
    hone_recording *recording;
    float back = 0;
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, sizeof back));
    ck_ok(hone_device_record(&device));
    device.kernels->zero(buffer.base, 1);
    if (_i == 0) ck_assert_int_ne(hone_device_wait(&device), HONE_OK);
    if (_i == 1)
        ck_assert_int_ne(hone_device_copy_out(&device, &back, buffer.base, sizeof back), HONE_OK);
    if (_i == 2) ck_assert_int_ne(hone_buffer_new(&other, &device, 8), HONE_OK);
    ck_fails(hone_device_record_end(&recording, &device), HONE_ERR_UNSUPPORTED,
             "a step could not be recorded (--set graphs=off records none)");
    ck_assert_ptr_null(recording);
    ck_ok(hone_device_copy_out(&device, &back, buffer.base, sizeof back));
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

START_TEST(host_records_nothing) {
    hone_device device;
    hone_device_open_ref(&device);
    ck_assert(!hone_device_records(&device));
}
END_TEST

/* --- Errors --- */

static const struct {
    fake_cudart settings;
    int index;
    const char *message;
} unusable[] = {
    {{.devices = -1}, 0, "there is no GPU that CUDA can use"},
    {{.driver = -1}, 0, "no NVIDIA driver is loaded: install one that serves CUDA 13.0 or later"},
    {{.driver = 11040},
     0,
     "the NVIDIA driver serves CUDA 11.4, which is too old for the CUDA 13.0"},
    {{.devices = 2}, 2, "there is no GPU 2: CUDA counts 2, from 0"},
    {{.devices = 2}, -1, "there is no GPU -1"},
    {{.bad_launch = true}, 0, "a computation could not be started"},
    {{.broken_after = 1}, 0, "an illegal memory access was encountered"},
};
enum { UNUSABLE = sizeof unusable / sizeof *unusable };

START_TEST(device_that_cannot_be_used_is_refused_with_the_cause) {
    hone_device device;
    fake_cudart_settings = unusable[_i].settings;
    ck_fails(hone_device_open_cuda(&device, unusable[_i].index), HONE_ERR_UNSUPPORTED,
             unusable[_i].message);
    ck_assert_ptr_nonnull(strstr(hone_fail_message(), "CUDA"));
    if (unusable[_i].index == 0 && !unusable[_i].settings.bad_launch) {
        ck_ok(hone_device_open(&device, HONE_DEVICE_AUTO, 0));
        ck_assert_int_eq(device.kind, HONE_DEVICE_CPU);
        hone_device_close(&device);
    }
    fake_cudart_reset();
    open_cuda(&device);
    hone_device_close(&device);
}
END_TEST

START_TEST(table_without_an_operation_is_refused_with_its_name) {
    hone_kernels table = *hone_kernels_cuda();
    ck_ok(hone_cuda_check_table(&table));
    table.gemm = NULL;
    ck_fails(hone_cuda_check_table(&table), HONE_ERR_UNSUPPORTED,
             "this build of hone has no CUDA kernel for gemm; use --device cpu");
}
END_TEST

/* --- The fence itself --- */

static void open_one(hone_device *device, hone_buffer *buffer) {
    open_cuda(device);
    ck_ok(hone_buffer_new(buffer, device, 1000));
}

START_TEST(fake_refuses_copies_that_are_not_between_one_piece_and_the_host) {
    hone_device device;
    hone_buffer buffer;
    static char host[2000];
    open_one(&device, &buffer);
    char *base = buffer.base;
    const struct {
        void *to;
        const void *from;
        bool in;
    } copies[] = {
        {host, base + 1, false}, /* past its end */
        {host, base - 1, false},   {base, base, false},
        {host, host + 1000, true}, {base, host, false}, /* the wrong way */
    };
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        hone_status (*copy)(const hone_device *, void *, const void *, size_t) =
            copies[i].in ? hone_device_copy_in : hone_device_copy_out;
        ck_fails(copy(&device, copies[i].to, copies[i].from, 1000), HONE_ERR_UNSUPPORTED,
                 "CUDA: cannot copy memory");
    }
    ck_fails(hone_device_zero(&device, base + 1, 1000), HONE_ERR_UNSUPPORTED, "CUDA: cannot set");
    ck_ok(hone_device_copy_out(&device, host, base, 1000));
    hone_buffer_free(&buffer);
    ck_fails(hone_device_copy_out(&device, host, base, 1000), HONE_ERR_UNSUPPORTED,
             "CUDA: cannot copy memory");
    hone_device_close(&device);
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* which sees these signals first */
START_TEST(host_that_reads_device_memory_is_ended) {
    hone_device device;
    hone_buffer buffer;
    open_one(&device, &buffer);
    (void)*(volatile const char *)buffer.base;
}
END_TEST

START_TEST(memory_given_back_twice_ends_the_program) {
    hone_device device;
    hone_buffer buffer;
    open_one(&device, &buffer);
    hone_buffer again = buffer;
    hone_buffer_free(&buffer);
    hone_buffer_free(&again);
}
END_TEST
#endif

START_TEST(second_device_of_a_process_is_refused) {
    hone_device device, other;
    ck_ok(hone_device_open(&device, HONE_DEVICE_AUTO, 0));
    ck_assert_int_eq(device.kind, HONE_DEVICE_CUDA);
    ck_fails(hone_device_open_cuda(&other, 0), HONE_ERR_UNSUPPORTED, "open in this process");
    hone_device_close(&other);
    hone_device_close(&device);
}
END_TEST

START_TEST(failed_launch_shows_when_a_result_is_read) {
    hone_device device;
    hone_buffer buffer;
    float found;
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, sizeof found));
    fake_cudart_settings.bad_launch = true;
    device.kernels->zero(buffer.base, 1);
    ck_fails(hone_device_copy_out(&device, &found, buffer.base, sizeof found), HONE_ERR_UNSUPPORTED,
             "a computation could not be started: refused");
    ck_ok(hone_device_copy_out(&device, &found, buffer.base, sizeof found));
    fake_cudart_settings.broken_after = 1;
    device.kernels->zero(buffer.base, 1);
    for (int i = 0; i < 2; i++) { /* this one does not pass */
        ck_fails(hone_device_copy_out(&device, &found, buffer.base, sizeof found),
                 HONE_ERR_UNSUPPORTED, "a fault of hone or of the driver");
    }
    ck_fails(hone_device_wait(&device), HONE_ERR_UNSUPPORTED, "illegal memory access");
    hone_buffer_free(&buffer);
    hone_device_close(&device);
}
END_TEST

/* What CUDA's errors mean. */
static const struct {
    int error;
    const char *message;
} faults[] = {
    {214, "the GPU's hardware had a fault"},   {220, "the GPU's hardware had a fault"},
    {226, "the GPU's hardware had a fault"},   {46, "does not answer any more"},
    {100, "does not answer any more"},         {802, "does not answer any more"},
    {999, "does not answer any more"},         {702, "the GPU also drives a screen"},
    {700, "a fault of hone or of the driver"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

START_TEST(fault_of_the_device_is_told_with_what_it_means) {
    hone_device device;
    hone_buffer buffer;
    open_cuda(&device);
    ck_ok(hone_buffer_new(&buffer, &device, 4));
    fake_cudart_settings.error = faults[_i].error;
    fake_cudart_settings.broken_after = 1;
    device.kernels->zero(buffer.base, 1);
    ck_fails(hone_device_wait(&device), HONE_ERR_UNSUPPORTED, faults[_i].message);
    hone_buffer_free(&buffer);
    hone_device_close(&device);
    ck_assert_int_le(fake_cudart_used().lost_calls, 1); /* that which found it out */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_device");
    TCase *values = tcase_create("values"), *errors = tcase_create("errors");
    tcase_add_checked_fixture(values, start, stop);
    tcase_set_timeout(values, 60);
    tcase_add_test(values, buffer_on_device_holds_zeros_and_copies);
    tcase_add_test(values, attention_pairs_of_segments_on_device_are_those_of_the_reference);
    tcase_add_test(values, bytes_copied_in_are_those_of_the_call_and_nobody_waits);
    tcase_add_test(values, bytes_of_many_large_copies_arrive);
    tcase_add_test(values, recording_runs_when_it_is_replayed_with_what_then_is_in_memory);
    tcase_add_test(values, host_records_nothing);
    suite_add_tcase(suite, values);
    tcase_add_loop_test(errors, recording_of_what_cannot_be_recorded_is_refused, 0, 3);
    tcase_add_test(errors, device_says_how_much_memory_is_left);
    tcase_add_unchecked_fixture(errors, fake_cudart_reset, fake_cudart_reset);
    tcase_add_loop_test(errors, device_that_cannot_be_used_is_refused_with_the_cause, 0, UNUSABLE);
    tcase_add_test(errors, table_without_an_operation_is_refused_with_its_name);
    tcase_add_test(errors, fake_refuses_copies_that_are_not_between_one_piece_and_the_host);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test_raise_signal(errors, host_that_reads_device_memory_is_ended, SIGSEGV);
    tcase_add_test_raise_signal(errors, memory_given_back_twice_ends_the_program, SIGABRT);
#endif
    tcase_add_test(errors, second_device_of_a_process_is_refused);
    tcase_add_test(errors, failed_launch_shows_when_a_result_is_read);
    tcase_add_loop_test(errors, fault_of_the_device_is_told_with_what_it_means, 0, FAULTS);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
