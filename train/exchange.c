#include "train/exchange.h"

enum { MOST = 1 << 20, PIECES = 8, ALIGNED = 4 };

hone_exchange hone_exchange_of(const hone_group *group, const hone_params *params,
                               hone_tape *tape) {
    int64_t part = params->elements / PIECES + 1;
    return (hone_exchange){
        .group = group, .params = params, .tape = tape, .piece = part < MOST ? part : MOST};
}

/* The number of elements below an address of the gradients. */
static int64_t elements_below(const hone_params *params, const void *address) {
    uintptr_t base = (uintptr_t)params->grads.base, at = (uintptr_t)address;
    return at > base ? (int64_t)((at - base) / sizeof(hone_real)) : 0;
}

static hone_status send_complete(void *context, const void *from) {
    hone_exchange *e = context;
    int64_t first = elements_below(e->params, from);
    first = (first + ALIGNED - 1) / ALIGNED * ALIGNED; /* NCCL is faster from 16 bytes on */
    int64_t n = e->unsent - first;
    if (n <= 0 || (n < e->piece && first > 0)) return HONE_OK;
    e->unsent = first;
    return hone_group_sum(e->group, (float *)e->params->grads.base + first, n);
}

void hone_exchange_begin(hone_exchange *e) {
    if (e->group->size < 2) return;
    e->unsent = e->params->elements;
    hone_tape_follow(e->tape, send_complete, e);
}

hone_status hone_exchange_end(hone_exchange *e) {
    if (e->group->size < 2) return HONE_OK;
    hone_tape_follow(e->tape, NULL, NULL);
    return hone_group_join_sums(e->group);
}
