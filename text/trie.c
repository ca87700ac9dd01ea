#include "text/trie.h"

#include "base/alloc.h"

enum { MOST_NODES = 1 << 24 };

void hone_trie_free(hone_trie *trie) {
    hone_free(trie->edges);
    hone_free(trie->values);
    *trie = (hone_trie){0};
}

static void place(hone_trie *trie, hone_trie_edge edge) {
    size_t mask = trie->edge_slots - 1;
    uint32_t key = edge.from << 8 | (edge.target & 0xff);
    size_t at = (key * 0x9E3779B1u >> 7) & mask;
    while (trie->edges[at].target != 0) at = (at + 1) & mask;
    trie->edges[at] = edge;
}

static hone_status grow_edges(hone_trie *trie) {
    if (2 * (trie->nodes + 1) <= trie->edge_slots) return HONE_OK;
    hone_trie_edge *old = trie->edges;
    size_t old_slots = trie->edge_slots;
    size_t slots = old_slots ? 2 * old_slots : 1024;
    hone_trie_edge *edges = hone_alloc(slots, sizeof *edges);
    if (!edges) return HONE_ERR_MEMORY;
    trie->edges = edges;
    trie->edge_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].target != 0) place(trie, old[i]);
    }
    hone_free(old);
    return HONE_OK;
}

static hone_status add_node(hone_trie *trie) {
    if (trie->nodes == MOST_NODES) {
        return hone_fail(HONE_ERR_UNSUPPORTED, "a vocabulary with more than %d prefixes",
                         MOST_NODES);
    }
    HONE_TRY(hone_grow(&trie->values, &trie->capacity, trie->nodes + 1, sizeof *trie->values));
    trie->values[trie->nodes++] = -1;
    return HONE_OK;
}

hone_status hone_trie_put(hone_trie *trie, const char *text, size_t length, int32_t value) {
    uint32_t node = 0;
    if (trie->nodes == 0) HONE_TRY(add_node(trie));
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        HONE_TRY(grow_edges(trie));
        uint32_t next = hone_trie_next(trie, node, byte);
        if (next == 0) {
            next = (uint32_t)trie->nodes;
            HONE_TRY(add_node(trie));
            place(trie, (hone_trie_edge){node, next << 8 | byte});
        }
        node = next;
    }
    trie->values[node] = value;
    return HONE_OK;
}

size_t hone_trie_longest(const hone_trie *trie, const char *text, size_t length) {
    size_t longest = 0;
    uint32_t node = 0;
    if (trie->edge_slots == 0) return 0;
    for (size_t i = 0; i < length; i++) {
        node = hone_trie_next(trie, node, (unsigned char)text[i]);
        if (node == 0) break;
        if (trie->values[node] >= 0) longest = i + 1;
    }
    return longest;
}
