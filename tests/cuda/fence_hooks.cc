/*
 * The emulator's launches, in the fence of the fake CUDA runtime.
 */
#include "tests/cuda/emulator.hh"

extern "C" {
#include "tests/cuda/fake_cudart.h"
}

static const bool hooked =
    (emulator::set_hooks({fake_cudart_launch_begin, fake_cudart_launch_end}), true);
