#include "text/unigram.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

void hone_unigram_free(hone_unigram *unigram) {
    hone_free(unigram->scores);
    hone_trie_free(&unigram->trie);
    *unigram = (hone_unigram){0};
}

void hone_unigram_finish(hone_unigram *unigram) {
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        int32_t id = hone_vocab_find_own(unigram->vocab, name, strlen(name));
        unigram->byte_token[byte] = id < (int32_t)unigram->count ? id : -1;
    }
}

void hone_unigram_trim(hone_unigram_scratch *scratch) {
    enum { KEPT_NODES = 1 << 16 };
    if (scratch->capacity <= KEPT_NODES) return;
    hone_free(scratch->nodes);
    *scratch = (hone_unigram_scratch){0};
}

/* --- The best path --- */

static void offer(const hone_unigram *unigram, hone_unigram_node *node, double score, int32_t id,
                  uint32_t begin) {
    if (unigram->single) score = (double)(float)score;
    if (node->begin != UINT32_MAX && !(score > node->score)) return;
    *node = (hone_unigram_node){score, id, begin};
}

static hone_status no_unknown(size_t begin) {
    return hone_fail(HONE_ERR_DATA,
                     "byte %zu of a text: no token covers it, and the tokenizer has no token for "
                     "the unknown",
                     begin);
}

/* Offers every token that starts at `at`; `character`: the bytes of the character there. */
static hone_status offer_from(const hone_unigram *unigram, hone_unigram_node *nodes,
                              const char *text, size_t length, size_t at, size_t character) {
    double reached = nodes[at].score;
    bool single = false;
    uint32_t node = 0;
    for (size_t i = at; i < length && unigram->trie.edge_slots > 0; i++) {
        node = hone_trie_next(&unigram->trie, node, (unsigned char)text[i]);
        if (node == 0) break;
        int32_t id = unigram->trie.values[node];
        if (id < 0) continue;
        offer(unigram, &nodes[i + 1], unigram->scores[id] + reached, id, (uint32_t)at);
        if (i + 1 - at == character) single = true;
    }
    if (single) return HONE_OK;
    if (unigram->unknown < 0) return no_unknown(at);
    offer(unigram, &nodes[at + character], unigram->unknown_score + reached, unigram->unknown,
          (uint32_t)at);
    return HONE_OK;
}

static hone_status find_path(const hone_unigram *unigram, hone_unigram_scratch *scratch,
                             const char *text, size_t length) {
    HONE_TRY(hone_grow(&scratch->nodes, &scratch->capacity, length + 1, sizeof *scratch->nodes));
    hone_unigram_node *nodes = scratch->nodes;
    nodes[0] = (hone_unigram_node){0};
    for (size_t i = 1; i <= length; i++) nodes[i].begin = UINT32_MAX;
    for (size_t at = 0; at < length;) {
        size_t character = hone_utf8_length(text[at]);
        HONE_TRY(offer_from(unigram, nodes, text, length, at, character));
        at += character;
    }
    return HONE_OK;
}

/* Turns the links around: afterwards nodes[begin].begin is the end of the token that begins there. Unknowns that touch
 * are one. */
static void turn_around(const hone_unigram *unigram, hone_unigram_node *nodes, size_t length) {
    uint32_t end = (uint32_t)length, following = UINT32_MAX;
    int32_t previous = -1; /* the token behind */
    while (end > 0) {
        hone_unigram_node node = nodes[end];
        bool joins = node.id == unigram->unknown && previous == unigram->unknown;
        nodes[end].begin = following;
        nodes[end].id = previous;
        following = joins ? nodes[end].begin : end;
        previous = node.id;
        end = node.begin;
    }
    nodes[0].begin = following;
    nodes[0].id = previous;
}

static hone_status put_unknown(const hone_unigram *unigram, hone_bpe_scratch *out, const char *text,
                               uint32_t begin, uint32_t end) {
    int32_t whole = hone_vocab_find_own(unigram->vocab, text + begin, end - begin);
    bool bytes = whole < 0 && unigram->byte_fallback;
    for (uint32_t i = begin; i < end && bytes; i++) {
        bytes = unigram->byte_token[(unsigned char)text[i]] >= 0;
    }
    if (!bytes) return hone_bpe_put(out, whole < 0 ? unigram->unknown : whole, begin, end);
    for (uint32_t i = begin; i < end; i++) {
        HONE_TRY(hone_bpe_put(out, unigram->byte_token[(unsigned char)text[i]], begin, end));
    }
    return HONE_OK;
}

hone_status hone_unigram_encode(const hone_unigram *unigram, hone_unigram_scratch *scratch,
                                hone_bpe_scratch *out, const char *text, size_t begin, size_t end) {
    size_t length = end - begin, first = out->count;
    HONE_TRY(find_path(unigram, scratch, text + begin, length));
    turn_around(unigram, scratch->nodes, length);
    for (uint32_t at = 0; at < length;) {
        hone_unigram_node node = scratch->nodes[at];
        HONE_TRY(node.id == unigram->unknown
                     ? put_unknown(unigram, out, text + begin, at, node.begin)
                     : hone_bpe_put(out, node.id, at, node.begin));
        at = node.begin;
    }
    for (size_t i = first; i < out->count; i++) { /* from the piece's bytes to the text's */
        out->tokens[i].begin += (uint32_t)begin;
        out->tokens[i].end += (uint32_t)begin;
    }
    return HONE_OK;
}
