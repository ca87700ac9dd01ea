#include "autograd/tape.h"

#include <assert.h>
#include <string.h>

#include "autograd/layout.h"
#include "autograd/trips.h"
#include "base/alloc.h"
#include "base/clock.h"

typedef enum tape_mode { TAPE_IDLE, TAPE_PLAN, TAPE_RUN } tape_mode;

/* Tensors and nodes live in chunks so that their addresses hold while the tape grows; they are reused every step. */
enum { CHUNK = 256 };

typedef struct pool {
    void **chunks;
    size_t chunk_count, chunk_capacity;
    size_t used;
    size_t item_bytes;
} pool;

struct hone_tape {
    const hone_device *device;
    tape_mode mode;
    bool grad;
    pool nodes, tensors;
    hone_keep keep;
    bool bf16;
    hone_layout layout;
    size_t next_block; /* ordinal of the next request */
    int64_t clock;     /* passes so far: the time axis of the plan */
    void *base;        /* of the arena */
    hone_buffer arena; /* the tape's own; none when it is shared */
    bool offload;
    bool turned;     /* backward has begun */
    int64_t section; /* that runs */
    hone_trips trips;
    hone_buffer host;  /* pinned: where trips lead to */
    int64_t last_copy; /* that was asked for in this step; -1: none */
    hone_observer observer;
    const void *unsettled; /* where gradients from outside, of the nodes so far, end */
    hone_tape_settled_fn follow;
    void *follower;
};

static hone_status pool_take(void **out, pool *p) {
    if (p->used == p->chunk_count * CHUNK) {
        HONE_TRY(hone_grow(&p->chunks, &p->chunk_capacity, p->chunk_count + 1, sizeof *p->chunks));
        void *chunk = hone_alloc(CHUNK, p->item_bytes);
        if (!chunk) return HONE_ERR_MEMORY;
        p->chunks[p->chunk_count++] = chunk;
    }
    unsigned char *chunk = p->chunks[p->used / CHUNK];
    *out = memset(chunk + (p->used % CHUNK) * p->item_bytes, 0, p->item_bytes);
    p->used++;
    return HONE_OK;
}

static void pool_free(pool *p) {
    for (size_t i = 0; i < p->chunk_count; i++) hone_free(p->chunks[i]);
    hone_free(p->chunks);
}

static hone_node *node_at(const hone_tape *tape, size_t i) {
    return (hone_node *)((unsigned char *)tape->nodes.chunks[i / CHUNK] +
                         (i % CHUNK) * sizeof(hone_node));
}

hone_status hone_tape_new(hone_tape **out, const hone_device *device) {
    hone_tape *tape = hone_alloc(1, sizeof *tape);
    if (!tape) return HONE_ERR_MEMORY;
    tape->device = device;
    tape->nodes.item_bytes = sizeof(hone_node);
    tape->tensors.item_bytes = sizeof(hone_tensor);
    *out = tape;
    return HONE_OK;
}

void hone_tape_free(hone_tape *tape) {
    if (!tape) return;
    pool_free(&tape->nodes);
    pool_free(&tape->tensors);
    hone_layout_free(&tape->layout);
    hone_trips_free(&tape->trips);
    hone_buffer_free(&tape->host);
    hone_buffer_free(&tape->arena);
    hone_free(tape);
}

static void restart(hone_tape *tape, tape_mode mode) {
    tape->mode = mode;
    tape->nodes.used = 0;
    tape->tensors.used = 0;
    tape->keep = HONE_KEEP_ALL;
    tape->bf16 = false;
    tape->offload = false;
    tape->turned = false;
    tape->section = 0;
    tape->last_copy = -1;
    tape->next_block = 0;
    tape->clock = 0;
    tape->unsettled = NULL;
}

void hone_tape_plan(hone_tape *tape, bool grad) {
    restart(tape, TAPE_PLAN);
    tape->grad = grad;
    hone_layout_clear(&tape->layout);
    hone_trips_clear(&tape->trips);
}

hone_status hone_tape_plan_done(hone_tape *tape) {
    assert(tape->mode == TAPE_PLAN);
    tape->mode = TAPE_IDLE;
    return hone_layout_solve(&tape->layout);
}

hone_status hone_tape_reserve(hone_tape *tape) {
    hone_buffer_free(&tape->arena);
    HONE_TRY(hone_buffer_new(&tape->arena, tape->device, tape->layout.bytes));
    tape->base = tape->arena.base;
    return hone_tape_reserve_host(tape);
}

