/*
 * Parallel loops. The only place of the program that starts threads for numerical work (OpenMP, the runtime that
 * oneDNN uses too). Which thread takes an item changes no result. Items are cut by the loop's own sizes; where a kernel cuts
 * them by the thread count, its bits depend on that count, as kernels/kernels.h says.
 */
#ifndef HONE_BASE_PARALLEL_H
#define HONE_BASE_PARALLEL_H

#include <stdint.h>

/* Handles the items begin <= i < end; `thread` counts from 0 and picks per-thread scratch. */
typedef void (*hone_range_fn)(void *context, int64_t begin, int64_t end, int thread);

/* Calls `body` over [0, n) in pieces of at least `grain` items, each item once. Inside another loop it runs serially. */
void hone_parallel_for(int64_t n, int64_t grain, hone_range_fn body, void *context);

/* As above, one item a call, given out as threads become free: for items of unequal cost. */
void hone_parallel_each(int64_t n, hone_range_fn body, void *context);

/* Cores that this process may use. */
int hone_cores(void);

/* Number of threads of the loops; `n` < 1 means what OMP_NUM_THREADS says, without it every core. */
void hone_threads_set(int n);
int hone_threads(void);

#endif
