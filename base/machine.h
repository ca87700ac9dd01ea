/*
 * What the machine is and has, as the system tells it.
 */
#ifndef HONE_BASE_MACHINE_H
#define HONE_BASE_MACHINE_H

#include <stdint.h>

#include "base/status.h"

enum { HONE_MACHINE_FEATURES = 24 };

typedef struct hone_machine {
    char processor[128]; /* its own name for itself; "" when it says none */
    int cores;           /* that this process may use */
    const char *
        features[HONE_MACHINE_FEATURES]; /* instruction sets that matter here; static, NULL-ended */
    int64_t memory;    /* bytes: of the machine, or of the group of processes it is limited to */
    int64_t available; /* bytes that can be had without swapping; never more than `memory` */
} hone_machine;

/* Unknown numbers are 0. */
HONE_MUST_USE hone_status hone_machine_look(hone_machine *out);

/* Bytes of this process that are in memory now: `mapped` of them are pages of files, which the system can drop. */
typedef struct hone_resident {
    int64_t all, mapped;
} hone_resident;
hone_resident hone_resident_now(void);

/* How many of the bytes from `base` on are in memory for this process; 0 where the system does not say. */
int64_t hone_resident_within(const void *base, int64_t bytes);

/* The most bytes that this process has had in memory at once. */
int64_t hone_resident_peak(void);

#endif
