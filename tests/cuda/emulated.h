/*
 * The table of a GPU that is emulated: calls run on the host, and may be given the host's addresses.
 */
#ifndef HONE_TESTS_CUDA_EMULATED_H
#define HONE_TESTS_CUDA_EMULATED_H

#include "kernels/kernels.h"

/* That of the first device, which stays open. */
const hone_kernels *hone_kernels_emulated(void);

/* Whether all its products so far were made; the message has what the fake complained of. */
HONE_MUST_USE hone_status hone_emulated_status(void);

#endif
