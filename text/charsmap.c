#include "text/charsmap.h"

#include <string.h>

#include "base/alloc.h"

struct hone_charsmap {
    uint32_t *units; /* owned */
    size_t count;
    char *texts; /* owned, ends with a zero byte */
    size_t length;
};

hone_status hone_charsmap_new(hone_charsmap **out, const void *bytes, size_t length,
                              const char *file, const char *where) {
    const unsigned char *data = bytes;
    uint32_t trie = 0;
    if (length >= 4) memcpy(&trie, data, 4);
    if (length < 4 || trie % 4 != 0 || trie == 0 || trie > length - 4 || data[length - 1] != 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s: %zu bytes that are no table of replacements; the file is corrupt",
                         file, where, length);
    }
    hone_charsmap *map = hone_alloc(1, sizeof *map);
    if (!map) return HONE_ERR_MEMORY;
    map->count = trie / 4;
    map->units = hone_alloc(map->count, sizeof *map->units);
    map->length = length - 4 - trie;
    map->texts = hone_strndup((const char *)data + 4 + trie, map->length);
    if (!map->units || !map->texts) {
        hone_charsmap_free(map);
        return HONE_ERR_MEMORY;
    }
    memcpy(map->units, data + 4, trie);
    *out = map;
    return HONE_OK;
}

hone_status hone_charsmap_write(hone_buf *out, const hone_charsmap *map) {
    uint32_t trie = (uint32_t)(4 * map->count);
    HONE_TRY(hone_buf_append(out, &trie, 4));
    HONE_TRY(hone_buf_append(out, map->units, trie));
    return hone_buf_append(out, map->texts, map->length);
}

void hone_charsmap_free(hone_charsmap *map) {
    if (!map) return;
    hone_free(map->units);
    hone_free(map->texts);
    hone_free(map);
}

static size_t offset_of(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
}

size_t hone_charsmap_find(const char **with, size_t *with_length, const hone_charsmap *map,
                          const char *text, size_t length, bool longest) {
    size_t found = 0, place = 0;
    size_t at = offset_of(map->units[0]);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (byte == 0 || at >= map->count) break;
        uint32_t unit = map->units[at];
        if ((unit & 0x800000ff) != byte) break;
        at ^= offset_of(unit);
        if (at >= map->count) break;
        if (!(unit & 0x100)) continue;
        found = i + 1;
        place = map->units[at] & 0x7fffffff;
        if (!longest) break;
    }
    if (found == 0 || place >= map->length) return 0;
    *with = map->texts + place;
    *with_length = strlen(*with);
    return found;
}
