/*
 * The CUDA kernels as a table whose calls run on the host, in the emulator: device addresses are the host's.
 */
#ifndef HONE_TESTS_CUDA_EMULATED_H
#define HONE_TESTS_CUDA_EMULATED_H

#include "kernels/kernels.h"

/* "cuda": the reference kernels, overwritten by hone's own CUDA kernels. */
const hone_kernels *hone_kernels_emulated(void);

#endif
