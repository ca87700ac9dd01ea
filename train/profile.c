#include "train/profile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

hone_status hone_profile_new(hone_profile **out) {
    hone_profile *profile = hone_alloc(1, sizeof *profile);
    if (!profile) return HONE_ERR_MEMORY;
    profile->events = hone_alloc(HONE_PROFILE_EVENTS, sizeof *profile->events);
    if (!profile->events) {
        hone_profile_free(profile);
        return HONE_ERR_MEMORY;
    }
    *out = profile;
    return HONE_OK;
}

void hone_profile_free(hone_profile *profile) {
    if (!profile) return;
    hone_free(profile->events);
    hone_free(profile);
}

static bool is_row(const hone_profile_row *row, const hone_profile_row *key) {
    return row->between == key->between && row->is_span == key->is_span &&
           row->weights == key->weights && row->mode == key->mode &&
           strcmp(row->name, key->name) == 0 &&
           memcmp(row->shape, key->shape, sizeof row->shape) == 0;
}

/* The row with the name and size of `key`, made when there is none; the last one takes all that find no room. */
static int row_of(hone_profile *p, const hone_profile_row *key) {
    for (int i = 0; i < p->row_count; i++) {
        if (is_row(&p->rows[i], key)) return i;
    }
    if (p->row_count == HONE_PROFILE_ROWS) return HONE_PROFILE_ROWS - 1;
    int last = p->row_count++;
    p->rows[last] = *key;
    if (p->row_count == HONE_PROFILE_ROWS) p->rows[last] = (hone_profile_row){.name = "others"};
    return last;
}

static void add(hone_profile *p, const hone_profile_row *key, const hone_profile_event *event) {
    int at = row_of(p, key);
    hone_profile_row *row = &p->rows[at];
    double seconds = event->end - event->start;
    row->seconds += seconds;
    row->flops += event->flops;
    if (key->mode) row->mode_flops += event->flops;
    row->bytes += event->bytes;
    if (!key->is_span) row->phase[event->phase] += seconds;
    if (key->is_span || event->phase == HONE_FORWARD) row->calls++;
    if (!p->in_step || p->steps >= HONE_PROFILE_TRACED || p->event_count == HONE_PROFILE_EVENTS)
        return;
    p->events[p->event_count] = *event;
    p->events[p->event_count++].row = at;
}

static void add_pass(void *context, const hone_work *work) {
    hone_profile_row key = {.name = work->name, .weights = work->weights, .mode = work->mode};
    memcpy(key.shape, work->shape, sizeof key.shape);
    hone_profile_event event = {work->start, work->end, work->flops,
                                work->bytes, 0,         (int)work->phase};
    add(context, &key, &event);
}

hone_observer hone_profile_observer(hone_profile *profile) {
    return (hone_observer){add_pass, profile};
}

void hone_profile_span(hone_profile *p, const char *name, double start, double bytes) {
    if (!p) return;
    hone_profile_row key = {.name = name, .is_span = true, .between = !p->in_step};
    hone_profile_event event = {start, hone_seconds(), 0, bytes, 0, HONE_PHASES};
    add(p, &key, &event);
}

void hone_profile_step_begin(hone_profile *p, int64_t step, double start) {
    if (!p) return;
    if (p->begun++ == 1) { /* the first step is not counted when there are others */
        p->row_count = p->event_count = 0;
        p->steps = 0;
        p->seconds = 0;
    }
    p->now = (hone_profile_step){step, start, start};
    p->in_step = true;
}

void hone_profile_step_end(hone_profile *p, double end) {
    if (!p) return;
    p->now.end = end;
    if (p->steps < HONE_PROFILE_TRACED) p->traced[p->steps] = p->now;
    p->steps++;
    p->seconds += end - p->now.start;
    p->in_step = false;
}
