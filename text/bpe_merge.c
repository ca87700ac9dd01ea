/*
 * The merging itself: a plain scan for the short pieces that nearly all are, a heap for long ones. Both take the lowest
 * rank and the leftmost among equals.
 */
#include <string.h>

#include "base/alloc.h"
#include "text/bpe.h"

enum { SHORT = 40 };
static const uint32_t NO_RANK = UINT32_MAX;
static const uint32_t NO_SYMBOL = UINT32_MAX;

static void rate(const hone_bpe *bpe, hone_bpe_symbol *left, const hone_bpe_symbol *right) {
    const hone_bpe_pair *pair = hone_bpe_find(bpe, left->id, right->id);
    left->rank = pair ? pair->rank : NO_RANK;
    left->joined = pair ? pair->joined : -1;
}

static void merge_short(const hone_bpe *bpe, hone_bpe_symbol *symbols, size_t *count) {
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) rate(bpe, &symbols[i], &symbols[i + 1]);
    for (;;) {
        size_t best = 0;
        uint32_t rank = NO_RANK;
        for (size_t i = 0; i + 1 < n; i++) {
            if (symbols[i].rank < rank) {
                rank = symbols[i].rank;
                best = i;
            }
        }
        if (rank == NO_RANK) break;
        symbols[best].id = symbols[best].joined;
        symbols[best].end = symbols[best + 1].end;
        n--;
        memmove(&symbols[best + 1], &symbols[best + 2], (n - best - 1) * sizeof *symbols);
        if (best + 1 < n) rate(bpe, &symbols[best], &symbols[best + 1]);
        if (best > 0) rate(bpe, &symbols[best - 1], &symbols[best]);
    }
    *count = n;
}

static hone_status heap_push(hone_bpe_scratch *scratch, uint64_t entry) {
    HONE_TRY(hone_grow(&scratch->heap, &scratch->heap_capacity, scratch->heap_count + 1,
                       sizeof *scratch->heap));
    uint64_t *heap = scratch->heap;
    size_t at = scratch->heap_count++;
    while (at > 0 && heap[(at - 1) / 2] > entry) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
    return HONE_OK;
}

static uint64_t heap_pop(hone_bpe_scratch *scratch) {
    uint64_t *heap = scratch->heap;
    uint64_t top = heap[0];
    uint64_t entry = heap[--scratch->heap_count];
    size_t n = scratch->heap_count;
    size_t at = 0;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= entry) break;
        heap[at] = heap[child];
        at = child;
    }
    if (n > 0) heap[at] = entry;
    return top;
}

/* Rates the pair that starts at `at` anew and enters it. */
static hone_status enter(const hone_bpe *bpe, hone_bpe_scratch *scratch, uint32_t at) {
    hone_bpe_symbol *symbols = scratch->symbols;
    if (symbols[at].next == NO_SYMBOL) {
        symbols[at].rank = NO_RANK;
        return HONE_OK;
    }
    rate(bpe, &symbols[at], &symbols[symbols[at].next]);
    if (symbols[at].rank == NO_RANK) return HONE_OK;
    return heap_push(scratch, (uint64_t)symbols[at].rank << 32 | at);
}

/* Swallows the right neighbour of symbol `at`. */
static void join(hone_bpe_symbol *symbols, uint32_t at) {
    hone_bpe_symbol *left = &symbols[at];
    hone_bpe_symbol *right = &symbols[left->next];
    left->id = left->joined;
    left->end = right->end;
    left->next = right->next;
    if (right->next != NO_SYMBOL) symbols[right->next].previous = at;
    right->rank = NO_RANK; /* makes its entries stale */
}

static hone_status merge_long(const hone_bpe *bpe, hone_bpe_scratch *scratch, size_t *count) {
    hone_bpe_symbol *symbols = scratch->symbols;
    uint32_t n = (uint32_t)*count;
    scratch->heap_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].previous = i == 0 ? NO_SYMBOL : i - 1;
        symbols[i].next = i + 1 == n ? NO_SYMBOL : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) HONE_TRY(enter(bpe, scratch, i));
    while (scratch->heap_count > 0) {
        uint64_t entry = heap_pop(scratch);
        uint32_t at = (uint32_t)entry;
        if (symbols[at].rank != entry >> 32) continue; /* the pair is gone */
        join(symbols, at);
        HONE_TRY(enter(bpe, scratch, at));
        if (symbols[at].previous != NO_SYMBOL) HONE_TRY(enter(bpe, scratch, symbols[at].previous));
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != NO_SYMBOL; kept++) {
        uint32_t next = symbols[i].next;
        symbols[kept] = symbols[i];
        i = next;
    }
    *count = kept;
    return HONE_OK;
}

hone_status hone_bpe_merge(const hone_bpe *bpe, hone_bpe_scratch *scratch, size_t *count) {
    if (*count > SHORT) return merge_long(bpe, scratch, count);
    merge_short(bpe, scratch->symbols, count);
    return HONE_OK;
}
