#include "base/parallel.h"

#include <omp.h>

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

void hone_parallel_for(int64_t n, int64_t grain, hone_range_fn body, void *context) {
    if (n <= 0) return;
    int64_t pieces = min64((n + grain - 1) / grain, hone_threads());
    if (pieces <= 1 || omp_in_parallel()) {
        body(context, 0, n, omp_in_parallel() ? omp_get_thread_num() : 0);
        return;
    }
    int64_t length = (n + pieces - 1) / pieces;
#pragma omp parallel for schedule(static, 1) num_threads((int)pieces)
    for (int64_t piece = 0; piece < pieces; piece++) {
        int64_t begin = piece * length;
        int64_t end = min64(n, begin + length);
        if (begin < end) body(context, begin, end, omp_get_thread_num());
    }
}

void hone_parallel_each(int64_t n, hone_range_fn body, void *context) {
    if (n <= 1 || hone_threads() == 1 || omp_in_parallel()) {
        int thread = omp_in_parallel() ? omp_get_thread_num() : 0;
        for (int64_t i = 0; i < n; i++) body(context, i, i + 1, thread);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < n; i++) body(context, i, i + 1, omp_get_thread_num());
}

int hone_cores(void) {
    return omp_get_num_procs();
}

void hone_threads_set(int n) {
    static int own; /* as OpenMP began: OMP_NUM_THREADS, else the cores */
    if (own == 0) own = omp_get_max_threads();
    omp_set_num_threads(n < 1 ? own : n);
}

int hone_threads(void) {
    return omp_get_max_threads();
}
