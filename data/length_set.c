#include "data/length_set.h"

#include <string.h>

#include "base/alloc.h"

enum { LEVELS = 6 }; /* 64^6 > 2^31 */

struct hone_length_set {
    int64_t longest;
    int levels;
    uint64_t *bits[LEVELS]; /* bits[0]: one bit a length; bits[k + 1]: one bit a word of bits[k] */
    int64_t words[LEVELS];
    int32_t *first; /* [longest + 1]: an item of that length, -1 for none */
    int32_t *next;  /* [most]: another of the same */
};

hone_status hone_length_set_new(hone_length_set **out, int64_t longest, int64_t most) {
    *out = NULL;
    hone_length_set *set = hone_alloc(1, sizeof *set);
    if (!set) return HONE_ERR_MEMORY;
    set->longest = longest;
    set->first = hone_alloc((size_t)longest + 1, sizeof *set->first);
    set->next = hone_alloc((size_t)most, sizeof *set->next);
    bool failed = !set->first || !set->next;
    int64_t bits = longest + 1;
    do {
        bits = (bits + 63) / 64;
        set->words[set->levels] = bits;
        set->bits[set->levels] = hone_alloc((size_t)bits, sizeof(uint64_t));
        failed = failed || !set->bits[set->levels];
        set->levels++;
    } while (bits > 1);
    if (failed) {
        hone_length_set_free(set);
        return HONE_ERR_MEMORY;
    }
    *out = set;
    return HONE_OK;
}

void hone_length_set_free(hone_length_set *set) {
    if (!set) return;
    for (int level = 0; level < set->levels; level++) hone_free(set->bits[level]);
    hone_free(set->first);
    hone_free(set->next);
    hone_free(set);
}

void hone_length_set_clear(hone_length_set *set) {
    for (int level = 0; level < set->levels; level++)
        memset(set->bits[level], 0, (size_t)set->words[level] * sizeof(uint64_t));
    memset(set->first, 0xff, ((size_t)set->longest + 1) * sizeof *set->first);
}

void hone_length_set_add(hone_length_set *set, int32_t item, int64_t length) {
    set->next[item] = set->first[length];
    set->first[length] = item;
    for (int level = 0; level < set->levels; level++, length /= 64)
        set->bits[level][length / 64] |= (uint64_t)1 << (length % 64);
}

int32_t hone_length_set_take(hone_length_set *set, int64_t length) {
    int32_t item = set->first[length];
    set->first[length] = set->next[item];
    if (set->first[length] >= 0) return item;
    for (int level = 0; level < set->levels; level++, length /= 64) {
        set->bits[level][length / 64] &= ~((uint64_t)1 << (length % 64));
        if (set->bits[level][length / 64]) break;
    }
    return item;
}

static int64_t highest_bit(uint64_t word) {
    return 63 - __builtin_clzll(word);
}

/* Up until a word has a bit at or below, then down along the highest. */
int64_t hone_length_set_find(const hone_length_set *set, int64_t room) {
    int64_t at = room;
    int level = 0;
    for (;; level++) {
        if (level == set->levels || at < 0) return 0;
        uint64_t below = set->bits[level][at / 64] << (63 - at % 64);
        if (below) {
            at -= 63 - highest_bit(below);
            break;
        }
        at = at / 64 - 1;
    }
    for (; level > 0; level--) at = at * 64 + highest_bit(set->bits[level - 1][at]);
    return at;
}
