#include "kernels/cuda/attention_cudnn.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/cuda/attention_graphs.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/workspace.h"

enum {
    BATCH = 16,       /* documents of a call, at most */
    LEAST_ROWS = 128, /* that a document is taken for; from here on powers of two */
    HEAD_STEP = 8,    /* sizes of heads are multiples */
    SPARE = 1 << 20,  /* what kernels take beside what hone_attention_graph_bytes() counts */
    PLANS = 32,
};

enum { REASON = 512 };

/* One pass of a shape. One that cannot be made is kept too, with the reason. */
typedef struct plan {
    hone_attention_graph shape;
    hone_cudnn_plan made;
    char reason[REASON];
} plan;

/* As the device: one per process. */
static struct {
    bool tried;
    hone_cudnn library;
    hone_cudnn_target target;
    plan *plans[PLANS];
    int newest;
    char reason[REASON];
} attention;

static size_t most_bytes = HONE_ATTENTION_CUDNN_BYTES;

void hone_attention_cudnn_size(size_t bytes) {
    most_bytes = bytes;
}

/* --- Opening and closing --- */

static bool refuse(const char *reason) {
    snprintf(attention.reason, sizeof attention.reason, "%s", reason);
    return false;
}

const char *hone_attention_cudnn_reason(void) {
    return attention.reason;
}

static bool fail_start(cudnnStatus_t status) {
    char text[sizeof attention.reason];
    snprintf(text, sizeof text, "cuDNN does not start: %s",
             attention.library.get_error_string(status));
    return refuse(text);
}

static bool start(void) {
    cudnnHandle_t handle = NULL;
    if (hone_cuda_cudnn(&attention.library) != HONE_OK) return refuse(hone_fail_message());
    cudnnStatus_t status = attention.library.create(&handle);
    if (status != CUDNN_STATUS_SUCCESS) return fail_start(status);
    status = attention.library.set_stream(handle, hone_cuda_stream());
    if (status != CUDNN_STATUS_SUCCESS) {
        (void)attention.library.destroy(handle);
        return fail_start(status);
    }
    attention.target = (hone_cudnn_target){.library = &attention.library, .handle = handle};
    return true;
}

bool hone_attention_cudnn_open(void) {
    if (attention.tried) return attention.target.handle != NULL;
    attention.tried = true;
    return start();
}

/* A kernel may be queued that goes with it. */
static void plan_free(plan *p) {
    if (!p) return;
    if (!hone_cuda_is_lost()) {
        (void)cudaStreamSynchronize(hone_cuda_stream());
        hone_cudnn_plan_free(&p->made, &attention.library);
    }
    hone_free(p);
}

void hone_attention_cudnn_close(void) {
    for (int i = 0; i < PLANS; i++) plan_free(attention.plans[i]);
    if (attention.target.handle && !hone_cuda_is_lost())
        (void)attention.library.destroy(attention.target.handle);
    memset(&attention, 0, sizeof attention);
}

/* --- Calls: how many documents and heads each takes --- */

static size_t call_bytes(const hone_attention_graph *g) {
    return (size_t)hone_attention_graph_bytes(g) +
           hone_cuda_whole((size_t)hone_attention_graph_dots(g) * sizeof(float));
}

static void take_heads(hone_attention_graph *g, int64_t kv_heads) {
    g->kv_heads_taken = kv_heads;
    g->heads_taken = kv_heads * (g->heads / g->kv_heads);
}

/* Fewer documents until they fit with one key/value head, then as many heads as fit and go into all of them. */
static hone_attention_graph graph_of(hone_attention_shape shape, bool backward) {
    hone_attention_graph g = {.backward = backward,
                              .batch = BATCH,
                              .longest = LEAST_ROWS,
                              .heads = shape.heads,
                              .kv_heads = shape.kv_heads,
                              .head_size = shape.head_size,
                              .windowed = shape.window > 0};
    while (g.longest < shape.longest) g.longest *= 2;
    for (take_heads(&g, 1); g.batch > 1 && call_bytes(&g) > most_bytes;) g.batch /= 2;
    for (int64_t heads = shape.kv_heads; heads > 1; heads--) {
        take_heads(&g, heads);
        if (shape.kv_heads % heads == 0 && call_bytes(&g) <= most_bytes) return g;
    }
    take_heads(&g, 1);
    return g;
}

