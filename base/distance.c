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
    size_t line[LONGEST + 1]; /* distances of the first i bytes of a to every beginning of b */
    for (size_t j = 0; j <= cols; j++) line[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = line[0];
        line[0] = i;
        for (size_t j = 1; j <= cols; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = line[j];
            line[j] = least(replaced, least(line[j], line[j - 1]) + 1);
        }
    }
    return line[cols];
}

int hone_edit_is_near(const char *word, size_t distance) {
    size_t third = strlen(word) / 3;
    return distance <= (third < 1 ? 1 : third);
}
