/*
 * What CUDA's errors mean for a run, after the comments of driver_types.h and NVIDIA's list of Xid messages.
 */
#include "base/size.h"
#include "kernels/cuda/stream.h"

static const char no_code[] =
    "this build has no code for this GPU: build hone with its architecture in "
    "CMAKE_CUDA_ARCHITECTURES, or use --device cpu";
static const char old_driver[] =
    "this build has code for this GPU that its driver is too old to compile: update the driver, "
    "or build hone with the GPU's architecture in CMAKE_CUDA_ARCHITECTURES";
static const char lost[] =
    "the GPU does not answer any more: it fell off the bus, its driver was reloaded, or another "
    "program took it; see nvidia-smi, and dmesg for Xid messages; --device cpu does without it";
static const char faulty[] =
    "the GPU's hardware had a fault: see nvidia-smi -q, and dmesg for Xid messages; where it comes "
    "again, use another GPU, or --device cpu";
static const char bug[] =
    "this is a fault of hone or of the driver: please report it; --device cpu does without the GPU";
static const char screen[] =
    "the GPU also drives a screen, whose system ends long work: use another GPU, or --device cpu";
static const char other[] = "see nvidia-smi whether the GPU is there and free, or use --device cpu";

/* After a final one nothing on the device works any more in this process. */
static const struct meaning {
    cudaError_t error;
    bool final;
    const char *remedy;
} meanings[] = {
    {cudaErrorNoKernelImageForDevice, false, no_code},
    {cudaErrorInvalidDeviceFunction, false, no_code},
    {cudaErrorUnsupportedPtxVersion, false, old_driver},
    {cudaErrorLaunchTimeout, true, screen},
    {cudaErrorECCUncorrectable, true, faulty},
    {cudaErrorNvlinkUncorrectable, true, faulty},
    {cudaErrorContained, true, faulty},
    {cudaErrorExternalDevice, true, faulty},
    {cudaErrorDevicesUnavailable, true, lost},
    {cudaErrorNoDevice, true, lost},
    {cudaErrorDeviceUninitialized, true, lost},
    {cudaErrorOperatingSystem, true, lost},
    {cudaErrorContextIsDestroyed, true, lost},
    {cudaErrorSystemNotReady, true, lost},
    {cudaErrorMpsConnectionFailed, true, lost},
    {cudaErrorMpsRpcFailure, true, lost},
    {cudaErrorMpsServerNotReady, true, lost},
    {cudaErrorMpsClientTerminated, true, lost},
    {cudaErrorUnknown, true, lost},
    {cudaErrorIllegalAddress, true, bug},
    {cudaErrorAssert, true, bug},
    {cudaErrorHardwareStackError, true, bug},
    {cudaErrorIllegalInstruction, true, bug},
    {cudaErrorMisalignedAddress, true, bug},
    {cudaErrorInvalidAddressSpace, true, bug},
    {cudaErrorInvalidPc, true, bug},
    {cudaErrorLaunchFailure, true, bug},
    {cudaErrorTensorMemoryLeak, true, bug},
};

static bool is_lost;

bool hone_cuda_is_lost(void) {
    return is_lost;
}

void hone_cuda_give_up(void) {
    is_lost = true;
}

void hone_cuda_forget_errors(void) {
    is_lost = false;
}

hone_status hone_cuda_fail_memory(const char *what) {
    size_t available = 0, all = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&available, &all);
    return hone_fail(HONE_ERR_MEMORY,
                     "the GPU has no room for %s: %s of its %s are free; end what else uses it, or "
                     "ask for a smaller batch or sequence length",
                     what, hone_size((int64_t)available).text, hone_size((int64_t)all).text);
}

hone_status hone_cuda_check(cudaError_t error, const char *doing) {
    if (error == cudaSuccess) return HONE_OK;
    if (error == cudaErrorMemoryAllocation)
        return hone_cuda_fail_memory("what a computation takes besides");
    struct meaning found = {error, false, other};
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (meanings[i].error == error) found = meanings[i];
    }
    is_lost = is_lost || found.final;
    (void)cudaGetLastError(); /* what is not final is told once */
    return hone_fail(HONE_ERR_UNSUPPORTED, "CUDA: %s: %s (%s); %s", doing,
                     cudaGetErrorString(error), cudaGetErrorName(error), found.remedy);
}
