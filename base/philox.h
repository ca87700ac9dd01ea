/*
 * Philox4x32-10: a counter-based random generator. The same counter and key give the same numbers whatever was
 * drawn before, on any thread or device. Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC11.
 */
#ifndef HONE_BASE_PHILOX_H
#define HONE_BASE_PHILOX_H

#include <stdint.h>

#include "base/host_device.h"

typedef struct hone_philox {
    uint32_t word[4];
} hone_philox;

HONE_HOST_DEVICE static inline hone_philox hone_philox_draw(uint64_t key, uint32_t c0, uint32_t c1,
                                                            uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key;
    uint32_t k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    hone_philox drawn = {{c0, c1, c2, c3}};
    return drawn;
}

/* Uniform in [0, 1): the top 24 bits of a word, exact in f32. */
HONE_HOST_DEVICE static inline float hone_uniform(uint32_t word) {
    return (float)(word >> 8) * 0x1p-24f;
}

#endif
