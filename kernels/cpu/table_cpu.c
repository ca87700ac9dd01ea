#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* The levels of a family of processors from the least to the most capable; each table starts from the reference kernels. */
#if defined(__x86_64__)

enum { LEVEL_REF, LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVX512, LEVEL_COUNT };
static const char *const names[LEVEL_COUNT] = {"ref", "plain", "avx2", "avx512"};
#define LEVELS "ref, plain, avx2 or avx512"

static int best_level(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return LEVEL_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c"))
        return LEVEL_AVX2;
    return LEVEL_PLAIN;
}

static void fill_level(hone_kernels *table, int level) {
    if (level == LEVEL_PLAIN) hone_cpu_fill_plain(table);
    if (level == LEVEL_AVX2) hone_cpu_fill_avx2(table);
    if (level == LEVEL_AVX512) hone_cpu_fill_avx512(table);
}

#elif defined(__aarch64__)

/* Every 64-bit ARM has NEON. A level with its dot product (HWCAP_ASIMDDP) would follow. */
enum { LEVEL_REF, LEVEL_NEON, LEVEL_COUNT };
static const char *const names[LEVEL_COUNT] = {"ref", "neon"};
#define LEVELS "ref or neon"

static int best_level(void) {
    return LEVEL_NEON;
}

static void fill_level(hone_kernels *table, int level) {
    if (level == LEVEL_NEON) hone_cpu_fill_neon(table);
}

#else

enum { LEVEL_REF, LEVEL_PLAIN, LEVEL_COUNT };
static const char *const names[LEVEL_COUNT] = {"ref", "plain"};
#define LEVELS "ref or plain"

static int best_level(void) {
    return LEVEL_PLAIN;
}

static void fill_level(hone_kernels *table, int level) {
    if (level == LEVEL_PLAIN) hone_cpu_fill_plain(table);
}

#endif

static hone_kernels tables[LEVEL_COUNT];

static hone_status level_asked(int *out) {
    const char *asked = getenv("HONE_ISA");
    *out = best_level();
    if (!asked || !*asked) return HONE_OK;
    for (int level = 0; level < LEVEL_COUNT; level++) {
        if (strcmp(asked, names[level]) != 0) continue;
        if (level > *out) {
            return hone_fail(HONE_ERR_UNSUPPORTED,
                             "HONE_ISA=%s: this processor has %s at most; unset HONE_ISA to use it",
                             asked, names[*out]);
        }
        *out = level;
        return HONE_OK;
    }
    return hone_fail(HONE_ERR_USAGE, "HONE_ISA=%s: no such instruction set; use " LEVELS, asked);
}

hone_status hone_kernels_cpu(const hone_kernels **out) {
    int level;
    HONE_TRY(level_asked(&level));
    hone_kernels table = *hone_kernels_ref();
    table.name = names[level];
    fill_level(&table, level);
    tables[level] = table;
    *out = &tables[level];
    return HONE_OK;
}
