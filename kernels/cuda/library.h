/*
 * Libraries of CUDA that are found when they are needed, not linked: a program without them still runs on the processor.
 */
#ifndef HONE_KERNELS_CUDA_LIBRARY_H
#define HONE_KERNELS_CUDA_LIBRARY_H

#include <stddef.h>

#include "base/status.h"

typedef struct hone_library_function {
    const char *name;
    size_t offset; /* of its pointer in the table */
} hone_library_function;

typedef struct hone_library {
    const char *name, *purpose; /* "cuBLASLt", "which products on a GPU are made with" */
    const char *files[2];       /* tried one after the other */
    const char *remedy;         /* "install the cuBLAS of CUDA 13" */
    const hone_library_function *functions;
    size_t count;
} hone_library;

/* Loads the library and puts its functions into `table`; `file` is its name or path, or NULL for the usual ones. It stays
 * loaded as long as the process runs. Errors: UNSUPPORTED where the library or one of the functions is missing. */
HONE_MUST_USE hone_status hone_library_load(void *table, const hone_library *library,
                                            const char *file);

#endif
