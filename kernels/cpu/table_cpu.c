#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* The levels of a family of processors, those that are better further down; each table starts from the reference
 * kernels. */
#if defined(__x86_64__)

enum { REF, PLAIN, AVX2, AVXVNNI, AVX512, AVX512VNNI, AVX512BF16, LEVELS };
static const char *const names[LEVELS] = {"ref",    "plain",      "avx2",      "avxvnni",
                                          "avx512", "avx512vnni", "avx512bf16"};
#define NAMES "ref, plain, avx2, avxvnni, avx512, avx512vnni or avx512bf16"

/* Whether the processor, and the system on it, can run a level. */
static bool runs(int level) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool vnni = avx2 && wide && __builtin_cpu_supports("avx512vnni");
    switch (level) {
    case AVX2:
        return avx2;
    case AVXVNNI:
        return avx2 && __builtin_cpu_supports("avxvnni");
    case AVX512:
        return avx2 && wide;
    case AVX512VNNI:
        return vnni;
    case AVX512BF16:
        return vnni && __builtin_cpu_supports("avx512bf16");
    default:
        return true;
    }
}

static void fill_level(hone_kernels *table, int level) {
    if (level == PLAIN) hone_cpu_fill_plain(table);
    if (level == AVX2 || level == AVXVNNI) hone_cpu_fill_avx2(table);
    if (level == AVXVNNI) hone_cpu_fill_int8_avxvnni(table);
    if (level >= AVX512) hone_cpu_fill_avx512(table);
    if (level >= AVX512VNNI) hone_cpu_fill_int8_avx512vnni(table);
    if (level >= AVX512BF16) hone_cpu_fill_bf16_avx512bf16(table);
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#endif

/* Every 64-bit ARM has NEON; its dot product came with ARMv8.2. */
enum { REF, NEON, NEONDOT, LEVELS };
static const char *const names[LEVELS] = {"ref", "neon", "neondot"};
#define NAMES "ref, neon or neondot"

/* Whether the processor has the dot product and what else the compiler may take at its level. Where the system is not asked,
 * only a build for such processors alone is sure of it. */
static bool has_dot_product(void) {
#if defined(__linux__)
    const unsigned long needed = HWCAP_ASIMDDP | HWCAP_ASIMDRDM | HWCAP_ATOMICS | HWCAP_CRC32;
    return (getauxval(AT_HWCAP) & needed) == needed;
#elif defined(__ARM_FEATURE_DOTPROD)
    return true;
#else
    return false;
#endif
}

static bool runs(int level) {
    return level != NEONDOT || has_dot_product();
}

static void fill_level(hone_kernels *table, int level) {
    if (level >= NEON) hone_cpu_fill_neon(table);
    if (level >= NEONDOT) hone_cpu_fill_int8_neondot(table);
}

#else

enum { REF, PLAIN, LEVELS };
static const char *const names[LEVELS] = {"ref", "plain"};
#define NAMES "ref or plain"

static bool runs(int level) {
    return level < LEVELS;
}

static void fill_level(hone_kernels *table, int level) {
    if (level == PLAIN) hone_cpu_fill_plain(table);
}

#endif

static hone_kernels tables[LEVELS];

static hone_status level_asked(int *out) {
    const char *asked = getenv("HONE_ISA");
    int best = LEVELS - 1;
    while (!runs(best)) best--;
    *out = best;
    if (!asked || !*asked) return HONE_OK;
    for (int level = REF; level < LEVELS; level++) {
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
    return hone_fail(HONE_ERR_USAGE, "HONE_ISA=%s: no such instruction set; use " NAMES, asked);
}

hone_status hone_kernels_cpu(const hone_kernels **out) {
    int level;
    HONE_TRY(level_asked(&level));
    hone_kernels table = *hone_kernels_ref();
    table.name = names[level];
    table.precisions = HONE_TAKES_F32 | HONE_TAKES_BF16; /* others are the oracle of GPUs' */
    fill_level(&table, level);
    tables[level] = table;
    *out = &tables[level];
    return HONE_OK;
}
