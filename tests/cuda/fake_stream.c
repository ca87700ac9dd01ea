#include "tests/cuda/fake_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_cudart.h"
#include "tests/cuda/fake_parts.h"

/* Work that several hold: a stream's queue, a graph, what was instantiated of it. */
typedef struct shared_work {
    fake_work work;
    fake_progress (*attempt)(void *context); /* in place of work.run, where it is given */
    bool is_launch;
    int holders;
} shared_work;

typedef struct work_list {
    shared_work **items;
    size_t count, capacity;
} work_list;

enum { STREAMS = 8, EVENTS = 256 };

struct CUstream_st {
    bool open, captures, spoilt;
    work_list queue; /* all that was queued since it was empty last */
    size_t done;     /* of those */
    int64_t before;  /* that ran before them */
    work_list captured;
};

struct CUevent_st {
    bool open;
    cudaStream_t stream; /* NULL: not recorded yet */
    int64_t after;       /* works of it */
};

struct CUgraph_st {
    work_list list;
};

struct CUgraphExec_st {
    work_list list;
    cudaGraphExec_t next; /* of all */
};

static struct CUstream_st streams[STREAMS];
static struct CUevent_st events[EVENTS];
static cudaGraphExec_t instances;

__attribute__((constructor)) static void take_launches(void) {
    fake_work_take_launches();
}

/* --- Lists --- */

static void let_go(shared_work *w) {
    if (--w->holders > 0) return;
    if (w->work.drop) w->work.drop(w->work.context);
    free(w);
}

static void add(work_list *list, shared_work *w) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (!list->items) fake_die("no memory");
    }
    list->items[list->count++] = w;
    w->holders++;
}

static void empty(work_list *list) {
    for (size_t i = 0; i < list->count; i++) let_go(list->items[i]);
    list->count = 0;
}

static void list_free(work_list *list) {
    empty(list);
    free(list->items);
    *list = (work_list){0};
}

/* --- Running --- */

static fake_progress run_one(const shared_work *w) {
    if (w->attempt) return fake_is_broken() ? FAKE_DONE : w->attempt(w->work.context);
    if (!w->is_launch) {
        if (!fake_is_broken()) w->work.run(w->work.context);
    } else if (fake_fence_open()) {
        w->work.run(w->work.context);
    }
    return FAKE_DONE;
}

/* Runs the works of a stream until so many are done, or one can't be yet. The host does nothing meanwhile: the fence stays
 * open. */
static fake_progress advance(cudaStream_t stream, int64_t count) {
    fake_progress progress = FAKE_DONE;
    while (progress == FAKE_DONE && stream->done < stream->queue.count &&
           stream->before + (int64_t)stream->done < count) {
        progress = run_one(stream->queue.items[stream->done]);
        if (progress == FAKE_DONE) stream->done++;
    }
    fake_fence_close();
    if (stream->done < stream->queue.count) return progress;
    stream->before += (int64_t)stream->done;
    stream->done = 0;
    empty(&stream->queue);
    return FAKE_DONE;
}

static void run_until(cudaStream_t stream, int64_t count) {
    fake_progress progress;
    while ((progress = advance(stream, count)) == FAKE_LATER)
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    if (progress == FAKE_NEVER) fake_die("a wait for what will never be done");
}

static int64_t queued(cudaStream_t stream) {
    return stream->before + (int64_t)stream->queue.count;
}

static void wait_until(cudaStream_t stream, int64_t count) {
    if (stream->before + (int64_t)stream->done >= count) return;
    fake_count()->waits++;
    run_until(stream, count);
}

void fake_stream_finish(void) {
    for (int i = 0; i < STREAMS; i++) wait_until(&streams[i], queued(&streams[i]));
}

static void check_stream(cudaStream_t stream) {
    if (!stream || !stream->open) fake_die("work for a stream that is not open");
}

bool fake_stream_permits(void) {
    bool permits = true;
    for (int i = 0; i < STREAMS; i++) {
        if (!streams[i].captures) continue;
        streams[i].spoilt = true;
        permits = false;
    }
    return permits;
}

static cudaError_t queue(cudaStream_t stream, shared_work what) {
    shared_work *w = malloc(sizeof *w);
    if (!w) fake_die("no memory");
    *w = what;
    w->holders = 1;
    if (!stream) { /* the default stream, that of no device of hone */
        (void)run_one(w);
        fake_fence_close();
    } else if (check_stream(stream), stream->captures) {
        add(&stream->captured, w);
    } else {
        add(&stream->queue, w);
        if (fake_cudart_settings.at_once) run_until(stream, queued(stream));
    }
    let_go(w);
    return cudaSuccess;
}

cudaError_t fake_stream_queue(cudaStream_t stream, fake_work work) {
    return queue(stream, (shared_work){.work = work});
}

cudaError_t fake_stream_attempt(cudaStream_t stream, fake_progress (*attempt)(void *context),
                                void (*drop)(void *context), void *context) {
    return queue(stream, (shared_work){.work = {NULL, drop, context}, .attempt = attempt});
}

cudaError_t fake_stream_launch(cudaStream_t stream, fake_work work) {
    cudaError_t error = fake_launch_error();
    if (error == cudaSuccess) return queue(stream, (shared_work){.work = work, .is_launch = true});
    work.drop(work.context);
    return error;
}