/* For a call of any shape up to this one: of shorter documents it takes more. */
static size_t room_for(const hone_attention_graph *g) {
    size_t bytes = call_bytes(g);
    return (g->backward && bytes < most_bytes ? most_bytes : bytes) + SPARE;
}

/* --- Plans --- */

static bool same(const hone_attention_graph *a, const hone_attention_graph *b) {
    return a->backward == b->backward && a->batch == b->batch && a->longest == b->longest &&
           a->heads == b->heads && a->kv_heads == b->kv_heads &&
           a->kv_heads_taken == b->kv_heads_taken && a->head_size == b->head_size &&
           a->windowed == b->windowed;
}

static hone_status plan_make(plan *p) {
    HONE_TRY(hone_attention_plan(&p->made, &attention.target, &p->shape));
    size_t room = room_for(&p->shape) -
                  hone_cuda_whole((size_t)hone_attention_graph_dots(&p->shape) * sizeof(float));
    if ((size_t)p->made.bytes <= room) return HONE_OK;
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "cuDNN's kernel for attention asks for %lld bytes of workspace, where %zu were "
        "expected",
        (long long)p->made.bytes, room);
}

static plan *plan_find(const hone_attention_graph *shape) {
    for (int i = 0; i < PLANS; i++)
        if (attention.plans[i] && same(&attention.plans[i]->shape, shape))
            return attention.plans[i];
    return NULL;
}

/* In place of the oldest when there are many. NULL where there is no memory. */
static plan *plan_new(const hone_attention_graph *shape) {
    plan *p = hone_alloc(1, sizeof *p);
    if (!p) return NULL;
    *p = (plan){.shape = *shape};
    if (plan_make(p) != HONE_OK) snprintf(p->reason, sizeof p->reason, "%s", hone_fail_message());
    attention.newest = (attention.newest + 1) % PLANS;
    plan_free(attention.plans[attention.newest]);
    attention.plans[attention.newest] = p;
    return p;
}

/* What was made before, or is made now. NULL after saying why not. */
static const plan *plan_for(const hone_attention_graph *shape) {
    plan *p = plan_find(shape);
    if (!p) p = plan_new(shape);
    if (!p) {
        refuse(hone_fail_message());
    } else if (p->reason[0]) {
        refuse(p->reason);
    }
    return p && !p->reason[0] ? p : NULL;
}

static bool has_plan(hone_attention_shape shape, bool backward) {
    hone_attention_graph g = graph_of(shape, backward);
    return plan_for(&g) != NULL;
}

bool hone_attention_cudnn_serves(hone_attention_shape shape) {
    if (shape.softcap > 0) return refuse("cuDNN's attention has no cap on scores");
    if (shape.head_size % HEAD_STEP != 0)
        return refuse("cuDNN's attention takes heads of a multiple of 8 elements");
    return hone_attention_cudnn_open() && has_plan(shape, false) && has_plan(shape, true);
}

/* --- Workspaces --- */

/* Whole calls of segments. */
static int64_t index_room(hone_attention_shape shape) {
    return (shape.segments + BATCH - 1) / BATCH * BATCH;
}

/* What the operands of a pass lie in; those that it does not have are NULL. */
typedef struct parts {
    uint16_t *queries[4]; /* q, o, do, dq: [T,H*D] */
    uint16_t *keys[4];    /* k, v, dk, dv: [T,K*D] */
    float *stats;         /* forward, where the caller wants none */
    hone_attention_index index;
    char *room; /* of calls */
} parts;

static size_t bf16_bytes(hone_attention_shape shape, int64_t heads) {
    return (size_t)(shape.tokens * heads * shape.head_size) * sizeof(uint16_t);
}

static void cut_index(hone_attention_index *out, char **left, hone_attention_shape shape) {
    size_t room = (size_t)index_room(shape);
    out->lengths = hone_cuda_take(left, room * sizeof *out->lengths);
    out->q_offsets = hone_cuda_take(left, (room + 1) * sizeof *out->q_offsets);
    out->k_offsets = hone_cuda_take(left, (room + 1) * sizeof *out->k_offsets);
    out->s_offsets = hone_cuda_take(left, (room + 1) * sizeof *out->s_offsets);
    out->inside = hone_cuda_take(left, (size_t)shape.tokens);
}

