/*
 * Where the time of a training run goes: a row for each operation and size, and for each other part of a step, over all
 * steps but the first (whose memory is touched for the first time; a run of one step has that one). The first of these
 * steps are kept event by event, for a trace.
 *
 *     step:   hone_profile_step_begin;  passes of the tape, spans;  hone_profile_step_end;  spans between steps
 *
 * All memory is taken at once; what goes beyond it is counted in the last row and left out of the trace.
 */
#ifndef HONE_TRAIN_PROFILE_H
#define HONE_TRAIN_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "autograd/observer.h"
#include "base/buf.h"
#include "train/limits.h"

enum { HONE_PROFILE_ROWS = 256, HONE_PROFILE_EVENTS = 1 << 16, HONE_PROFILE_TRACED = 3 };

typedef struct hone_profile_row {
    const char *name; /* static */
    int64_t shape[HONE_WORK_SHAPE];
    hone_dtype weights;
    const char *mode; /* static; NULL: f32 */
    bool between;     /* steps, not in one */
    bool is_span;     /* of the loop, no operation: its time has no phase */
    int64_t calls;    /* forward passes, or spans */
    double seconds;   /* in all, and of the phases */
    double phase[HONE_PHASES];
    double flops, bytes, mode_flops; /* the last: those of `flops` that are taken in the mode */
} hone_profile_row;

typedef struct hone_profile_event {
    double start, end; /* hone_seconds() */
    double flops, bytes;
    int row, phase; /* phase HONE_PHASES: a span */
} hone_profile_event;

typedef struct hone_profile_step {
    int64_t step;
    double start, end;
} hone_profile_step;

typedef struct hone_profile {
    hone_profile_row rows[HONE_PROFILE_ROWS];
    int row_count;
    hone_profile_event *events; /* owned, [HONE_PROFILE_EVENTS] */
    int event_count;
    hone_profile_step traced[HONE_PROFILE_TRACED];
    int64_t begun, steps; /* steps that began; that are in the rows */
    hone_profile_step now;
    bool in_step;
    double seconds; /* of the steps in the rows */
} hone_profile;

HONE_MUST_USE hone_status hone_profile_new(hone_profile **out);
void hone_profile_free(hone_profile *profile); /* takes NULL */

/* A tape with this observer gives its passes to the profile. */
hone_observer hone_profile_observer(hone_profile *profile);

/* The next three take NULL, and then do nothing. */
void hone_profile_step_begin(hone_profile *profile, int64_t step, double start);
void hone_profile_step_end(hone_profile *profile, double end);
/* A part of the loop that is no operation, from `start` to now; `bytes` it moves at least, 0: not said. */
void hone_profile_span(hone_profile *profile, const char *name, double start, double bytes);

/* Appends the table: lines of text, by time. (train/profile_format.c) */
HONE_MUST_USE hone_status hone_profile_table(hone_buf *out, const hone_profile *profile,
                                             const hone_limits *limits);

/* Appends the trace, in the JSON that chrome://tracing and Perfetto read: complete events, those of operations on one
 * track, whole steps on another. (train/profile_format.c) */
HONE_MUST_USE hone_status hone_profile_trace(hone_buf *out, const hone_profile *profile);

#endif
