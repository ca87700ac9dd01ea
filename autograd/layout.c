#include "autograd/layout.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { LINE = 64 };

void hone_layout_clear(hone_layout *layout) {
    layout->count = 0;
    layout->bytes = 0;
    layout->turn = INT64_MAX;
}

void hone_layout_free(hone_layout *layout) {
    hone_free(layout->blocks);
    *layout = (hone_layout){0};
}

hone_status hone_layout_add(hone_layout *layout, const char *name, size_t bytes, int64_t clock) {
    HONE_TRY(
        hone_grow(&layout->blocks, &layout->capacity, layout->count + 1, sizeof *layout->blocks));
    size_t rounded = (bytes + LINE - 1) / LINE * LINE;
    layout->blocks[layout->count++] = (hone_block){.name = name,
                                                   .bytes = rounded,
                                                   .first = clock,
                                                   .last = clock,
                                                   .before = clock,
                                                   .again = -1};
    return HONE_OK;
}

void hone_layout_touch(hone_layout *layout, size_t block, int64_t clock) {
    hone_block *b = &layout->blocks[block];
    if (b->last < clock) b->last = clock;
    if (clock < layout->turn) {
        b->before = b->last;
    } else if (b->first < layout->turn && b->again < 0) {
        b->again = clock;
    }
}

void hone_layout_turn(hone_layout *layout, int64_t clock) {
    layout->turn = clock;
}

hone_status hone_layout_part(hone_layout *layout, size_t block, int64_t until, int64_t from) {
    size_t back = layout->count;
    hone_block first = layout->blocks[block];
    HONE_TRY(hone_layout_add(layout, first.name, first.bytes, from));
    layout->blocks[back].last = first.last;
    layout->blocks[block].last = until;
    layout->blocks[block].back = back;
    return HONE_OK;
}

static int larger_first(const void *left, const void *right) {
    const hone_block *a = *(const hone_block *const *)left;
    const hone_block *b = *(const hone_block *const *)right;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    return a < b ? -1 : a > b; /* the order of asking, so that the layout is always the same */
}

static int lower_first(const void *left, const void *right) {
    const hone_block *a = *(const hone_block *const *)left;
    const hone_block *b = *(const hone_block *const *)right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static bool live_together(const hone_block *a, const hone_block *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest address at which `block` fits between its `n` contemporaries. */
static size_t lowest_gap(const hone_block *block, hone_block **others, size_t n) {
    qsort(others, n, sizeof(hone_block *), lower_first);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (at + block->bytes <= others[i]->offset) break;
        size_t end = others[i]->offset + others[i]->bytes;
        if (end > at) at = end;
    }
    return at;
}

hone_status hone_layout_solve(hone_layout *layout) {
    size_t n = layout->count;
    hone_block **order = hone_alloc(2 * n, sizeof *order);
    if (!order) return HONE_ERR_MEMORY;
    hone_block **others = order + n;
    for (size_t i = 0; i < n; i++) order[i] = &layout->blocks[i];
    qsort(order, n, sizeof *order, larger_first);
    layout->bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t together = 0;
        for (size_t j = 0; j < i; j++) {
            if (order[j]->bytes > 0 && live_together(order[i], order[j]))
                others[together++] = order[j];
        }
        order[i]->offset = lowest_gap(order[i], others, together);
        size_t end = order[i]->offset + order[i]->bytes;
        if (end > layout->bytes) layout->bytes = end;
    }
    hone_free(order);
    return HONE_OK;
}

static size_t bytes_at(const hone_layout *layout, int64_t clock) {
    size_t sum = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const hone_block *b = &layout->blocks[i];
        if (b->first <= clock && clock <= b->last) sum += b->bytes;
    }
    return sum;
}

/* Memory only grows when a block is born, so the fullest moment is some block's first. */
static int64_t fullest_moment(const hone_layout *layout) {
    size_t most = 0;
    int64_t when = 0;
    for (size_t i = 0; i < layout->count; i++) {
        if (i > 0 && layout->blocks[i].first == layout->blocks[i - 1].first) continue;
        size_t bytes = bytes_at(layout, layout->blocks[i].first);
        if (bytes <= most) continue;
        most = bytes;
        when = layout->blocks[i].first;
    }
    return when;
}

size_t hone_layout_least(const hone_layout *layout) {
    return bytes_at(layout, fullest_moment(layout));
}

static size_t bytes_of_name(const hone_layout *layout, int64_t clock, const char *name) {
    size_t sum = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const hone_block *b = &layout->blocks[i];
        if (b->first <= clock && clock <= b->last && strcmp(b->name, name) == 0) sum += b->bytes;
    }
    return sum;
}

void hone_layout_itemise(const hone_layout *layout, hone_layout_item_fn item, void *context) {
    int64_t when = fullest_moment(layout);
    for (size_t i = 0; i < layout->count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = strcmp(layout->blocks[j].name, layout->blocks[i].name) == 0;
        size_t bytes = seen ? 0 : bytes_of_name(layout, when, layout->blocks[i].name);
        if (bytes) item(context, layout->blocks[i].name, bytes);
    }
}