/* The workspace begins at `at`; gives where its parts end. */
static char *cut(parts *out, char *at, hone_attention_shape shape, bool backward) {
    char *left = at;
    int each = backward ? 4 : 2;
    for (int i = 0; i < each; i++)
        out->queries[i] = hone_cuda_take(&left, bf16_bytes(shape, shape.heads));
    for (int i = 0; i < each; i++)
        out->keys[i] = hone_cuda_take(&left, bf16_bytes(shape, shape.kv_heads));
    size_t stats = backward ? 0 : (size_t)(shape.tokens * shape.heads) * sizeof(float);
    out->stats = hone_cuda_take(&left, stats);
    cut_index(&out->index, &left, shape);
    out->room = left;
    hone_attention_graph g = graph_of(shape, backward);
    return left + hone_cuda_whole(room_for(&g));
}

size_t hone_attention_workspace_cudnn(hone_attention_shape shape, int64_t max_q, int64_t max_k,
                                      bool backward) {
    static char none[1];
    parts unused;
    (void)max_q, (void)max_k; /* the shape has them */
    return HONE_CUDA_ALIGNMENT + (size_t)(cut(&unused, none, shape, backward) - none);
}

/* --- Calls --- */

/* A pass that is made call by call. */
typedef struct pass {
    hone_attention_shape shape;
    hone_attention_graph graph;
    const plan *plan;
    hone_attention_index index;
    void *operands[HONE_ATTENTION_BACKWARD_OPERANDS];
    void *workspace;
    float scale, masked, window, one;
} pass;

static void keep(const pass *p, cudnnStatus_t status) {
    char text[512];
    snprintf(
        text, sizeof text,
        "cuDNN: %s, for attention %s of %lld heads of %lld elements and documents of up to %lld "
        "tokens; choose another kind of attention, or report this with the version of cuDNN, %zu",
        attention.library.get_error_string(status), p->graph.backward ? "backward" : "forward",
        (long long)p->shape.heads, (long long)p->shape.head_size, (long long)p->graph.longest,
        attention.library.get_version());
    hone_cuda_keep_failure(HONE_ERR_UNSUPPORTED, text);
}

/* Moves addresses to the first head and document of a call. */
static void *moved(const pass *p, int which, int64_t document, int64_t kv_head) {
    int64_t head = kv_head * (p->shape.heads / p->shape.kv_heads), size = p->shape.head_size;
    switch (which) {
    case HONE_ATTENTION_Q:
    case HONE_ATTENTION_O:
    case HONE_ATTENTION_DO:
    case HONE_ATTENTION_DQ:
        return (uint16_t *)p->operands[which] + head * size;
    case HONE_ATTENTION_K:
    case HONE_ATTENTION_V:
    case HONE_ATTENTION_DK:
    case HONE_ATTENTION_DV:
        return (uint16_t *)p->operands[which] + kv_head * size;
    case HONE_ATTENTION_STATS:
        return (float *)p->operands[which] + head;
    case HONE_ATTENTION_LENGTHS:
        return (int32_t *)p->operands[which] + document;
    case HONE_ATTENTION_Q_OFFSETS:
    case HONE_ATTENTION_K_OFFSETS:
    case HONE_ATTENTION_S_OFFSETS:
        return (int64_t *)p->operands[which] + document;
    default:
        return p->operands[which];
    }
}

static void call(const pass *p, int64_t document, int64_t kv_head) {
    int64_t uids[HONE_ATTENTION_BACKWARD_OPERANDS], count = 0;
    void *addresses[HONE_ATTENTION_BACKWARD_OPERANDS];
    for (int i = 0; i < HONE_ATTENTION_BACKWARD_OPERANDS; i++) {
        if (!p->operands[i]) continue;
        uids[count] = i + 1;
        addresses[count++] = moved(p, i, document, kv_head);
    }
    cudnnStatus_t status =
        hone_cudnn_run(&attention.target, &p->plan->made, uids, addresses, count, p->workspace);
    if (status != CUDNN_STATUS_SUCCESS) keep(p, status);
}

static void call_all(const pass *p) {
    for (int64_t document = 0; document < p->shape.segments; document += p->graph.batch)
        for (int64_t head = 0; head < p->shape.kv_heads; head += p->graph.kv_heads_taken)
            call(p, document, head);
}

