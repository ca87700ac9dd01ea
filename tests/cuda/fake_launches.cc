/*
 * The emulator's launches, queued in the fake CUDA runtime.
 */
#include "tests/cuda/emulator.hh"

extern "C" {
#include "tests/cuda/fake_work.h"
}

static void run(void *context) {
    (*static_cast<std::function<void()> *>(context))();
}

static void drop(void *context) {
    delete static_cast<std::function<void()> *>(context);
}

static void queue(std::function<void()> launch) {
    fake_work_launch({run, drop, new std::function<void()>(std::move(launch))});
}

void fake_work_take_launches(void) {
    emulator::set_queue(queue);
}
