/*
 * Work of a GPU that is recorded as a CUDA graph: see hone_device_record.
 */
#ifndef HONE_KERNELS_CUDA_RECORDING_H
#define HONE_KERNELS_CUDA_RECORDING_H

#include "kernels/device.h"

/* Whether it was begun and not ended. */
bool hone_cuda_is_recording(void);

HONE_MUST_USE hone_status hone_cuda_record(void);
HONE_MUST_USE hone_status hone_cuda_record_end(hone_recording **out);
HONE_MUST_USE hone_status hone_cuda_replay(hone_recording *recording);
void hone_cuda_recording_free(hone_recording *recording);

#endif
