#include <utf8proc.h>

#include "text/unicode_library.h"

const hone_unicode_row *hone_unicode_row_of(const hone_unicode_table *table, int32_t code) {
    size_t low = 0;
    for (size_t high = table->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (code > table->rows[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool inside = low < table->count && code >= table->rows[low].first;
    return inside ? &table->rows[low] : NULL;
}

size_t hone_unicode_lower(int32_t out[2], int32_t code) {
    enum { DOTTED_I = 0x130, DOT_ABOVE = 0x307 };
    if (code == DOTTED_I) {
        out[0] = 'i';
        out[1] = DOT_ABOVE;
        return 2;
    }
    const hone_unicode_row *row = hone_unicode_row_of(&hone_unicode_lowered, code);
    out[0] = row ? row->value + (code - row->first) : utf8proc_tolower(code);
    return 1;
}

int32_t hone_unicode_script(int32_t code) {
    const hone_unicode_row *row = hone_unicode_row_of(&hone_unicode_scripts, code);
    return row ? row->value : 0;
}