hone_status hone_tape_reserve_host(hone_tape *tape) {
    hone_buffer_free(&tape->host);
    if (tape->trips.bytes == 0) return HONE_OK;
    return hone_buffer_new_pinned(&tape->host, tape->device, tape->trips.bytes);
}

void hone_tape_share(hone_tape *tape, const hone_buffer *arena) {
    assert(arena->bytes >= tape->layout.bytes);
    hone_buffer_free(&tape->arena);
    tape->base = arena->base;
}

void hone_tape_begin(hone_tape *tape) {
    restart(tape, TAPE_RUN);
}

void hone_tape_follow(hone_tape *tape, hone_tape_settled_fn settled, void *context) {
    tape->follow = settled;
    tape->follower = context;
}

void hone_tape_observe(hone_tape *tape, hone_observer observer) {
    tape->observer = observer;
}

size_t hone_tape_bytes(const hone_tape *tape) {
    return tape->layout.bytes;
}

size_t hone_tape_host_bytes(const hone_tape *tape) {
    return tape->trips.bytes;
}

size_t hone_tape_least_bytes(const hone_tape *tape) {
    return hone_layout_least(&tape->layout);
}

void hone_tape_itemise(const hone_tape *tape, hone_tape_item_fn item, void *context) {
    hone_layout_itemise(&tape->layout, item, context);
}

static void *place_of(const hone_tape *tape, size_t block) {
    return (unsigned char *)tape->base + tape->layout.blocks[block].offset;
}

/* The next place in the arena: noted while planning, handed out when running. */
static hone_status take_block(int32_t *block, void **data, hone_tape *tape, const char *name,
                              size_t bytes) {
    size_t ordinal = tape->next_block++;
    *block = (int32_t)ordinal;
    *data = NULL;
    if (tape->mode == TAPE_PLAN) return hone_layout_add(&tape->layout, name, bytes, tape->clock);
    assert(ordinal < tape->layout.count && bytes <= tape->layout.blocks[ordinal].bytes);
    *data = place_of(tape, ordinal);
    return HONE_OK;
}

/* Notes that a pass uses a block while planning; when running, where it lies after its trip, if it made one. */
static void touch_block(void **data, hone_tape *tape, int32_t block) {
    if (tape->mode == TAPE_PLAN) {
        hone_layout_touch(&tape->layout, (size_t)block, tape->clock);
    } else if (tape->turned && tape->layout.blocks[block].back) {
        *data = place_of(tape, tape->layout.blocks[block].back);
    }
}

static void touch(hone_tape *tape, hone_tensor *tensor) {
    if (tensor && tensor->block >= 0) touch_block(&tensor->data, tape, tensor->block);
}

static hone_status take_memory(hone_tape *tape, hone_tensor *tensor) {
    size_t bytes = tensor->dtype == HONE_BF16
                       ? (size_t)(tensor->shape[0] * tensor->stride) * sizeof(uint16_t)
                       : (size_t)hone_tensor_count(tensor) * sizeof(hone_real);
    return take_block(&tensor->block, &tensor->data, tape, tensor->name, bytes);
}

static hone_status new_tensor(hone_tensor **out, hone_tape *tape, const char *name,
                              const int64_t shape[HONE_DIMS], int dims) {
    void *item;
    HONE_TRY(pool_take(&item, &tape->tensors));
    hone_tensor *tensor = item;
    *tensor = (hone_tensor){.name = name, .dtype = HONE_REAL, .dims = dims, .block = -1};
    memcpy(tensor->shape, shape, sizeof tensor->shape);
    *out = tensor;
    return HONE_OK;
}

static bool any_input_needs_grad(const hone_node *node) {
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        if (hone_node_wants_grad(node, i)) return true;
    }
    return false;
}

static hone_status place_output(hone_tape *tape, hone_node *node, int i) {
    if (!node->in_place || i != 0) return take_memory(tape, node->out[i]);
    node->out[0]->block = node->in[0]->block;
    node->out[0]->data = node->in[0]->data;
    return HONE_OK;
}

static hone_status declare(hone_tape *tape, hone_node *node, int i, const char *name, int64_t rows,
                           int64_t columns) {
    const int64_t shape[HONE_DIMS] = {rows, columns, 1, 1};
    HONE_TRY(new_tensor(&node->out[i], tape, name, shape, 2));
    node->out[i]->maker = node;
    node->out[i]->needs_grad = i == 0 && tape->grad && any_input_needs_grad(node);
    return HONE_OK;
}

