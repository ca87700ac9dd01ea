/*
 * The emulator's launches, in the fence of the fake CUDA runtime.
 */
#include "tests/cuda/emulator.hh"

extern "C" {
#include "tests/cuda/fake_cudart.h"
}

void fake_cudart_fence_launches(void) {
    emulator::set_hooks({fake_cudart_launch_begin, fake_cudart_launch_end});
}
