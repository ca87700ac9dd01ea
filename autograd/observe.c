#include "autograd/tape.h"
#include "base/clock.h"

/* The tensors that the pass reads and writes, without those that an operation may leave out (see hone_op's `work`). */
static double forward_bytes(const hone_node *node) {
    double bytes = 0;
    for (int i = 0; i < HONE_NODE_INPUTS; i++) bytes += hone_tensor_bytes(node->in[i]);
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) bytes += hone_tensor_bytes(node->out[i]);
    return bytes;
}

static double backward_bytes(const hone_node *node, const hone_pass *pass) {
    double bytes = hone_tensor_bytes(node->out[0]->grad);
    for (int i = 0; i < HONE_NODE_INPUTS; i++) {
        const hone_tensor *in = node->in[i];
        if (!in) continue;
        if (node->saved_in >> i & 1u) bytes += hone_tensor_bytes(in);
        if (node->op->grads_of_all || in->needs_grad)
            bytes += (1 + (double)pass->beta[i]) * hone_tensor_bytes(in->grad);
    }
    for (int i = 0; i < HONE_NODE_OUTPUTS; i++) {
        if (node->saved_out >> i & 1u) bytes += hone_tensor_bytes(node->out[i]);
    }
    return bytes;
}

hone_watch hone_watch_begin(const hone_observer *observer, const hone_device *device,
                            const hone_node *node, hone_phase phase) {
    hone_watch watch = {observer, device, {.name = node->op->name, .phase = phase}};
    watch.work.start = hone_seconds();
    return watch;
}

void hone_watch_end(const hone_node *node, const hone_pass *pass) {
    hone_work *work = &pass->watch->work;
    (void)!hone_device_wait(pass->watch->device); /* a failure shows again when a result is read */
    work->end = hone_seconds();
    work->shape[0] = node->in[0]->shape[1];
    work->bytes = work->phase == HONE_BACKWARD ? backward_bytes(node, pass) : forward_bytes(node);
    if (node->op->work) node->op->work(work, node, pass);
    pass->watch->observer->passed(pass->watch->observer->context, work);
}

void hone_pass_part(const hone_node *node, const hone_pass *pass, const char *name) {
    if (!pass->watch) return;
    pass->watch->work.name = name;
    hone_watch_end(node, pass);
    hone_work next = {.name = node->op->name,
                      .phase = pass->watch->work.phase,
                      .part = pass->watch->work.part + 1,
                      .start = hone_seconds()};
    pass->watch->work = next;
}

double hone_node_pass_grad_bytes(const hone_node *node, const hone_pass *pass, int i) {
    if (!hone_node_wants_grad(node, i) || (i == 0 && pass->stolen)) return 0;
    return (2 + (double)pass->beta[i]) * hone_tensor_bytes(node->in[i]->grad);
}
