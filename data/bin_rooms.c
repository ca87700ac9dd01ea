#include "data/bin_rooms.h"

#include <string.h>

#include "base/alloc.h"

enum { LEVELS = 6 }; /* 64^6 > 2^31 */

struct hone_bin_rooms {
    int64_t size;
    int levels;
    uint64_t *bits[LEVELS]; /* bits[0]: one bit a room; bits[k + 1]: one bit a word of bits[k] */
    int64_t words[LEVELS];
    int32_t *first; /* [size + 1]: a bin with that room, -1 for none */
    int32_t *next;  /* [most]: another with the same */
};

hone_status hone_bin_rooms_new(hone_bin_rooms **out, int64_t size, int64_t most) {
    *out = NULL;
    hone_bin_rooms *rooms = hone_alloc(1, sizeof *rooms);
    if (!rooms) return HONE_ERR_MEMORY;
    rooms->size = size;
    rooms->first = hone_alloc((size_t)size + 1, sizeof *rooms->first);
    rooms->next = hone_alloc((size_t)most, sizeof *rooms->next);
    bool failed = !rooms->first || !rooms->next;
    int64_t bits = size + 1;
    do {
        bits = (bits + 63) / 64;
        rooms->words[rooms->levels] = bits;
        rooms->bits[rooms->levels] = hone_alloc((size_t)bits, sizeof(uint64_t));
        failed = failed || !rooms->bits[rooms->levels];
        rooms->levels++;
    } while (bits > 1);
    if (failed) {
        hone_bin_rooms_free(rooms);
        return HONE_ERR_MEMORY;
    }
    *out = rooms;
    return HONE_OK;
}

void hone_bin_rooms_free(hone_bin_rooms *rooms) {
    if (!rooms) return;
    for (int level = 0; level < rooms->levels; level++) hone_free(rooms->bits[level]);
    hone_free(rooms->first);
    hone_free(rooms->next);
    hone_free(rooms);
}

void hone_bin_rooms_clear(hone_bin_rooms *rooms) {
    for (int level = 0; level < rooms->levels; level++)
        memset(rooms->bits[level], 0, (size_t)rooms->words[level] * sizeof(uint64_t));
    memset(rooms->first, 0xff, ((size_t)rooms->size + 1) * sizeof *rooms->first);
}

static void put(hone_bin_rooms *rooms, int32_t bin, int64_t room) {
    rooms->next[bin] = rooms->first[room];
    rooms->first[room] = bin;
    for (int level = 0; level < rooms->levels; level++, room /= 64)
        rooms->bits[level][room / 64] |= (uint64_t)1 << (room % 64);
}

static int32_t pull(hone_bin_rooms *rooms, int64_t room) {
    int32_t bin = rooms->first[room];
    rooms->first[room] = rooms->next[bin];
    if (rooms->first[room] >= 0) return bin;
    for (int level = 0; level < rooms->levels; level++, room /= 64) {
        rooms->bits[level][room / 64] &= ~((uint64_t)1 << (room % 64));
        if (rooms->bits[level][room / 64]) break;
    }
    return bin;
}

/* The lowest room >= `room` that has a bin; -1 for none. Up until a word has a bit to the right, then down. */
static int64_t find(const hone_bin_rooms *rooms, int64_t room) {
    int level = 0;
    for (;; level++) {
        if (level == rooms->levels || room / 64 >= rooms->words[level]) return -1;
        uint64_t right = rooms->bits[level][room / 64] >> (room % 64);
        if (right) {
            room += __builtin_ctzll(right);
            break;
        }
        room = room / 64 + 1;
    }
    for (; level > 0; level--) room = room * 64 + __builtin_ctzll(rooms->bits[level - 1][room]);
    return room;
}

void hone_bin_rooms_open(hone_bin_rooms *rooms, int32_t bin, int32_t used) {
    put(rooms, bin, rooms->size - used);
}

int32_t hone_bin_rooms_take(hone_bin_rooms *rooms, int32_t need) {
    int64_t room = find(rooms, need);
    if (room < 0) return -1;
    int32_t bin = pull(rooms, room);
    put(rooms, bin, room - need);
    return bin;
}
