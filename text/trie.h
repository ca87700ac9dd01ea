/*
 * Texts by their bytes: which of them a text starts with.
 */
#ifndef HONE_TEXT_TRIE_H
#define HONE_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_trie_edge {
    uint32_t from;   /* node */
    uint32_t target; /* node << 8 | byte; 0: a free slot */
} hone_trie_edge;

/* Node 0 is the root. */
typedef struct hone_trie {
    hone_trie_edge *edges; /* open addressing, a power of two, owned */
    int32_t *values;       /* [nodes]: what ends there, or -1; owned */
    size_t edge_slots, nodes, capacity;
} hone_trie;

void hone_trie_free(hone_trie *trie);

/* Gives a text a value >= 0; the last one counts. */
HONE_MUST_USE hone_status hone_trie_put(hone_trie *trie, const char *text, size_t length,
                                        int32_t value);

/* The node behind `node` by `byte`, or 0. The trie must not be empty. */
static inline uint32_t hone_trie_next(const hone_trie *trie, uint32_t node, unsigned char byte) {
    size_t mask = trie->edge_slots - 1;
    uint32_t key = node << 8 | byte;
    for (size_t at = (key * 0x9E3779B1u >> 7) & mask;; at = (at + 1) & mask) {
        hone_trie_edge edge = trie->edges[at];
        if (edge.target == 0) return 0;
        if (edge.from == node && (edge.target & 0xff) == byte) return edge.target >> 8;
    }
}

/* Bytes of the longest text that `text` starts with; 0 for none. */
size_t hone_trie_longest(const hone_trie *trie, const char *text, size_t length);

#endif
