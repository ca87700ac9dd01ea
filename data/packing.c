#include "data/packing.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/philox.h"
#include "data/length_set.h"
#include "data/permutation.h"

enum { BLOCK = 65536 };
enum { TRIES = 512 }; /* sets of samples that are looked at for a bin, at most */

/* What the random draws are for; part of their counters. */
enum { DRAW_DEAL = 1, DRAW_BLOCKS = 2, DRAW_BINS = 3 };

typedef struct item {
    int64_t sample;
    int32_t length;
    int32_t bin;
} item;

/* The bins of one block: bin b holds samples[begin[b]] .. samples[begin[b + 1] - 1]. */
typedef struct block {
    int64_t index; /* -1: none */
    int64_t bins;
    int64_t *samples; /* [BLOCK] */
    int64_t *begin;   /* [BLOCK + 1] */
    int32_t *tokens;  /* [BLOCK] of each bin */
} block;

struct hone_packing {
    hone_length_fn length;
    void *context;
    int64_t count, seq_len;
    uint64_t seed;
    int64_t blocks;
    int64_t *block_bins; /* [blocks] */
    int64_t bins, samples, tokens;
    item *items;           /* [BLOCK], scratch */
    hone_length_set *left; /* items that have no bin yet */
    int32_t *tried;        /* [BLOCK] items that are tried together for a bin */
    int32_t *best;         /* [BLOCK] lengths of those that fill it best */
    block loaded;
    /* The order of one epoch. */
    int64_t epoch;        /* -1: none */
    int64_t *block_order; /* [blocks] */
    int64_t *order_begin; /* [blocks + 1]: position of the first bin of each block in that order */
    int32_t *bin_order;   /* [BLOCK] of the block at place `ordered` */
    int64_t ordered;      /* -1: none */
};

/* --- one block ------------------------------------------------------------------------------------------------- */

static int by_bin(const void *left, const void *right) {
    const item *a = left;
    const item *b = right;
    if (a->bin != b->bin) return a->bin < b->bin ? -1 : 1;
    return (a->sample > b->sample) - (a->sample < b->sample);
}

/* The samples that were dealt to block `index`, without those that are left out. */
static hone_status deal(int64_t *out, hone_packing *packing, int64_t index) {
    int64_t end = (index + 1) * BLOCK < packing->count ? (index + 1) * BLOCK : packing->count;
    int64_t count = 0;
    for (int64_t i = index * BLOCK; i < end; i++) {
        item *it = &packing->items[count];
        it->sample =
            (int64_t)hone_permute((uint64_t)i, (uint64_t)packing->count, packing->seed, DRAW_DEAL);
        HONE_TRY(packing->length(&it->length, packing->context, it->sample));
        if (it->length > packing->seq_len)
            return hone_fail(HONE_ERR_DATA, "sample %lld has %d tokens; a bin has room for %lld",
                             (long long)it->sample, it->length, (long long)packing->seq_len);
        count += it->length > 0;
    }
    *out = count;
    return HONE_OK;
}

/* Looks for the items that leave the least of `room` empty: the longest that fit first, then with the last ones exchanged
 * for shorter ones. Their lengths go to packing->best; returns how many they are. The set of those left is as before. */
static int64_t choose(hone_packing *packing, int64_t room) {
    hone_length_set *left = packing->left;
    int64_t n = 0, count = 0, least = room + 1, limit = room;
    for (int tries = 0; tries < TRIES; tries++) {
        for (int64_t l; (l = hone_length_set_find(left, limit < room ? limit : room)) > 0;) {
            packing->tried[n++] = hone_length_set_take(left, l);
            room -= l;
            limit = l;
        }
        if (room < least) {
            least = room;
            count = n;
            for (int64_t i = 0; i < n; i++)
                packing->best[i] = packing->items[packing->tried[i]].length;
        }
        if (least == 0 || n == 0) break;
        int32_t last = packing->tried[--n];
        limit = packing->items[last].length - 1;
        room += limit + 1;
        hone_length_set_add(left, last, limit + 1);
    }
    while (n-- > 0) {
        int32_t last = packing->tried[n];
        hone_length_set_add(left, last, packing->items[last].length);
    }
    return count;
}

