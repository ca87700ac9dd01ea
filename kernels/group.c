#include "kernels/group.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

hone_status hone_group_sum(const hone_group *group, float *at, int64_t n) {
    return group->calls && n > 0 ? group->calls->sum(at, n) : HONE_OK;
}

hone_status hone_group_join_sums(const hone_group *group) {
    return group->calls ? group->calls->join_sums() : HONE_OK;
}

hone_status hone_group_sum_doubles(const hone_group *group, double *values, int n) {
    assert(n <= HONE_GROUP_MOST);
    return group->calls ? group->calls->sum_doubles(values, n) : HONE_OK;
}

hone_status hone_group_gather(const hone_group *group, double *all, double own) {
    int size = group->calls ? group->size : 1;
    memset(all, 0, (size_t)size * sizeof *all);
    all[group->rank] = own;
    return hone_group_sum_doubles(group, all, size);
}

hone_status hone_group_agree(const hone_group *group, hone_status status) {
    if (!group->calls || status == HONE_ERR_PEER) return status;
    double failed = status == HONE_OK ? 0 : 1;
    if (status == HONE_OK) {
        HONE_TRY(group->calls->sum_doubles(&failed, 1));
        if (failed == 0) return HONE_OK;
        return hone_fail(HONE_ERR_PEER, "another process of the run failed: see its message");
    }
    char message[2048]; /* that of this failure is the one to keep */
    snprintf(message, sizeof message, "%s", hone_fail_message());
    (void)!group->calls->sum_doubles(&failed, 1);
    return hone_fail(status, "%s", message);
}

hone_status hone_group_follow(const hone_group *group, double *value) {
    if (group->rank > 0) *value = 0;
    return hone_group_sum_doubles(group, value, 1);
}

hone_status hone_group_leave(hone_group *group) {
    hone_status status = group->calls ? group->calls->leave() : HONE_OK;
    *group = (hone_group){0};
    return status;
}

void hone_group_abandon(hone_group *group) {
    if (group->calls) group->calls->abandon();
    *group = (hone_group){0};
}
