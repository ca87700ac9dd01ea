/*
 * The open bins by the room that is left in them: which is the fullest that still takes `need` tokens?
 *
 * Bins of equal room are a chain; a tree of bitmaps, 64 ways at each level, says which rooms have one. Taking and
 * opening cost log64(seq_len).
 */
#ifndef HONE_DATA_BIN_ROOMS_H
#define HONE_DATA_BIN_ROOMS_H

#include <stdint.h>

#include "base/status.h"

typedef struct hone_bin_rooms hone_bin_rooms;

/* For bins of `size` tokens, numbered below `most`. */
HONE_MUST_USE hone_status hone_bin_rooms_new(hone_bin_rooms **out, int64_t size, int64_t most);
void hone_bin_rooms_free(hone_bin_rooms *rooms); /* takes NULL */
void hone_bin_rooms_clear(hone_bin_rooms *rooms);

/* A new bin that holds `used` tokens. */
void hone_bin_rooms_open(hone_bin_rooms *rooms, int32_t bin, int32_t used);

/* Puts `need` tokens into the fullest bin that has room and returns it; -1 when none has. */
int32_t hone_bin_rooms_take(hone_bin_rooms *rooms, int32_t need);

#endif
