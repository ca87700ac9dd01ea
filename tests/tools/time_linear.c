/*
 * Seconds of products with frozen weights of every type: time_linear TOKENS IN OUT [TYPE]
 *
 * A line per type: nanoseconds per weight of dequantising alone, of the product and of the input gradient, and the two
 * products' times as multiples of those with F32 weights. HONE_ISA and OMP_NUM_THREADS say how it is computed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "kernels/device.h"

typedef struct bench {
    const hone_kernels *kernels;
    int64_t tokens, in, out;
    float *x, *y, *plain;
    unsigned char *w;
} bench;

enum { DEQUANTISE, FORWARD, BACKWARD, PASSES };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run(const bench *b, hone_dtype type, int pass, void *workspace) {
    const hone_kernels *k = b->kernels;
    if (pass == DEQUANTISE) k->dequantize(b->plain, b->w, type, b->in * b->out);
    if (pass == FORWARD)
        k->linear_fwd(b->y, b->x, b->w, type, NULL, b->tokens, b->in, b->out, 0, workspace);
    if (pass == BACKWARD)
        k->linear_bwd(b->x, b->y, b->w, type, NULL, b->tokens, b->in, b->out, 0, workspace);
}

/* The shortest of several runs, in nanoseconds per weight. */
static double time_of(const bench *b, hone_dtype type, int pass, void *workspace) {
    double best = 1e30, begin = now();
    for (int i = 0; i < 3 || now() - begin < 0.2; i++) {
        double start = now();
        run(b, type, pass, workspace);
        double taken = now() - start;
        if (taken < best) best = taken;
    }
    return best * 1e9 / (double)(b->in * b->out);
}

static void *allocate(size_t bytes) {
    void *block = hone_alloc(bytes, 1);
    if (!block) exit(EXIT_FAILURE);
    memset(block, 0, bytes);
    return block;
}

int main(int argc, char **argv) {
    hone_device device;
    if (argc < 4 || hone_device_open_cpu(&device) != HONE_OK) return EXIT_FAILURE;
    bench b = {device.kernels, atoll(argv[1]), atoll(argv[2]), atoll(argv[3]), 0, 0, 0, 0};
    b.x = allocate((size_t)(b.tokens * b.in) * 4);
    b.y = allocate((size_t)(b.tokens * b.out) * 4);
    b.plain = allocate((size_t)(b.in * b.out) * 4);
    b.w = allocate((size_t)(b.in * b.out) * 4);
    double whole[PASSES] = {0};
    for (uint32_t number = 0; number < 40; number++) {
        const hone_dtype_info *info = hone_dtype_describe(number);
        if (!info || info->type == HONE_I32 || b.in % info->block != 0) continue;
        if (number && argc > 4 && strcmp(argv[4], info->name) != 0) continue;
        void *workspace = allocate(b.kernels->linear_workspace(info->type, b.in, b.out, 0) + 64);
        void *aligned = (void *)(((uintptr_t)workspace + 63) & ~(uintptr_t)63);
        double taken[PASSES];
        for (int pass = 0; pass < PASSES; pass++)
            taken[pass] = time_of(&b, info->type, pass, aligned);
        if (number == 0) memcpy(whole, taken, sizeof whole);
        printf("%-7s %.3f  %.3f %.3f  %.2f %.2f\n", info->name, taken[0], taken[1], taken[2],
               taken[1] / whole[1], taken[2] / whole[2]);
        hone_free(workspace);
    }
    return EXIT_SUCCESS;
}
