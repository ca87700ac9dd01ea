#include "autograd/trips.h"

#include "base/alloc.h"

/* A copy of less than this part of the largest block's takes longer to start than it is worth. */
enum { WORTH = 100 };

void hone_trips_clear(hone_trips *trips) {
    trips->count = 0;
    trips->begin_count = 0;
    trips->bytes = 0;
}

void hone_trips_free(hone_trips *trips) {
    hone_free(trips->items);
    hone_free(trips->begins);
    *trips = (hone_trips){0};
}

hone_status hone_trips_begin(hone_trips *trips, int64_t clock) {
    HONE_TRY(hone_grow(&trips->begins, &trips->begin_capacity, trips->begin_count + 1,
                       sizeof *trips->begins));
    trips->begins[trips->begin_count++] = clock;
    return HONE_OK;
}

static int64_t section_of(const hone_trips *trips, int64_t clock) {
    size_t section = trips->begin_count;
    while (section > 0 && trips->begins[section - 1] > clock) section--;
    return (int64_t)section;
}

static int64_t begin_of(const hone_trips *trips, int64_t section) {
    return section == 0 ? 0 : trips->begins[section - 1];
}

static hone_status consider(hone_trips *trips, hone_layout *layout, size_t block) {
    const hone_block *b = &layout->blocks[block];
    size_t bytes = b->bytes;
    int64_t leaves = section_of(trips, b->before) + 1, returns = section_of(trips, b->again) - 1;
    if (leaves + 1 > returns) return HONE_OK;
    HONE_TRY(hone_grow(&trips->items, &trips->capacity, trips->count + 1, sizeof *trips->items));
    trips->items[trips->count++] = (hone_trip){.block = block,
                                               .back = layout->count,
                                               .leaves = leaves,
                                               .returns = returns,
                                               .place = trips->bytes};
    trips->bytes += bytes;
    return hone_layout_part(layout, block, begin_of(trips, leaves + 1) - 1,
                            begin_of(trips, returns));
}

hone_status hone_trips_plan(hone_trips *trips, hone_layout *layout) {
    size_t largest = 0, count = layout->count;
    for (size_t i = 0; i < count; i++) {
        const hone_block *b = &layout->blocks[i];
        if (b->again >= 0 && b->bytes > largest) largest = b->bytes;
    }
    for (size_t i = 0; i < count; i++) {
        const hone_block *b = &layout->blocks[i];
        if (b->again >= 0 && b->bytes >= largest / WORTH) HONE_TRY(consider(trips, layout, i));
    }
    return HONE_OK;
}
