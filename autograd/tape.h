/*
 * The tape: operations run at once and leave a node; backward walks the nodes from the end.
 *
 * Memory. A step is first *planned*: the same calls are made without data, and the tape notes how large each tensor
 * is and when it is first and last touched, forward, replay and backward. From that it lays all of them out in one
 * arena, sharing addresses between tensors that never live at the same time. When the step then *runs*, the k-th
 * request gets the k-th planned place: nothing is allocated and the same step uses the same addresses. A run may
 * have smaller tensors than the plan (a shorter batch), never larger or other ones.
 *
 *     plan:  hone_tape_plan(tape, true);  build(tape); hone_tape_backward(tape); hone_tape_plan_done(tape);
 *            hone_tape_reserve(tape);
 *     run:   hone_tape_begin(tape);       build(tape); hone_tape_backward(tape);
 *
 * Recomputation. hone_tape_keep says what is kept of the nodes that follow; backward computes a value that was not kept
 * again when it first needs it, from what was. That changes no bit.
 *
 * Offloading. Where a device has memory of its own, what backward reads may lie in the host's meanwhile (trips.h), which
 * hone_tape_offload asks for. That changes no bit either.
 */
#ifndef HONE_AUTOGRAD_TAPE_H
#define HONE_AUTOGRAD_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "autograd/observer.h"
#include "autograd/tensor.h"
#include "base/status.h"
#include "kernels/device.h"
#include "kernels/kernels.h"

enum { HONE_NODE_INPUTS = 4, HONE_NODE_OUTPUTS = 2, HONE_NODE_ATTRIBUTES = 128 };

typedef struct hone_tape hone_tape;
typedef struct hone_node hone_node;

/* A pass that is observed. */
typedef struct hone_watch {
    const hone_observer *observer;
    const hone_device *device;
    hone_work work; /* of the part that runs */
} hone_watch;

/* What a forward or backward function works with, besides the node. */
typedef struct hone_pass {
    const hone_kernels *kernels;
    void *workspace; /* as many bytes as the operation's rule asked for; 64-byte aligned */
    hone_real beta
        [HONE_NODE_INPUTS]; /* backward: 1 when the input's gradient already holds a part, else 0 */
    bool stolen;            /* backward: input 0 took over the memory of output 0's gradient */
    hone_watch *watch;      /* NULL: nobody observes */
} hone_pass;

/* What of the recorded values backward finds where forward put them. */
typedef enum hone_keep {
    HONE_KEEP_ALL,
    HONE_KEEP_PRODUCTS, /* all but what cheap operations made, whose inputs are kept in any case */
    HONE_KEEP_NOTHING,
} hone_keep;

/* An operation. One file each; all of them stand in ops.h. */
typedef struct hone_op {
    const char *name;
    /* Checks the inputs, declares the outputs with hone_node_output(), says what backward reads in saved_in and
     * saved_out, and what it rounds in rounds_grads. */
    hone_status (*shape)(hone_tape *tape, hone_node *node);
    /* Bytes of scratch for a pass; NULL: none. */
    size_t (*workspace)(const hone_node *node, const hone_kernels *kernels, bool backward);
    void (*forward)(const hone_node *node, const hone_pass *pass);
    /* Adds to or sets (pass->beta) in[i]->grad of every input that needs one (or of all: grads_of_all), from
     * out[]->grad. */
    void (*backward)(const hone_node *node, const hone_pass *pass);
    /* After a pass, or a part of one, for an observer: corrects shape, weights, flops and bytes of *work, which begins
     * with in[0]'s columns, no flops, and the bytes of all inputs and outputs, in backward of the gradients and of
     * what is saved. NULL: that is right. */
    void (*work)(hone_work *work, const hone_node *node, const hone_pass *pass);
    /* Input 0 may take over the memory of output 0's gradient, which dies with this node. */
    bool steals;
    /* Backward writes the gradients of all inputs at once, also of those that need none. */
    bool grads_of_all;
    /* Backward starts here: there is no gradient of the output. */
    bool is_loss;
    /* Elementwise or by rows, of inputs that backward reads anyway: computed again in next to no time. */
    bool cheap;
    /* The inputs that backward reads may be kept in bf16, where the tape keeps activations so; whoever else reads the same
     * tensors in backward then finds them rounded, too. */
    bool rounds;
} hone_op;

struct hone_node {
    const hone_op *op;
    hone_tensor *in[HONE_NODE_INPUTS]; /* NULL where an optional one is absent */
    hone_tensor *out[HONE_NODE_OUTPUTS];
    uint32_t saved_in, saved_out; /* bit i: backward reads the data of in[i], out[i] */
    /* Bit i: backward gives the gradient of input i in bf16, where those of all such inputs may come so (grad_stride);
     * nothing else may flow into them. */
    uint32_t rounds_grads;
    bool in_place; /* out[0] lies where in[0] does */
    bool dropped;  /* backward finds no values of the outputs */
    const void *
        settled; /* gradients from outside the tape at this address and above are complete once backward is past
                            the node */
    int64_t section; /* in which it was recorded */
    _Alignas(16) unsigned char attributes[HONE_NODE_ATTRIBUTES];
};

