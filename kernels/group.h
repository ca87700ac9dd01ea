/*
 * A group of processes with a GPU each, that train one model together: every one computes a part of a step, and what they
 * found is summed. A group of one (zeroed, too) is no group: its calls do nothing and always succeed.
 *
 * All processes of a group make the same calls in the same order with the same sizes. When one of them is lost, calls of
 * the others, and waits for their device, fail with HONE_ERR_PEER instead of waiting for ever, as far as NCCL finds it out;
 * the group is then gone.
 */
#ifndef HONE_KERNELS_GROUP_H
#define HONE_KERNELS_GROUP_H

#include "base/status.h"
#include "kernels/device.h"

enum { HONE_GROUP_NAME = 128, HONE_GROUP_MOST = 1024 };

/* By which the processes of a group find each other: made by the first, given to the others by other means. */
typedef struct hone_group_name {
    char bytes[HONE_GROUP_NAME];
} hone_group_name;

/* What a kind of device does for groups of two and more. */
typedef struct hone_group_calls {
    hone_status (*sum)(float *at, int64_t n);
    hone_status (*join_sums)(void);
    hone_status (*sum_doubles)(double *values, int n);
    hone_status (*leave)(void);
    void (*abandon)(void);
} hone_group_calls;

typedef struct hone_group {
    int rank, size;
    const hone_group_calls *calls; /* NULL: alone */
} hone_group;

/* How many GPUs this process could open. HONE_ERR_USAGE in a build without CUDA, else as hone_device_open_cuda. */
HONE_MUST_USE hone_status hone_group_gpus(int *count);

/* The device of this process must be open, on a GPU that no other process of the group has. The second call waits for all
 * `size` (2 to HONE_GROUP_MOST) to come, for five minutes at most. HONE_ERR_UNSUPPORTED where NCCL cannot be used. */
HONE_MUST_USE hone_status hone_group_make_name(hone_group_name *out);
HONE_MUST_USE hone_status hone_group_join(hone_group *out, const hone_group_name *name, int rank,
                                          int size);

/* at[n] on the device becomes its sum over all processes, in f32, in an order that the sizes alone decide: once all that was
 * queued so far is done, beside what is queued next. */
HONE_MUST_USE hone_status hone_group_sum(const hone_group *group, float *at, int64_t n);
/* What is queued from here on sees these sums. */
HONE_MUST_USE hone_status hone_group_join_sums(const hone_group *group);

/* values[n], on the host, become their sums over all processes, n up to HONE_GROUP_MOST; waits for them. */
HONE_MUST_USE hone_status hone_group_sum_doubles(const hone_group *group, double *values, int n);

/* A value of each process at its rank, all[size]. */
HONE_MUST_USE hone_status hone_group_gather(const hone_group *group, double *all, double own);

/* Before what may fail in one process alone is relied on by the others: `status` where it is no HONE_OK, HONE_ERR_PEER where
 * another process brings such a one. */
HONE_MUST_USE hone_status hone_group_agree(const hone_group *group, hone_status status);

/* *value becomes that of the first process. */
HONE_MUST_USE hone_status hone_group_follow(const hone_group *group, double *value);

/* The end of a group, in good order by all of its processes, or by one that gives up: that is to end, as nothing can be asked
 * of its device any more. The group is then one of one. */
HONE_MUST_USE hone_status hone_group_leave(hone_group *group);
void hone_group_abandon(hone_group *group);

#endif
