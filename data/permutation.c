#include "data/permutation.h"

#include "base/philox.h"

enum { ROUNDS = 4 };

uint64_t hone_permute(uint64_t i, uint64_t n, uint64_t key, uint32_t tweak) {
    if (n < 2) return i;
    int half = 1; /* bits of each half: 4^half >= n */
    while (half < 31 && (uint64_t)1 << (2 * half) < n) half++;
    uint32_t mask = (uint32_t)(((uint64_t)1 << half) - 1);
    do {
        uint32_t left = (uint32_t)(i >> half) & mask;
        uint32_t right = (uint32_t)i & mask;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            hone_philox r = hone_philox_draw(key, right, round, tweak, (uint32_t)half);
            uint32_t next = left ^ (r.word[0] & mask);
            left = right;
            right = next;
        }
        i = (uint64_t)left << half | right;
    } while (i >= n);
    return i;
}
