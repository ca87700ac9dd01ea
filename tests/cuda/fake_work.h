/*
 * Work for the fake CUDA runtime to do, without CUDA's types: they and the emulator's do not go together.
 */
#ifndef HONE_TESTS_CUDA_FAKE_WORK_H
#define HONE_TESTS_CUDA_FAKE_WORK_H

/* `run` is called any number of times, `drop` once, after the last of them. */
typedef struct fake_work {
    void (*run)(void *context);
    void (*drop)(void *context);
    void *context;
} fake_work;

/* Queues a launch of the emulator on hone's stream. */
void fake_work_launch(fake_work work);

/* Has the emulator do so (fake_launches.cc). */
void fake_work_take_launches(void);

#endif
