#include "base/distance.h"

#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t hone_edit_distance(const char *a, const char *b) {
    size_t rows = strlen(a);
    size_t cols = strlen(b);
    if (rows > LONGEST || cols > LONGEST) return LONGEST + 1;
    size_t lines[3][LONGEST + 1]; /* distances of the first i bytes of a to every beginning of b */
    for (size_t j = 0; j <= cols; j++) lines[0][j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t *now = lines[i % 3];
        const size_t *above = lines[(i + 2) % 3];
        const size_t *above2 = lines[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= cols; j++) {
            now[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], above2[j - 2] + 1);
        }
    }
    return lines[rows % 3][cols];
}

int hone_edit_is_near(const char *word, size_t distance) {
    size_t third = strlen(word) / 3;
    return distance <= (third < 1 ? 1 : third);
}
