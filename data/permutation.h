/*
 * A random permutation of 0 .. n-1 that takes no memory: a four-round Feistel network over Philox, walked until it lands
 * below n. Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002, section 3 (cycle walking) and 4.
 */
#ifndef HONE_DATA_PERMUTATION_H
#define HONE_DATA_PERMUTATION_H

#include <stdint.h>

/* Where `i` < n goes. Equal key and tweak give the same permutation. n < 2^62. */
uint64_t hone_permute(uint64_t i, uint64_t n, uint64_t key, uint32_t tweak);

#endif
