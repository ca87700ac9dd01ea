#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* The levels, those that are better further down; each table starts from the reference kernels. */
enum { LEVEL_REF, LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVXVNNI, LEVEL_AVX512, LEVEL_AVX512VNNI, LEVELS };
static const char *const names[LEVELS] = {"ref",     "plain",  "avx2",
                                          "avxvnni", "avx512", "avx512vnni"};
static hone_kernels tables[LEVELS];

#ifdef __x86_64__

/* Whether the processor, and the system on it, can run a level. */
static bool runs(int level) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    switch (level) {
    case LEVEL_AVX2:
        return avx2;
    case LEVEL_AVXVNNI:
        return avx2 && __builtin_cpu_supports("avxvnni");
    case LEVEL_AVX512:
        return avx512;
    case LEVEL_AVX512VNNI:
        return avx512 && __builtin_cpu_supports("avx512vnni");
    default:
        return true;
    }
}

static void fill_level(hone_kernels *table, int level) {
    if (level == LEVEL_PLAIN) hone_cpu_fill_plain(table);
    if (level == LEVEL_AVX2) hone_cpu_fill_avx2(table);
    if (level == LEVEL_AVXVNNI) hone_cpu_fill_avxvnni(table);
    if (level == LEVEL_AVX512) hone_cpu_fill_avx512(table);
    if (level == LEVEL_AVX512VNNI) hone_cpu_fill_avx512vnni(table);
}

#else

static bool runs(int level) {
    return level <= LEVEL_PLAIN;
}

static void fill_level(hone_kernels *table, int level) {
    if (level == LEVEL_PLAIN) hone_cpu_fill_plain(table);
}

#endif

static hone_status level_asked(int *out) {
    const char *asked = getenv("HONE_ISA");
    int best = LEVELS - 1;
    while (!runs(best)) best--;
    *out = best;
    if (!asked || !*asked) return HONE_OK;
    for (int level = 0; level < LEVELS; level++) {
        if (strcmp(asked, names[level]) != 0) continue;
        if (!runs(level)) {
            return hone_fail(HONE_ERR_UNSUPPORTED,
                             "HONE_ISA=%s: this processor cannot run it; its best is %s, which it "
                             "gets when HONE_ISA is not set",
                             asked, names[best]);
        }
        *out = level;
        return HONE_OK;
    }
    return hone_fail(HONE_ERR_USAGE,
                     "HONE_ISA=%s: no such instruction set; use ref, plain, avx2, avxvnni, avx512 "
                     "or avx512vnni",
                     asked);
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
