/*
 * The CUDA kernels as a table whose calls run on the host, in the emulator: device addresses are the host's.
 */
#ifndef HONE_TESTS_CUDA_EMULATED_H
#define HONE_TESTS_CUDA_EMULATED_H

#include "kernels/kernels.h"

/* "cuda": the reference kernels, overwritten by hone's own CUDA kernels and, where the tests are built with CUDA's headers
 * (HONE_EMULATED_PRODUCTS), by products that call the fake of cuBLASLt. */
const hone_kernels *hone_kernels_emulated(void);

/* Whether all its products so far were made; the message has what the fake complained of. */
HONE_MUST_USE hone_status hone_emulated_status(void);

#endif