/* What both passes have. False after keeping why not. */
static bool pass_begin(pass *p, const parts *at, const hone_segment *segments,
                       hone_attention_shape shape, bool backward) {
    *p = (pass){.shape = shape,
                .graph = graph_of(shape, backward),
                .index = at->index,
                .workspace = at->room,
                .scale = (float)shape.scale,
                .masked = -INFINITY,
                .window = (float)shape.window,
                .one = 1.0f};
    p->plan = hone_attention_cudnn_open() ? plan_for(&p->graph) : NULL;
    if (!p->plan) {
        hone_cuda_keep_failure(HONE_ERR_UNSUPPORTED, attention.reason);
        return false;
    }
    hone_attention_index_cuda(&at->index, segments, shape, index_room(shape));
    p->operands[HONE_ATTENTION_LENGTHS] = at->index.lengths;
    p->operands[HONE_ATTENTION_Q_OFFSETS] = at->index.q_offsets;
    p->operands[HONE_ATTENTION_K_OFFSETS] = at->index.k_offsets;
    p->operands[HONE_ATTENTION_S_OFFSETS] = at->index.s_offsets;
    p->operands[HONE_ATTENTION_SCALE] = &p->scale;
    p->operands[HONE_ATTENTION_MASKED] = &p->masked;
    if (shape.window > 0) p->operands[HONE_ATTENTION_WINDOW] = &p->window;
    return true;
}

/* An operand that is read, rounded to bf16. */
static void give(pass *p, hone_attention_operand which, uint16_t *to, const float *x,
                 int64_t heads) {
    hone_to_bf16_cuda(to, x, p->shape.tokens * heads * p->shape.head_size);
    p->operands[which] = to;
}

static void get(const pass *p, float *y, hone_attention_operand which, int64_t heads) {
    hone_attention_from_bf16_cuda(y, p->operands[which], p->index.inside, p->shape.tokens,
                                  heads * p->shape.head_size);
}

void hone_attention_fwd_cudnn(float *o, float *lse, const float *q, const float *k, const float *v,
                              const hone_segment *segments, hone_attention_shape shape,
                              void *workspace) {
    parts at;
    pass p;
    if (shape.segments == 0) return;
    (void)cut(&at, hone_cuda_parts_of(workspace), shape, false);
    if (!pass_begin(&p, &at, segments, shape, false)) return;
    give(&p, HONE_ATTENTION_Q, at.queries[0], q, shape.heads);
    give(&p, HONE_ATTENTION_K, at.keys[0], k, shape.kv_heads);
    give(&p, HONE_ATTENTION_V, at.keys[1], v, shape.kv_heads);
    p.operands[HONE_ATTENTION_O] = at.queries[1];
    p.operands[HONE_ATTENTION_STATS] = lse ? lse : at.stats;
    call_all(&p);
    get(&p, o, HONE_ATTENTION_O, shape.heads);
}

void hone_attention_bwd_cudnn(float *dq, float *dk, float *dv, const float *do_, const float *q,
                              const float *k, const float *v, const float *o, const float *lse,
                              const hone_segment *segments, hone_attention_shape shape,
                              void *workspace) {
    parts at;
    pass p;
    if (shape.segments == 0) return;
    (void)cut(&at, hone_cuda_parts_of(workspace), shape, true);
    if (!pass_begin(&p, &at, segments, shape, true)) return;
    give(&p, HONE_ATTENTION_Q, at.queries[0], q, shape.heads);
    give(&p, HONE_ATTENTION_O, at.queries[1], o, shape.heads);
    give(&p, HONE_ATTENTION_DO, at.queries[2], do_, shape.heads);
    give(&p, HONE_ATTENTION_K, at.keys[0], k, shape.kv_heads);
    give(&p, HONE_ATTENTION_V, at.keys[1], v, shape.kv_heads);
    p.operands[HONE_ATTENTION_STATS] = (void *)(uintptr_t)lse;
    p.operands[HONE_ATTENTION_DQ] = at.queries[3];
    p.operands[HONE_ATTENTION_DK] = at.keys[2];
    p.operands[HONE_ATTENTION_DV] = at.keys[3];
    size_t dots = (size_t)hone_attention_graph_dots(&p.graph) * sizeof(float);
    p.operands[HONE_ATTENTION_DOT] = hone_cuda_take(&at.room, dots);
    p.operands[HONE_ATTENTION_ONE] = &p.one;
    p.workspace = at.room;
    call_all(&p);
    get(&p, dq, HONE_ATTENTION_DQ, shape.heads);
    get(&p, dk, HONE_ATTENTION_DK, shape.kv_heads);
    get(&p, dv, HONE_ATTENTION_DV, shape.kv_heads);
}
