#include "kernels/cuda/recording.h"

#include "base/alloc.h"
#include "kernels/cuda/stream.h"

struct hone_recording {
    cudaGraphExec_t graph;
};

static bool recording_now;

bool hone_cuda_is_recording(void) {
    return recording_now;
}

/* Only what this thread does meanwhile could spoil it. */
hone_status hone_cuda_record(void) {
    HONE_TRY(hone_cuda_launches_status());
    cudaError_t error =
        cudaStreamBeginCapture(hone_cuda_stream(), cudaStreamCaptureModeThreadLocal);
    recording_now = error == cudaSuccess;
    return hone_cuda_check(error, "a step cannot be recorded");
}

static hone_status make(hone_recording **out, cudaGraph_t graph) {
    hone_recording *recording = hone_alloc(1, sizeof *recording);
    if (!recording) return HONE_ERR_MEMORY;
    hone_status status =
        hone_cuda_check(cudaGraphInstantiate(&recording->graph, graph, 0),
                        "a step that was recorded (--set graphs=off records none) cannot be used");
    if (status == HONE_OK) {
        *out = recording;
    } else {
        hone_free(recording);
    }
    return status;
}

hone_status hone_cuda_record_end(hone_recording **out) {
    *out = NULL;
    cudaGraph_t graph = NULL;
    recording_now = false;
    cudaError_t error = cudaStreamEndCapture(hone_cuda_stream(), &graph);
    hone_status status =
        hone_cuda_check(error, "a step could not be recorded (--set graphs=off records none)");
    if (status == HONE_OK) status = hone_cuda_launches_status();
    if (status == HONE_OK) status = make(out, graph);
    if (graph) (void)cudaGraphDestroy(graph);
    return status;
}

hone_status hone_cuda_replay(hone_recording *recording) {
    HONE_TRY(hone_cuda_launches_status());
    return hone_cuda_check(cudaGraphLaunch(recording->graph, hone_cuda_stream()),
                           "a step that was recorded could not be started");
}

void hone_cuda_recording_free(hone_recording *recording) {
    if (!hone_cuda_is_lost()) {
        (void)cudaStreamSynchronize(hone_cuda_stream()); /* it may be running */
        (void)cudaGraphExecDestroy(recording->graph);
    }
    hone_free(recording);
}
