/*
 * What the suites of kernels share: levels of the CPU table, numbers to feed, and comparison.
 */
#ifndef HONE_TESTS_KERNEL_SUPPORT_H
#define HONE_TESTS_KERNEL_SUPPORT_H

#include <math.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "kernels/cpu/cpu.h"
#include "kernels/device.h"
#include "kernels/kernels.h"
#include "tests/support.h"
#ifdef HONE_EMULATED_CUDA
#include "tests/cuda/emulated.h"
#endif

/* The levels of this family of processors, and hone's own GEMM of each; NULL: its products in int8 or bf16 are its own, and all
 * else is that of a level before it. */
#if defined(__x86_64__)
static const char *const level_names[] = {"plain",  "avx2",       "avxvnni",
                                          "avx512", "avx512vnni", "avx512bf16"};
static hone_gemm_fn *const level_gemm[] = {hone_gemm_plain,  hone_gemm_avx2, NULL,
                                           hone_gemm_avx512, NULL,           NULL};
#elif defined(__aarch64__)
static const char *const level_names[] = {"neon", "neondot"};
static hone_gemm_fn *const level_gemm[] = {hone_gemm_neon, NULL};
#else
static const char *const level_names[] = {"plain"};
static hone_gemm_fn *const level_gemm[] = {hone_gemm_plain};
#endif
enum { CPU_LEVELS = sizeof level_names / sizeof level_names[0] };
/* Behind them: the CUDA kernels, emulated on the host. */
#ifdef HONE_EMULATED_CUDA
enum { LEVELS = CPU_LEVELS + 1 };
#else
enum { LEVELS = CPU_LEVELS };
#endif

/* Of LoRA: beside the sizes of vectors. */
static const int64_t ranks[] = {1, 3, 8, 16, 17, 64};
enum { RANKS = sizeof ranks / sizeof ranks[0] };

/* Widths of rows that a GPU gives to a warp, to two, .. to a block that takes them by pieces; of whole groups of four and not. */
static const int64_t wide_rows[] = {511, 516, 1023, 1028, 2049, 4096, 4100, 8192, 8193, 20004};
enum { WIDE_ROWS = sizeof wide_rows / sizeof wide_rows[0] };

#ifdef HONE_EMULATED_CUDA
/* A suite that is run once more at a level of the processor leaves the emulator out. */
static bool isa_is_asked;
__attribute__((constructor)) static void look_for_isa(void) {
    isa_is_asked = getenv("HONE_ISA") != NULL;
}
#endif

/* The table of a level, or NULL where this processor lacks it. */
static inline const hone_kernels *level_table(int level) {
    const hone_kernels *table = NULL;
#ifdef HONE_EMULATED_CUDA
    if (level == CPU_LEVELS) return isa_is_asked ? NULL : hone_kernels_emulated();
#endif
    setenv("HONE_ISA", level_names[level], 1);
    hone_status status = hone_kernels_cpu(&table);
    unsetenv("HONE_ISA");
    if (status == HONE_OK) return table;
    ck_assert_int_eq(status, HONE_ERR_UNSUPPORTED);
    printf("SKIP: this processor has no %s\n", level_names[level]);
    return NULL;
}

/* As level_table(); NULL also where nothing but products in int8 or bf16 is the level's own. */
static inline const hone_kernels *f32_level_table(int level) {
    return level == CPU_LEVELS || level_gemm[level] ? level_table(level) : NULL;
}

/* Fails where an emulated product was refused. */
static inline void expect_no_refusal(void) {
#ifdef HONE_EMULATED_CUDA
    ck_ok(hone_emulated_status());
#endif
}

/* Runs `check(table)` at every level of the processor that this one has. */
static inline void at_every_cpu_level(void (*check)(const hone_kernels *table, int64_t size),
                                      int64_t size) {
    for (int level = 0; level < CPU_LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (table) check(table, size);
    }
}

/* And at that of the CUDA kernels. */
static inline void at_every_level(void (*check)(const hone_kernels *table, int64_t size),
                                  int64_t size) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = level_table(level);
        if (table) check(table, size);
    }
    expect_no_refusal();
}

static inline void at_every_f32_level(void (*check)(const hone_kernels *table, int64_t size),
                                      int64_t size) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (table) check(table, size);
    }
    expect_no_refusal();
}

/* n floats in [-1, 1), the same for the same seed; to be freed. */
static inline float *floats_new(int64_t n, uint32_t seed) {
    float *x = hone_alloc((size_t)n + 1, sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (int64_t i = 0; i < n; i++) {
        uint32_t word = hone_philox_draw(seed, (uint32_t)i, 0, 0, 0).word[0];
        x[i] = 2.0f * hone_uniform(word) - 1.0f;
    }
    return x;
}

/* What a GPU does not round where it reads it in TF32. */
static inline float *tf32_floats_new(int64_t n, uint32_t seed) {
    float *x = floats_new(n, seed);
    for (int64_t i = 0; i < n; i++) x[i] = hone_tf32(x[i]);
    return x;
}

static inline float *floats_copy(const float *from, int64_t n) {
    float *x = hone_alloc((size_t)n + 1, sizeof *x);
    ck_assert_ptr_nonnull(x);
    memcpy(x, from, (size_t)n * sizeof *x);
    return x;
}

/* Scratch of a kernel, aligned as its contract asks; to be freed with hone_buffer_free. */
static inline hone_buffer workspace_new(size_t bytes) {
    static hone_device device; /* the buffer borrows it */
    hone_device_open_ref(&device);
    hone_buffer buffer;
    ck_ok(hone_buffer_new(&buffer, &device, bytes));
    return buffer;
}

/* Fails where a and b differ by more than `relative` of b, or of `floor` where b is smaller. NaNs equal each other. */
static inline void expect_close(const float *a, const float *b, int64_t n, double relative,
                                double floor, const char *what) {
    for (int64_t i = 0; i < n; i++) {
        double x = (double)a[i];
        double y = (double)b[i];
        if (x == y || (isnan(x) && isnan(y))) continue;
        double room = relative * fmax(fabs(y), floor);
        ck_each(fabs(x - y) <= room, "%s: element %lld of %lld: %.9g, expected %.9g", what,
                (long long)i, (long long)n, x, y);
    }
}

#endif
