/*
 * The part of NCCL that hone calls, declared here as the library's own header has it, so that nothing of NCCL is needed to
 * build; a test holds these declarations to that header (tests/interop/test_nccl_header.py). The library is found when
 * a group of GPUs is made. Tests fill in functions of their own.
 *
 * What a call does is said in NVIDIA's NCCL documentation, 2.28, "API" and "Fault Tolerance".
 */
#ifndef HONE_KERNELS_CUDA_NCCL_H
#define HONE_KERNELS_CUDA_NCCL_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "base/status.h"

#define NCCL_UNIQUE_ID_BYTES 128

typedef struct ncclComm *ncclComm_t;
typedef struct {
    char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
} ncclResult_t;

typedef enum { ncclSum = 0 } ncclRedOp_t;
typedef enum { ncclFloat32 = 7, ncclFloat64 = 8 } ncclDataType_t;

/* As it was in version 2.14, which later ones accept: they fill in what they have besides, by `size` and `version`. */
typedef struct {
    size_t size;
    unsigned int magic;
    unsigned int version;
    int blocking; /* 0: calls return at once, with ncclInProgress where they are not done */
} ncclConfig_t;
enum { HONE_NCCL_MAGIC = (int)0xcafebeef, HONE_NCCL_CONFIG_VERSION = 21400 };

ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank,
                                    ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count,
                           ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream);

typedef struct hone_nccl {
    __typeof__(ncclGetVersion) *get_version;
    __typeof__(ncclGetUniqueId) *get_unique_id;
    __typeof__(ncclCommInitRankConfig) *init_rank;
    __typeof__(ncclCommGetAsyncError) *get_async_error;
    __typeof__(ncclCommFinalize) *finalize;
    __typeof__(ncclCommDestroy) *destroy;
    __typeof__(ncclGetErrorString) *get_error_string;
    __typeof__(ncclGetLastError) *get_last_error;
    __typeof__(ncclAllReduce) *all_reduce;
} hone_nccl;

/* As hone_cublaslt_load. */
HONE_MUST_USE hone_status hone_nccl_load(hone_nccl *out, const char *file);

/* The one that groups are made with: loaded by its usual names. */
HONE_MUST_USE hone_status hone_cuda_nccl(hone_nccl *out);

#endif
