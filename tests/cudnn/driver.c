/*
 * A CUDA driver with no device, as far as cuDNN needs one to compile kernels for a device that is only described: it takes
 * what was compiled, and does nothing else. Put in place of libcuda.so.1, which machines without a GPU lack.
 */
enum { SUCCESS = 0, STUB_LIBRARY = 34 };

static int thing;

/* Gives something that is no NULL. */
#define TAKES(name)                                                                                \
    int name(void **out);                                                                          \
    int name(void **out) {                                                                         \
        *out = &thing;                                                                             \
        return SUCCESS;                                                                            \
    }
TAKES(cuLibraryLoadData)
TAKES(cuLibraryGetKernel)
TAKES(cuKernelGetFunction)

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}

#define SUCCEEDS(name)                                                                             \
    int name(void);                                                                                \
    int name(void) {                                                                               \
        return SUCCESS;                                                                            \
    }
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuKernelSetAttribute)

#define REFUSES(name)                                                                              \
    int name(void);                                                                                \
    int name(void) {                                                                               \
        return STUB_LIBRARY;                                                                       \
    }
REFUSES(cuInit)
REFUSES(cuCtxGetCurrent)
REFUSES(cuCtxGetLimit)
REFUSES(cuCtxPopCurrent)
REFUSES(cuCtxPushCurrent)
REFUSES(cuDeviceGet)
REFUSES(cuDeviceGetCount)
REFUSES(cuGetErrorName)
REFUSES(cuGetErrorString)
REFUSES(cuKernelGetAttribute)
REFUSES(cuLaunchCooperativeKernel)
REFUSES(cuLaunchKernel)
REFUSES(cuLaunchKernelEx)
REFUSES(cuLibraryLoadFromFile)
REFUSES(cuLinkAddData)
REFUSES(cuLinkComplete)
REFUSES(cuLinkCreate)
REFUSES(cuLinkDestroy)
REFUSES(cuOccupancyMaxPotentialClusterSize)
REFUSES(cuStreamGetCtx)
REFUSES(cuStreamGetGreenCtx)