hone_status hone_node_output(hone_tape *tape, hone_node *node, int i, const char *name,
                             int64_t rows, int64_t columns) {
    HONE_TRY(declare(tape, node, i, name, rows, columns));
    return place_output(tape, node, i);
}

hone_status hone_node_output_bf16(hone_tape *tape, hone_node *node, int i, const char *name,
                                  int64_t rows, int64_t columns, int64_t room) {
    HONE_TRY(declare(tape, node, i, name, rows, columns));
    if (room != HONE_NOT_ROUNDED) {
        node->out[i]->dtype = HONE_BF16;
        node->out[i]->stride = hone_bf16_stride(columns, room);
    }
    return place_output(tape, node, i);
}

void hone_node_pass_grad(const hone_node *node, const hone_pass *pass, int i) {
    if (!hone_node_wants_grad(node, i) || (i == 0 && pass->stolen)) return;
    const hone_real *dy = node->out[0]->grad->data;
    const hone_tensor *grad = node->in[i]->grad;
    hone_real *dx = grad->data;
    int64_t n = hone_tensor_count(grad);
    if (grad->dtype == HONE_BF16) {
        assert(pass->beta[i] == 0);
        pass->kernels->round_rows(grad->data, dy, grad->shape[0], grad->shape[1], grad->stride);
    } else if (pass->beta[i] > 0) {
        pass->kernels->add(dx, dx, dy, n);
    } else {
        pass->kernels->copy(dx, dy, n);
    }
}

hone_status hone_node_output_in_place(hone_tape *tape, hone_node *node, const char *name) {
    const hone_tensor *in = node->in[0];
    HONE_TRY(new_tensor(&node->out[0], tape, name, in->shape, in->dims));
    node->out[0]->maker = node;
    node->out[0]->needs_grad = tape->grad && any_input_needs_grad(node);
    node->in_place = true;
    return place_output(tape, node, 0);
}

static hone_status take_workspace(hone_pass *pass, hone_tape *tape, const hone_node *node,
                                  bool backward) {
    *pass = (hone_pass){.kernels = tape->device->kernels};
    if (!node->op->workspace) return HONE_OK;
    int32_t block;
    return take_block(&block, &pass->workspace, tape, "workspace",
                      node->op->workspace(node, pass->kernels, backward));
}

static void run_pass(const hone_tape *tape, const hone_node *node, hone_pass *pass,
                     hone_phase phase) {
    hone_watch watch;
    if (tape->observer.passed) {
        watch = hone_watch_begin(&tape->observer, tape->device, node, phase);
        pass->watch = &watch;
    }
    if (phase == HONE_BACKWARD) {
        node->op->backward(node, pass);
    } else {
        node->op->forward(node, pass);
    }
    if (pass->watch) hone_watch_end(node, pass);
}

static hone_status run_forward(hone_tape *tape, hone_node *node, hone_phase phase) {
    hone_pass pass;
    HONE_TRY(take_workspace(&pass, tape, node, false));
    for (int i = 0; i < HONE_NODE_INPUTS; i++) touch(tape, node->in[i]);
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) touch(tape, node->out[i]);
    if (tape->mode == TAPE_RUN) run_pass(tape, node, &pass, phase);
    tape->clock++;
    return HONE_OK;
}

void hone_tape_keep(hone_tape *tape, hone_keep keep) {
    tape->keep = keep;
}

void hone_tape_keep_bf16(hone_tape *tape, bool on) {
    tape->bf16 = on;
}

void hone_tape_offload(hone_tape *tape, bool on) {
    tape->offload = on;
}

/* Rounds a tensor into its half, or brings it back. */
static void convert(const hone_tape *tape, const hone_tensor *tensor, hone_phase phase) {
    const hone_kernels *kernels = tape->device->kernels;
    int64_t n = hone_tensor_count(tensor);
    double start = hone_seconds();
    if (phase == HONE_FORWARD) {
        kernels->to_bf16(tensor->half, tensor->data, n);
    } else {
        kernels->dequantize(tensor->data, tensor->half, HONE_BF16, n);
    }
    if (!tape->observer.passed) return;
    (void)!hone_device_wait(tape->device);
    hone_work work = {.name = "bf16",
                      .phase = phase,
                      .shape = {tensor->shape[1]},
                      .bytes = (double)n * (sizeof(hone_real) + sizeof(uint16_t)),
                      .start = start,
                      .end = hone_seconds()};
    tape->observer.passed(tape->observer.context, &work);
}