HONE_MUST_USE hone_status hone_tape_new(hone_tape **out, const hone_device *device);
void hone_tape_free(hone_tape *tape); /* takes NULL */

/* Starts a plan. Without `grad` no backward pass follows and nothing is saved for one. */
void hone_tape_plan(hone_tape *tape, bool grad);

/* Lays out the planned step; hone_tape_bytes then says what it needs. */
HONE_MUST_USE hone_status hone_tape_plan_done(hone_tape *tape);

/* Takes the planned memory from the device, and the host's. */
HONE_MUST_USE hone_status hone_tape_reserve(hone_tape *tape);
/* Takes the host's only, of which none is planned without offloading; for a tape that shares an arena. */
HONE_MUST_USE hone_status hone_tape_reserve_host(hone_tape *tape);

/* Or works in memory that others work in too, at other times: borrowed, of hone_tape_bytes() at least. */
void hone_tape_share(hone_tape *tape, const hone_buffer *arena);

/* Starts a step in the planned memory; what the last one built is gone. */
void hone_tape_begin(hone_tape *tape);

/* Walks the nodes from the end, starting at losses. Gradients of tensors from outside the tape (parameters) must be
 * there and are added to. */
HONE_MUST_USE hone_status hone_tape_backward(hone_tape *tape);

/* In the backward passes that run from now on, after each node: gradients of tensors from outside the tape are complete at
 * the address `from` and above; NULL at the end. A NULL function ends it. */
typedef hone_status (*hone_tape_settled_fn)(void *context, const void *from);
void hone_tape_follow(hone_tape *tape, hone_tape_settled_fn settled, void *context);

/* From now on tells `observer` of every pass that runs (not of planned ones). */
void hone_tape_observe(hone_tape *tape, hone_observer observer);

/* What is kept of the nodes recorded from here on; a step begins with all. What is changed in place is kept like that
 * which it was made of. */
void hone_tape_keep(hone_tape *tape, hone_keep keep);

/* Keeps what operations that allow it (`rounds`) read in backward in bf16, from here on in this step: half the memory, and
 * gradients that differ a little. What comes of a forward pass does not change. */
void hone_tape_keep_bf16(hone_tape *tape, bool on);

/* Has what backward reads lie on the host from here on in this step, between its section's forward and its backward. For
 * devices with memory of their own. */
void hone_tape_offload(hone_tape *tape, bool on);
/* A section of the step begins, a block say: what is offloaded moves with it. */
HONE_MUST_USE hone_status hone_tape_section(hone_tape *tape);
/* Bytes of the host that the last plan takes. */
size_t hone_tape_host_bytes(const hone_tape *tape);

/* The arena of the last plan, in bytes, and its itemisation: what lives when it is fullest, summed by name. */
size_t hone_tape_bytes(const hone_tape *tape);
/* What lives when the plan is fullest: the arena is never smaller, and known before hone_tape_plan_done. */
size_t hone_tape_least_bytes(const hone_tape *tape);
typedef void (*hone_tape_item_fn)(void *context, const char *name, size_t bytes);
void hone_tape_itemise(const hone_tape *tape, hone_tape_item_fn item, void *context);

/* For operations: records a node of `op` and runs it. `attributes` is copied. The outputs are in (*out)->out. */
HONE_MUST_USE hone_status hone_tape_record(hone_node **out, hone_tape *tape, const hone_op *op,
                                           hone_tensor *const in[HONE_NODE_INPUTS],
                                           const void *attributes, size_t attribute_bytes);

/* For shape rules: declares output i, in new memory. Gradients flow through output 0; output 1 is for saving. */
HONE_MUST_USE hone_status hone_node_output(hone_tape *tape, hone_node *node, int i,
                                           const char *name, int64_t rows, int64_t columns);
/* Likewise, in bf16 as products take it (hone_round), with room for so many elements behind each row; HONE_NOT_ROUNDED: as
 * above. */
enum { HONE_NOT_ROUNDED = -1 };
HONE_MUST_USE hone_status hone_node_output_bf16(hone_tape *tape, hone_node *node, int i,
                                                const char *name, int64_t rows, int64_t columns,
                                                int64_t room);
/* For shape rules: output 0 is input 0, changed in place. */
HONE_MUST_USE hone_status hone_node_output_in_place(hone_tape *tape, hone_node *node,
                                                    const char *name);

/* For backward: dx = dy or dx += dy, with input i's gradient as dx, where one is wanted and not stolen; rounded where it comes
 * in bf16. */
void hone_node_pass_grad(const hone_node *node, const hone_pass *pass, int i);

/* For work rules: the bytes that the above moves. */
double hone_node_pass_grad_bytes(const hone_node *node, const hone_pass *pass, int i);

/* For forward and backward: to an observer, what ran so far is a part of the pass by a name of its own. */
void hone_pass_part(const hone_node *node, const hone_pass *pass, const char *name);

/* For the tape, around a pass that is observed (autograd/observe.c). It ends when the device has done its work. */
hone_watch hone_watch_begin(const hone_observer *observer, const hone_device *device,
                            const hone_node *node, hone_phase phase);
void hone_watch_end(const hone_node *node, const hone_pass *pass);

static inline bool hone_node_wants_grad(const hone_node *node, int i) {
    return node->in[i] && node->in[i]->needs_grad;
}

#endif