/* One that fails tells who asks for the last error. */
void fake_work_launch(fake_work work) {
    (void)fake_stream_launch(hone_cuda_stream(), work);
}

/* --- Streams --- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    (void)flags;
    if (fake_is_broken()) return fake_last();
    for (int i = 0; i < STREAMS; i++) {
        if (streams[i].open) continue;
        streams[i] = (struct CUstream_st){.open = true};
        fake_count()->streams++;
        *out = &streams[i];
        return cudaSuccess;
    }
    fake_die("too many streams");
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    check_stream(stream);
    fake_count()->lost_calls += fake_is_broken();
    run_until(stream, queued(stream));
    list_free(&stream->queue);
    list_free(&stream->captured);
    stream->open = false;
    fake_count()->streams--;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    check_stream(stream);
    fake_count()->lost_calls += fake_is_broken();
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    wait_until(stream, queued(stream));
    return fake_is_broken() ? fake_last() : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    check_stream(stream);
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    fake_progress progress = advance(stream, queued(stream));
    if (fake_is_broken()) return fake_last();
    return progress == FAKE_DONE ? cudaSuccess : cudaErrorNotReady;
}

/* --- Events --- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    if (!(flags & cudaEventDisableTiming)) return fake_fail(cudaErrorInvalidValue);
    if (fake_is_broken()) return fake_last();
    for (int i = 0; i < EVENTS; i++) {
        if (events[i].open) continue;
        events[i] = (struct CUevent_st){.open = true};
        fake_count()->events++;
        *out = &events[i];
        return cudaSuccess;
    }
    fake_die("too many events");
}

static void check_event(cudaEvent_t event) {
    if (!event || !event->open) fake_die("an event that does not exist");
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    check_event(event);
    event->open = false;
    fake_count()->events--;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    check_stream(stream);
    check_event(event);
    if (fake_is_broken()) return fake_last();
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    event->stream = stream;
    event->after = queued(stream);
    return cudaSuccess;
}

static fake_progress meet_event(void *context) {
    const struct CUevent_st *event = context;
    return advance(event->stream, event->after);
}

/* The event as it is now: it may be recorded again. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    check_stream(stream);
    check_event(event);
    if (fake_is_broken()) return fake_last();
    if (flags != 0) return fake_fail(cudaErrorInvalidValue);
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    if (!event->stream) return cudaSuccess; /* as CUDA has it for one that was never recorded */
    cudaEvent_t now = malloc(sizeof *now);
    if (!now) fake_die("no memory");
    *now = *event;
    return fake_stream_attempt(stream, meet_event, free, now);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    fake_progress progress = event->stream ? advance(event->stream, event->after) : FAKE_DONE;
    if (fake_is_broken()) return fake_last();
    return progress == FAKE_DONE ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (!fake_stream_permits()) return fake_fail(cudaErrorStreamCaptureUnsupported);
    if (event->stream) wait_until(event->stream, event->after);
    return fake_is_broken() ? fake_last() : cudaSuccess;
}

/* --- Graphs --- */

/* In the relaxed mode CUDA would permit what is refused here. */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    check_stream(stream);
    if (mode == cudaStreamCaptureModeRelaxed || stream->captures)
        return fake_fail(cudaErrorIllegalState);
    stream->captures = true;
    stream->spoilt = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    check_stream(stream);
    *out = NULL;
    if (!stream->captures) return fake_fail(cudaErrorIllegalState);
    stream->captures = false;
    if (stream->spoilt) {
        empty(&stream->captured);
        return fake_fail(cudaErrorStreamCaptureInvalidated);
    }
    *out = calloc(1, sizeof **out);
    if (!*out) fake_die("no memory");
    (*out)->list = stream->captured;
    stream->captured = (work_list){0};
    fake_count()->graphs++;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long flags) {
    if (flags != 0) return fake_fail(cudaErrorInvalidValue);
    *out = calloc(1, sizeof **out);
    if (!*out) fake_die("no memory");
    for (size_t i = 0; i < graph->list.count; i++) add(&(*out)->list, graph->list.items[i]);
    (*out)->next = instances;
    instances = *out;
    fake_count()->graphs++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    list_free(&graph->list);
    free(graph);
    fake_count()->graphs--;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    cudaGraphExec_t *at = &instances;
    while (*at && *at != graph) at = &(*at)->next;
    if (!*at) fake_die("a graph that does not exist");
    *at = graph->next;
    list_free(&graph->list);
    free(graph);
    fake_count()->graphs--;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    check_stream(stream);
    if (fake_is_broken()) return fake_last();
    if (stream->captures) return fake_fail(cudaErrorStreamCaptureUnsupported);
    for (size_t i = 0; i < graph->list.count; i++) add(&stream->queue, graph->list.items[i]);
    fake_count()->replays++;
    if (fake_cudart_settings.at_once) run_until(stream, queued(stream));
    return cudaSuccess;
}

void fake_stream_lose_all(void) {
    while (instances) (void)cudaGraphExecDestroy(instances);
    for (int i = 0; i < EVENTS; i++)
        if (events[i].open) (void)cudaEventDestroy(&events[i]);
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].open) (void)cudaStreamDestroy(&streams[i]);
}