/* What backward will read of an input that was made on the tape is kept in bf16, unless it is made again. */
static hone_status halve(hone_tape *tape, hone_tensor *tensor) {
    if (!tensor || !tensor->maker || tensor->maker->dropped || tensor->halved) return HONE_OK;
    if (tensor->dtype == HONE_BF16) return HONE_OK;
    size_t bytes = (size_t)hone_tensor_count(tensor) * sizeof(uint16_t);
    HONE_TRY(take_block(&tensor->half_block, &tensor->half, tape, tensor->name, bytes));
    tensor->halved = true;
    touch(tape, tensor);
    if (tape->mode == TAPE_RUN) convert(tape, tensor, HONE_FORWARD);
    return HONE_OK;
}

static hone_status halve_inputs(hone_tape *tape, const hone_node *node) {
    if (!tape->bf16 || !node->op->rounds || !node->out[0]->needs_grad) return HONE_OK;
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        if (node->saved_in >> i & 1u) HONE_TRY(halve(tape, node->in[i]));
    }
    return HONE_OK;
}

/* Brings a tensor back from its half, into new memory. */
static hone_status expand(hone_tape *tape, hone_tensor *tensor) {
    tensor->halved = false;
    HONE_TRY(take_memory(tape, tensor));
    touch_block(&tensor->half, tape, tensor->half_block);
    if (tape->mode == TAPE_RUN) convert(tape, tensor, HONE_BACKWARD);
    return HONE_OK;
}

static bool is_dropped(const hone_tape *tape, const hone_node *node) {
    if (node->in_place) return node->in[0]->maker && node->in[0]->maker->dropped;
    return tape->keep == HONE_KEEP_NOTHING || (tape->keep == HONE_KEEP_PRODUCTS && node->op->cheap);
}

/* Backward of this node and of those before it adds to gradients up to tape->unsettled, from here on. */
static void note_outside(hone_tape *tape, hone_node *node) {
    node->settled = tape->unsettled;
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        const hone_tensor *in = node->in[i];
        if (!hone_node_wants_grad(node, i) || in->maker || !in->grad) continue;
        const void *end = (const hone_real *)in->grad->data + hone_tensor_count(in);
        if ((uintptr_t)end > (uintptr_t)tape->unsettled) tape->unsettled = end;
    }
}

hone_status hone_tape_record(hone_node **out, hone_tape *tape, const hone_op *op,
                             hone_tensor *const in[HONE_NODE_INPUTS], const void *attributes,
                             size_t attribute_bytes) {
    assert(tape->mode != TAPE_IDLE && attribute_bytes <= HONE_NODE_ATTRIBUTES);
    void *item;
    HONE_TRY(pool_take(&item, &tape->nodes));
    hone_node *node = item;
    node->op = op;
    node->section = tape->section;
    memcpy(node->in, in, sizeof node->in);
    if (attribute_bytes) memcpy(node->attributes, attributes, attribute_bytes);
    HONE_TRY(op->shape(tape, node));
    node->dropped = is_dropped(tape, node);
    note_outside(tape, node);
    HONE_TRY(halve_inputs(tape, node));
    HONE_TRY(run_forward(tape, node, HONE_FORWARD));
    *out = node;
    return HONE_OK;
}

/* Brings back a value that was kept in bf16; computes one that was not kept again, into new memory, and first those that it
 * is made of. */
static hone_status restore(hone_tape *tape, hone_tensor *tensor) {
    if (tensor && tensor->halved) return expand(tape, tensor);
    hone_node *node = tensor ? tensor->maker : NULL;
    if (!node || !node->dropped) return HONE_OK;
    node->dropped = false;
    for (int i = 0; i < HONE_NODE_INPUTS; i++) HONE_TRY(restore(tape, node->in[i]));
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) {
        if (node->out[i]) HONE_TRY(place_output(tape, node, i));
    }
    return run_forward(tape, node, HONE_REPLAY);
}

static hone_status restore_saved(hone_tape *tape, const hone_node *node) {
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        if (node->saved_in >> i & 1u) HONE_TRY(restore(tape, node->in[i]));
    }
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) {
        if (node->saved_out >> i & 1u) HONE_TRY(restore(tape, node->out[i]));
    }
    return HONE_OK;
}

