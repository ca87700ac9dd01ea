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

#endif