/* Sets the bin of each item; returns the number of bins. */
static int32_t fit(hone_packing *packing, int64_t count) {
    hone_length_set *left = packing->left;
    hone_length_set_clear(left);
    for (int64_t i = count; i-- > 0;)
        hone_length_set_add(left, (int32_t)i, packing->items[i].length);
    int32_t bins = 0;
    for (int64_t l; (l = hone_length_set_find(left, packing->seq_len)) > 0; bins++) {
        packing->items[hone_length_set_take(left, l)].bin = bins;
        int64_t others = choose(packing, packing->seq_len - l);
        for (int64_t i = 0; i < others; i++)
            packing->items[hone_length_set_take(left, packing->best[i])].bin = bins;
    }
    return bins;
}

static hone_status load_block(hone_packing *packing, int64_t index) {
    block *b = &packing->loaded;
    if (b->index == index) return HONE_OK;
    b->index = -1;
    int64_t count;
    HONE_TRY(deal(&count, packing, index));
    b->bins = fit(packing, count);
    qsort(packing->items, (size_t)count, sizeof *packing->items, by_bin);
    memset(b->tokens, 0, (size_t)b->bins * sizeof *b->tokens);
    int32_t last = -1;
    for (int64_t i = 0; i < count; i++) {
        const item *it = &packing->items[i];
        if (it->bin != last) b->begin[it->bin] = i;
        last = it->bin;
        b->samples[i] = it->sample;
        b->tokens[it->bin] += it->length;
    }
    b->begin[b->bins] = count;
    b->index = index;
    return HONE_OK;
}

static hone_status count_bins(hone_packing *packing) {
    for (int64_t i = 0; i < packing->blocks; i++) {
        HONE_TRY(load_block(packing, i));
        const block *b = &packing->loaded;
        packing->block_bins[i] = b->bins;
        packing->bins += b->bins;
        packing->samples += b->begin[b->bins];
        for (int64_t k = 0; k < b->bins; k++) packing->tokens += b->tokens[k];
    }
    if (packing->bins > 0) return HONE_OK;
    return hone_fail(HONE_ERR_DATA, "no sample is left to pack");
}

/* --- making ---------------------------------------------------------------------------------------------------- */

static hone_status allocate(hone_packing *packing) {
    int64_t most = packing->count < BLOCK ? packing->count : BLOCK;
    size_t room = (size_t)most;
    size_t blocks = (size_t)packing->blocks;
    block *b = &packing->loaded;
    packing->items = hone_alloc(room, sizeof *packing->items);
    b->samples = hone_alloc(room, sizeof *b->samples);
    b->begin = hone_alloc(room + 1, sizeof *b->begin);
    b->tokens = hone_alloc(room, sizeof *b->tokens);
    packing->tried = hone_alloc(room, sizeof *packing->tried);
    packing->best = hone_alloc(room, sizeof *packing->best);
    packing->bin_order = hone_alloc(room, sizeof *packing->bin_order);
    packing->block_bins = hone_alloc(blocks, sizeof *packing->block_bins);
    packing->block_order = hone_alloc(blocks, sizeof *packing->block_order);
    packing->order_begin = hone_alloc(blocks + 1, sizeof *packing->order_begin);
    if (!packing->items || !packing->tried || !packing->best || !b->samples || !b->begin ||
        !b->tokens || !packing->bin_order || !packing->block_bins || !packing->block_order ||
        !packing->order_begin) {
        return HONE_ERR_MEMORY;
    }
    return hone_length_set_new(&packing->left, packing->seq_len, most);
}

hone_status hone_packing_new(hone_packing **out, hone_length_fn length, void *context,
                             int64_t count, int64_t seq_len, uint64_t seed) {
    *out = NULL;
    if (seq_len < 1 || seq_len > INT32_MAX)
        return hone_fail(HONE_ERR_USAGE, "a bin of %lld tokens cannot be packed",
                         (long long)seq_len);
    if (count < 1) return hone_fail(HONE_ERR_DATA, "no sample is left to pack");
    hone_packing *packing = hone_alloc(1, sizeof *packing);
    if (!packing) return HONE_ERR_MEMORY;
    *packing = (hone_packing){.length = length,
                              .context = context,
                              .count = count,
                              .seq_len = seq_len,
                              .seed = seed,
                              .blocks = (count + BLOCK - 1) / BLOCK,
                              .loaded = {.index = -1},
                              .epoch = -1,
                              .ordered = -1};
    hone_status status = allocate(packing);
    if (status == HONE_OK) status = count_bins(packing);
    if (status != HONE_OK) {
        hone_packing_free(packing);
        return status;
    }
    *out = packing;
    return HONE_OK;
}