static bool grad_is_rounded(const hone_node *node, int i) {
    uint32_t which = node->rounds_grads;
    bool all = true;
    for (int k = 0; k < HONE_NODE_INPUTS; k++)
        all = all && (!(which >> k & 1u) || node->in[k]->grad_stride > 0);
    return all && which >> i & 1u;
}

static hone_status new_grad(hone_tape *tape, hone_tensor *of, bool rounded) {
    HONE_TRY(new_tensor(&of->grad, tape, "gradient", of->shape, of->dims));
    if (rounded) {
        of->grad->dtype = HONE_BF16;
        of->grad->stride = of->grad_stride;
    }
    return take_memory(tape, of->grad);
}

/* Gives input i a gradient to write to and says whether something is in it already. */
static hone_status prepare_grad(hone_pass *pass, hone_tape *tape, hone_node *node, int i) {
    hone_tensor *in = node->in[i];
    pass->beta[i] = in->grad ? 1 : 0;
    assert(!in->grad || in->grad->dtype == HONE_REAL);
    if (!in->grad) {
        assert(in->block >= 0); /* parameters bring their own */
        hone_tensor *flowing = node->out[0]->grad;
        bool rounded = grad_is_rounded(node, i);
        if (i == 0 && node->op->steals && flowing && !rounded) {
            in->grad = flowing;
            pass->stolen = true;
        } else {
            HONE_TRY(new_grad(tape, in, rounded));
        }
    }
    touch(tape, in->grad);
    return HONE_OK;
}

static hone_status run_backward(hone_tape *tape, hone_node *node) {
    hone_pass pass;
    HONE_TRY(restore_saved(tape, node));
    HONE_TRY(take_workspace(&pass, tape, node, true));
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        bool written = node->op->grads_of_all && node->in[i];
        if (written || hone_node_wants_grad(node, i)) {
            HONE_TRY(prepare_grad(&pass, tape, node, i));
        }
        if (node->saved_in >> i & 1u) touch(tape, node->in[i]);
    }
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) {
        if (node->saved_out >> i & 1u) touch(tape, node->out[i]);
    }
    touch(tape, node->out[0]->grad);
    if (tape->mode == TAPE_RUN) run_pass(tape, node, &pass, HONE_BACKWARD);
    tape->clock++;
    return HONE_OK;
}

/* Where a section begins: what was asked for when the last one did is there, and gone, from here on. */
static hone_status make_trips(hone_tape *tape) {
    unsigned char *host = tape->host.base;
    if (tape->last_copy >= 0) HONE_TRY(hone_device_meet(tape->device, tape->last_copy));
    for (size_t i = 0; i < tape->trips.count; i++) {
        const hone_trip *t = &tape->trips.items[i];
        size_t bytes = tape->layout.blocks[t->block].bytes;
        if (t->leaves == tape->section)
            HONE_TRY(hone_device_send(tape->device, &tape->last_copy, host + t->place,
                                      place_of(tape, t->block), bytes));
        if (t->returns == tape->section)
            HONE_TRY(hone_device_fetch(tape->device, &tape->last_copy, place_of(tape, t->back),
                                       host + t->place, bytes));
    }
    return HONE_OK;
}

hone_status hone_tape_section(hone_tape *tape) {
    if (!tape->offload) return HONE_OK;
    tape->section++;
    return tape->mode == TAPE_PLAN ? hone_trips_begin(&tape->trips, tape->clock) : make_trips(tape);
}

static hone_status turn(hone_tape *tape) {
    tape->turned = true;
    if (tape->mode == TAPE_PLAN) hone_layout_turn(&tape->layout, tape->clock);
    return hone_tape_section(tape);
}

hone_status hone_tape_backward(hone_tape *tape) {
    assert(tape->grad);
    int64_t section = tape->section; /* of the nodes, as forward counted them */
    HONE_TRY(turn(tape));
    for (size_t n = tape->nodes.used; n-- > 0;) {
        hone_node *node = node_at(tape, n);
        if (node->section != section) HONE_TRY(hone_tape_section(tape));
        section = node->section;
        const hone_tensor *out = node->out[0];
        if (out && out->needs_grad && (out->grad || node->op->is_loss))
            HONE_TRY(run_backward(tape, node));
        if (tape->follow && tape->mode == TAPE_RUN)
            HONE_TRY(tape->follow(tape->follower, node->settled));
    }
    bool planned = tape->mode == TAPE_PLAN && tape->offload;
    return planned ? hone_trips_plan(&tape->trips, &tape->layout) : HONE_OK;
}
