/*
 * The GPUs of a machine and what computing on them needs, for `doctor`. In every build; one without CUDA has none.
 */
#ifndef HONE_KERNELS_GPUS_H
#define HONE_KERNELS_GPUS_H

#include "kernels/device.h"

enum { HONE_GPUS = 16, HONE_GPU_LIBRARIES = 3 };

typedef struct hone_gpu {
    char name[256];
    int major, minor;          /* compute capability */
    int64_t available, memory; /* bytes; 0: it does not say */
} hone_gpu;

/* A library that is looked for when it is needed. */
typedef struct hone_gpu_library {
    const char *name; /* "cuBLASLt" */
    char version[24]; /* empty: it is not there */
    char why_not[HONE_DEVICE_DOUBT];
} hone_gpu_library;

typedef struct hone_gpus {
    int driver, built; /* CUDA that the driver serves and that this build has, as 13000; 0: none */
    hone_gpu gpu[HONE_GPUS];
    int count;
    hone_gpu_library library[HONE_GPU_LIBRARIES];
    int library_count;
    char why_not[HONE_DEVICE_DOUBT]; /* why a run cannot use the first; empty where it can */
} hone_gpus;

/* While no GPU is open in the process. */
void hone_gpus_look(hone_gpus *out);

#endif