void hone_packing_free(hone_packing *packing) {
    if (!packing) return;
    hone_free(packing->items);
    hone_free(packing->loaded.samples);
    hone_free(packing->loaded.begin);
    hone_free(packing->loaded.tokens);
    hone_free(packing->bin_order);
    hone_free(packing->block_bins);
    hone_free(packing->block_order);
    hone_free(packing->order_begin);
    hone_length_set_free(packing->left);
    hone_free(packing->tried);
    hone_free(packing->best);
    hone_free(packing);
}

int64_t hone_packing_bins(const hone_packing *packing) {
    return packing->bins;
}

int64_t hone_packing_samples(const hone_packing *packing) {
    return packing->samples;
}

int64_t hone_packing_tokens(const hone_packing *packing) {
    return packing->tokens;
}

/* --- the order of an epoch ------------------------------------------------------------------------------------- */

/* A number below `n`, for draw `i` of one shuffle. The remainder's bias is n / 2^64. */
static int64_t draw_below(const hone_packing *packing, int64_t n, int64_t i, uint32_t what,
                          uint32_t which) {
    hone_philox r = hone_philox_draw(packing->seed, (uint32_t)i, what | (uint32_t)(i >> 32) << 8,
                                     which, (uint32_t)packing->epoch);
    uint64_t wide = (uint64_t)r.word[0] << 32 | r.word[1];
    return (int64_t)(wide % (uint64_t)n);
}

static void order_blocks(hone_packing *packing, int64_t epoch) {
    packing->epoch = epoch;
    packing->ordered = -1;
    for (int64_t i = 0; i < packing->blocks; i++) packing->block_order[i] = i;
    for (int64_t i = packing->blocks - 1; i > 0; i--) {
        int64_t j = draw_below(packing, i + 1, i, DRAW_BLOCKS, 0);
        int64_t moved = packing->block_order[i];
        packing->block_order[i] = packing->block_order[j];
        packing->block_order[j] = moved;
    }
    packing->order_begin[0] = 0;
    for (int64_t i = 0; i < packing->blocks; i++)
        packing->order_begin[i + 1] =
            packing->order_begin[i] + packing->block_bins[packing->block_order[i]];
}

static hone_status order_bins(hone_packing *packing, int64_t place) {
    int64_t index = packing->block_order[place];
    HONE_TRY(load_block(packing, index));
    int64_t bins = packing->loaded.bins;
    for (int64_t i = 0; i < bins; i++) packing->bin_order[i] = (int32_t)i;
    for (int64_t i = bins - 1; i > 0; i--) {
        int64_t j = draw_below(packing, i + 1, i, DRAW_BINS, (uint32_t)index);
        int32_t moved = packing->bin_order[i];
        packing->bin_order[i] = packing->bin_order[j];
        packing->bin_order[j] = moved;
    }
    packing->ordered = place;
    return HONE_OK;
}

/* The block that holds `position` in the present order: the last that begins at or before it and is not empty. */
static int64_t find_place(const hone_packing *packing, int64_t position) {
    int64_t low = 0;
    int64_t high = packing->blocks - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (packing->order_begin[middle] <= position) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

hone_status hone_packing_bin(hone_bin *out, hone_packing *packing, int64_t epoch,
                             int64_t position) {
    if (epoch < 0 || position < 0 || position >= packing->bins)
        return hone_fail(HONE_ERR_USAGE, "epoch %lld has no bin %lld; there are %lld",
                         (long long)epoch, (long long)position, (long long)packing->bins);
    if (epoch != packing->epoch) order_blocks(packing, epoch);
    int64_t place = find_place(packing, position);
    if (place != packing->ordered) HONE_TRY(order_bins(packing, place));
    const block *b = &packing->loaded;
    int32_t bin = packing->bin_order[position - packing->order_begin[place]];
    *out = (hone_bin){.samples = b->samples + b->begin[bin],
                      .count = b->begin[bin + 1] - b->begin[bin],
                      .tokens = b->tokens[bin]};
    return HONE_OK;
}
